"""A game whose players leave for known reasons: their days, and profiles of them.

Each day a player leaves for good with a chance that grows with the levels failed, and with a crash;
until then they play on most days. Seeded: the same arguments give the same rows.
"""

from __future__ import annotations

import math
from datetime import date, timedelta
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from deltalake import write_deltalake

from loaders.ml.definitions import definition_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

START = date(2026, 3, 1)
GAME = "north/castles"
CHURN = definition_of("player_churn")
Row = dict[str, Any]

LEVELS_A_DAY = 6
DAILY_PLAY = 0.85
LEAVES_ANYWAY = 0.01
CRASHES = 0.04
# What a crash does, in levels failed.
OF_A_CRASH = 4
COUNTRIES = ("DE", "US", "FR", "BR")
NETWORKS = ("north_ads", "south_ads", None)
COUNTS = (
    *("sessions", "events", "levels_completed", "levels_failed", "levels_quit", "matches"),
    *("matchmakings", "offers_shown", "offers_refused", "purchases", "payments_failed", "ads"),
    "crashes",
)
DAYS = pa.schema(
    [
        ("activity_date", pa.date32()),
        ("game_id", pa.string()),
        ("player_id", pa.string()),
        *((name, pa.int64()) for name in COUNTS),
        ("waited_s", pa.float64()),
        ("_batch_id", pa.int64()),
    ]
)
PLAYERS = pa.schema(
    [
        ("game_id", pa.string()),
        ("player_id", pa.string()),
        ("first_active_on", pa.date32()),
        ("platform", pa.string()),
        ("country", pa.string()),
        ("network", pa.string()),
        ("_batch_id", pa.int64()),
    ]
)
# As silver.game_moves; none of theirs does.
MOVES = pa.schema(
    [
        ("game_id", pa.string()),
        ("player_id", pa.string()),
        ("is_play", pa.bool_()),
        ("happened_on", pa.date32()),
        ("left_at", pa.timestamp("us", "UTC")),
        ("_batch_id", pa.int64()),
    ]
)


def _type(number: str) -> pa.DataType:
    """As player_profile has it."""
    if number.endswith(("share_7", "wait_s_7")):
        return pa.float64()
    return pa.int32() if number in ("days_since_played", "tenure_days") else pa.int64()


PROFILE = pa.schema(
    [
        ("profile_date", pa.date32()),
        ("game_id", pa.string()),
        ("player_id", pa.string()),
        *((name, _type(name)) for name in CHURN.numbers),
        *((name, pa.string()) for name in CHURN.categories),
        ("_batch_id", pa.int64()),
    ]
)


def player_days(seed: int, players: int, days: int, effect: float = 3.0) -> list[Row]:
    """The days on which players play, as silver.game_player_days has them.

    Args:
        effect: how much failing all levels of a day drives a player away: the chance of leaving is
            exp(effect) times as high. Of a crash two thirds of it.
    """
    chance = Random(seed)  # noqa: S311 - a game, no secrets
    rows = []
    for number in range(players):
        struggles = chance.random()
        for day in range(chance.randrange(days), days):
            failed = sum(chance.random() < struggles for _ in range(LEVELS_A_DAY))
            crashes = int(chance.random() < CRASHES)
            if chance.random() < DAILY_PLAY:
                rows.append(_day(chance, number, day, failed, crashes))
            trouble = (failed + OF_A_CRASH * crashes) / LEVELS_A_DAY
            if chance.random() < LEAVES_ANYWAY * math.exp(effect * trouble):
                break
    return rows


