"""python -m loaders …: what is declared, load it, see what came of it."""

from __future__ import annotations

import json
import logging
import os
import sys
from dataclasses import asdict
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from loaders.bronze import BatchReport
from loaders.feeds import Feed, read_feeds
from loaders.session import ConfigurationError, get_spark, lakehouse_root
from loaders.status import feed_status
from loaders.status_tables import status_tables, watch_status

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
    python -m loaders run --once               load what is new in every feed, then end
    python -m loaders run FEED --continuous    load a feed until Ctrl-C or SIGTERM
    python -m loaders status                   what was loaded, how far each feed is

    Everything is written under LAKEHOUSE_ROOT (default ./lakehouse). Credentials and endpoints
    are boto3's: AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and so on.
    Exit codes: 0 done, 1 a feed failed, 2 wrong usage or configuration.
    """


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


@cli.command("list")
@as_json
def list_feeds(as_json: bool) -> None:
    """Show the feeds that loaders/feeds.yml declares."""
    feeds = list(read_feeds().values())
    if as_json:
        _print_json([feed.model_dump() for feed in feeds])
        return
    table = Table("feed", "source", "from", "bronze table", "what arrives", box=None)
    for feed in feeds:
        table.add_row(feed.name, feed.source, feed.origin, f"bronze.{feed.table}", feed.description)
    _console.print(table)


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
@click.option("--watch", is_flag=True, help="Show it anew every 2 seconds, until Ctrl-C.")
@as_json
def status(watch: bool, as_json: bool) -> None:
    """Show what was loaded so far and how far each feed is.

    From the ledger and from what running feeds write under LAKEHOUSE_ROOT/progress: starts no
    Spark and asks no source. Lag is the age of the oldest thing that waited when the feed was
    seen last; a feed that is not running is not seen, so look at that time first.
    """
    if watch and as_json:
        raise click.UsageError("--watch is for people, --json for machines: give one of them")
    root, feeds = lakehouse_root(), list(read_feeds().values())
    if watch:
        watch_status(root, feeds)
    elif as_json:
        _print_json([asdict(row) for row in feed_status(root, feeds)])
    else:
        _console.print(status_tables(feed_status(root, feeds)))


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


def _chosen(names: tuple[str, ...]) -> list[Feed]:
    feeds = read_feeds()
    for name in names:
        if name not in feeds:
            raise ConfigurationError(f"no feed {name!r}; declared are {', '.join(sorted(feeds))}")
    return [feeds[name] for name in names] or list(feeds.values())


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


if not os.environ.get("TERM"):  # cron has none; rich then asks for no colours
    os.environ["TERM"] = "dumb"
