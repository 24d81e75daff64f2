"""What the simulated service sends to Kinesis and S3, and how it may be asked to."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import unquote

import boto3
import pytest
from click.testing import CliRunner

from demo import remedy
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


def test_without_aws_a_run_ends_in_one_line(monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    monkeypatch.setattr("sys.argv", ["demo.video", "run"])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("demo.video: You must specify a region")
    assert "AWS_REGION" in line


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


@pytest.fixture
def s3(kinesis, monkeypatch):
    """What the demo needs, for few viewers, of whom nothing has been sent."""
    monkeypatch.setattr(delivery, "MINUTES", 3)
    monkeypatch.setattr(delivery, "ONSET_MINUTE", 1)
    client = boto3.client("s3")
    delivery.prepare(kinesis, client)
    for key in (delivery.STATE, steering.WEIGHTS_KEY):
        client.delete_object(Bucket=writers.BUCKET, Key=key)
    return client


def log_rows(s3) -> list[dict]:
    """The rows in the newer shape that lie in the bucket."""
    found = s3.list_objects_v2(Bucket=writers.BUCKET, Prefix="qos/cdn_logs/v2/")
    bodies = [s3.get_object(Bucket=writers.BUCKET, Key=o["Key"]) for o in found.get("Contents", [])]
    return [
        json.loads(row)
        for b in bodies
        for row in gzip.decompress(b["Body"].read()).split(b"\n")
        if row
    ]


NOW = datetime.fromtimestamp(EVENING / 1000, UTC)


def test_who_has_which_addresses_is_written_once(kinesis, s3):
    ranges = s3.list_objects_v2(Bucket=writers.BUCKET, Prefix=delivery.RANGES)["Contents"]
    assert len(ranges) == 2
    delivery.prepare(kinesis, s3)
    again = s3.list_objects_v2(Bucket=writers.BUCKET, Prefix=delivery.RANGES)["Contents"]
    assert [item["LastModified"] for item in again] == [item["LastModified"] for item in ranges]


def test_the_demos_viewers_are_the_same_for_the_same_minute_and_then_those_since(kinesis, s3):
    before = Counter(r["Data"] for r in stream_records(kinesis, writers.STREAM))
    viewers, until = delivery.viewers(kinesis, s3, NOW)
    assert (until, viewers.now) == (
        NOW - timedelta(minutes=delivery.LAG_MINUTES),
        NOW - timedelta(minutes=delivery.LAG_MINUTES + 3),
    )
    sent = viewers.send(until)
    first = Counter(r["Data"] for r in stream_records(kinesis, writers.STREAM)) - before
    assert first.total() == sent.events > 100

    since, end = delivery.viewers(kinesis, s3, NOW)
    assert (since.incident, since.now, end) == (None, until, NOW)

    s3.delete_object(Bucket=writers.BUCKET, Key=delivery.STATE)
    again, until = delivery.viewers(kinesis, s3, NOW)
    assert again.send(until) == sent
    both = Counter(r["Data"] for r in stream_records(kinesis, writers.STREAM)) - before
    assert both == first + first


def test_an_alert_that_sns_tells_moves_the_viewers_to_other_edges(kinesis, s3, monkeypatch):
    for name in ("CDN_WEIGHTS", "CDN_EDGES", "QOS_ALERTS_TOPIC"):
        monkeypatch.setenv(name, "")  # so that it is undone
    queue_url = remedy.prepare()
    assert remedy.prepare() == queue_url  # what is there stays
    viewers, until = delivery.viewers(kinesis, s3, NOW)
    viewers.send(until)
    outage = remedy.Outage(viewers, queue_url, datetime.now(UTC))
    attributes = {
        "update_type": "alert",
        "rule": remedy.RULES[-1],
        "state": "firing",
        "severity": "critical",
        "layer": "edge",
        "cohort_kind": "edge",
        "cohort": delivery.EDGE,
        "alert_id": "a",
        "message_id": "m",
    }
    boto3.client("sns").publish(
        TopicArn=os.environ[remedy.TOPIC_VARIABLE],
        Message="text",
        Subject="critical, firing",
        MessageAttributes={
            name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
        },
    )
    assert [(alert.rule, alert.cohort) for alert in outage.act()] == [
        (remedy.RULES[-1], delivery.EDGE)
    ]
    assert outage.moments["notified"] <= outage.moments["remediated"]
    assert outage.act() == []

    known = {row["x-edge-request-id"] for row in log_rows(s3)}
    outage.go_on()
    later = [row for row in log_rows(s3) if row["x-edge-request-id"] not in known]
    shifted_ms = outage.moments["remediated"].timestamp() * 1000
    at_edge = [
        int(row["timestamp(ms)"]) for row in later if row["x-edge-location"] == delivery.EDGE
    ]
    elsewhere = [row for row in later if int(row["timestamp(ms)"]) > shifted_ms]
    assert len(elsewhere) > 100
    # but for what had been asked for
    assert not [at for at in at_edge if at > shifted_ms + 30_000]


def test_viewers_that_keep_coming_meet_an_incident_every_hour():
    onsets = [incident.onset_ms - EVENING for incident in delivery.hourly(EVENING).incidents]
    assert onsets[:3] == [15 * 60_000, 75 * 60_000, 135 * 60_000]