def _day(chance: Random, number: int, day: int, failed: int, crashes: int) -> Row:
    shown, matches = chance.randint(0, 3), chance.randint(0, 4)
    return {
        "activity_date": START + timedelta(days=day),
        "game_id": GAME,
        "player_id": f"p{number}",
        "sessions": chance.randint(1, 4),
        "events": chance.randint(20, 200),
        "levels_completed": LEVELS_A_DAY - failed,
        "levels_failed": failed,
        "levels_quit": int(chance.random() < 0.1),
        "matches": matches,
        "matchmakings": matches,
        "offers_shown": shown,
        "offers_refused": chance.randint(0, shown),
        "purchases": int(chance.random() < 0.03),
        "payments_failed": int(chance.random() < 0.01),
        "ads": chance.randint(0, 5),
        "crashes": crashes,
        "waited_s": round(sum(chance.expovariate(1 / 12) for _ in range(matches)), 1),
        "_batch_id": 1,
    }


def players_of(days: Iterable[Row]) -> list[Row]:
    """Who they are, as silver.game_players has them."""
    first: dict[str, date] = {}
    for row in days:
        first.setdefault(row["player_id"], row["activity_date"])
    return [
        {
            "game_id": GAME,
            "player_id": player,
            "first_active_on": day,
            "platform": "ios" if number % 2 else "android",
            "country": COUNTRIES[number % len(COUNTRIES)],
            "network": NETWORKS[number % len(NETWORKS)],
            "_batch_id": 1,
        }
        for player, day in first.items()
        for number in [int(player[1:])]
    ]


def profiles(days: Sequence[Row]) -> list[Row]:
    """What stands in gold.player_profile of these days; slow and obvious."""
    by_player: dict[str, dict[date, Row]] = {}
    for row in days:
        by_player.setdefault(row["player_id"], {})[row["activity_date"]] = row
    who = {row["player_id"]: row for row in players_of(days)}
    newest = max(row["activity_date"] for row in days)
    found = []
    for player, played in by_player.items():
        first = who[player]["first_active_on"]
        for tenure in range(1, (newest - first).days + 1):
            day = first + timedelta(days=tenure)
            before = [played.get(day - timedelta(days=n)) for n in range(1, 29)]
            if any(before[:7]):
                known = {name: who[player][name] for name in CHURN.categories}
                key = {"profile_date": day, "game_id": GAME, "player_id": player, "_batch_id": 1}
                found.append(key | known | _figures(before) | {"tenure_days": tenure})
    return found


def _figures(before: Sequence[Row | None]) -> Row:
    """The figures of 28 days, yesterday first; None where the player did not play."""
    week = [row for row in before[:7] if row]
    month = [row for row in before if row]
    last = month[0]
    sums = {name: sum(row[name] for row in week) for name in (*COUNTS, "waited_s")}
    ended = sums["levels_failed"] + sums["levels_completed"]
    figures = {f"{name}_7": value for name, value in sums.items()} | {
        "days_since_played": before.index(last) + 1,
        "active_days_7": len(week),
        "active_days_7_before": sum(row is not None for row in before[7:14]),
        "active_days_28": len(month),
        "sessions_28": sum(row["sessions"] for row in month),
        "purchases_28": sum(row["purchases"] for row in month),
        "sessions_of_last_day": last["sessions"],
        "levels_failed_of_last_day": last["levels_failed"],
        "level_failure_share_7": _share(sums["levels_failed"], ended),
        "offer_refusal_share_7": _share(sums["offers_refused"], sums["offers_shown"]),
        "matchmaking_wait_s_7": _share(sums["waited_s"], sums["matchmakings"]),
    }
    return {name: figures[name] for name in CHURN.numbers if name in figures}


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def write_world(root: Path, days: Sequence[Row]) -> None:
    """Write days and profiles under a LAKEHOUSE_ROOT, as the next version of their tables."""
    write_table(root, "silver.game_player_days", days, DAYS)
    write_table(root, "gold.player_profile", profiles(days), PROFILE)


def write_table(root: Path, name: str, rows: Sequence[Row], schema: pa.Schema) -> Path:
    """Write rows as the next version of a table; returns its folder."""
    database, _, table = name.partition(".")
    folder = root / "warehouse" / f"{database}.db" / table
    folder.mkdir(parents=True, exist_ok=True)
    write_deltalake(folder, pa.Table.from_pylist(list(rows), schema=schema), mode="overwrite")
    return folder
