"""loaders/feeds.yml: what is declared, and what is said about mistakes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from loaders.feeds import read_feeds
from loaders.kinds import StreamRecords
from loaders.session import PROJECT_ROOT, ConfigurationError
from loaders.sources.cloud_files import CloudFiles
from loaders.sources.kinesis import Kinesis
from loaders.sources.s3_sqs import S3Sqs

GOOD = """
feeds:
  prices:
    source: cloudFiles
    location: /data/prices
    table: prices
    description: bars
"""


def feeds_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "feeds.yml"
    path.write_text(text)
    return path


def test_the_shipped_feeds_are_valid_and_write_tables_of_their_own() -> None:
    feeds = read_feeds()
    assert {"stocks_daily_prices", "stocks_fundamentals"} <= feeds.keys()
    assert len({feed.table.lower() for feed in feeds.values()}) == len(feeds)


def test_locations_take_the_environment_or_their_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = feeds_file(tmp_path, GOOD.replace("/data/prices", "${WHERE:-s3://b}/p/"))
    assert read_feeds(path)["prices"].location == "s3://b/p/"
    monkeypatch.setenv("WHERE", "/local")
    assert read_feeds(path)["prices"].location == "/local/p/"


def documented(page: str) -> list[str]:
    """The YAML that a page of the documentation shows."""
    return re.findall(r"```yaml\n(.*?)```", (PROJECT_ROOT / "docs" / page).read_text(), re.DOTALL)


def test_the_documented_feeds_are_valid_and_show_every_source(tmp_path: Path) -> None:
    (text,) = documented("ingestion.md")
    feeds = read_feeds(feeds_file(tmp_path, text))
    assert {feed.source for feed in feeds.values()} == {"cloudFiles", "s3-sqs", "kinesis"}


def test_the_documented_table_of_a_stream_has_the_columns_that_the_loaders_write() -> None:
    (text,) = (block for block in documented("operations.md") if "_sequence" in block)
    (table,) = yaml.safe_load(text)
    documented_columns = [(column["name"], column["data_type"]) for column in table["columns"]]
    written = [tuple(column.split()) for column in StreamRecords().columns.split(",")]
    assert documented_columns == written
    assert set(table["config"]["meta"]["grain"]) < {name for name, _ in written}


QUEUE = "https://sqs.eu-west-1.amazonaws.com/111122223333/landing"
STREAM = """
feeds:
  events:
    source: kinesis
    stream: player_events
    table: events
    description: what players do
"""
ANNOUNCED = f"""
feeds:
  scores:
    source: s3-sqs
    queue_url: {QUEUE}
    table: scores
    description: what players reach
