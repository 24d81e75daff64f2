"""python -m demo.video: simulated viewers, to Kinesis and S3."""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from demo.video import world
from demo.video.cdn_log import CdnLog
from demo.video.incidents import KINDS, Incident, Script, random_script
from demo.video.simulator import Output, Settings, Simulator
from demo.video.steering import read_weights
from demo.video.writers import BUCKET, STREAM, DeliveryError, make_stream, put_events, put_logs
from loaders.alerts.weights import WeightsError
from loaders.session import ConfigurationError
from loaders.subscribed_queue import aws_errors


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Simulate viewers of a video service, with incidents whose truth is known.

    \b
    python -m demo.video speed                        events a second that one core makes
    python -m demo.video ranges --folder DIR          IP ranges of the simulated networks, as CSV
    python -m demo.video run --minutes 60             an hour, as fast as it goes
    python -m demo.video run --minutes 60 --live      an hour in an hour; obeys CDN weights
    """


@cli.command()
@click.option("--minutes", default=5.0, show_default=True, help="Simulated minutes.")
@click.option("--attempts", default=60.0, show_default=True, help="Sessions begun a minute.")
@click.option("--seed", default=1, show_default=True)
def speed(minutes: float, attempts: float, seed: int) -> None:
    """Simulate without sending anything and print the events a second of processor time."""
    simulator = Simulator(Settings(seed, _start_ms(None), attempts))
    log, events, rows = CdnLog(seed), 0, 0
    started = time.process_time()
    for output in simulator.run(minutes):
        events += len(output.events)
        log.add(output.requests)
        rows += sum(item.rows for item in log.due(simulator.now_ms))
    rows += sum(item.rows for item in log.flush())
    seconds = time.process_time() - started
    click.echo(
        f"{events:,} events and {rows:,} log rows in {seconds:.1f} s: {events / seconds:,.0f} "
        f"events/s on one core, {events / (minutes * 60):,.0f} a simulated second"
    )


@cli.command()
@click.option("--folder", type=click.Path(path_type=Path), required=True)
def ranges(folder: Path) -> None:
    """Write country.csv and asn.csv: which addresses belong to which country and network."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "country.csv").open("w") as country, (folder / "asn.csv").open("w") as asn:
        world.write_ranges(country, asn)
    click.echo(f"{folder}/country.csv and {folder}/asn.csv")


@cli.command()
@click.option("--minutes", default=60.0, show_default=True, help="Simulated minutes.")
@click.option("--attempts", default=60.0, show_default=True, help="Sessions begun a minute.")
@click.option("--seed", default=1, show_default=True)
@click.option("--start", help="First minute, UTC, such as 2026-01-31T18:00 (default: now).")
@click.option("--live", is_flag=True, help="As fast as the clock, obeying the CDN weights.")
@click.option("--stream", default=STREAM, show_default=True)
@click.option("--bucket", default=BUCKET, show_default=True)
@click.option(
    "--incident",
    "incidents",
    multiple=True,
    metavar="KIND:FROM:TO[:NAME=VALUE…]",
    help=f"Minutes from the start; kinds are {', '.join(KINDS)}.",
)
@click.option("--random-incidents", default=0, help="So many, drawn by the seed.")
@click.option(
    "--truth", type=click.Path(path_type=Path), help="Write sessions and incidents here, as JSON."
)
def run(
    minutes: float,
    attempts: float,
    seed: int,
    start: str | None,
    live: bool,
    stream: str,
    bucket: str,
    incidents: tuple[str, ...],
    random_incidents: int,
    truth: Path | None,
) -> None:
    """Send player events to a Kinesis stream and CDN logs to a bucket.

    \b
    --incident edge_slow:10:25:edge=FRA56-P3
    --incident "isp_congested:10:25:isp=Rheinkabel"
    """
    import boto3

    start_ms = _start_ms(start)
    script = Script(
        [
            *(_incident(text, start_ms) for text in incidents),
            *random_script(seed, start_ms, count=random_incidents).incidents,
        ]
    )
    kinesis, s3 = boto3.client("kinesis"), boto3.client("s3")
    make_stream(kinesis, stream)
    with suppress(s3.exceptions.BucketAlreadyOwnedByYou):
        s3.create_bucket(Bucket=bucket)
    simulator = Simulator(Settings(seed, start_ms, attempts), script)
    log, events, rows = CdnLog(seed), 0, 0
    began = time.monotonic()
    for output in simulator.run(minutes, step_s=1.0 if live else 60.0):
        if live:
            simulator.steering.set_weights(read_weights(s3, bucket))
            ahead = (simulator.now_ms - start_ms) / 1000 - (time.monotonic() - began)
            time.sleep(max(0.0, ahead))
        events, rows = _send(
            output, log, simulator.now_ms, (kinesis, stream), (s3, bucket), events, rows
        )
        click.echo(
            f"\r{datetime.fromtimestamp(simulator.now_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} "
            f"{events:,} events, {rows:,} log rows",
            nl=False,
            err=True,
        )
    rows += put_logs(s3, log.flush(), bucket)
    click.echo(err=True)
    click.echo(f"{events:,} events to {stream}, {rows:,} log rows to s3://{bucket}")
    if truth:
        truth.write_text(json.dumps(truth_of(simulator)))


def _send(
    output: Output,
    log: CdnLog,
    now_ms: float,
    stream: tuple[Any, str],
    bucket: tuple[Any, str],
    events: int,
    rows: int,
) -> tuple[int, int]:
    log.add(output.requests)
    sent = put_events(stream[0], output.events, stream[1])
    return events + sent, rows + put_logs(bucket[0], log.due(now_ms), bucket[1])


def truth_of(simulator: Simulator) -> dict[str, Any]:
    """Sessions and incidents as they really were, ready for JSON."""
    return {
        "sessions": [
            {name: getattr(session, name) for name in session.__slots__}
            for session in simulator.truth
        ],
        "incidents": [
            {
                "kind": each.kind,
                "layer": each.layer,
                "onset_ms": each.onset_ms,
                "end_ms": each.end_ms,
                "cohort": dict(each.cohort),
            }
            for each in simulator.script.incidents
        ],
    }


def _start_ms(text: str | None) -> int:
    if text is None:
        return int(time.time() * 1000)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--start: {text!r} is no time; write 2026-01-31T18:00") from error
    return int(moment.replace(tzinfo=moment.tzinfo or UTC).timestamp() * 1000)


def _incident(text: str, start_ms: int) -> Incident:
    kind, *rest = text.split(":")
    try:
        begin, end, *cohort = rest
        return Incident(
            kind,
            start_ms + int(float(begin) * 60_000),
            start_ms + int(float(end) * 60_000),
            dict(part.split("=", 1) for part in cohort),
        )
    except ValueError as error:
        raise click.UsageError(
            f"--incident {text}: {error}; write such as edge_slow:10:25:edge=FRA56-P3"
        ) from error


def main() -> None:
    """Run the command; a mistake that can be mended ends in one line."""
    try:
        with aws_errors():
            cli(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except ConfigurationError as error:
        click.echo(f"demo.video: {error}", err=True)
        sys.exit(2)
    except (DeliveryError, WeightsError) as error:
        click.echo(f"demo.video: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


if __name__ == "__main__":
    main()
