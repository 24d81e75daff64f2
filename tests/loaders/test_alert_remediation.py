"""Remediation: what may be moved, when it is moved back, and that nothing done twice does more."""

from __future__ import annotations

import ast
import io
import json
import sys
import uuid
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.alerts import remediation
from loaders.alerts.archive import MODULES, write_archive
from loaders.alerts.message import Alert, UnreadableMessage
from loaders.alerts.remediation import Settings, SettingsError, decide, read_settings, remediate
from loaders.alerts.weights import (
    Weight,
    WeightsError,
    WeightsObject,
    parse_location,
    parse_weights,
    weights_as_json,
)

PROJECT_ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 1, 31, 18, 10, tzinfo=UTC)
HOLD = timedelta(minutes=30)
EDGES = [f"EDGE{number}" for number in range(8)]
SETTINGS = Settings(frozenset(EDGES), max_shifted_share=0.25, hold=HOLD)


def an_alert(edge: str = "EDGE1", minutes_ago: float = 1, **others: Any) -> Alert:
    alert = Alert(
        text="text",
        told_at=NOW - timedelta(minutes=minutes_ago),
        update_type="alert",
        rule="edge_errors",
        state="firing",
        severity="critical",
        layer="edge",
        cohort_kind="edge",
        cohort=edge,
        alert_id=f"alert of {edge}",
    )
    return replace(alert, **others)


def actions(done: list[dict[str, Any]]) -> list[tuple[str, str | None]]:
    return [(each["action"], each.get("edge")) for each in done]


# ---- what is decided


def test_a_firing_alert_of_an_edge_moves_its_traffic_until_a_hold_time_after_it_was_told() -> None:
    weights, done = decide({}, [an_alert()], SETTINGS, NOW)
    until = NOW - timedelta(minutes=1) + HOLD
    assert weights == {"EDGE1": Weight(0.0, until, "alert of EDGE1", "edge_errors")}
    assert done == [
        {
            "action": "shifted",
            "edge": "EDGE1",
            "until": "2026-01-31T18:39:00+00:00",
            "alert_id": "alert of EDGE1",
            "rule": "edge_errors",
        }
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"update_type": "client_errors"}, "update_type client_errors"),
        ({"state": "resolved"}, "state resolved: a shift is taken back after its hold time"),
        ({"layer": "isp"}, "layer isp, cohort of edge: not an edge's"),
        ({"cohort_kind": "all"}, "layer edge, cohort of all: not an edge's"),
        ({"severity": "warning"}, "severity warning is none of CDN_SEVERITIES"),
        ({"rule": "hits_lost"}, "rule hits_lost is none of CDN_RULES"),
    ],
)
def test_other_alerts_move_nothing_and_are_told_why(change: dict[str, str], reason: str) -> None:
    settings = replace(SETTINGS, rules=frozenset({"edge_errors"}))
    weights, (outcome,) = decide({}, [an_alert(**change)], settings, NOW)
    assert weights == {}
    assert (outcome["action"], outcome["reason"]) == ("left", reason)


def test_a_resolved_alert_leaves_the_shift_until_its_time() -> None:
    shifted, _ = decide({}, [an_alert()], SETTINGS, NOW)
    later = NOW + timedelta(minutes=10)
    kept, done = decide(shifted, [an_alert(state="resolved")], SETTINGS, later)
    assert kept == shifted
    assert actions(done) == [("left", None)]


def test_a_shift_is_taken_back_when_its_time_is_over_and_not_before() -> None:
    shifted, _ = decide({}, [an_alert()], SETTINGS, NOW)
    end = shifted["EDGE1"].until
    assert decide(shifted, [], SETTINGS, end - timedelta(seconds=1)) == (shifted, [])
    weights, done = decide(shifted, [], SETTINGS, end)
    assert weights == {}
    assert actions(done) == [("taken back", "EDGE1")]
    assert done[0]["alert_id"] == "alert of EDGE1"


def test_an_alert_that_comes_again_after_the_hold_time_moves_nothing() -> None:
    late = NOW + HOLD
    weights, (outcome,) = decide({}, [an_alert()], SETTINGS, late)
    assert weights == {}
    assert outcome["action"] == "refused"
    assert "longer ago than the hold time" in outcome["reason"]


