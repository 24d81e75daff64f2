"""What a streaming model tells: by way of the outbox to SNS, and from there to who subscribed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from live_project import LiveProject, event
from pyspark.errors import StreamingQueryException
from subscriber import Subscriber

from loaders import publish
from loaders.compaction import SMALL_FILES, surplus_files
from loaders.live_models import IncidentSettings
from loaders.outbox import (
    DELIVERIES,
    OUTBOX,
    compact_outbox,
    ensure_outbox,
    message_id,
    pending_messages,
)
from loaders.publish import Publisher


def test_each_window_is_told_once_by_filter_and_again_only_after_a_crash(
    live: LiveProject, spark: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors, others = Subscriber("errors"), Subscriber("others")
    model = live.models(topic=errors.name)["error_share"]
    publisher = Publisher(spark)

    with live.streaming(model) as done:
        live.deliver([event(1, "ERROR"), event(2), event(61, "ERROR")])
        done()
        assert live.reports[-1].messages == 0
        live.deliver([event(3, "ERROR")])
        done()
        assert live.reports[-1].messages == 1
        assert publisher.deliver() == publish.PublishReport(sent=1, dead=0, waiting=0)
        live.deliver([event(4, "ERROR")])  # the same window again
        done()
        assert live.reports[-1].messages == 0
        assert publisher.deliver() == publish.PublishReport(sent=0, dead=0, waiting=0)

    (first,) = errors.received()
    assert others.received() == []
    assert first["Message"] == "2 errors of 3 events since 2026-01-01 00:00:00"
    assert first["Subject"] == "errors"
    attributes = {name: value["Value"] for name, value in first["MessageAttributes"].items()}
    expected_id = message_id("error_share", ["2026-01-01 00:00:00"])
    assert attributes == {"update_type": "errors", "message_id": expected_id}

    # The process dies after SNS has the message and before that is noted.
    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    with live.streaming(model) as done:
        live.deliver([event(62, "ERROR")])
        done()
    with monkeypatch.context() as broken:
        broken.setattr(publish, "note_deliveries", die)
        with pytest.raises(KeyboardInterrupt):
            publisher.deliver()
    restarted = Publisher(spark)
    assert restarted.deliver().sent == 1
    assert Publisher(spark).deliver().sent == 0
    ids = Counter(m["MessageAttributes"]["message_id"]["Value"] for m in errors.received())
    assert ids == {message_id("error_share", ["2026-01-01 00:01:00"]): 2}


def test_a_replayed_batch_puts_nothing_into_the_outbox_again(live: LiveProject, spark: Any) -> None:
    model = live.models(topic="nobody")["error_share"]
    live.deliver([event(1, "ERROR"), event(2, "ERROR")])  # history, told to nobody

    def die(_: Any) -> None:
        if len(live.reports) == 2:
            raise RuntimeError("pulled the plug")

    def until_the_crash() -> None:
        with live.streaming(model, die) as done:
            done()
            live.deliver([event(3, "ERROR"), event(61, "ERROR"), event(62, "ERROR")])
            done()

    with pytest.raises(StreamingQueryException, match="pulled the plug"):
        until_the_crash()
    with live.streaming(model) as done:
        done()
    said = [(each.batch_id, each.rows, each.messages) for each in live.reports]
    assert said == [(0, 1, 0), (1, 2, 1), (1, 2, 0)]
    (waiting,) = pending_messages(spark)
    assert waiting.message_id == message_id("error_share", ["2026-01-01 00:01:00"])


def test_windows_of_one_incident_are_told_when_it_begins_and_after_a_cool_down(
    live: LiveProject, spark: Any
) -> None:
    model = live.models(topic="nobody")["error_share"]
    assert model.sink
    sink = model.sink.model_copy(update={"incident": IncidentSettings(by=())})
    live.deliver([event(1)])  # what is there at the start is history
    with live.streaming(replace(model, sink=sink)) as done:
        done()
        for minute in (1, 3, 5):
            for second in (60 * minute, 60 * minute + 1):
                live.deliver([event(second, "ERROR"), event(second + 60, "ERROR")])
            done()
            if minute == 3:
                spark.sql(f"update {OUTBOX} set created_at = created_at - interval 1 hour")
    told = {message.message_id for message in pending_messages(spark)}
    starts = ("2026-01-01 00:01:00", "2026-01-01 00:05:00")
    assert told == {message_id("error_share", [start]) for start in starts}


def test_what_aws_refuses_for_good_is_kept_as_a_dead_letter(
    live: LiveProject, spark: Any, dbt: Any
) -> None:
    ensure_outbox(spark)
    model = live.models(topic="there-is-no-such-topic")["error_share"]
    with live.streaming(model) as done:
        live.deliver([event(1, "ERROR"), event(2, "ERROR")])
        done()
    now = [0.0]
    publisher = Publisher(spark, clock=lambda: now[0])
    assert [publisher.deliver().waiting, publisher.seconds_to_next()] == [1, 1.0]
    assert publisher.deliver().waiting == 1  # not due, so not tried
    now[0] = 1.0
    assert [publisher.deliver().waiting, publisher.seconds_to_next()] == [1, 2.0]
    now[0] = 3.0
    publisher.give_up_after = timedelta(0)  # as if it were a day old
    assert publisher.deliver() == publish.PublishReport(sent=0, dead=1, waiting=0)

    dbt("run", "--select", "undelivered_messages")
    dead = spark.sql("select model, outcome, attempts, error from ops.undelivered_messages")
    assert [tuple(row) for row in dead.collect()] == [("error_share", "dead", 3, "NotFound")]
    assert pending_messages(spark) == []


def test_the_outbox_and_the_deliveries_keep_few_files(lakehouse: Any, spark: Any) -> None:
    ensure_outbox(spark)
    count, now = SMALL_FILES + 8, datetime.now(UTC)
    ids = spark.range(0, count, 1, count)  # in a file each
    told = ids.selectExpr("cast(id as string) as message_id", f"timestamp'{now}' as created_at")
    for table in (OUTBOX, DELIVERIES):
        told.write.format("delta").mode("append").saveAsTable(table)
        assert surplus_files(spark, table) > SMALL_FILES
    for noted in range(4):
        compact_outbox(spark, noted)
    for table in (OUTBOX, DELIVERIES):
        assert surplus_files(spark, table) <= SMALL_FILES
        assert {int(row[0]) for row in spark.sql(f"select message_id from {table}").collect()} == (
            set(range(count))
        )
    assert pending_messages(spark) == []
