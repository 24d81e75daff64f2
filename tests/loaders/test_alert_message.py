"""Alerts as SNS delivers them: to a function, to a queue in an envelope, or raw."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from loaders.alerts.follow import event_of_message
from loaders.alerts.message import (
    ATTRIBUTES,
    Alert,
    UnreadableMessage,
    alert_of_message,
    alerts_of_event,
)
from loaders.incidents import RENOTIFIED

PROJECT_ROOT = Path(__file__).resolve().parents[2]
TOLD_AT = datetime(2026, 1, 31, 18, 7, 0, 250_000, UTC)
MILLISECONDS = str(int(TOLD_AT.timestamp() * 1000))

texts = st.text(min_size=1)
alerts = st.builds(
    Alert,
    text=texts,
    subject=st.just("critical, firing: edge_errors"),
    told_at=st.just(TOLD_AT),
    **dict.fromkeys(ATTRIBUTES, texts),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def notification(alert: Alert) -> dict[str, Any]:
    """What SNS makes of a publication."""
    attributes = {
        name: {"Type": "String", "Value": getattr(alert, name)}
        for name in ATTRIBUTES
        if getattr(alert, name)
    }
    return {
        "Type": "Notification",
        "MessageId": "11111111-2222-3333-4444-555555555555",
        "TopicArn": "arn:aws:sns:eu-west-1:111122223333:alerts",
        "Subject": alert.subject,
        "Message": alert.text,
        "Timestamp": "2026-01-31T18:07:00.250Z",
        "MessageAttributes": attributes,
    }


def to_function(alert: Alert) -> dict[str, Any]:
    return {"EventSource": "aws:sns", "EventVersion": "1.0", "Sns": notification(alert)}


def in_envelope(alert: Alert) -> dict[str, Any]:
    """As ReceiveMessage gives it; it was in the queue's hands a second later."""
    later = str(int(MILLISECONDS) + 1000)
    body = json.dumps(notification(alert))
    return {"MessageId": "m", "Body": body, "Attributes": {"SentTimestamp": later}}


def raw(alert: Alert) -> dict[str, Any]:
    attributes = {
        name: {"DataType": "String", "StringValue": getattr(alert, name)} for name in ATTRIBUTES
    }
    return {
        "MessageId": "m",
        "Body": alert.text,
        "Attributes": {"SentTimestamp": MILLISECONDS},
        "MessageAttributes": attributes,
    }


@given(alerts)
def test_an_alert_is_the_same_whichever_way_it_comes(alert: Alert) -> None:
    assert alerts_of_event({"Records": [to_function(alert)]}) == ([alert], [])
    assert alert_of_message(in_envelope(alert)) == alert
    assert alerts_of_event(event_of_message(in_envelope(alert))) == ([alert], [])


@given(alerts)
def test_a_raw_alert_lacks_its_subject_alone(alert: Alert) -> None:
    without = Alert(**{**{name: getattr(alert, name) for name in ATTRIBUTES}, "text": alert.text})
    for found in (
        alert_of_message(raw(alert)),
        alerts_of_event(event_of_message(raw(alert)))[0][0],
    ):
        assert found.told_at == TOLD_AT
        assert (found.text, found.subject) == (without.text, "")
        assert all(getattr(found, name) == getattr(alert, name) for name in ATTRIBUTES)


def test_a_live_models_message_has_few_attributes() -> None:
    alert = Alert("7 of 130", "Playback errors", TOLD_AT, "client_errors", severity="critical")
    assert alert_of_message(in_envelope(alert)) == alert
    assert alert.as_json()["told_at"] == "2026-01-31T18:07:00.250000+00:00"


def test_records_that_are_no_alert_are_told_and_others_are_not_lost() -> None:
    alert = Alert("text", told_at=TOLD_AT, update_type="alert")
    broken = [{"Sns": {"Message": 7}}, {"eventSource": "aws:s3"}, "text", {"body": "by hand"}]
    found, unreadable = alerts_of_event({"Records": [*broken, to_function(alert)]})
    assert found == [alert]
    assert unreadable == [
        "a notification without a text",
        "a record that is neither SNS's nor SQS's: it has no body",
        "a record that is no object",
        "a message without the attribute update_type: not one of ours",
    ]


@given(json_values)
def test_any_event_ends_in_alerts_or_a_refusal(event: Any) -> None:
    for each in (event, {"Records": event}, {"Records": [event]}, {"Records": [{"Sns": event}]}):
        with suppress(UnreadableMessage):  # and nothing else
            found, _ = alerts_of_event(each)
            assert all(isinstance(alert, Alert) for alert in found)


@given(
    st.one_of(st.text(), json_values.map(json.dumps), st.just("[" * 5000)),
    json_values,
    json_values,
)
def test_any_body_ends_in_an_alert_or_a_refusal(body: str, attributes: Any, of_queue: Any) -> None:
    named = {"update_type": {"StringValue": "alert"}, "rule": attributes}
    message = {"Body": body, "MessageAttributes": named, "Attributes": of_queue}
    assert alert_of_message(message).update_type == "alert"
    with pytest.raises(UnreadableMessage):
        alert_of_message({**message, "MessageAttributes": attributes})


@pytest.mark.parametrize("at", ["yesterday", None, 7, "0001-01-01T00:00:00+14:00"])
def test_a_time_that_cannot_be_read_is_unknown(at: Any) -> None:
    told = notification(Alert("text", update_type="alert")) | {"Timestamp": at}
    found, _ = alerts_of_event({"Records": [{"Sns": told}]})
    assert [alert.told_at for alert in found] == [None]


def test_the_attributes_are_those_that_the_model_tells_and_the_publisher_adds() -> None:
    declared = yaml.safe_load((PROJECT_ROOT / "models/gold/qos/alerts.yml").read_text())
    sink = declared["models"][0]["config"]["sink"]["sns"]
    assert (*sink["attributes"], *RENOTIFIED, "message_id") == ATTRIBUTES
    assert len(ATTRIBUTES) <= 10  # more, and SNS drops raw deliveries
