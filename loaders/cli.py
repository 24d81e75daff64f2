"""python -m loaders …: what is declared, load it, see what came of it."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from loaders.alerts.commands import alerts
from loaders.bronze import BatchReport, ensure_tables
from loaders.destinations import destination_of
from loaders.feeds import Feed, read_feeds
from loaders.ingest.commands import ingest
from loaders.ip_ranges import (
    Snapshots,
    country_records,
    network_records,
    read_country_ranges,
    read_network_ranges,
)
from loaders.journal import live_progress
from loaders.kinds import kind_of
from loaders.live_start import forget_start, models_with_a_start
from loaders.lock import RootInUseError, require_free
from loaders.ml.commands import ml
from loaders.printable import printable
from loaders.quarantine import quarantine_groups, quarantine_rows
from loaders.queues import QueueReport, create_queue, feed_lines
from loaders.replay import replay
from loaders.session import (
    ConfigurationError,
    cluster_settings,
    get_spark,
    lakehouse_root,
    prepare_root,
)
from loaders.status import feed_status
from loaders.status_tables import status_tables, watch_status
from loaders.subscribed_queue import aws_errors, step_lines
from loaders.vault.commands import vault

if TYPE_CHECKING:
    from loaders.page import EngineStatus
    from loaders.tasks import TaskStatus

EXIT_FAILED = 1
EXIT_USAGE = 2

_console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)


def main() -> None:
    """Run the command line; a person's mistake ends in one line, not in a stack trace."""
    # py4j logs the traceback of every callback that failed; the cause is printed by us.
    logging.getLogger("py4j").setLevel(logging.CRITICAL)
    try:
        cli(standalone_mode=False)
    except ConfigurationError as error:
        _fail(str(error))
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except (KeyboardInterrupt, click.Abort):
        sys.exit(130)


