"""The CDN's weights: one JSON object in S3, written by remediation and by people, read by players.

    {"edges": {"FRA56-P3": {"weight": 0, "until": "2026-01-31T18:40:00+00:00",
                            "alert_id": "…", "rule": "edge_errors"}}}

An edge that it does not name has its usual share of the traffic, weight 1. An entry without `until`
was set by a person: remediation leaves it alone. Part of the functions' zip: standard library only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

LOCATION = "CDN_WEIGHTS"

# A write that fails was overtaken by another, so with that many writers at once all get through.
MAX_TRIES = 20
_OVERTAKEN = ("PreconditionFailed", "ConditionalRequestConflict", "NoSuchKey")

# What comes of reading and looking into JSON that is something else.
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

_Result = TypeVar("_Result")


class WeightsError(ValueError):
    """The weights cannot be found, read or written; the message says where and what to do."""


@dataclass(frozen=True, slots=True)
class Weight:
    """Of one edge. until: when remediation takes it back, UTC; None: a person set it."""

    weight: float
    until: datetime | None = None
    alert_id: str = ""
    rule: str = ""


def parse_weights(body: bytes) -> dict[str, Weight]:
    """The entries by edge.

    Raises:
        WeightsError: it is not as above; the message names the place.
    """
    try:
        edges = json.loads(body)["edges"]
        return {edge: _entry(edge, entry) for edge, entry in edges.items()}
    except WeightsError:
        raise
    except _UNREADABLE as error:
        raise WeightsError(
            f'no weights: {type(error).__name__}: {error}; write such as {{"edges": '
            f'{{"FRA56-P3": {{"weight": 0}}}}}}, or delete the object'
        ) from error


def _entry(edge: str, entry: Mapping[str, Any]) -> Weight:
    weight, until = entry["weight"], entry.get("until")
    is_number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not (is_number and math.isfinite(weight) and weight >= 0):
        raise WeightsError(f"weight of {edge} is {weight!r}: write a number from 0")
    if until is not None:
        until = datetime.fromisoformat(until)
        until = until.replace(tzinfo=until.tzinfo or UTC).astimezone(UTC)
    return Weight(float(weight), until, str(entry.get("alert_id", "")), str(entry.get("rule", "")))


def weights_as_json(weights: Mapping[str, Weight]) -> bytes:
    """What parse_weights() reads; the same for the same weights."""
    edges = {}
    for edge, entry in sorted(weights.items()):
        edges[edge] = {"weight": entry.weight}
        if entry.until is not None:
            edges[edge]["until"] = entry.until.isoformat()
        edges[edge] |= {
            name: value
            for name, value in (("alert_id", entry.alert_id), ("rule", entry.rule))
            if value
        }
    return json.dumps({"edges": edges}, indent=1).encode()


def parse_location(text: str | None) -> tuple[str, str]:
    """Bucket and key of s3://bucket/key.

    Raises:
        WeightsError: it is not such a place.
    """
    bucket, _, key = (text or "").removeprefix("s3://").partition("/")
    if not (text or "").startswith("s3://") or not bucket or not key or key.endswith("/"):
        raise WeightsError(f"{LOCATION} is {text or 'not set'}: set it to s3://bucket/key")
    return bucket, key


class WeightsObject:
    """The object, at a place in S3."""

    def __init__(self, s3: Any, bucket: str, key: str) -> None:
        self._s3, self._place = s3, {"Bucket": bucket, "Key": key}

    @classmethod
    def at(cls, location: str | None) -> WeightsObject:
        """At s3://bucket/key, with boto3's credentials.

        Raises:
            WeightsError: it is no such place.
        """
        import boto3

        bucket, key = parse_location(location)
        return cls(boto3.client("s3"), bucket, key)

    def read(self) -> dict[str, Weight]:
        """The weights; none where there is no object.

        Raises:
            WeightsError: the object holds something else.
        """
        return self._read()[0]

    def change(
        self, changed: Callable[[dict[str, Weight]], tuple[dict[str, Weight], _Result]]
    ) -> _Result:
        """Replace the weights by what `changed` makes of them, and hand over what else it says.

        A write that was overtaken begins anew from what stands there then. What stays as it is is
        not written.

        Raises:
            WeightsError: the object holds something else, or others were faster MAX_TRIES times.
            botocore's errors: S3 refuses.
        """
        from botocore.exceptions import ClientError

        for _ in range(MAX_TRIES):
            before, condition = self._read()
            after, result = changed(before)
            if after == before:
                return result
            try:
                self._s3.put_object(
                    **self._place,
                    Body=weights_as_json(after),
                    ContentType="application/json",
                    **condition,
                )
            except ClientError as error:
                if error.response["Error"]["Code"] not in _OVERTAKEN:
                    raise
            else:
                return result
        raise WeightsError(f"{self._where}: overtaken {MAX_TRIES} times by other writers")

    def _read(self) -> tuple[dict[str, Weight], dict[str, str]]:
        """The weights, and on what condition they may be replaced."""
        try:
            found = self._s3.get_object(**self._place)
        except self._s3.exceptions.NoSuchKey:
            return {}, {"IfNoneMatch": "*"}
        try:
            return parse_weights(found["Body"].read()), {"IfMatch": found["ETag"]}
        except WeightsError as error:
            raise WeightsError(f"{self._where}: {error}") from error

    @property
    def _where(self) -> str:
        return "s3://{Bucket}/{Key}".format(**self._place)
