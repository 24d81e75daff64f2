"""A player is erased in the lake: nothing there names them, and nothing else has changed."""

from __future__ import annotations

import copy
import gzip
import json
import secrets
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from deltalake import DeltaTable

from demo import game_studio
from demo.forget import LEAVING, files_that_name, forget_a_player, readable
from demo.games import Plan, Simulation
from loaders import erasure
from loaders.bronze import BatchReport, ensure_tables
from loaders.destinations import destination_of
from loaders.erasure import LakeErasure, erase_in_lake, new_pseudonym
from loaders.feeds import S3SqsFeed
from loaders.games.contract import UNKNOWN_TABLE, game_contract
from loaders.games.separation import Separated, Separator
from loaders.run import kind_of_feed, run_once
from loaders.vault.envelope import pseudonym_of

MODELS = ("+player_profile", "game_sessions", "game_guild_action")
# Few tables to write: enough for these models.
TYPES = frozenset({"guild_action", "login", "match_end", "session_end"})
KEY = secrets.token_bytes(32)
STUDIO = "north"
USER = "the-studios-own-"  # so begin the ids that the studio has for its players


class Cut(Exception):
    """The end of a process, as far as the lake can tell."""


@dataclass
class Story:
    """What was played, loaded and erased.

    before: table → its rows as they were. changed: table → rows changed by the run that was cut
    short last. done: what the run after it did. stream: reads on in bronze.game_login, and says
    how many rows were new.
    """

    bucket: str
    queue_url: str
    player: str
    becomes: str
    keys: list[str] = field(default_factory=list)
    before: dict[str, Counter] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    done: LakeErasure | None = None
    stream: Callable[[], int] = int

    @property
    def feed(self) -> S3SqsFeed:
        return S3SqsFeed(
            name="game_events",
            table=UNKNOWN_TABLE,
            table_per="game_event",
            queue_url=self.queue_url,
            description="events",
        )


def played() -> list[dict[str, Any]]:
    """Events of some players, separated, in which one acts on another."""
    separator = Separator(game_contract(), lambda studio, user: pseudonym_of(KEY, studio, user))
    events = []
    for sent in Simulation(Plan(days=3, installs=4, heartbeat_seconds=7200)).events():
        event = copy.deepcopy(sent.event)
        if event["event_type"] not in TYPES:
            continue
        if "user_id" in event:
            event["user_id"] = USER + event["user_id"]
        separated = separator.separate(event, STUDIO, sent.at)
        assert isinstance(separated, Separated)
        events.append(json.loads(separated.body))
    return events


def rows_of(root: Path) -> dict[str, Counter]:
    """Rows of every Delta table, read without Spark."""
    return {
        name: Counter(json.dumps(row, sort_keys=True, default=as_text) for row in rows)
        for name, folder in folders(root).items()
        for rows in [DeltaTable(folder).to_pyarrow_table().to_pylist()]
    }


def as_text(value: Any) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else str(value)


def folders(root: Path) -> dict[str, Path]:
    logs = (root / "warehouse").glob("*.db/*/_delta_log")
    return {f"{log.parent.parent.stem}.{log.parent.name}": log.parent for log in logs}


def versions(root: Path) -> dict[str, int]:
    return {name: DeltaTable(folder).version() for name, folder in folders(root).items()}


def load(spark: Any, story: Story) -> list[BatchReport]:
    reports: list[BatchReport] = []
    assert run_once(spark, [story.feed], reports.append) == {}
    return reports


@pytest.fixture(scope="module")
def queue(aws: Any) -> Iterator[tuple[str, str]]:
    """A bucket that keeps versions and announces its objects to a queue."""
    s3, sqs = boto3.client("s3"), boto3.client("sqs")
    name = f"games-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    s3.put_bucket_notification_configuration(
        Bucket=name,
        NotificationConfiguration={
            "QueueConfigurations": [
                {"QueueArn": arn["Attributes"]["QueueArn"], "Events": ["s3:ObjectCreated:*"]}
            ]
        },
    )
    yield name, url
    sqs.delete_queue(QueueUrl=url)


