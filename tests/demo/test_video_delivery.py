"""What the simulated service sends to Kinesis and S3, and how it may be asked to."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import boto3
import pytest
from click.testing import CliRunner

from demo.video import __main__ as command
from demo.video import audience, delivery, steering, world, writers
from demo.video.cdn_log import CdnLog, LogObject, reference_row, v2_row
from demo.video.simulator import PlayerEvent, Settings, Simulator
from loaders.alerts.weights import Weight, WeightsObject

EVENING = 1_780_077_600_000  # 2026-05-29 18:00 UTC
HOUR_MS = 3_600_000


@pytest.fixture(scope="module")
def requests():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audience, "intended_s", lambda video, rng: 40.0)
        simulator = Simulator(Settings(1, EVENING, 40))
        return [request for output in simulator.run(30) for request in output.requests]


def lines(item: LogObject) -> list[dict]:
    return [json.loads(line) for line in gzip.decompress(item.body).splitlines()]


def request_id(row: dict) -> str:
    return row.get("x-edge-request-id") or row["requestid"]


# ---- log objects


def test_every_request_is_delivered_once_in_the_shape_of_its_distribution(requests):
    log = CdnLog(1)
    log.add(requests)
    objects = log.flush()
    delivered = Counter(request_id(row) for item in objects for row in lines(item))
    assert delivered == Counter(request.request_id for request in requests)
    for item in objects:
        for row in lines(item):
            assert ("x-edge-request-id" in row) == item.key.startswith("qos/cdn_logs/v2/")
            assert ("requestid" in row) == item.key.startswith("qos/cdn_logs/reference/")


def test_the_newer_logs_have_texts_only_and_names_with_parentheses(requests):
    row = v2_row(requests[0])
    assert {type(value) for value in row.values()} == {str}
    assert {"cs(User-Agent)", "timestamp(ms)", "cs(Host)"} <= set(row)
    assert unquote(row["cs(User-Agent)"]) == requests[0].viewer.user_agent
    assert float(row["time-taken"]) >= float(row["time-to-first-byte"])


def test_the_reference_logs_have_the_columns_of_its_table_and_two_empty_ones(requests):
    row = reference_row(requests[0])
    assert list(row) == [
        *("browserfamily", "bytes", "cdn_source", "isbot", "location", "logdate", "logtime"),
        *("osfamily", "requestid", "requestip", "resulttype", "uri", "year", "month", "day"),
        "hour",
    ]
    assert row["year"] is None
    assert row["month"] is None
    assert row["resulttype"].isupper()
    assert isinstance(row["bytes"], str)


def test_only_agents_that_say_so_are_bots(requests):
    bots = {r.viewer.user_agent for r in requests if reference_row(r)["isbot"]}
    assert bots <= set(world.BOT_AGENTS)
    assert world.HEADLESS_AGENT in {r.viewer.user_agent for r in requests}


def test_a_client_that_hangs_up_is_an_error_to_the_cdn_with_status_200_or_000(requests):
    aborted = [v2_row(r) for r in requests if r.detail.startswith("Client")]
    assert aborted
    assert {row["x-edge-result-type"] for row in aborted} == {"Error"}
    assert {row["sc-status"] for row in aborted} <= {"200", "000"}


def test_objects_come_minutes_to_hours_after_their_requests_and_rows_are_not_in_order(requests):
    log = CdnLog(1)
    log.add(requests)
    ages, ordered = [], 0
    for item in (objects := log.flush()):
        ages += [
            (item.due_ms - int(row["timestamp(ms)"])) / 60_000
            for row in lines(item)
            if "timestamp(ms)" in row
        ]
        times = [row.get("timestamp(ms)") or row["logtime"] for row in lines(item)]
        ordered += len(times) > 5 and times == sorted(times)
    ages.sort()
    assert ages[0] > 0
    assert 4 < ages[len(ages) // 2] < 20
    assert 60 < ages[-1] <= 24 * 60 + 6
    assert 0.01 < sum(age > 60 for age in ages) / len(ages) < 0.3
    assert ordered == 0
    assert len(objects) > 10


def test_an_object_is_due_once_and_not_before_its_time(requests):
    log = CdnLog(1)
    log.add(requests)
    seen = []
    for hour in range(1, 27):
        now = EVENING + hour * HOUR_MS
        due = log.due(now)
        assert all(item.due_ms <= now for item in due)
        seen += due
    assert log.flush() == []
    other = CdnLog(1)
    other.add(requests)
    assert sorted(item.key for item in seen) == sorted(item.key for item in other.flush())
    assert len({item.key for item in seen}) == len(seen)


# ---- writers


@pytest.fixture(scope="module")
def kinesis(aws):
    return boto3.client("kinesis")


def stream_records(kinesis, stream):
    records = []
    for shard in kinesis.list_shards(StreamName=stream)["Shards"]:
        iterator = kinesis.get_shard_iterator(
            StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while True:
            answer = kinesis.get_records(ShardIterator=iterator, Limit=10_000)
            records.append(answer["Records"])
            iterator = answer["NextShardIterator"]
            if not answer["Records"] and not answer["MillisBehindLatest"]:
                break
    return [record for some in records for record in some]


def test_events_stand_in_the_stream_byte_by_byte_each_viewers_in_order(kinesis):
    simulator = Simulator(Settings(1, EVENING, 20))
    events = [event for output in simulator.run(2) for event in output.events]
    writers.make_stream(kinesis, "whole")
    assert writers.put_events(kinesis, events, "whole") == len(events) > writers.MAX_RECORDS

    def by_viewer(pairs):
        found = {}
        for viewer, data in pairs:
            found.setdefault(viewer, []).append(data)
        return found

    stored = stream_records(kinesis, "whole")
    assert by_viewer((r["PartitionKey"], r["Data"]) for r in stored) == by_viewer(
        (event.user_id, event.data) for event in events
    )


def test_a_stream_that_is_there_is_taken_as_it_is(kinesis):
    writers.make_stream(kinesis, "twice", shards=1)
    writers.make_stream(kinesis, "twice", shards=3)
    assert len(kinesis.list_shards(StreamName="twice")["Shards"]) == 1


def test_calls_keep_within_the_limits_of_the_service():
    small = [PlayerEvent(0, "v", b"x" * 10)] * 1234
    assert [len(batch) for batch in writers.record_batches(small)] == [500, 500, 234]
    large = [PlayerEvent(0, "v", b"x" * 1_000_000)] * 11
    assert [len(batch) for batch in writers.record_batches(large)] == [5, 5, 1]
    assert list(writers.record_batches([])) == []


class Throttled:
    """A Kinesis that refuses the second of the records it is given, so many times."""

    def __init__(self, times):
        self.left = times
        self.taken = []

    def put_records(self, StreamName, Records):  # noqa: N803
        results = []
        for number, record in enumerate(Records):
            if self.left and number == min(1, len(Records) - 1):
                self.left -= 1
                results.append({"ErrorCode": "ProvisionedThroughputExceededException"})
            else:
                self.taken.append(record["Data"])
                results.append({"SequenceNumber": "1"})
        return {
            "FailedRecordCount": sum("ErrorCode" in result for result in results),
            "Records": results,
        }


EVENTS = [PlayerEvent(0, "v", data) for data in (b"1", b"2", b"3")]


def test_refused_records_are_sent_again_and_no_other(monkeypatch):
    monkeypatch.setattr(writers, "FIRST_PAUSE_S", 0)
    kinesis = Throttled(times=3)
    assert writers.put_events(kinesis, EVENTS) == 3
    assert sorted(kinesis.taken) == [b"1", b"2", b"3"]


def test_records_that_are_always_refused_end_in_a_message(monkeypatch):
    monkeypatch.setattr(writers, "FIRST_PAUSE_S", 0)
    with pytest.raises(
        writers.DeliveryError, match=r"player_events: 1 records were refused 8 times.*Throughput"
    ):
        writers.put_events(Throttled(times=1000), EVENTS)


def test_log_objects_stand_in_the_bucket(aws, requests):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="video-logs")
    log = CdnLog(1)
    log.add(requests)
    objects = log.flush()
    assert writers.put_logs(s3, objects, "video-logs") == len(requests)
    stored = {
        item["Key"]: s3.get_object(Bucket="video-logs", Key=item["Key"])["Body"].read()
        for item in s3.list_objects_v2(Bucket="video-logs")["Contents"]
    }
    assert stored == {item.key: item.body for item in objects}


def test_weights_that_remediation_wrote_are_read_back(aws):
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket="weights")
    assert steering.read_weights(s3, "weights") == {}
    weights = WeightsObject(s3, "weights", steering.WEIGHTS_KEY)
    weights.change(lambda _: ({"FRA56-P3": Weight(0.0)}, None))
    assert steering.read_weights(s3, "weights") == {"FRA56-P3": 0.0}


# ---- the command


def test_the_command_sends_a_stretch_and_writes_its_truth(aws, tmp_path):
    truth = tmp_path / "truth.json"
    arguments = ["run", "--minutes", "3", "--attempts", "10", "--stream", "command"]
    arguments += ["--bucket", "command", "--start", "2026-01-31T18:00", "--truth", str(truth)]
    arguments += ["--incident", "edge_slow:1:2:edge=FRA56-P3"]
    outcome = CliRunner().invoke(command.cli, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0
    told = json.loads(truth.read_text())
    assert told["incidents"] == [
        {
            "kind": "edge_slow",
            "layer": "edge",
            "onset_ms": 1_769_882_460_000,
            "end_ms": 1_769_882_520_000,
            "cohort": {"edge": "FRA56-P3"},
        }
    ]
    stored = stream_records(boto3.client("kinesis"), "command")
    assert f"{len(stored):,} events to command" in outcome.output
    users = {json.loads(record["Data"])["user_id"] for record in stored}
    assert users == {session["user_id"] for session in told["sessions"]}


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (("--incident", "edge_slow:1:2"), "the cohort is given by"),
        (("--incident", "edge_slow:a:2:edge=X"), "could not convert"),
        (("--incident", "edge_slow"), "write such as"),
        (("--start", "yesterday"), "'yesterday' is no time"),
    ],
)
def test_a_mistake_on_the_command_line_is_named(option, message):
    outcome = CliRunner().invoke(command.cli, ["run", *option])
    assert outcome.exit_code == 2
    assert message in outcome.output


def test_the_ranges_are_published_as_range_databases_are(tmp_path):
    folder = tmp_path / "ranges"
    outcome = CliRunner().invoke(command.cli, ["ranges", "--folder", str(folder)])
    assert outcome.exit_code == 0
    countries = Path(folder / "country.csv").read_text().splitlines()
    networks = Path(folder / "asn.csv").read_text().splitlines()
    assert len(countries) == len(networks) == 2 * len(world.ranges())
    assert "192.0.2.0,192.0.2.15,DE" in countries
    assert "192.0.2.0,192.0.2.15,64496,Nordlicht Telekom" in networks


def test_speed_is_printed():
    outcome = CliRunner().invoke(command.cli, ["speed", "--minutes", "0.2", "--attempts", "20"])
    assert "events/s on one core" in outcome.output


# ---- of the demo


def test_the_demo_sends_the_viewers_of_the_last_minutes_the_same_for_the_same_minute(
    kinesis, monkeypatch
):
    s3 = boto3.client("s3")
    monkeypatch.setattr(delivery, "MINUTES", 2)
    monkeypatch.setattr(delivery, "OUTAGE_MINUTES", (0, 1))
    delivery.prepare(kinesis, s3)
    ranges = s3.list_objects_v2(Bucket=writers.BUCKET, Prefix=delivery.RANGES)["Contents"]
    assert len(ranges) == 2
    delivery.prepare(kinesis, s3)  # what is there stays
    again = s3.list_objects_v2(Bucket=writers.BUCKET, Prefix=delivery.RANGES)["Contents"]
    assert [item["LastModified"] for item in again] == [item["LastModified"] for item in ranges]

    now = datetime.fromtimestamp(EVENING / 1000, UTC)
    sent = delivery.produce(kinesis, s3, now=now)
    first = Counter(r["Data"] for r in stream_records(kinesis, writers.STREAM))
    assert first.total() == sent.events > 100
    assert delivery.produce(kinesis, s3, now=now) == sent
    both = Counter(r["Data"] for r in stream_records(kinesis, writers.STREAM))
    assert both == first + first