def _fail(message: str) -> None:
    _errors.print(f"[red]error:[/red] {message}", soft_wrap=True)
    sys.exit(EXIT_USAGE)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Stream raw JSON from buckets, queues and Kinesis into bronze Delta tables.

    \b
    python -m loaders list                     what is declared in loaders/feeds.yml
    python -m loaders up                       load, build, test and serve without a pause
    python -m loaders run --once               load what is new in every feed, then end
    python -m loaders run FEED --continuous    load a feed until Ctrl-C or SIGTERM
    python -m loaders status                   what was loaded, how far each feed is
    python -m loaders backfill FEED LOCATION   load objects there that the ledger does not have
    python -m loaders queue create FEED        have the bucket announce new objects to a queue
    python -m loaders quarantine list          what could not be loaded, and why
    python -m loaders quarantine replay FEED   load what has become readable since
    python -m loaders alerts follow QUEUE_URL  print alerts as they come, act on them
    python -m loaders ip-ranges                countries and networks of addresses, for ip_ranges
    python -m loaders ingest                   take events of game servers over HTTP
    python -m loaders ml train MODEL           foretell from gold: train, judge, promote, score
    python -m loaders vault show PLAYER        personal data of players: show, export, erase …

    Everything is written under LAKEHOUSE_ROOT (default ./lakehouse). Credentials and endpoints
    are boto3's: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and so on.
    Exit codes: 0 done, 1 a feed or the engine failed, 2 wrong usage or configuration.
    """


cli.add_command(alerts)
cli.add_command(ingest)
cli.add_command(ml)
cli.add_command(vault)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


@cli.command("list")
@as_json
def list_feeds(as_json: bool) -> None:
    """Show the feeds that loaders/feeds.yml declares."""
    feeds = list(read_feeds().values())
    if as_json:
        _print_json([feed.model_dump() for feed in feeds])
        return
    table = Table(Column("feed", no_wrap=True), box=None)
    for title in ("source", "from", "bronze table", "what arrives"):
        table.add_column(title, overflow="fold")
    for feed in feeds:
        table.add_row(feed.name, feed.source, feed.origin, f"bronze.{feed.table}", feed.description)
    _console.print(table)


@cli.command()
@click.argument("names", metavar="[FEED]...", nargs=-1)
@as_json
def up(names: tuple[str, ...], as_json: bool) -> None:
    """Run the engine: load, build, test and serve without a pause.

    \b
    One process and one JVM have LAKEHOUSE_ROOT to themselves and
      load all feeds (or those named, with the models below them) continuously,
      run the live models as streaming queries,
      bring the other dbt models below new rows up to date within seconds,
      test the models that have changed, every ten minutes, and look after the tables,
      answer SQL on 127.0.0.1:10000 (HiveServer2; THRIFT_PORT):
        .venv/bin/dbt run --profiles-dir profiles --target engine
        beeline -u jdbc:hive2://127.0.0.1:10000
      show how everything stands on http://127.0.0.1:8088/status (HTTP_PORT),
        for machines /healthz, /metrics (Prometheus), /status.json

    What fails is tried again with back-off, and the rest goes on without it. SIGTERM or Ctrl-C
    finishes the running batches, or cuts short what takes longer, and ends within 30 seconds;
    after a kill the next start goes on where it ended. With --json each batch and each failure
    is one line.
    """
    feeds = _chosen(names)
    from loaders.engine import EngineError, run_engine

    items = {feed.name: feed.items for feed in feeds}

    def ready(status: EngineStatus) -> None:
        if as_json:
            click.echo(json.dumps({"event": "ready", "http": status.http_port}))
            return
        _say(f"up: http://127.0.0.1:{status.http_port}/status, SQL on {status.thrift_port}")

    def changed(task: TaskStatus) -> None:
        if as_json:
            click.echo(json.dumps({"event": "task", **asdict(task)}, default=str))
        elif task.error:
            _errors.print(
                f"[red]error:[/red] {task.kind} {task.name}: {task.error}", soft_wrap=True
            )
        else:
            _say(f"{task.kind} {task.name} works again")

    def notice(text: str) -> None:
        if as_json:
            click.echo(json.dumps({"event": "notice", "text": text}))
        else:
            _say(text)

    if not as_json:
        _errors.print(f"starting Spark, root {lakehouse_root()}", style="dim", soft_wrap=True)
    try:
        run_engine(
            feeds,
            lambda batch: print_batch(batch, items[batch.feed], as_json=as_json),
            changed,
            notice,
            ready,
        )
    except EngineError as error:
        _errors.print(f"[red]error:[/red] {error}", soft_wrap=True)
        sys.exit(EXIT_FAILED)


@cli.command()
@click.argument("names", metavar="[FEED]...", nargs=-1)
@click.option("--once", "mode", flag_value="once", help="Load what is there now, then end.")
@click.option("--continuous", "mode", flag_value="continuous", help="Load until SIGTERM or Ctrl-C.")
@as_json
def run(names: tuple[str, ...], mode: str | None, as_json: bool) -> None:
    """Load feeds (all when none is named) into bronze.

    A second run goes on where the first ended, whatever ended it. For a cron job use --once,
    for a service --continuous. With --json each batch is one line.
    """
    if mode is None:
        raise click.UsageError("say how long: --once or --continuous")
    feeds = _chosen(names)
    from loaders.run import run_continuously, run_once

    items = {feed.name: feed.items for feed in feeds}
    reports: list[BatchReport] = []

    def report(batch: BatchReport) -> None:
        reports.append(batch)
        print_batch(batch, items[batch.feed], as_json=as_json)

    if not as_json:
        _errors.print(f"starting Spark, root {lakehouse_root()}", style="dim", soft_wrap=True)
    spark = get_spark(resident=mode == "continuous")
    runner = run_once if mode == "once" else run_continuously
    failed = runner(spark, feeds, report)
    if not as_json:
        _summarise(feeds, reports, failed)
    for name, cause in failed.items():
        _errors.print(f"[red]error:[/red] feed {name}: {cause}", soft_wrap=True)
    spark.stop()
    sys.exit(EXIT_FAILED if failed else 0)


@cli.command()
@click.argument("name", metavar="FEED")
@click.argument("location")
@as_json
def backfill(name: str, location: str, as_json: bool) -> None:
    """Load the objects under LOCATION that the ledger of FEED does not have, exactly once.

    LOCATION is s3://bucket/prefix/ or a folder, with wildcards if need be. For objects that were
    never announced, or were undone by `dbt run-operation roll_back`. All of them are read, so name
    no more than the days in question. Stop the feed's loader first; cut short, run it again.
    """
    from loaders.run import backfill as load

    (feed,) = _chosen((name,))
    reports: list[BatchReport] = []

    def report(batch: BatchReport) -> None:
        reports.append(batch)
        print_batch(batch, feed.items, as_json=as_json)

    spark = get_spark()
    try:
        cause = load(spark, feed, location, report)
    finally:
        spark.stop()
    if cause:
        _errors.print(f"[red]error:[/red] feed {name}: {cause}", soft_wrap=True)
        sys.exit(EXIT_FAILED)
    if not as_json:
        _summarise([feed], reports, {})


@cli.command()
@click.option("--watch", is_flag=True, help="Show it anew every 2 seconds, until Ctrl-C.")
@as_json
def status(watch: bool, as_json: bool) -> None:
    """Show what was loaded so far and how far each feed is.

    From the ledger and from what running feeds write under LAKEHOUSE_ROOT/progress: starts no
    Spark and asks no source. Lag is the age of the oldest thing that waited when the feed was
    seen last; a feed that is not running is not seen, so look at that time first. Streaming models
    stand below; --json has the feeds alone.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for machines: give one of them")
    root, feeds = lakehouse_root(), list(read_feeds().values())
    if watch:
        watch_status(root, feeds)
    elif as_json:
        _print_json([asdict(row) for row in feed_status(root, feeds)])
    else:
        _console.print(status_tables(feed_status(root, feeds), live_progress(root)))


