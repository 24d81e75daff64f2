"""Remediation: an AWS Lambda function that moves traffic away from an edge in trouble.

`handler` takes alerts from SNS, directly or through SQS, and a schedule of EventBridge. A firing
alert of an edge sets its weight to 0 (loaders/alerts/weights.py) until a hold time after it was
told; every call takes back what is past its time. When a weight ends follows from messages alone,
so one that comes twice, late or out of order changes nothing. Part of the functions' zip.

Environment:
    CDN_WEIGHTS             s3://bucket/key of the weights
    CDN_EDGES               all edges, separated by commas: others are never touched
    CDN_MAX_SHIFTED_SHARE   of the edges that may be without their share at a time; default 0.25
    CDN_HOLD_MINUTES        default 30
    CDN_SEVERITIES          that are acted on, separated by commas; default critical
    CDN_RULES               that are acted on, separated by commas; default all of layer edge
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from loaders.alerts.message import Alert, alerts_of_event
from loaders.alerts.weights import LOCATION, Weight, WeightsObject

# What EventBridge calls the source of an event of a rule's schedule, and of its Scheduler.
_SCHEDULES = ("aws.events", "aws.scheduler")


class SettingsError(ValueError):
    """A variable of the environment is missing or wrong; the message says which and how to mend."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be done. rules: None: all."""

    edges: frozenset[str]
    max_shifted_share: float = 0.25
    hold: timedelta = timedelta(minutes=30)
    severities: frozenset[str] = frozenset({"critical"})
    rules: frozenset[str] | None = None

    @property
    def max_shifted(self) -> int:
        """Of edges at a time."""
        return math.floor(self.max_shifted_share * len(self.edges))


Outcome = dict[str, Any]


def handler(event: Any, context: Any = None) -> dict[str, Any]:  # noqa: ARG001 - Lambda's
    """Do what an event of SNS, SQS or a schedule asks; the signature is AWS Lambda's.

    Returns: `done`, a list of what was done or not, each with its reason, and `weights`, the edges
        that do not have their usual share now. The same goes as one line of JSON to stderr.

    Raises:
        ValueError: the environment is wrong, the event is none of these, or the weights object
            holds something else.
        botocore's errors: S3 refuses. Lambda then repeats the call.
    """
    settings = read_settings(os.environ)
    alerts, unreadable = ([], []) if _is_schedule(event) else alerts_of_event(event)
    weights = _weights_object(os.environ.get(LOCATION))
    report = remediate(alerts, settings, weights, datetime.now(UTC))
    report["done"] += [{"action": "left", "reason": reason} for reason in unreadable]
    print(json.dumps({"event": "remediation", **report}), file=sys.stderr, flush=True)
    return report


def remediate(
    alerts: Sequence[Alert], settings: Settings, weights: WeightsObject, now: datetime
) -> dict[str, Any]:
    """What `handler` returns, at a time (UTC)."""

    def changed(before: dict[str, Weight]) -> tuple[dict[str, Weight], dict[str, Any]]:
        after, done = decide(before, alerts, settings, now)
        shares = {edge: entry.weight for edge, entry in sorted(after.items())}
        return after, {"done": done, "weights": shares}

    return weights.change(changed)


def decide(
    before: Mapping[str, Weight], alerts: Sequence[Alert], settings: Settings, now: datetime
) -> tuple[dict[str, Weight], list[Outcome]]:
    """The weights after alerts, and what was done: about what is past its time, and each alert."""
    weights, done = {}, []
    for edge, entry in before.items():
        if entry.until is None or entry.until > now:
            weights[edge] = entry
            continue
        known = {"alert_id": entry.alert_id, "rule": entry.rule, "until": entry.until.isoformat()}
        done.append({"action": "taken back", "edge": edge, **known})
    for alert in alerts:
        known = {"alert_id": alert.alert_id, "rule": alert.rule}
        if reason := _why_not(alert, settings):
            done.append({"action": "left", **known, "reason": reason})
        else:
            done.append({**_shift(weights, alert, settings, now), **known})
    return weights, done


