"""The use cases of the demo: what each sends, loads and builds."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import Any

import boto3
from botocore.config import Config

from demo import stocks
from demo.video import delivery as video
from loaders.queues import create_queue

# done, total
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class UseCase:
    """One of the eBook's use cases.

    Attributes:
        feeds: of loaders/feeds.yml.
        models: dbt's selection of its models; what they are built of and tested with comes along.
        prepare: creates bucket, queue, stream where they are missing, and names them to the feeds.
        produce: sends what is new; returns what that was, in words.
        keep_sending: sends on and on until the event is set.
    """

    name: str
    feeds: tuple[str, ...]
    models: str
    prepare: Callable[[], None]
    produce: Callable[[Progress], str]
    keep_sending: Callable[[Event], None]


def _s3() -> Any:
    return boto3.client("s3", config=Config(max_pool_connections=stocks.THREADS))


def _prepare_stocks() -> None:
    """S3 announces the price objects to a queue, from which their feed takes them."""
    stocks.make_bucket(_s3())
    queue = create_queue("stocks_daily_prices", f"s3://{stocks.BUCKET}/{stocks.PRICES}")
    os.environ["STOCKS_PRICES_QUEUE"] = queue.queue_url


def _produce_stocks(progress: Progress) -> str:
    return describe(stocks.produce(_s3(), progress=progress))


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


def _keep_sending_stocks(stop: Event) -> None:
    stocks.keep_sending(_s3(), stop)


def _prepare_video() -> None:
    video.prepare(boto3.client("kinesis"), _s3())


def _produce_video(progress: Progress) -> str:
    sent = video.produce(boto3.client("kinesis"), _s3(), progress=progress)
    return (
        f"the last {video.MINUTES} minutes of viewers: {sent.events:,} player events, "
        f"{sent.log_rows:,} rows of the CDN's log"
    )


def _keep_sending_video(stop: Event) -> None:
    video.keep_sending(boto3.client("kinesis"), _s3(), stop)


USE_CASES = (
    UseCase(
        "stocks",
        stocks.FEEDS,
        "+path:models/silver/stocks+",
        _prepare_stocks,
        _produce_stocks,
        _keep_sending_stocks,
    ),
    UseCase(
        "video",
        video.FEEDS,
        "+path:models/silver/qos+",
        _prepare_video,
        _produce_video,
        _keep_sending_video,
    ),
)
