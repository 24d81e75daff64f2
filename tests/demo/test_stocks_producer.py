"""The stock producers: what they deliver, and that they deliver it once."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from datetime import date

import boto3
import pytest
from bokeh_sampledata import stocks as daily_bars

from demo import stocks
from loaders.queues import create_queue
from loaders.sources.s3_events import parse_notification

LAST = date(2013, 3, 1)
BAR = ("ticker", "price_date", "open", "high", "low", "close", "volume", "adj_close")
EARLY = date(2000, 3, 10)
HOST_NAME = re.compile(r"\b[\w-]+\.(com|org|net|gov|io)\b")


def records(item):
    return [json.loads(line) for line in item.body.splitlines()]


# ---- what is delivered


def test_every_daily_bar_is_delivered_once_with_its_values_unchanged():
    delivered = [
        tuple(bar[name] for name in BAR)
        for item in stocks.landing_objects(LAST)
        if item.key.startswith(stocks.PRICES)
        for bar in records(item)
    ]
    source = {
        (ticker, *row)
        for ticker in ("AAPL", "FB", "GOOG", "IBM", "MSFT")
        for columns in [getattr(daily_bars, ticker)]
        for row in zip(columns["date"], *(columns[name] for name in BAR[2:]), strict=True)
    }
    assert set(delivered) == source
    assert len(delivered) == len(source)


def test_a_session_is_one_object_under_its_year():
    for item in stocks.landing_objects(LAST):
        if item.key.startswith(stocks.PRICES):
            days = {bar["price_date"] for bar in records(item)}
            assert {item.key} == {f"stocks/prices/year={day[:4]}/{day}.json" for day in days}


def test_every_filing_of_the_reference_data_is_delivered_once():
    delivered = [
        {name: _text(value) for name, value in filing.items() if name != "updated"}
        for item in stocks.landing_objects(LAST)
        if item.key.startswith(stocks.FUNDAMENTALS)
        for filing in records(item)
    ]
    with stocks.EPS_AS_FILED.open(newline="") as file:
        reference = [
            {name: _same_number(value) for name, value in row.items() if name != "filed_date_seen"}
            for row in csv.DictReader(file)
        ]
    assert sorted(map(_ordered, delivered)) == sorted(map(_ordered, reference))


def _text(value):
    return {None: "", True: "true", False: "false"}.get(value, _same_number(str(value)))


def _same_number(text):
    return str(float(text)) if re.fullmatch(r"-?\d+(\.\d+)?", text) else text


def _ordered(record):
    return sorted(record.items())


def test_a_figure_that_was_not_collected_is_null_and_not_zero():
    basic = {
        (filing["ticker"], filing["fiscal_period"]): filing["eps_basic_net"]
        for filings in stocks.filings_by_date().values()
        for filing in filings
    }
    assert basic["AAPL", "2009Q4"] is None
    assert basic["FB", "2012Q2"] == -0.08


def test_a_filing_lies_under_its_filing_date():
    for item in stocks.landing_objects(LAST):
        if item.key.startswith(stocks.FUNDAMENTALS):
            days = {filing["filed_date"] for filing in records(item)}
            assert {item.key} == {f"stocks/fundamentals/{day}.json" for day in days}


def test_nothing_later_than_asked_for_is_delivered():
    for until in (EARLY, date(2010, 1, 25)):
        days = {
            record.get("filed_date") or record["price_date"]
            for item in stocks.landing_objects(until)
            for record in records(item)
        }
        assert max(days) == until.isoformat()


def test_the_bytes_never_change():
    """Changed bytes would be redelivered, all of them, to every lakehouse that has the old."""
    digest = hashlib.sha256()
    for item in stocks.landing_objects(LAST):
        digest.update(item.key.encode() + b"\0" + item.body)
    assert digest.hexdigest() == EXPECTED_DIGEST


EXPECTED_DIGEST = "12501132b9c9719adc0d75936c506d7ecc886727ed1998a5d5fcfcf131b9a9b7"


def test_the_reference_data_has_one_row_a_filing_and_names_no_host():
    with stocks.EPS_AS_FILED.open(newline="", encoding="ascii") as file:
        rows = list(csv.DictReader(file))
    keys = [(row["ticker"], row["fiscal_period"], row["filed_date"]) for row in rows]
    assert len(set(keys)) == len(keys) == 77
    assert not [row["source"] for row in rows if HOST_NAME.search(row["source"])]
    assert all(row["source"] for row in rows)


# ---- the life of the feed


def test_the_first_delivery_ends_ten_sessions_before_the_data():
    sessions = sorted(map(date.fromisoformat, daily_bars.IBM["date"]))
    assert stocks.next_session(None) == sessions[-11]


def test_a_first_delivery_that_was_cut_short_is_completed():
    assert stocks.next_session(date(2004, 5, 6)) == stocks.next_session(None)


def test_every_later_delivery_is_the_next_session_until_there_is_none():
    sessions = sorted(map(date.fromisoformat, daily_bars.IBM["date"]))
    delivered, deliveries = None, []
    for _ in range(13):
        delivered = stocks.next_session(delivered)
        deliveries.append(delivered)
    assert deliveries == [*sessions[-11:], LAST, LAST]


def test_only_price_objects_say_how_far_the_feed_is():
    keys = ["stocks/fundamentals/2013-01-24.json", "stocks/prices/year=2012/2012-05-18.json"]
    assert stocks.last_session(iter(keys)) == date(2012, 5, 18)
    assert stocks.last_session(iter(keys[:1])) is None


# ---- against the embedded AWS


@pytest.fixture(scope="module")
def s3(aws):
    return boto3.client("s3")


def contents(s3, bucket):
    return {
        item["Key"]: s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
        for item in s3.list_objects_v2(Bucket=bucket).get("Contents", ())
    }


def expected(until):
    return {item.key: item.body for item in stocks.landing_objects(until)}


def test_a_delivery_makes_the_bucket_and_puts_every_object(s3):
    seen = []
    delivery = stocks.produce(
        s3, "first-delivery", until=EARLY, progress=lambda *at: seen.append(at)
    )
    assert contents(s3, "first-delivery") == expected(EARLY)
    assert delivery == stocks.Delivery(EARLY, 8, 24, 0, 0)
    assert seen == [(done, 8) for done in range(1, 9)]


def test_a_second_delivery_of_the_same_puts_nothing(s3):
    stocks.produce(s3, "delivered-twice", until=EARLY)
    before = s3.list_objects_v2(Bucket="delivered-twice")["Contents"]
    delivery = stocks.produce(s3, "delivered-twice", until=EARLY)
    assert delivery == stocks.Delivery(EARLY, 0, 0, 0, 0)
    assert s3.list_objects_v2(Bucket="delivered-twice")["Contents"] == before


def test_an_object_that_is_missing_or_differs_is_put_again_and_no_other(s3):
    stocks.produce(s3, "mended", until=EARLY)
    first, second, *_ = sorted(expected(EARLY))
    s3.delete_object(Bucket="mended", Key=first)
    s3.put_object(Bucket="mended", Key=second, Body=b"{}")
    delivery = stocks.produce(s3, "mended", until=EARLY)
    assert (delivery.sessions, delivery.bars) == (2, 6)
    assert contents(s3, "mended") == expected(EARLY)


def test_the_next_delivery_follows_from_what_lies_in_the_bucket(s3):
    s3.create_bucket(Bucket="next-session")
    for item in stocks.landing_objects(date(2013, 2, 21)):
        if item.key >= "stocks/prices/year=2013/2013-02-21" or "fundamentals" in item.key:
            s3.put_object(Bucket="next-session", Key=item.key, Body=item.body)
    present = stocks.last_session(iter(contents(s3, "next-session")))
    assert stocks.next_session(present) == date(2013, 2, 22)


def test_etags_are_those_that_the_store_gives(s3):
    stocks.produce(s3, "etags", until=EARLY)
    stored = {
        item["Key"]: item["ETag"].strip('"')
        for item in s3.list_objects_v2(Bucket="etags")["Contents"]
    }
    assert stored == {item.key: item.etag for item in stocks.landing_objects(EARLY)}


def test_new_price_objects_are_announced_once_however_often_the_queue_is_made(aws, s3):
    bucket, location = "announced", f"s3://announced/{stocks.PRICES}"
    stocks.make_bucket(s3, bucket)
    (url,) = {create_queue("prices", location).queue_url for _ in range(3)}
    stocks.produce(s3, bucket, until=EARLY)
    s3.put_object(Bucket=bucket, Key=f"{stocks.FUNDAMENTALS}other.json", Body=b"{}")
    sqs, announced = boto3.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            announced += [ref.key for ref in parse_notification(message["Body"]).created]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert sorted(announced) == sorted(expected(EARLY))
