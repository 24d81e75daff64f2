"""What alerts tell: through the outbox to SNS, once when they fire and once when they are over."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from subscriber import Subscriber

from loaders.live_models import ToldModel, told_models
from loaders.outbox import ensure_outbox, put_told
from loaders.publish import Publisher, PublishReport


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


def test_without_a_topic_nobody_is_told(
    spark: Any, dbt: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QOS_ALERTS_TOPIC", raising=False)
    assert told(dbt) == []