@pytest.fixture(scope="module")
def story(
    spark: Any,
    dbt: Callable[..., Any],
    shared_lakehouse: Path,
    queue: tuple[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Story:
    """Two batches and a build; older versions and checkpoints have the player too; then the
    erasure, cut short again and again, and completed."""
    root, events = shared_lakehouse, played()
    acts = [event for event in events if event["event_type"] == "guild_action"]
    victim = acts[0]["player_id"]
    story = Story(*queue, player=victim, becomes=new_pseudonym())
    of_another = next(event for event in acts if event["player_id"] != victim)
    on_them = copy.deepcopy(of_another) | {"event_id": str(uuid.uuid4())}
    on_them["event_data"] |= {"action": "kick", "target_player_id": victim}
    strange = {"event_type": "volcano_erupted", "event_version": 1, "player_id": victim}
    broken = b'\n{"event_type": "login", "player_id": "%s", \n' % victim.encode()
    ensure_tables(spark, destination_of(story.feed), kind_of_feed(story.feed))
    put(story, events[::2], broken)
    load(spark, story)
    put(story, [*events[1::2], on_them, strange])
    load(spark, story)
    dbt("run", "--select", *MODELS)
    for table in ("bronze.game_login", "silver.game_events"):
        checkpoint(spark, table)
    spark.sql("optimize bronze.game_login")
    spark.sql("update silver.game_sessions set events = events")
    story.stream = a_stream(spark, tmp_path_factory.mktemp("checkpoint"))
    assert story.stream() > 0
    story.before = rows_of(root)

    replacements = {story.player: story.becomes}
    for step in ("_note_versions", "_destroy"):
        with pytest.MonkeyPatch.context() as cutting:
            noting(cutting, story)
            cutting.setattr(erasure, step, cut)
            with pytest.raises(Cut):
                erase_in_lake(spark, root, replacements)
    story.done = erase_in_lake(spark, root, replacements)
    return story


def cut(*_: Any) -> None:
    raise Cut


def noting(patch: pytest.MonkeyPatch, story: Story) -> None:
    """Note how many rows are changed."""
    inner = erasure._update

    def update(*arguments: Any) -> dict[str, int]:
        story.changed = inner(*arguments)
        return story.changed

    patch.setattr(erasure, "_update", update)


def put(story: Story, events: list[dict[str, Any]], after: bytes = b"") -> None:
    """An object as Firehose writes it, of several members."""
    key = f"games/2026/03/01/00/{uuid.uuid4()}.gz"
    parts = [json.dumps(event).encode() for event in events]
    body = gzip.compress(b"".join(parts[:9])) + gzip.compress(b"".join(parts[9:]) + after)
    boto3.client("s3").put_object(Bucket=story.bucket, Key=key, Body=body)
    story.keys.append(key)


def a_stream(spark: Any, checkpoint: Path) -> Callable[[], int]:
    """Reads logins, as live models read tables, each time from where it ended."""

    def read() -> int:
        counts = []
        query = (
            spark.readStream.option("skipChangeCommits", "true")
            .table("bronze.game_login")
            .writeStream.foreachBatch(lambda rows, _: counts.append(rows.count()))
            .option("checkpointLocation", str(checkpoint))
            .trigger(availableNow=True)
            .start()
        )
        query.awaitTermination()
        return sum(counts)

    return read


def checkpoint(spark: Any, table: str) -> None:
    identifier = spark._jsparkSession.sessionState().sqlParser().parseTableIdentifier(table)
    logs = spark._jvm.org.apache.spark.sql.delta.DeltaLog
    logs.forTable(spark._jsparkSession, identifier).checkpoint()


def versions_that_name(bucket: str, word: str) -> set[str]:
    s3 = boto3.client("s3")
    found = s3.list_object_versions(Bucket=bucket)["Versions"]
    return {
        item["Key"]
        for item in found
        for body in [
            s3.get_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])["Body"]
        ]
        if word.encode() in b"".join(readable([body.read()]))
    }


def test_no_byte_under_the_root_names_the_player_any_more(root: Path, story: Story) -> None:
    assert files_that_name(root, story.player) == set()
    assert versions_that_name(story.bucket, story.player) == set()
    assert files_that_name(root, USER) == set()
    # the search finds: what took their place stands in rows, in commits and in objects
    found = {Path(path) for path in files_that_name(root, story.becomes)}
    assert {path.suffix for path in found if "_delta_log" in path.parts} >= {".json"}
    assert {path for path in found if path.match("warehouse/*/*/*.parquet")}
    assert {path for path in found if path.parts[0] == "aws"}
    assert versions_that_name(story.bucket, story.becomes) == {*story.keys}