def _shift(weights: dict[str, Weight], alert: Alert, settings: Settings, now: datetime) -> Outcome:
    """Move traffic away from an alert's edge, in `weights`, where that may be."""
    edge, standing = alert.cohort, weights.get(alert.cohort)
    until = min(alert.told_at or now, now) + settings.hold
    if reason := _refusal(weights, alert, settings, until, now):
        return {"action": "refused", "edge": edge, "reason": reason}
    if standing is None:
        action = "shifted"
    elif standing.until is not None and standing.until >= until:
        return {"action": "kept", "edge": edge, "until": standing.until.isoformat()}
    else:
        action = "prolonged"
    weights[edge] = Weight(0.0, until, alert.alert_id, alert.rule)
    return {"action": action, "edge": edge, "until": until.isoformat()}


def _refusal(
    weights: Mapping[str, Weight],
    alert: Alert,
    settings: Settings,
    until: datetime,
    now: datetime,
) -> str | None:
    """Why what an alert asks for may not be."""
    edge = alert.cohort
    if until <= now:
        return f"told at {alert.told_at}: longer ago than the hold time"
    if edge not in settings.edges:
        return f"{edge!r} is none of CDN_EDGES"
    if edge in weights:
        by_hand = weights[edge].until is None
        return f"a person set its weight to {weights[edge].weight:g}" if by_hand else None
    shifted = [other for other in settings.edges & weights.keys() if weights[other].weight < 1]
    if len(shifted) >= settings.max_shifted:
        return (
            f"{len(shifted)} of {len(settings.edges)} edges are shifted, and "
            f"{settings.max_shifted} may be (CDN_MAX_SHIFTED_SHARE)"
        )
    return None


def _why_not(alert: Alert, settings: Settings) -> str | None:
    """Why an alert asks for nothing."""
    if alert.update_type != "alert":
        return f"update_type {alert.update_type}"
    if alert.state != "firing":
        # Its graph is healed because traffic is elsewhere: taking it back at once would flap.
        return f"state {alert.state}: a shift is taken back after its hold time"
    if (alert.layer, alert.cohort_kind) != ("edge", "edge"):
        return f"layer {alert.layer}, cohort of {alert.cohort_kind}: not an edge's"
    if alert.severity not in settings.severities:
        return f"severity {alert.severity} is none of CDN_SEVERITIES"
    if settings.rules is not None and alert.rule not in settings.rules:
        return f"rule {alert.rule} is none of CDN_RULES"
    return None


def _refused(edge: str, reason: str) -> Outcome:
    return {"action": "refused", "edge": edge, "reason": reason}


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings that variables say.

    Raises:
        SettingsError: one is missing or wrong.
    """
    edges = _names(environment, "CDN_EDGES")
    if not edges:
        raise SettingsError("CDN_EDGES is not set: name all edges, such as FRA56-P3,TXL52-P1")
    share = _number(environment, "CDN_MAX_SHIFTED_SHARE", 0.25)
    if share > 1:
        raise SettingsError(f"CDN_MAX_SHIFTED_SHARE is {share:g}: give a share from 0 to 1")
    minutes = _number(environment, "CDN_HOLD_MINUTES", 30)
    if not 0 < minutes <= 7 * 24 * 60:
        raise SettingsError(f"CDN_HOLD_MINUTES is {minutes:g}: give minutes, at most a week")
    return Settings(
        edges,
        share,
        timedelta(minutes=minutes),
        _names(environment, "CDN_SEVERITIES") or frozenset({"critical"}),
        _names(environment, "CDN_RULES") or None,
    )


def _names(environment: Mapping[str, str], variable: str) -> frozenset[str]:
    names = (name.strip() for name in environment.get(variable, "").split(","))
    return frozenset(name for name in names if name)


def _number(environment: Mapping[str, str], variable: str, default: float) -> float:
    text = environment.get(variable) or str(default)
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number >= 0):
        raise SettingsError(f"{variable} is {text!r}: give a number from 0, such as {default}")
    return number


def _is_schedule(event: Any) -> bool:
    return isinstance(event, Mapping) and event.get("source") in _SCHEDULES


@cache
def _weights_object(location: str | None) -> WeightsObject:
    """One a process: a warm function keeps its client."""
    return WeightsObject.at(location)
