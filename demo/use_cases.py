"""The use cases of the demo: what each sends, loads and builds."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Any

import boto3
from botocore.config import Config

from demo import game_studio, remedy, stocks
from demo.remedy import Outage
from demo.video import delivery as video
from loaders.queues import create_queue

# done, total
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Producer:
    """Who sends the data of a use case.

    Attributes:
        produce: sends what is new; returns what that was, in words.
        keep_sending: sends on and on until the event is set.
        outage: what happens to those of whom `produce` sent, if something does.
    """

    produce: Callable[[Progress], str]
    keep_sending: Callable[[Event], None]
    outage: Callable[[], Outage | None] = lambda: None


@dataclass(frozen=True)
class UseCase:
    """One of the eBook's use cases.

    Attributes:
        feeds: of loaders/feeds.yml.
        models: dbt's selection of its models; what they are built of and tested with comes along.
        prepare: creates bucket, queue, stream where they are missing, names them to the feeds, and
            starts on the stack what has to run; it is given the lakehouse's root.
    """

    name: str
    feeds: tuple[str, ...]
    models: str
    prepare: Callable[[ExitStack, Path], Producer]


def _s3() -> Any:
    return boto3.client("s3", config=Config(max_pool_connections=stocks.THREADS))


def _prepare_stocks(_: ExitStack, __: Path) -> Producer:
    """S3 announces the price objects to a queue, from which their feed takes them."""
    s3 = _s3()
    stocks.make_bucket(s3)
    queue = create_queue("stocks_daily_prices", f"s3://{stocks.BUCKET}/{stocks.PRICES}")
    os.environ["STOCKS_PRICES_QUEUE"] = queue.queue_url
    return Producer(
        lambda progress: describe(stocks.produce(s3, progress=progress)),
        lambda stop: stocks.keep_sending(s3, stop),
    )


def describe(delivery: stocks.Delivery) -> str:
    """What was new in a delivery of stocks, in words."""
    news = [
        f"{count:,} new {what}{'s' if count != 1 else ''}: {records:,} {of_what}"
        for count, what, records, of_what in (
            (delivery.sessions, "session", delivery.bars, "bars"),
            (delivery.filing_dates, "filing date", delivery.filings, "filings"),
        )
        if count
    ]
    return f"{', '.join(news) or 'nothing new'} (up to {delivery.until})"


def _prepare_games(stack: ExitStack, root: Path) -> Producer:
    """Game servers post to the ingest service; Firehose's objects are announced to a queue."""
    s3 = _s3()
    stocks.make_bucket(s3)
    made = stack.enter_context(game_studio.studio(root, stocks.BUCKET))

    def produce(progress: Progress) -> str:
        return f"{game_studio.produce(made, s3, stocks.BUCKET, progress):,} events of players"

    return Producer(produce, lambda stop: game_studio.keep_sending(made, s3, stocks.BUCKET, stop))


def _prepare_video(_: ExitStack, __: Path) -> Producer:
    """Alerts go to a topic, and from there to the function that moves viewers to other edges."""
    kinesis, s3 = boto3.client("kinesis"), _s3()
    video.prepare(kinesis, s3)
    queue_url = remedy.prepare()
    outages: list[Outage] = []

    def produce(progress: Progress) -> str:
        viewers, until = video.viewers(kinesis, s3, datetime.now(UTC))
        viewers.obey()
        since = viewers.now
        sent = viewers.send(until, progress)
        if viewers.incident:
            outages.append(Outage(viewers, queue_url, datetime.now(UTC)))
        return (
            f"viewers from {since:%H:%M} to {until:%H:%M} UTC: {sent.events:,} player events, "
            f"{sent.log_rows:,} rows of the CDN's log"
        )

    def keep_sending(stop: Event) -> None:
        acting = Thread(target=remedy.keep_acting, args=(queue_url, stop), daemon=True)
        acting.start()
        video.keep_sending(kinesis, s3, stop)
        acting.join()

    return Producer(
        produce,
        keep_sending,
        lambda: outages.pop() if outages else None,
    )


USE_CASES = (
    UseCase("stocks", stocks.FEEDS, "@path:models/silver/stocks", _prepare_stocks),
    UseCase("games", game_studio.FEEDS, "@path:models/silver/games", _prepare_games),
    UseCase("video", video.FEEDS, "@path:models/silver/qos", _prepare_video),
)