def test_each_row_is_as_it_was_but_for_the_pseudonym(root: Path, story: Story) -> None:
    def unlinked(rows: Counter) -> Counter:
        return Counter(
            {row.replace(story.player, story.becomes): count for row, count in rows.items()}
        )

    now = rows_of(root)
    ledger = now.pop("bronze.ledger") - story.before["bronze.ledger"]
    assert now == {
        name: unlinked(rows) for name, rows in story.before.items() if name != "bronze.ledger"
    }
    assert story.done is not None
    new = [json.loads(row) for row in ledger.elements()]
    assert sorted(row["item"] for row in new) == sorted(story.keys)
    assert {row["received"] for row in new} == {0}


def test_it_says_how_much_was_changed(root: Path, story: Story) -> None:
    of_them = {
        name: sum(count for row, count in rows.items() if story.player in row)
        for name, rows in story.before.items()
    }
    assert story.changed == {name: count for name, count in of_them.items() if count}
    assert story.changed["bronze.quarantine"] == story.changed["bronze.game_unknown"] == 1
    assert {name.partition(".")[0] for name in story.changed} == {"bronze", "silver", "gold"}
    assert story.changed["gold.player_profile"] > 0
    # the run after it had nothing of this left to do
    assert story.done == LakeErasure()


def test_the_books_are_true_and_no_loader_takes_the_objects_for_news(
    spark: Any, dbt: Callable[..., Any], root: Path, story: Story
) -> None:
    assert load(spark, story) == []
    dbt("test", "--select", "path:tests/data")
    dbt("run", "--select", "+ingestion_gaps")
    gaps = spark.table("ops.ingestion_gaps").where("feed = 'game_events'").first()
    assert (gaps["gaps"], gaps["duplicates"]) == (0, 0)


def test_erasing_once_more_changes_no_table(spark: Any, root: Path, story: Story) -> None:
    before = versions(root)
    again = erase_in_lake(spark, root, {story.player: new_pseudonym()})
    assert again == LakeErasure()
    assert versions(root) == before


def test_a_full_refresh_gives_the_same_tables(
    dbt: Callable[..., Any], root: Path, story: Story
) -> None:
    before = rows_of(root)
    rebuilt = ("game_player_days", "players_daily", "player_profile", "game_sessions")
    dbt("run", "--full-refresh", "--select", *rebuilt)
    assert rows_of(root) == before


def test_no_log_names_a_player(spark: Any, root: Path) -> None:
    # after a full refresh, which Delta tells of with the statistics of each file
    said = b"".join(path.read_bytes() for path in (root / "logs").rglob("*.log*"))
    players = spark.table("silver.game_players").select("player_id").distinct().collect()
    assert b"CreateNamespaceExec" in said
    assert [row["player_id"] for row in players if row["player_id"].encode() in said] == []


def test_a_loader_that_has_lost_its_state_knows_the_objects_from_the_ledger(
    spark: Any, root: Path, story: Story
) -> None:
    shutil.rmtree(root / "checkpoints")
    head = boto3.client("s3").head_object(Bucket=story.bucket, Key=story.keys[0])
    told = {"bucket": {"name": story.bucket}, "object": {"key": story.keys[0], "size": 9}}
    told["object"]["eTag"] = head["ETag"].strip('"')
    record = {"eventName": "ObjectCreated:Put", "eventTime": "2026-03-01T00:00:00Z", "s3": told}
    record |= {"eventSource": "aws:s3", "eventVersion": "2.1"}
    body = json.dumps({"Records": [record]})
    boto3.client("sqs").send_message(QueueUrl=story.queue_url, MessageBody=body)
    (report,) = load(spark, story)
    assert report.received == report.duplicates > 0


def test_a_stream_that_had_read_a_table_to_its_end_goes_on(spark: Any, story: Story) -> None:
    assert story.stream() == 0
    spark.sql("insert into bronze.game_login select * from bronze.game_login limit 1")
    assert story.stream() == 1


def test_the_demo_has_a_player_forgotten_once(
    spark: Any, root: Path, story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VAULT_ROOT", str(tmp_path / "vault"))
    monkeypatch.setenv("VAULT_KMS_KEY", game_studio.VAULT_KEY)
    game_studio._make_vault_key()
    (leaving,) = spark.sql(LEAVING).first()
    assert files_that_name(root, leaving)
    said = forget_a_player(spark, root)
    assert leaving in said
    assert files_that_name(root, leaving) == set()
    (certificate,) = (tmp_path / "vault" / "certificates").glob("*.json")
    written = json.loads(certificate.read_text())
    assert [player["player_id"] for player in written["players"]] == [leaving]
    assert written["lake"]["tables"]["silver.game_players"] == 1
    assert forget_a_player(spark, root) == ""
