"""Running feeds: a streaming query each, from its source to its bronze table."""

from __future__ import annotations

import logging
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from loaders.bronze import BatchReport, batch_writer, ensure_tables
from loaders.causes import root_cause
from loaders.destinations import destination_of
from loaders.feeds import CloudFilesFeed, Feed, KinesisFeed
from loaders.kinds import Kind, kind_of
from loaders.listener import FeedListener, listening
from loaders.replay import finish_replay, is_replay_unfinished
from loaders.session import ConfigurationError, lakehouse_root
from loaders.sources import register
from loaders.tasks import stop_between_batches

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession
    from pyspark.sql.streaming import StreamingQuery

# Spark gives a source's Python process ten seconds to answer, however busy the machine is.
_LATE = "Python worker failed to connect back"


def run_once(
    spark: SparkSession, feeds: Iterable[Feed], report: Callable[[BatchReport], None]
) -> dict[str, str]:
    """Load what is there now, all feeds side by side.

    Feeds whose Python processes were late are loaded when the others have ended, one by one.

    Returns: the feeds that failed, with the cause; the others are loaded all the same.
    """
    feeds = list(feeds)
    with listening(spark, lakehouse_root(), feeds, once=True) as listener:

        def load(some: list[Feed]) -> dict[str, str]:
            queries, failed = _start_all(spark, some, listener.noting(report), once=True)
            for name, query in queries.items():
                failed |= _await(name, query, listener)
            return failed

        failed = load(feeds)
        for feed in feeds:
            if _LATE in failed.get(feed.name, ""):
                del failed[feed.name]
                failed |= load([feed])
    return failed


def run_continuously(
    spark: SparkSession, feeds: Iterable[Feed], report: Callable[[BatchReport], None]
) -> dict[str, str]:
    """Load until SIGTERM, SIGINT or until every feed has failed; a running batch is finished.

    Returns: the feeds that failed, with the cause.
    """
    stop = threading.Event()
    for signal_number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signal_number, lambda *_: stop.set())
    feeds = list(feeds)
    with listening(spark, lakehouse_root(), feeds, once=False) as listener:
        queries, failed = _start_all(spark, feeds, listener.noting(report), once=False)
        while not stop.wait(0.5) and any(query.isActive for query in queries.values()):
            pass
        for name, query in queries.items():
            if query.isActive:
                stop_between_batches(query)
            failed |= _await(name, query, listener)
    return failed


def backfill(
    spark: SparkSession, feed: Feed, location: str, report: Callable[[BatchReport], None]
) -> str | None:
    """Load the objects under a location that the feed's ledger does not have, by listing them.

    A query of its own, which is forgotten when it has ended well; cut short, it is completed by
    calling this again. The feed's own loader must not run meanwhile.

    Args:
        location: s3://bucket/prefix/, a folder, or either with wildcards.

    Returns: why it failed; None when all is loaded.

    Raises:
        ConfigurationError: the feed does not read objects, or another location's backfill was cut
            short.
    """
    if isinstance(feed, KinesisFeed):
        raise ConfigurationError(f"feed {feed.name} reads a stream, which has no objects to list")
    listed = CloudFilesFeed(
        **{
            name: getattr(feed, name)
            for name in Feed.model_fields.keys() - {"source"}
            | {"allow_overwrites", "max_files_per_trigger"}
        },
        location=location,
        use_notifications=False,
    )
    folder = _begin_backfill(listed)
    with listening(spark, lakehouse_root(), [listed], once=True) as listener:
        checkpoint = folder / "query"
        # Where schemas would be kept is where the source remembers objects: gone with the rest.
        options = {"cloudFiles.schemaLocation": str(folder)}
        report = listener.noting(report)
        query = start(spark, listed, report, once=True, checkpoint=checkpoint, options=options)
        failed = _await(feed.name, query, listener)
    if not failed:
        shutil.rmtree(folder)
    return failed.get(feed.name)


def _begin_backfill(feed: CloudFilesFeed) -> Path:
    """The folder of a feed's backfill; it notes from where, so that another waits for its end.

    Raises:
        ConfigurationError: another one was cut short; the message names it.
    """
    folder = lakehouse_root() / "checkpoints" / "backfills" / feed.name
    note = folder / "location"
    if note.exists() and note.read_text() != feed.location:
        raise ConfigurationError(
            f"a backfill of {feed.name} from {note.read_text()} was cut short: run that first"
        )
    folder.mkdir(parents=True, exist_ok=True)
    note.write_text(feed.location)
    return folder


def start(
    spark: SparkSession,
    feed: Feed,
    report: Callable[[BatchReport], None],
    *,
    once: bool,
    checkpoint: Path | None = None,
    options: Mapping[str, str] | None = None,
) -> StreamingQuery:
    """Start the feed's query.

    Args:
        checkpoint: of the query; default: the feed's, under LAKEHOUSE_ROOT/checkpoints.
        options: of the source, besides those of the feed.
    """
    from pyspark.sql import functions as F

    register(spark)
    kind = kind_of_feed(feed)
    destination = destination_of(feed)
    ensure_tables(spark, destination, kind)
    checkpoint = checkpoint or lakehouse_root() / "checkpoints" / feed.name
    trigger = (
        {"availableNow": True} if once else {"processingTime": f"{feed.trigger_seconds} seconds"}
    )
    return (
        spark.readStream.format(feed.source)
        .options(**feed.source_options(), **(options or {}))
        .load(feed.load_path)
        .withColumn("_ingested_at", F.current_timestamp())
        .writeStream.queryName(feed.name)
        .foreachBatch(batch_writer(feed.name, destination, kind, checkpoint, report))
        .option("checkpointLocation", str(checkpoint))
        .trigger(**trigger)
        .start()
    )


def kind_of_feed(feed: Feed) -> Kind:
    """How the feed's records are received, recognised and kept."""
    allow_overwrites = getattr(feed, "allow_overwrites", True)
    return kind_of(feed.source, allow_overwrites=allow_overwrites, layout=feed.layout)


def finish_interrupted_replay(spark: SparkSession, feed: Feed) -> None:
    """A replay that was cut short has its batch before any new one."""
    if is_replay_unfinished(feed.name):
        ensure_tables(spark, destination_of(feed), kind_of_feed(feed))
        finish_replay(spark, feed)


def _start_all(
    spark: SparkSession,
    feeds: Iterable[Feed],
    report: Callable[[BatchReport], None],
    *,
    once: bool,
) -> tuple[dict[str, StreamingQuery], dict[str, str]]:
    """The queries that started, and the feeds that did not, with the cause."""
    from pyspark.errors import PySparkException

    feeds = list(feeds)
    queries, failed = {}, {}

    def each(deed: Callable[[Feed], None]) -> None:
        for feed in feeds:
            try:
                if feed.name not in failed:
                    deed(feed)
            except PySparkException as error:
                failed[feed.name] = root_cause(str(error))

    def begin(feed: Feed) -> None:
        queries[feed.name] = start(spark, feed, report, once=once)

    # While no query writes to the tables that feeds share.
    each(lambda feed: finish_interrupted_replay(spark, feed))
    each(begin)
    return queries, failed


def _await(name: str, query: StreamingQuery, listener: FeedListener) -> dict[str, str]:
    from pyspark.errors import StreamingQueryException

    try:
        query.awaitTermination()
    except StreamingQueryException as error:
        logging.getLogger(__name__).debug("feed %s", name, exc_info=error)
        return {name: root_cause(str(error))}
    finally:
        listener.wait_for_end(query.id)
    return {}
