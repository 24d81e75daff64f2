"""Viewers over weeks as Delta tables: what gold has of their days, and profiles of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import write_deltalake
from viewers_reference import viewer_profile

from demo.video import weeks
from loaders.ml.definitions import definition_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

VIEWER_CHURN = definition_of("viewer_churn")
START = datetime(2026, 3, 1, tzinfo=UTC)
_DAYS = pa.schema(
    [("session_date", pa.date32()), ("user_id", pa.string()), ("plays", pa.int64())],
)
_PROFILE = pa.schema(
    [
        ("profile_date", pa.date32()),
        ("user_id", pa.string()),
        *((name, pa.float64()) for name in VIEWER_CHURN.numbers),
        *((name, pa.string()) for name in VIEWER_CHURN.categories),
        ("is_bot", pa.bool_()),
        ("_batch_id", pa.int64()),
    ]
)
Row = dict[str, Any]


def viewing(seed: int, viewers: int, days: int, lost: float) -> list[weeks.Session]:
    """Sessions; `lost`: by which share a failure makes the return less likely."""
    return list(weeks.sessions(seed, viewers, START, days, lost))


def profiles(sessions: Sequence[weeks.Session]) -> list[Row]:
    """What stands in viewer_profile."""
    found = viewer_profile(
        weeks.viewer_days(sessions), weeks.video_days(sessions), weeks.places(sessions)
    )
    return [
        {name: row.get(name) for name in _PROFILE.names}
        | {"profile_date": day, "user_id": user_id, "_batch_id": 1}
        for (day, user_id), row in found.items()
    ]


def write_viewers(root: Path, sessions: Sequence[weeks.Session]) -> None:
    """Write both tables under a LAKEHOUSE_ROOT, as their next version."""
    days = [{name: row[name] for name in _DAYS.names} for row in weeks.viewer_days(sessions)]
    for name, schema, found in (
        ("viewer_experience", _DAYS, days),
        ("viewer_profile", _PROFILE, profiles(sessions)),
    ):
        folder = root / "warehouse" / "gold.db" / name
        folder.mkdir(parents=True, exist_ok=True)
        write_deltalake(folder, pa.Table.from_pylist(found, schema=schema), mode="overwrite")