"""


@pytest.mark.parametrize(
    ("text", "keys", "path", "options"),
    [
        (
            GOOD,
            f"queue_url: {QUEUE}\n    allow_overwrites: true",
            "/data/prices",
            {
                "cloudFiles.format": "records",
                "cloudFiles.useNotifications": "true",
                "cloudFiles.queueUrl": QUEUE,
                "cloudFiles.includeExistingFiles": "true",
                "cloudFiles.cleanSource": "OFF",
                "cloudFiles.cleanSource.ledgerOf": "prices",
                "cloudFiles.allowOverwrites": "true",
                "cloudFiles.maxFilesPerTrigger": "1000",
            },
        ),
        (
            GOOD,
            """include_existing_files: false
    backfill_interval: 1 day
    path_glob_filter: "*.json"
    clean_source: MOVE
    clean_source_retention: 2 days
    clean_source_destination: /data/archive""",
            "/data/prices",
            {
                "cloudFiles.format": "records",
                "cloudFiles.useNotifications": "false",
                "cloudFiles.backfillInterval": "1 day",
                "cloudFiles.includeExistingFiles": "false",
                "pathGlobFilter": "*.json",
                "cloudFiles.cleanSource": "MOVE",
                "cloudFiles.cleanSource.retentionDuration": "2 days",
                "cloudFiles.cleanSource.moveDestination": "/data/archive",
                "cloudFiles.cleanSource.ledgerOf": "prices",
                "cloudFiles.allowOverwrites": "false",
                "cloudFiles.maxFilesPerTrigger": "1000",
            },
        ),
        (
            ANNOUNCED,
            "max_bytes_per_trigger: 1048576",
            None,
            {
                "fileFormat": "records",
                "queueUrl": QUEUE,
                "allowOverwrites": "false",
                "maxFilesPerTrigger": "1000",
                "maxBytesPerTrigger": "1048576",
            },
        ),
        (
            STREAM,
            """initial_position: {at_timestamp: 2026-01-01T00:00:00Z}
    max_records_per_trigger: 500
    fail_on_data_loss: false
    region: eu-west-1""",
            None,
            {
                "streamName": "player_events",
                "region": "eu-west-1",
                "initialPosition": '{"at_timestamp": "2026-01-01 00:00:00+00:00"}',
                "maxRecordsPerTrigger": "500",
                "failOnDataLoss": "false",
            },
        ),
    ],
)
def test_the_keys_of_a_feed_become_options_that_its_source_takes(
    tmp_path: Path, text: str, keys: str, path: str | None, options: dict[str, str]
) -> None:
    (feed,) = read_feeds(feeds_file(tmp_path, f"{text}    {keys}\n")).values()
    assert feed.source_options() == options
    assert feed.load_path == path
    source = {"cloudFiles": CloudFiles, "s3-sqs": S3Sqs, "kinesis": Kinesis}[feed.source]
    source(options | ({} if path is None else {"path": path}))


@pytest.mark.parametrize(
    ("keys", "notified"),
    [
        ("", "false"),
        ("queue_url: ''", "false"),  # a variable that is not set
        (f"queue_url: {QUEUE}", "true"),
        (f"queue_url: {QUEUE}\n    use_notifications: false", "false"),
    ],
)
def test_objects_come_from_the_queue_where_one_is_named_unless_told_otherwise(
    tmp_path: Path, keys: str, notified: str
) -> None:
    feed = read_feeds(feeds_file(tmp_path, f"{GOOD}    {keys}\n"))["prices"]
    assert feed.source_options()["cloudFiles.useNotifications"] == notified


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        (
            STREAM,
            "location: /data",
            r"events\.location: unknown key; allowed for kinesis are .*str",
        ),
        (STREAM, "queue_url: q", r"events\.queue_url: unknown key"),
        (STREAM, "initial_position: NEWEST", r"events\.initial_position: .*NEWEST: use TRIM_HORI"),
        (STREAM, "max_bytes_per_trigger: 5x", r"events\.max_bytes_per_trigger: .*'5x': .* 64m"),
        (STREAM, "fail_on_data_loss: perhaps", r"fail_on_data_loss: .*boolean.*'perhaps'"),
        (ANNOUNCED, "stream: s", r"scores\.stream: unknown key; allowed for s3-sqs are allow_over"),
        (GOOD, "stream: s", r"prices\.stream: unknown key; allowed for cloudFiles are .*location"),
        (GOOD, "use_notifications: true", r"feeds\.prices: use_notifications needs queue_url"),
    ],
)
def test_a_source_has_exactly_its_own_keys(
    tmp_path: Path, text: str, key: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        read_feeds(feeds_file(tmp_path, f"{text}    {key}\n"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("source: cloudFiles", "sorce: cloudFiles"), r"feeds\.prices\.source: missing.*s3-sqs"),
        (("location: /data/prices", "x: 1"), r"feeds\.prices\.location: missing; location is"),
        (("    table: prices\n", ""), r"feeds\.prices\.table: missing"),
        (("source: cloudFiles", "source: ftp"), r"feeds\.prices\.source: .*cloudFiles.*'ftp'"),
        (("table: prices", "table: a-b"), r"feeds\.prices\.table: .*'a-b'"),
        (
            ("description: bars", "description: bars\n    max_files_per_trigger: 0"),
            r"feeds\.prices\.max_files_per_trigger: .*not 0",
        ),
        (("location: /data/prices", "location: ${NOT_SET_ANYWHERE}"), "NOT_SET_ANYWHERE"),
        (("feeds:", "feed:"), "top-level key"),
        (("location: /data", "location: [/data"), "no YAML"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_is_allowed(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        read_feeds(feeds_file(tmp_path, GOOD.replace(*change)))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"feeds: {a: s3://bucket}", r"feeds\.a: should be keys with values .*'s3://bucket'"),
        (b"feeds: {a: [1]}", r"feeds\.a: should be keys with values .*\[1\]"),
        (b"- feeds", "expected one top-level key"),
        (b"feeds", "expected one top-level key"),
        (b"", "expected one top-level key"),
        (b"feeds: {a: caf\xe9}", "byte 14 is not UTF-8: save the file as UTF-8"),
    ],
)
def test_a_file_of_another_shape_is_refused_in_one_line(
    tmp_path: Path, document: bytes, message: str
) -> None:
    path = tmp_path / "feeds.yml"
    path.write_bytes(document)
    with pytest.raises(ConfigurationError, match=rf"^feeds\.yml: {message}") as error:
        read_feeds(path)
    assert "\n" not in str(error.value)


def test_two_feeds_cannot_write_one_table(tmp_path: Path) -> None:
    second = (
        GOOD.replace("feeds:\n", "")
        .replace("prices:", "more:")
        .replace("table: prices", "table: PRICES")
    )
    with pytest.raises(ConfigurationError, match="written by two feeds"):
        read_feeds(feeds_file(tmp_path, GOOD + second))
