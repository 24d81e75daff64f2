"""The calls that reading a Kinesis stream takes, with their errors told apart."""

from __future__ import annotations

import binascii
import threading
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any, NamedTuple

import orjson
import pyarrow as pa

from loaders.sources.clients import ClientSettings
from loaders.sources.shards import Shard, parse_shard

# A shard takes five GetRecords a second, from all its readers together.
READ_SPACING_S = 0.2
MAX_RECORDS = 10_000
MAX_BACKOFF_S = 16.0

# The service may answer with empty pages before it comes to the next record.
MAX_EMPTY_PAGES = 100
MAX_THROTTLED_CALLS = 8

_THROTTLED = (
    "ProvisionedThroughputExceededException",
    "LimitExceededException",
    "KMSThrottlingException",
    "ThrottlingException",
)

# Records of one shard, in their order. Arrow, because it is what the tasks hand out in the end.
RECORDS = pa.schema(
    [
        ("sequenceNumber", pa.string()),
        ("partitionKey", pa.string()),
        ("data", pa.binary()),
        ("approximateArrivalTimestamp", pa.timestamp("us", tz="UTC")),
    ]
)


def sequence_at(records: pa.RecordBatch, place: int) -> int:
    """The sequence number of one of the records; places count from the end if negative."""
    return int(records.column("sequenceNumber")[place % records.num_rows].as_py())


def count_up_to(records: pa.RecordBatch, sequence: int) -> int:
    """How many of the records have that sequence number or a lower one."""
    return bisect_right(range(records.num_rows), sequence, key=partial(sequence_at, records))


class KinesisError(Exception):
    """The stream cannot be read; the message says why and what to do."""


class DataLoss(KinesisError):
    """Records expired, or their shard did, before they were read."""


class IteratorExpired(Exception):
    """A shard iterator was not used for five minutes."""


class Throttled(Exception):
    """The shard is read too often, or too much of it."""


class NotFound(Exception):
    """No such stream, no such shard, or no such record in it."""


class Description(NamedTuple):
    """What tells a stream from a later one of its name, and how long it keeps records."""

    created_ms: int
    retention_ms: int


class Page(NamedTuple):
    """What GetRecords answered; `next_iterator` is None when the shard has ended."""

    records: pa.RecordBatch  # schema RECORDS
    next_iterator: str | None
    behind_ms: int


class Clock:
    """The time; tests have one of their own."""

    def now_ms(self) -> int:
        """Milliseconds since 1970."""
        return time.time_ns() // 1_000_000

    def monotonic(self) -> float:
        """Seconds since some moment."""
        return time.monotonic()

    def wait(self, seconds: float) -> None:
        """Return after so many seconds."""
        threading.Event().wait(seconds)


