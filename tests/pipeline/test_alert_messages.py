"""What alerts tell: through the outbox to SNS, as they fire, while they do, when they are over."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from subscriber import Subscriber

from loaders import outbox
from loaders.alerts.remediation import Settings
from loaders.feeds import CloudFilesFeed
from loaders.live_models import ToldModel, told_models
from loaders.outbox import ensure_outbox, put_told
from loaders.publish import Publisher, PublishReport
from loaders.silence import SilenceWatch


def told(dbt: Callable[..., Any]) -> list[ToldModel]:
    return told_models(dbt("parse").result.writable_manifest().to_dict(omit_none=False))


def create_alerts(spark: Any, model: ToldModel, rows: list[dict[str, str]]) -> None:
    """gold.alerts with rows; values are SQL, what is left out is null."""
    columns = ", ".join(f"{column.name} {column.data_type}" for column in model.columns)
    spark.sql(f"create or replace table {model.relation} ({columns}) using delta")
    for row in rows:
        names, values = ", ".join(row), ", ".join(row.values())
        spark.sql(f"insert into {model.relation} ({names}) select {values}")


def alert(name: str, state: str, minutes: int = 10, **others: str) -> dict[str, str]:
    """An alert that fired, or was resolved, so many minutes ago."""
    at = f"current_timestamp() - interval {minutes} minutes"
    times = {"pending": {}, "firing": {"fired_at": at}}
    return {
        "alert_id": f"'{name}'",
        "rule": f"'{name}'",
        "cohort_kind": "'edge'",
        "cohort": "'FRA56-P3'",
        "state": f"'{state}'",
        "severity": "'critical'",
        "layer": "'edge'",
        "started_at": "timestamp'2026-01-31 18:00:00'",
        **times.get(state, {"fired_at": at, "resolved_at": at}),
        **others,
    }


def test_an_alert_is_told_when_it_fires_and_when_it_is_resolved(
    lakehouse: Path, spark: Any, dbt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alerts, others = Subscriber("alert"), Subscriber("errors")
    monkeypatch.setenv("QOS_ALERTS_TOPIC", alerts.name)
    (model,) = told(dbt)
    assert model.relation == "gold.alerts"
    ensure_outbox(spark)
    publisher = Publisher(spark)
    quiet = [
        alert("waits", "pending"),
        alert("suppressed", "firing", suppressed_by="'other'"),
        alert("history", "firing", minutes=61),
        alert("over", "resolved", minutes=1),  # nobody heard that it fired
    ]
    create_alerts(spark, model, [alert("slow", "firing"), *quiet])
    assert put_told(spark, model) == 1
    assert put_told(spark, model) == 0  # the next cycle
    assert publisher.deliver() == PublishReport(sent=1, dead=0, waiting=0)

    create_alerts(spark, model, [alert("slow", "resolved", minutes=1), *quiet])
    assert put_told(spark, model) == 1
    assert publisher.deliver() == PublishReport(sent=1, dead=0, waiting=0)

    messages = sorted(alerts.received(), key=lambda message: message["Subject"])
    assert [message["Subject"] for message in messages] == [
        "critical, firing: slow",
        "critical, resolved: slow",
    ]
    attributes = {name: value["Value"] for name, value in messages[0]["MessageAttributes"].items()}
    del attributes["message_id"]
    assert attributes == {
        "update_type": "alert",
        "rule": "slow",
        "state": "firing",
        "severity": "critical",
        "layer": "edge",
        "cohort_kind": "edge",
        "cohort": "FRA56-P3",
        "alert_id": "slow",
    }
    assert others.received() == []


@pytest.fixture
def model(
    lakehouse: Path, spark: Any, dbt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> ToldModel:
    """gold.alerts, told to a topic that nothing is sent to here."""
    monkeypatch.setenv("QOS_ALERTS_TOPIC", "nobody")
    ensure_outbox(spark)
    (found,) = told(dbt)
    return found


def tell(spark: Any, model: ToldModel, *alerts: dict[str, str]) -> list[tuple[str, ...]]:
    """What a cycle with these alerts of one incident tells."""
    create_alerts(spark, model, [each | {"rule": "'r'"} for each in alerts])
    return newest_messages(spark, put_told(spark, model))


def newest_messages(spark: Any, count: int) -> list[tuple[str, ...]]:
    """State and alert of so many messages, and whether it is told again."""
    newest = spark.table("bronze.outbox").orderBy("created_at", ascending=False).limit(count)
    said = []
    for row in newest.collect():
        attributes = json.loads(row["attributes"])
        assert len(attributes) <= 9  # and message_id
        again = ("again",) if attributes.get("renotified") == "true" else ()
        said.append((attributes["state"], attributes["alert_id"], *again))
    return sorted(said)


def pass_minutes(spark: Any, minutes: int) -> None:
    """As if all messages were so much older."""
    spark.sql(f"update bronze.outbox set created_at = created_at - interval {minutes} minutes")


def ids(spark: Any) -> list[str]:
    rows = spark.table("bronze.outbox").orderBy("created_at").select("message_id").collect()
    return [row[0] for row in rows]


def test_a_late_row_that_moves_the_start_tells_nothing_anew_and_the_end_is_of_what_was_told(
    spark: Any, model: ToldModel
) -> None:
    assert tell(spark, model, alert("a", "firing")) == [("firing", "a")]
    assert tell(spark, model, alert("b", "firing")) == []
    assert tell(spark, model, alert("b", "resolved")) == [("resolved", "a")]
    assert tell(spark, model, alert("b", "resolved")) == []


def test_an_alert_that_flaps_is_told_once_in_the_cool_down_and_then_if_it_fires(
    spark: Any, model: ToldModel
) -> None:
    over = alert("a", "resolved")
    assert tell(spark, model, alert("a", "firing")) == [("firing", "a")]
    assert tell(spark, model, over) == [("resolved", "a")]
    assert tell(spark, model, over, alert("b", "firing")) == []
    assert tell(spark, model, over, alert("b", "resolved")) == []
    pass_minutes(spark, 31)
    assert tell(spark, model, over, alert("b", "resolved")) == []
    assert tell(spark, model, over, alert("c", "firing")) == [("firing", "c")]


def test_what_goes_on_firing_is_told_again_after_each_cool_down(
    spark: Any, model: ToldModel
) -> None:
    assert tell(spark, model, alert("a", "firing")) == [("firing", "a")]
    for minutes in (70, 110):  # longer ago than an alert may begin
        assert tell(spark, model, alert("a", "firing", minutes)) == []
        pass_minutes(spark, 30)
        assert tell(spark, model, alert("a", "firing", minutes)) == [("firing", "a", "again")]
    subjects = {row[0] for row in spark.sql("select subject from bronze.outbox").collect()}
    assert subjects == {"critical, firing: r", "critical, still firing: r"}
    assert tell(spark, model, alert("a", "resolved", 300)) == [("resolved", "a")]
    assert len(set(ids(spark))) == 4


def test_an_alert_that_later_rows_mended_is_taken_back_and_may_come_again(
    spark: Any, model: ToldModel
) -> None:
    assert tell(spark, model, alert("a", "firing")) == [("firing", "a")]
    assert tell(spark, model, alert("a", "pending")) == [("resolved", "a")]
    assert tell(spark, model) == []
    bodies = {row[0] for row in spark.sql("select body from bronze.outbox").collect()}
    assert (
        "critical, resolved: What was told of r is no alert any more, by what came or was mended "
        "later. edge FRA56-P3; likely layer: edge."
    ) in bodies
    pass_minutes(spark, 30)
    assert tell(spark, model, alert("a", "firing")) == [("firing", "a")]
    assert len(set(ids(spark))) == 3


def test_the_end_of_what_was_told_is_told_though_another_explains_it_by_then(
    spark: Any, model: ToldModel
) -> None:
    assert tell(spark, model, alert("a", "firing")) == [("firing", "a")]
    explained = {"suppressed_by": "'other'"}
    assert tell(spark, model, alert("a", "firing", **explained)) == []
    assert tell(spark, model, alert("a", "resolved", **explained)) == [("resolved", "a")]


def test_what_a_crash_kept_from_the_outbox_is_told_by_the_next_cycle_with_the_same_id(
    spark: Any, model: ToldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[str] = []
    append = outbox.append

    def dying(after: bool) -> Callable[..., None]:
        def put(rows: Any, name: str) -> None:
            tried.extend(row["message_id"] for row in rows.collect())
            if after:
                append(rows, name)
            raise KeyboardInterrupt

        return put

    for after in (False, True):
        with monkeypatch.context() as broken:
            broken.setattr(outbox, "append", dying(after))
            with pytest.raises(KeyboardInterrupt):
                tell(spark, model, alert("a", "firing"))
    assert put_told(spark, model) == 0
    assert ids(spark) == [tried[0]] == [tried[1]]


def test_remediation_hears_of_an_edge_that_is_still_bad_when_its_shift_ends(
    model: ToldModel,
) -> None:
    assert model.sink.incident
    assert model.sink.incident.cool_down <= Settings(frozenset()).hold


def test_a_silent_feed_is_told_as_an_alert_and_so_is_its_end(lakehouse: Path, spark: Any) -> None:
    alerts = Subscriber("alert")
    ensure_outbox(spark)
    feed = CloudFilesFeed(
        name="events",
        location="/events",
        table="events",
        description="",
        silent_after_minutes=5,
        silence_topic=alerts.name,
    )
    now = datetime.now(UTC)

    def load(minutes_ago: int) -> None:
        at = now - timedelta(minutes=minutes_ago)
        batch = {"feed": ["events"], "ingested_at": [at], "received": [1], "query_id": ["q"]}
        folder = lakehouse / "warehouse" / "bronze.db" / "ledger"
        write_deltalake(str(folder), pa.table(batch), mode="append")

    def look(*minutes_ago: int) -> list[int]:
        watch = SilenceWatch(spark, lakehouse, [feed], now - timedelta(hours=3))
        return [watch.look(now - timedelta(minutes=each)) for each in minutes_ago]

    load(minutes_ago=100)
    assert look(96, 95, 94) == [0, 1, 0]
    assert look(36, 35) == [0, 1]  # by another process
    load(minutes_ago=2)
    assert look(1, 0) == [1, 0]
    assert Publisher(spark).deliver() == PublishReport(sent=3, dead=0, waiting=0)
    received = {}
    for message in alerts.received():
        attributes = {name: value["Value"] for name, value in message["MessageAttributes"].items()}
        received[message["Subject"]] = attributes
    alert_ids = {each.pop("alert_id") for each in received.values()}
    message_ids = {each.pop("message_id") for each in received.values()}
    assert (len(alert_ids), len(message_ids)) == (1, 3)
    common = {
        "update_type": "alert",
        "rule": "ingest_gap",
        "severity": "critical",
        "layer": "platform",
        "cohort_kind": "feed",
        "cohort": "events",
    }
    assert received == {
        "critical, firing: ingest_gap": common | {"state": "firing"},
        "critical, still firing: ingest_gap": common | {"state": "firing", "renotified": "true"},
        "critical, resolved: ingest_gap": common | {"state": "resolved"},
    }


def test_without_a_topic_nobody_is_told(
    spark: Any, dbt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QOS_ALERTS_TOPIC", raising=False)
    assert told(dbt) == []
