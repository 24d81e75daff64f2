"""Cohorts of viewers, some of which come into trouble, as Delta tables: minutes and judgements."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from itertools import product
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from cohorts_reference import MINUTE_MS, Cohort, Known, known_when_minutes_began
from deltalake import write_deltalake

from loaders.ml.definitions import definition_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

POINT_OF_FAILURE = definition_of("point_of_failure")
START = datetime(2026, 3, 1, tzinfo=UTC)
COHORTS = tuple(product(("FRA", "AMS", "LHR", "IAD"), ("North", "South", "West"), ("tv", "phone")))
MEAN_PAUSE_MINUTES, HELD_MINUTES = 20, 8
RULES = {"edge_rebuffering_bad": "edge", "isp_rebuffering_bad": "isp"}
_KEY = [(name, pa.string()) for name in POINT_OF_FAILURE.entity]
_MOMENT = pa.timestamp("us", tz="UTC")
_SCHEMAS = {
    "gold.db/cohort_minutes": pa.schema(
        [
            ("minute", _MOMENT),
            *_KEY,
            *((name, pa.float64()) for name in POINT_OF_FAILURE.numbers),
            ("_batch_id", pa.int64()),
        ]
    ),
    "gold.db/alert_judgements": pa.schema(
        [
            ("window_start", _MOMENT),
            ("rule", pa.string()),
            ("breaches", pa.list_(pa.struct([("cohort", pa.string())]))),
        ]
    ),
    "ops.db/alert_rules": pa.schema(
        [(name, pa.string()) for name in ("domain", "rule", "metric", "cohort_kind", "layer")]
    ),
}
Row = dict[str, Any]
Done = dict[int, dict[Cohort, Known]]


def at(minute_ms: int) -> datetime:
    return START + timedelta(milliseconds=minute_ms)


def viewing(seed: int, hours: int, ramp_minutes: int) -> Done:
    """What cohorts do by minute (ms from START); again and again one edge or network fails.

    Its viewers come to stall more and more often for so many minutes, then half of them do. When
    the next one begins does not depend on when the last did: a model would learn it by heart.
    """
    chance = Random(seed)
    done: Done = {}
    trouble: dict[int, tuple[int, str, float]] = {}
    begins = 10 + round(chance.expovariate(1 / MEAN_PAUSE_MINUTES))
    while begins < hours * 60:
        place = chance.randrange(2)
        name = chance.choice(sorted({cohort[place] for cohort in COHORTS}))
        for minute in range(ramp_minutes + HELD_MINUTES):
            trouble[begins + minute] = (place, name, min(1.0, (minute + 1) / (ramp_minutes + 1)))
        pause = 10 + round(chance.expovariate(1 / MEAN_PAUSE_MINUTES))
        begins += ramp_minutes + HELD_MINUTES + pause
    for minute in range(hours * 60):
        place, name, share = trouble.get(minute, (0, "", 0.0))
        done[minute * MINUTE_MS] = {
            cohort: _minute(chance, share if cohort[place] == name else 0.0) for cohort in COHORTS
        }
    return done


def _minute(chance: Random, trouble: float) -> Known:
    viewers = 6 + chance.randrange(6)
    stalled = sum(chance.random() < 0.02 + 0.5 * trouble for _ in range(viewers))
    failing = sum(chance.random() < 0.005 + 0.1 * trouble for _ in range(viewers))
    return Known(
        viewers=viewers,
        failing=failing,
        stalled=stalled,
        starts=chance.randrange(4),
        played_ms=60_000 * viewers - 3_000 * stalled,
        stalled_ms=3_000 * stalled,
    )


def breaches(done: Done) -> dict[tuple[int, str], list[str]]:
    """(window, rule) → the edges or networks that break it: slow and obvious."""
    found = {}
    for window, (rule, kind) in product(sorted(done)[:-4], RULES.items()):
        groups: dict[str, list[Known]] = defaultdict(list)
        for n in range(5):
            for cohort, known in done[window + n * MINUTE_MS].items():
                groups[cohort[("edge", "isp").index(kind)]].append(known)
        found[window, rule] = [
            name
            for name, own in groups.items()
            if _share(own) > 0.01
            and _share(own)
            > 5 * _share([k for n, some in groups.items() if n != name for k in some])
        ]
    return found


def _share(some: list[Known]) -> float:
    stalled = sum(each.stalled_ms for each in some)
    return stalled / (stalled + sum(each.played_ms for each in some))


def minutes(done: Mapping[int, Mapping[Cohort, Known]]) -> list[Row]:
    """What stands in cohort_minutes, of the columns that players tell of."""
    return [
        dict.fromkeys(POINT_OF_FAILURE.numbers)
        | row
        | dict(zip(POINT_OF_FAILURE.entity, cohort, strict=True))
        | {"minute": at(minute), "_batch_id": 1}
        for (minute, cohort), row in known_when_minutes_began(done).items()
    ]


def write_cohorts(root: Path, done: Done) -> None:
    """Write the tables under a LAKEHOUSE_ROOT."""
    rules = [
        {
            "domain": "video",
            "rule": rule,
            "metric": "rebuffering_share",
            "cohort_kind": kind,
            "layer": kind,
        }
        for rule, kind in RULES.items()
    ]
    judgements = [
        {
            "window_start": at(window),
            "rule": rule,
            "breaches": [{"cohort": name} for name in names],
        }
        for (window, rule), names in breaches(done).items()
    ]
    for (name, schema), rows in zip(
        _SCHEMAS.items(), (minutes(done), judgements, rules), strict=True
    ):
        folder = root / "warehouse" / name
        folder.mkdir(parents=True, exist_ok=True)
        known = [{column: row[column] for column in schema.names} for row in rows]
        write_deltalake(folder, pa.Table.from_pylist(known, schema=schema), mode="overwrite")