class KinesisClient:
    """One stream."""

    def __init__(self, stream: str, boto_client: Any, clock: Clock | None = None) -> None:
        self.stream = stream
        self.clock = clock or Clock()
        self._boto = boto_client

    def describe(self) -> Description:
        """What the stream is.

        Raises:
            KinesisError: there is no such stream.
        """
        try:
            answer = self._patiently(
                lambda: self._boto.describe_stream_summary(StreamName=self.stream)
            )
        except NotFound as error:
            meta = self._boto.meta
            raise KinesisError(
                f"there is no Kinesis stream {self.stream!r} in {meta.region_name} "
                f"({meta.endpoint_url}): check streamName, region and endpointUrl"
            ) from error
        summary = answer["StreamDescriptionSummary"]
        return Description(
            created_ms=round(summary["StreamCreationTimestamp"].timestamp() * 1000),
            retention_ms=summary["RetentionPeriodHours"] * 3_600_000,
        )

    def shards(self) -> list[Shard]:
        """All shards that still hold records, closed ones included."""
        shards: list[Shard] = []
        request = {"StreamName": self.stream}
        while True:
            answer = self._patiently(lambda asked=request: self._boto.list_shards(**asked))
            shards += map(parse_shard, answer["Shards"])
            if not answer.get("NextToken"):
                return shards
            request = {"NextToken": answer["NextToken"]}

    def latest(self, shard_id: str) -> str:
        """An iterator at the shard's tip."""
        return self._patiently(lambda: self.iterator(shard_id, {"ShardIteratorType": "LATEST"}))

    def iterator(self, shard_id: str, request: Mapping[str, Any]) -> str:
        """A shard iterator.

        Args:
            shard_id: where.
            request: ShardIteratorType and what belongs to it.

        Raises:
            NotFound, Throttled.
        """
        unknown = "InvalidArgumentException" if "StartingSequenceNumber" in request else None
        with _sorted_errors(unknown):
            return self._boto.get_shard_iterator(
                StreamName=self.stream, ShardId=shard_id, **request
            )["ShardIterator"]

    def records(self, iterator: str, limit: int = MAX_RECORDS) -> Page:
        """The next records, at most `limit`; an empty page need not be the last one.

        Raises:
            IteratorExpired, NotFound, Throttled.
        """
        with _sorted_errors():
            answer = self._boto.get_records(ShardIterator=iterator, Limit=limit)
        return Page(
            records=_as_arrow(answer["Records"]),
            next_iterator=answer.get("NextShardIterator"),
            behind_ms=answer.get("MillisBehindLatest") or 0,
        )

    def has_record(self, shard_id: str, sequence: str) -> bool:
        """Whether a record is still kept.

        Raises:
            Throttled.
        """
        request = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": sequence}
        try:
            iterator: str | None = self.iterator(shard_id, request)
            for _ in range(MAX_EMPTY_PAGES):
                page = self.records(iterator, limit=1)
                iterator = page.next_iterator
                found = page.records.num_rows > 0
                if found or iterator is None or page.behind_ms == 0:
                    return found and sequence_at(page.records, 0) == int(sequence)
                self.clock.wait(READ_SPACING_S)
        except (NotFound, IteratorExpired):
            pass
        return False

    def keeps(self, shard_id: str, sequence: str) -> bool:
        """The same, asked again while there are too many such calls.

        Raises:
            KinesisError: there are too many for long.
        """
        return self._patiently(lambda: self.has_record(shard_id, sequence))

    def read_range(
        self, shard_id: str, first: str, last: str, count: int
    ) -> Iterator[pa.RecordBatch]:
        """The `count` records from `first` to `last`, both included, in pages.

        Raises:
            DataLoss: they are not all kept any more; what is left was handed out.
        """
        found: list[int] = []
        for records in self._pages_from(shard_id, first):
            wanted = records.slice(0, count_up_to(records, int(last)))
            if wanted.num_rows:
                yield wanted
                found += [sequence_at(wanted, place) for place in range(wanted.num_rows)]
            if records.num_rows and sequence_at(records, -1) >= int(last):
                break
        if len(found) != count or found[0] != int(first) or found[-1] != int(last):
            raise DataLoss(
                f"Kinesis stream {self.stream}, {shard_id}: a batch that is run again needs the "
                f"{count} records {first} to {last}, and {count - len(found)} of them are not "
                "kept any more: set failOnDataLoss to false to go on without them, or start with "
                "a new checkpoint"
            )

    def _pages_from(self, shard_id: str, first: str) -> Iterator[pa.RecordBatch]:
        """Pages from a record on, until the shard's tip or end."""
        request = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": first}
        iterator: str | None = None
        empty_pages, backoff = 0, READ_SPACING_S
        while empty_pages < MAX_EMPTY_PAGES:
            try:
                iterator = iterator or self.iterator(shard_id, request)
                page = self.records(iterator)
            except IteratorExpired:
                iterator = None
                continue
            except Throttled:
                backoff = min(2 * backoff, MAX_BACKOFF_S)
                self.clock.wait(backoff)
                continue
            except NotFound:
                return
            yield page.records
            is_empty = page.records.num_rows == 0
            if page.next_iterator is None or (page.behind_ms == 0 and is_empty):
                return
            iterator, backoff = page.next_iterator, READ_SPACING_S
            empty_pages = empty_pages + 1 if is_empty else 0
            if not is_empty:
                request = {
                    "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
                    "StartingSequenceNumber": str(sequence_at(page.records, -1)),
                }
            self.clock.wait(READ_SPACING_S)

    def _patiently(self, call: Callable[[], Any]) -> Any:
        """The call's answer, asked again while there are too many such calls."""
        backoff = READ_SPACING_S
        for _ in range(MAX_THROTTLED_CALLS):
            try:
                with _sorted_errors():
                    return call()
            except Throttled:
                backoff = min(2 * backoff, MAX_BACKOFF_S)
                self.clock.wait(backoff)
        raise KinesisError(
            f"Kinesis stream {self.stream}: too many calls, {MAX_THROTTLED_CALLS} times in a row: "
            "find out who else asks about streams of this account"
        )