@cli.command("begin-anew")
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
def begin_anew(models: tuple[str, ...]) -> None:
    """Have streaming models begin anew at the next start of the engine.

    For one whose query cannot go on from where it was, because the table that it reads has
    forgotten those versions. It begins as its first query did, at what its `start` declares, and
    merges over the rows that its table has. Stop the engine first.
    """
    try:
        require_free(prepare_root())
    except RootInUseError as error:
        raise ConfigurationError(str(error)) from error
    known = models_with_a_start()
    if unknown := sorted(set(models) - known):
        told = ", ".join(sorted(known)) or "none"
        raise ConfigurationError(f"no query of {', '.join(unknown)} was started; there are: {told}")
    for model in models:
        forget_start(model)
        _say(f"{model}: begins anew when the engine starts")


@cli.command("spark-conf")
def spark_conf() -> None:
    """Print Spark's settings for a Thrift server in a cluster, as spark-submit reads them.

    \b
    python -m loaders spark-conf > spark.conf      then: spark-submit --properties-file spark.conf
    docs/operations.md shows the whole.
    """
    for key, value in cluster_settings().items():
        click.echo(f"{key} {value}")


@cli.group()
def queue() -> None:
    """Queues that announce new objects, so that nothing need be listed."""


@queue.command("create")
@click.argument("name", metavar="FEED")
@click.option("--location", help="s3://bucket/prefix/, for a feed that does not name it.")
@click.option("--dry-run", is_flag=True, help="Show policies and changes; change nothing.")
@as_json
def create(name: str, location: str | None, dry_run: bool, as_json: bool) -> None:
    """Make bucket → topic → queue for a feed, with a dead-letter queue.

    FEED reads s3://bucket/prefix/ (cloudFiles), or is to be an s3-sqs feed over --location. What
    is there already is kept; other notifications of the bucket are never touched. A second run
    changes nothing. docs/iam.md says which permissions this takes.
    """
    feed = read_feeds().get(name)
    location = location or getattr(feed, "location", None)
    if not location:
        raise ConfigurationError(
            f"no feed {name!r} with a location in feeds.yml: declare it, or give "
            "--location s3://bucket/prefix/"
        )
    report = create_queue(name, location, region=feed and feed.region, dry_run=dry_run)
    if as_json:
        _print_json(report.summary())
    else:
        _print_queue(report, feed.source if feed else "s3-sqs", dry_run=dry_run)