def test_another_alert_of_the_edge_prolongs_its_shift() -> None:
    shifted, _ = decide({}, [an_alert()], SETTINGS, NOW)
    later = NOW + timedelta(minutes=20)
    again = an_alert(told_at=later, rule="edge_startup_bad", alert_id="other")
    weights, done = decide(shifted, [again], SETTINGS, later)
    assert weights["EDGE1"].until == later + HOLD
    assert actions(done) == [("prolonged", "EDGE1")]


def test_a_time_ahead_of_ours_does_not_hold_longer() -> None:
    weights, _ = decide({}, [an_alert(minutes_ago=-600)], SETTINGS, NOW)
    assert weights["EDGE1"].until == NOW + HOLD


def test_more_than_the_stated_share_of_edges_is_never_moved() -> None:
    alerts = [an_alert(edge) for edge in EDGES]
    weights, done = decide({}, alerts, SETTINGS, NOW)
    assert sorted(weights) == ["EDGE0", "EDGE1"]
    assert actions(done) == [
        *(("shifted", edge) for edge in EDGES[:2]),
        *(("refused", edge) for edge in EDGES[2:]),
    ]
    assert done[-1]["reason"] == "2 of 8 edges are shifted, and 2 may be (CDN_MAX_SHIFTED_SHARE)"


def test_a_place_that_becomes_free_is_given_in_the_same_call() -> None:
    before = {"EDGE0": Weight(0.0, NOW), "EDGE1": Weight(0.0, NOW + HOLD)}
    weights, done = decide(before, [an_alert("EDGE2")], SETTINGS, NOW)
    assert sorted(weights) == ["EDGE1", "EDGE2"]
    assert actions(done) == [("taken back", "EDGE0"), ("shifted", "EDGE2")]


def test_what_a_person_set_is_left_alone_and_counts() -> None:
    by_hand = {"EDGE0": Weight(0.5), "EDGE1": Weight(1.0)}
    far = NOW + timedelta(days=365)
    alert = an_alert("EDGE0", told_at=far)
    assert decide(by_hand, [alert], SETTINGS, far)[0] == by_hand
    weights, done = decide(by_hand, [an_alert(edge) for edge in EDGES[1:4]], SETTINGS, NOW)
    assert actions(done) == [("refused", "EDGE1"), ("shifted", "EDGE2"), ("refused", "EDGE3")]
    assert done[0]["reason"] == "a person set its weight to 1"
    assert weights.keys() == {"EDGE0", "EDGE1", "EDGE2"}


def test_an_edge_that_is_not_named_is_never_touched() -> None:
    weights, (outcome,) = decide({}, [an_alert("Unavailable")], SETTINGS, NOW)
    assert (weights, outcome["action"]) == ({}, "refused")


messages = st.lists(
    st.builds(
        an_alert,
        edge=st.sampled_from(EDGES[:2]),  # as many as may be
        minutes_ago=st.integers(0, 40),
        state=st.sampled_from(["firing", "resolved"]),
    ),
    max_size=6,
)


@given(messages, st.data())
def test_weights_do_not_depend_on_order_and_repetition(
    alerts: list[Alert], data: st.DataObject
) -> None:
    once, _ = decide({}, alerts, SETTINGS, NOW)
    again = data.draw(st.permutations([*alerts, *alerts]))
    weights: dict[str, Weight] = {}
    for alert in again:  # each a call of its own
        weights, _ = decide(weights, [alert], SETTINGS, NOW)
    assert {edge: entry.until for edge, entry in weights.items()} == {
        edge: entry.until for edge, entry in once.items()
    }


@given(messages, st.lists(st.integers(0, 90), max_size=6))
def test_when_everything_has_come_again_long_after_all_weights_are_back(
    alerts: list[Alert], calls: list[int]
) -> None:
    weights: dict[str, Weight] = {}
    for minutes in [*sorted(calls), 91]:
        now = NOW + timedelta(minutes=minutes)
        weights, _ = decide(weights, alerts, SETTINGS, now)
    assert weights == {}