def _as_arrow(records: list[dict[str, Any]]) -> pa.RecordBatch:
    """Records as GetRecords answers them; arrival times are seconds since 1970."""
    columns = [
        [record["SequenceNumber"] for record in records],
        [record["PartitionKey"] for record in records],
        [record["Data"] for record in records],
        [round(record["ApproximateArrivalTimestamp"] * 1_000_000) for record in records],
    ]
    arrays = [
        pa.array(values, column.type) for values, column in zip(columns, RECORDS, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=RECORDS)


@contextmanager
def _sorted_errors(not_found: str | None = None) -> Iterator[None]:
    """boto3's errors as this module's.

    Args:
        not_found: the code by which a call says so, beside the usual one.
    """
    from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

    try:
        yield
    except NoCredentialsError as error:
        raise KinesisError(
            "no AWS credentials: set AWS_PROFILE or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "or the options awsAccessKey and awsSecretKey"
        ) from error
    except EndpointConnectionError as error:
        raise KinesisError(f"{error} Check region and endpointUrl.") from error
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code == "ExpiredIteratorException":
            raise IteratorExpired from error
        if code in _THROTTLED:
            raise Throttled from error
        if code in ("ResourceNotFoundException", not_found):
            raise NotFound(error.response["Error"].get("Message")) from error
        raise


@lru_cache(maxsize=16)
def boto_client(settings: ClientSettings) -> Any:
    """A boto3 client for Kinesis, one a process, whose records have their arrival as a number.

    Not clients.client(): its adaptive retries slow all calls when one is throttled, and shards
    are throttled each on its own. The callers space their calls shard by shard.

    Args:
        settings: what clients.client_settings() returned.

    Raises:
        KinesisError: no region is known.
    """
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.exceptions import NoRegionError

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 4},
        max_pool_connections=32,
        connect_timeout=10,
        read_timeout=60,
    )
    session = botocore.session.get_session()
    session.register_component("response_parser_factory", _parser_factory())
    try:
        return boto3.Session(botocore_session=session).client(
            "kinesis", config=config, **dict(settings)
        )
    except NoRegionError as error:
        raise KinesisError(
            'no AWS region: set AWS_REGION, or .option("region", "eu-west-1")'
        ) from error


def _parser_factory() -> Any:
    """boto3's parsers, but for GetRecords one that is four times as fast (bench.kinesis).

    Theirs spends most of its time on making each arrival a datetime of the local time zone.
    """
    from botocore.parsers import JSONParser, ResponseParserFactory

    class QuickParser(JSONParser):
        def _handle_json_body(self, raw_body: bytes, shape: Any) -> dict[str, Any]:
            if shape.name != "GetRecordsOutput":
                return super()._handle_json_body(raw_body, shape)
            answer = orjson.loads(raw_body)
            for record in answer["Records"]:
                record["Data"] = binascii.a2b_base64(record["Data"])
            return answer

    class Factory(ResponseParserFactory):
        def create_parser(self, protocol_name: str) -> Any:
            return (
                QuickParser() if protocol_name == "json" else super().create_parser(protocol_name)
            )

    return Factory()