def _print_queue(report: QueueReport, source: str, *, dry_run: bool) -> None:
    for line in step_lines(report.steps, report.documents(), dry_run=dry_run):
        _say(line)
    if report.queue_url:
        _say(f"\nqueue URL: {report.queue_url}\n\nin loaders/feeds.yml:")
        _say("\n".join(feed_lines(report.wiring.feed, source, report.queue_url)))


@cli.group()
def quarantine() -> None:
    """Records that could not be loaded: why, where they came from, and loading them again."""


a_reason = click.option("--reason", help="Only rows of this reason, such as invalid_json.")


@quarantine.command("list")
@click.option("--feed", help="Only this feed.")
@as_json
def list_quarantine(feed: str | None, as_json: bool) -> None:
    """Count what is in quarantine by feed and reason; starts no Spark."""
    groups = quarantine_groups(lakehouse_root(), feed)
    if as_json:
        _print_json([asdict(group) for group in groups])
        return
    if not groups:
        _say("quarantine is empty")
        return
    table = Table(Column("feed", no_wrap=True), Column("reason", no_wrap=True), box=None)
    table.add_column("records", justify="right")
    table.add_column("first seen (UTC)")
    table.add_column("last seen (UTC)")
    for group in groups:
        seen = (f"{time:%Y-%m-%d %H:%M:%S}" for time in (group.first_seen, group.last_seen))
        table.add_row(group.feed, Text(group.reason), f"{group.records:,}", *seen)
    _console.print(table)


@quarantine.command("show")
@click.argument("feed", metavar="FEED")
@a_reason
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=1))
@click.option("--raw", is_flag=True, help="With the bytes received. They may be personal data.")
@as_json
def show(feed: str, reason: str | None, limit: int, raw: bool, as_json: bool) -> None:
    """Show where the newest rows came from and why they are there; starts no Spark."""
    rows = quarantine_rows(lakehouse_root(), feed, reason, limit, raw=raw)
    if raw:
        rows = [
            row | {"raw": (row["raw"] or b"").decode(errors="backslashreplace")} for row in rows
        ]
    if as_json:
        _print_json(rows)
        return
    if not rows:
        _say("nothing in quarantine")
    for row in rows:
        place = f"{row['container']} {row['item']}  version {row['version']}"
        record = f"record {row['ordinal']}  byte {row['offset_bytes']}  batch {row['batch_id']}"
        _say(printable(f"{row['reason']}  {place}  {record}"))
        if raw:
            _say(f"    {printable(row['raw'])}")