# ---- the settings


def test_settings_have_defaults() -> None:
    assert read_settings({"CDN_EDGES": " A, B,,"}) == Settings(frozenset({"A", "B"}))
    given = {
        "CDN_EDGES": "A,B,C,D",
        "CDN_MAX_SHIFTED_SHARE": "0.5",
        "CDN_HOLD_MINUTES": "5",
        "CDN_SEVERITIES": "critical,warning",
        "CDN_RULES": "edge_errors",
    }
    read = read_settings(given)
    assert read.max_shifted == 2
    assert read.hold == timedelta(minutes=5)
    assert read.severities == {"critical", "warning"}
    assert read.rules == {"edge_errors"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"CDN_EDGES": " , "}, "CDN_EDGES is not set"),
        ({"CDN_MAX_SHIFTED_SHARE": "a half"}, "CDN_MAX_SHIFTED_SHARE is 'a half': give a number"),
        ({"CDN_MAX_SHIFTED_SHARE": "25"}, "CDN_MAX_SHIFTED_SHARE is 25: give a share from 0 to 1"),
        ({"CDN_HOLD_MINUTES": "-1"}, "CDN_HOLD_MINUTES is '-1': give a number from 0"),
        ({"CDN_HOLD_MINUTES": "nan"}, "CDN_HOLD_MINUTES is 'nan'"),
        ({"CDN_HOLD_MINUTES": "0"}, "CDN_HOLD_MINUTES is 0: give minutes, at most a week"),
    ],
)
def test_a_wrong_setting_is_named(given: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_settings({"CDN_EDGES": "A"} | given)


# ---- the object


@given(
    st.dictionaries(
        st.text(min_size=1),
        st.builds(
            Weight,
            st.floats(0, 10),
            st.none() | st.datetimes(timezones=st.just(UTC)),
            st.text(),
            st.text(),
        ),
        max_size=4,
    )
)
def test_weights_are_read_back_as_they_were_written(weights: dict[str, Weight]) -> None:
    assert parse_weights(weights_as_json(weights)) == weights


@given(st.binary() | st.text().map(str.encode) | st.just(b"[" * 5000))
def test_other_bytes_are_refused_in_one_kind_of_error(body: bytes) -> None:
    with pytest.raises(WeightsError):
        parse_weights(body)


@pytest.mark.parametrize(
    "weight", ["-1", "NaN", "Infinity", "true", '"0"', "null", "1" + "0" * 400]
)
def test_a_weight_that_is_none_is_refused(weight: str) -> None:
    with pytest.raises(WeightsError):
        parse_weights(b'{"edges": {"A": {"weight": %s}}}' % weight.encode())


@pytest.mark.parametrize("text", [None, "", "bucket/key", "s3://", "s3://bucket", "s3://bucket/k/"])
def test_a_location_names_a_bucket_and_a_key(text: str | None) -> None:
    with pytest.raises(WeightsError, match="set it to s3://bucket/key"):
        parse_location(text)


@pytest.fixture
def weights(aws: Any, monkeypatch: pytest.MonkeyPatch) -> WeightsObject:
    """Weights in a new bucket, where the handler looks for them; there is no object yet."""
    bucket = f"cdn-{uuid.uuid4().hex[:10]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    monkeypatch.setenv("CDN_WEIGHTS", f"s3://{bucket}/control/weights.json")
    monkeypatch.setenv("CDN_EDGES", ",".join(EDGES))
    for variable in ("CDN_MAX_SHIFTED_SHARE", "CDN_HOLD_MINUTES", "CDN_SEVERITIES", "CDN_RULES"):
        monkeypatch.delenv(variable, raising=False)
    return WeightsObject(boto3.client("s3"), bucket, "control/weights.json")


def put(weights: WeightsObject, body: bytes) -> None:
    boto3.client("s3").put_object(**weights._place, Body=body)


def test_writers_at_once_lose_none_of_each_others_changes(weights: WeightsObject) -> None:
    settings = replace(SETTINGS, max_shifted_share=1.0)
    together = Barrier(len(EDGES))

    def shift(edge: str) -> list[tuple[str, str | None]]:
        client = WeightsObject(boto3.client("s3"), *weights._place.values())
        together.wait()
        return actions(remediate([an_alert(edge)], settings, client, NOW)["done"])

    with ThreadPoolExecutor(len(EDGES)) as pool:
        done = list(pool.map(shift, EDGES))
    assert done == [[("shifted", edge)] for edge in EDGES]
    assert sorted(weights.read()) == EDGES


@pytest.mark.parametrize("there_was_one", [False, True])
def test_a_change_between_reading_and_writing_is_seen(
    weights: WeightsObject, there_was_one: bool
) -> None:
    if there_was_one:
        put(weights, weights_as_json({"EDGE7": Weight(0.5)}))
    seen = []

    def changed(before: dict[str, Weight]) -> tuple[dict[str, Weight], None]:
        if not seen:
            put(weights, weights_as_json({**before, "EDGE0": Weight(0.0)}))
        seen.append(sorted(before))
        return {**before, "EDGE1": Weight(0.0)}, None

    weights.change(changed)
    first = ["EDGE7"] if there_was_one else []
    assert seen == [first, sorted([*first, "EDGE0"])]
    assert sorted(weights.read()) == sorted([*first, "EDGE0", "EDGE1"])


def test_an_object_that_is_deleted_meanwhile_is_written_anew(weights: WeightsObject) -> None:
    put(weights, weights_as_json({"EDGE0": Weight(0.0)}))

    def changed(before: dict[str, Weight]) -> tuple[dict[str, Weight], None]:
        boto3.client("s3").delete_object(**weights._place)
        return {**before, "EDGE1": Weight(0.0)}, None

    weights.change(changed)
    assert sorted(weights.read()) == ["EDGE1"]


def test_somebody_who_is_always_faster_ends_in_an_error(weights: WeightsObject) -> None:
    count = iter(range(100))

    def changed(before: dict[str, Weight]) -> tuple[dict[str, Weight], None]:
        put(weights, weights_as_json({"EDGE0": Weight(float(next(count)))}))
        return {}, None

    put(weights, weights_as_json({"EDGE0": Weight(100.0)}))
    with pytest.raises(WeightsError, match="overtaken 20 times by other writers"):
        weights.change(changed)


def test_what_stays_as_it_is_is_not_written(weights: WeightsObject) -> None:
    put(weights, b'{"edges": {"EDGE0": {"weight": 0}}}')  # not as we would write it
    before = boto3.client("s3").head_object(**weights._place)
    weights.change(lambda standing: (dict(standing), None))
    after = boto3.client("s3").head_object(**weights._place)
    assert (before["ETag"], before["LastModified"]) == (after["ETag"], after["LastModified"])


# ---- the handler


def event_of(*alerts: Alert) -> dict[str, Any]:
    """What SNS hands to a function."""
    names = ("update_type", "rule", "state", "severity", "layer", "cohort_kind", "cohort")
    records = [
        {
            "EventSource": "aws:sns",
            "Sns": {
                "Type": "Notification",
                "Message": alert.text,
                "Timestamp": alert.told_at.isoformat() if alert.told_at else None,
                "MessageAttributes": {
                    name: {"Type": "String", "Value": getattr(alert, name)}
                    for name in (*names, "alert_id")
                },
            },
        }
        for alert in alerts
    ]
    return {"Records": records}


def fresh_alert(edge: str = "EDGE1") -> Alert:
    return an_alert(edge, told_at=datetime.now(UTC).replace(microsecond=0))


def test_a_message_that_comes_again_changes_nothing(
    weights: WeightsObject, capsys: pytest.CaptureFixture[str]
) -> None:
    event = event_of(fresh_alert())
    first = remediation.handler(event, None)
    stored = boto3.client("s3").head_object(**weights._place)["ETag"]
    again = remediation.handler(event, None)
    assert actions(first["done"]) == [("shifted", "EDGE1")]
    assert actions(again["done"]) == [("kept", "EDGE1")]
    assert first["weights"] == again["weights"] == {"EDGE1": 0.0}
    assert boto3.client("s3").head_object(**weights._place)["ETag"] == stored
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines == [{"event": "remediation", **report} for report in (first, again)]


@pytest.mark.parametrize("source", ["aws.events", "aws.scheduler"])
def test_a_schedule_takes_back_what_is_past_its_time(weights: WeightsObject, source: str) -> None:
    now = datetime.now(UTC)
    over = Weight(0.0, now - timedelta(minutes=1), "a", "edge_errors")
    under_way = Weight(0.0, now + timedelta(minutes=30), "b", "edge_errors")
    put(weights, weights_as_json({"EDGE1": over, "EDGE2": under_way}))
    event = {"version": "0", "source": source, "detail-type": "Scheduled Event", "detail": {}}
    report = remediation.handler(event, None)
    assert actions(report["done"]) == [("taken back", "EDGE1")]
    assert weights.read() == {"EDGE2": under_way}


def test_what_is_no_event_of_ours_is_refused(weights: WeightsObject) -> None:
    with pytest.raises(UnreadableMessage, match="no list Records"):
        remediation.handler({"detail": "other"}, None)
    broken = {"Records": [{"Sns": {}}, *event_of(fresh_alert())["Records"]]}
    done = remediation.handler(broken, None)["done"]
    assert actions(done) == [("shifted", "EDGE1"), ("left", None)]


def test_weights_that_cannot_be_read_are_not_overwritten(weights: WeightsObject) -> None:
    put(weights, b"by hand, in haste")
    with pytest.raises(WeightsError, match=r"s3://cdn-.*/control/weights.json: no weights"):
        remediation.handler(event_of(fresh_alert()), None)
    stored = boto3.client("s3").get_object(**weights._place)["Body"].read()
    assert stored == b"by hand, in haste"


# ---- the zip


def test_the_zips_modules_import_the_standard_library_boto3_and_each_other_alone() -> None:
    packed = {name.removesuffix(".py").replace("/", ".") for name in MODULES}
    wanted = {*sys.stdlib_module_names, "boto3", "botocore"}
    for name in MODULES:
        for node in ast.walk(ast.parse((PROJECT_ROOT / name).read_text())):
            if isinstance(node, ast.Import):
                found = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                found = [node.module or ""]
            else:
                continue
            wrong = [each for each in found if each.split(".")[0] not in wanted]
            assert [each for each in wrong if each not in packed] == [], name


def test_the_zip_runs_as_a_lambda_function(
    weights: WeightsObject, aws: Any, tmp_path: Path
) -> None:
    """In the embedded AWS's Lambda, whose Python has boto3 and nothing of ours."""
    archive = tmp_path / "alerts.zip"
    write_archive(archive)
    functions, name = boto3.client("lambda"), f"remediation-{uuid.uuid4().hex[:8]}"
    bucket, key = weights._place.values()
    functions.create_function(
        FunctionName=name,
        Runtime="python3.11",
        Role="arn:aws:iam::000000000000:role/remediation",
        Handler="loaders.alerts.remediation.handler",
        Code={"ZipFile": archive.read_bytes()},
        Timeout=60,
        Environment={
            "Variables": {
                "CDN_WEIGHTS": f"s3://{bucket}/{key}",
                "CDN_EDGES": ",".join(EDGES),
                "AWS_ENDPOINT_URL": aws.endpoint_url,
            }
        },
    )
    event = event_of(fresh_alert())
    answer = functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    report = json.loads(answer["Payload"].read())
    assert actions(report["done"]) == [("shifted", "EDGE1")]
    assert weights.read().keys() == {"EDGE1"}


def test_the_zip_is_the_same_for_the_same_modules(tmp_path: Path) -> None:
    first, second = tmp_path / "a.zip", tmp_path / "b.zip"
    write_archive(first)
    write_archive(second)
    assert first.read_bytes() == second.read_bytes()
    with zipfile.ZipFile(io.BytesIO(first.read_bytes())) as archive:
        assert tuple(archive.namelist()) == MODULES
        modes = {entry.external_attr >> 16 & 0o777 for entry in archive.infolist()}
    assert modes == {0o644}