@quarantine.command("replay")
@click.argument("name", metavar="FEED")
@a_reason
@as_json
def replay_quarantine(name: str, reason: str | None, as_json: bool) -> None:
    """Load what is in quarantine and can be read by now, exactly once.

    Records are read again from the bytes kept; objects that were gone, refused or cut off are
    fetched again. What still cannot be read stays. Ignored overwrites are loaded only when named:
    --reason overwrite_ignored. Stop the feed's loader first.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    (feed,) = _chosen((name,))
    spark = get_spark()
    kind = kind_of(feed.source, allow_overwrites=True, layout=feed.layout)
    ensure_tables(spark, destination_of(feed), kind)
    try:
        report = replay(spark, feed, reason)
    except (BotoCoreError, ClientError) as error:
        _errors.print(
            f"[red]error:[/red] feed {name}: {error}: what was loaded before is complete; "
            "mend it and run the command again",
            soft_wrap=True,
        )
        sys.exit(EXIT_FAILED)
    finally:
        spark.stop()
    if as_json:
        _print_json(asdict(report))
        return
    left = f", {report.quarantined:,} bad records found in them" if report.quarantined else ""
    _say(
        f"{feed.name}: {report.replaced:,} of {report.looked_at:,} rows left quarantine, "
        f"{report.kept:,} records loaded{left}"
    )


def _say(text: str) -> None:
    """A line for people, not wrapped, and taken literally."""
    _console.print(text, soft_wrap=True, markup=False)


def print_batch(batch: BatchReport, items: str, *, as_json: bool = False) -> None:
    """One line a batch; `items` says of what: objects, or shards."""
    if as_json:
        click.echo(json.dumps(asdict(batch)))
        return
    notes = "".join(
        f", {count:,} {what}"
        for count, what in (
            (batch.duplicates, "duplicates"),
            (batch.quarantined, "quarantined"),
        )
        if count
    )
    _console.print(
        f"{batch.feed}: batch {batch.batch_id}: {batch.kept:,} records of {batch.objects:,} "
        f"{items}{notes} ({batch.seconds:.1f} s)",
        soft_wrap=True,
    )


def _summarise(feeds: list[Feed], reports: list[BatchReport], failed: dict[str, str]) -> None:
    for feed in feeds:
        if feed.name not in failed and not any(batch.feed == feed.name for batch in reports):
            _console.print(f"{feed.name}: nothing new", soft_wrap=True)


@cli.command("ip-ranges")
@click.option(
    "--country",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Countries: MMDB, or CSV of first address, last address, ISO 3166 code.",
)
@click.option(
    "--asn",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Networks: MMDB, or CSV of first address, last address, AS number, organisation.",
)
@click.option(
    "--valid-from",
    type=click.DateTime(["%Y-%m-%d"]),
    help="First day whose logs are looked up here (default: tomorrow, UTC).",
)
@click.option(
    "--to", "location", help="Bucket or folder (default: where the feed ip_ranges reads)."
)
@as_json
def ip_ranges(
    country: Path | None,
    asn: Path | None,
    valid_from: datetime | None,
    location: str | None,
    as_json: bool,
) -> None:
    """Write a snapshot of who has which addresses, for the feed ip_ranges to load.

    \b
    python -m loaders ip-ranges --country asn-country.csv --asn asn.csv --valid-from 2026-01-01
    python -m loaders run ip_ranges --once

    The files are CSV as the ip-location-db project publishes it, or databases of MaxMind's format
    (.mmdb), plain or gzipped. A log row is looked up in the snapshot of its own day, so a look-up
    gives the same whenever it is made. Give the first snapshot a day before your oldest log.
    """
    if not (country or asn):
        raise click.UsageError("say which file: --country, --asn or both")
    day = valid_from.date() if valid_from else (datetime.now(UTC) + timedelta(days=1)).date()
    snapshots = Snapshots(location or read_feeds()["ip_ranges"].origin)
    # Nothing is written before all of it can be.
    found = [
        (kind, path.name, read(path), records_of)
        for kind, path, read, records_of in (
            ("country", country, read_country_ranges, country_records),
            ("asn", asn, read_network_ranges, network_records),
        )
        if path is not None
    ]
    written = []
    with aws_errors():
        for kind, *_ in found:
            snapshots.require_newer(kind, day)
        for kind, source, ranges, records_of in found:
            where, count = snapshots.write(kind, day, records_of(ranges, day, source))
            written.append({"kind": kind, "valid_from": day, "location": where, "ranges": count})
    if as_json:
        _print_json(written)
        return
    for each in written:
        _say(f"{each['ranges']:,} ranges to {each['location']}, valid from {day}")


def _chosen(names: tuple[str, ...]) -> list[Feed]:
    feeds = read_feeds()
    for name in names:
        if name not in feeds:
            raise ConfigurationError(f"no feed {name!r}; declared are {', '.join(sorted(feeds))}")
    for name in names:
        if not feeds[name].is_set_up:
            raise ConfigurationError(
                f"feed {name}: no queue is named: set the variable that feeds.yml reads"
            )
    return [feeds[name] for name in names] or [feed for feed in feeds.values() if feed.is_set_up]


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


if not os.environ.get("TERM"):  # cron has none; rich then asks for no colours
    os.environ["TERM"] = "dumb"
