"""game_alerts: of scripted incidents of a game, how many are found, when, and where they lie.

Simulated players: days on which nothing happens, then an incident every 48 minutes from ten in the
morning on, all kinds in turn; dbt builds gold.game_alerts of it at once, and what fired is held
against the script. The times are those of events: what Firehose, loader and dbt take is not in
them. BENCH_INCIDENTS=30, BENCH_QUIET_DAYS=3, BENCH_INSTALLS=3000 (new players a day), SEED=1.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from bench.games import passed_on
from bench.scripted import Scripted, built_alerts, judge, show
from demo.games import (
    CATALOGUE,
    CURRENCY_EXPLOIT,
    IMPOSSIBLE_LEVEL,
    MISPRICED_OFFER,
    PAYMENT_OUTAGE,
    SERVER_OUTAGE,
    SERVERS,
    Incident,
    Plan,
)
from loaders.games.contract import game_contract

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

INCIDENTS = int(os.environ.get("BENCH_INCIDENTS") or 30)
QUIET_DAYS = int(os.environ.get("BENCH_QUIET_DAYS") or 3)
INSTALLS = int(os.environ.get("BENCH_INSTALLS") or 3000)
SEED = int(os.environ.get("SEED") or 1)
START = datetime(2026, 3, 1, tzinfo=UTC)
FIRST_HOUR, A_DAY = 10, 15  # incidents of a day
APART, LENGTH = timedelta(minutes=48), timedelta(minutes=20)
DETECTION_MINUTES = 5
CHUNK = 200_000
LAYERS = {
    MISPRICED_OFFER: "config",
    IMPOSSIBLE_LEVEL: "config",
    CURRENCY_EXPLOIT: "economy",
    PAYMENT_OUTAGE: "store",
    SERVER_OUTAGE: "game_server",
}
RECORD = pa.schema([("data", pa.string()), ("_ordinal", pa.int64())])


def main() -> None:
    """Print each incident with its first alert, the false alerts, and the goals met or missed."""
    incidents = script()
    with tempfile.TemporaryDirectory(prefix="bench-game-alerts-") as name:
        folder = Path(name)
        os.environ["LAKEHOUSE_ROOT"] = str(folder / "lakehouse")
        events = simulate(folder, incidents)

        from loaders.session import get_spark

        spark = get_spark(resident=True)
        load(spark, folder, events)
        alerts = built_alerts(spark, "game_alerts")
        spark.stop()
    judged, false = judge(map(scripted, incidents), alerts, START + timedelta(days=days()))
    show(judged, false, START + timedelta(days=QUIET_DAYS), DETECTION_MINUTES)


def days() -> int:
    """How many are simulated."""
    return QUIET_DAYS + -(-INCIDENTS // A_DAY)


def script() -> list[Incident]:
    """All kinds in turn, each turn in another order, about what is drawn."""
    chance = random.Random(SEED)  # noqa: S311 - a game, no secrets
    about = {
        MISPRICED_OFFER: [offer.name for offer in CATALOGUE],
        IMPOSSIBLE_LEVEL: [f"level_{number:02}" for number in range(2, 9)],
        SERVER_OUTAGE: list(SERVERS),
    }
    kinds, incidents = list(LAYERS), []
    for number in range(INCIDENTS):
        if number % len(kinds) == 0:
            chance.shuffle(kinds)
        kind = kinds[number % len(kinds)]
        day, place = divmod(number, A_DAY)
        start = START + timedelta(days=QUIET_DAYS + day, hours=FIRST_HOUR) + place * APART
        end = start + LENGTH
        of = chance.choice(about.get(kind, [""]))
        incidents.append(Incident(kind, start.timestamp(), end.timestamp(), of))
    return incidents


def scripted(incident: Incident) -> Scripted:
    """An incident as it is judged by."""
    onset, end = (datetime.fromtimestamp(each, UTC) for each in (incident.start, incident.end))
    return Scripted(incident.kind, incident.about, onset, end, LAYERS[incident.kind])


def simulate(folder: Path, incidents: list[Incident]) -> int:
    """Write what the ingest service passes on as Parquet files; returns how many events."""
    plan = Plan(SEED, START, days(), INSTALLS, tuple(incidents))
    chunk: list[str] = []
    total = 0
    (folder / "events").mkdir()

    def write() -> None:
        ordinals = range(total - len(chunk), total)
        table = pa.table([pa.array(chunk), pa.array(ordinals, pa.int64())], schema=RECORD)
        pq.write_table(table, folder / "events" / f"{total:09}.parquet")
        chunk.clear()
        print(f"{total:,} events", file=sys.stderr, flush=True)

    for body in passed_on(plan):
        chunk.append(body.decode())
        total += 1
        if len(chunk) == CHUNK:
            write()
    write()
    return total


def load(spark: SparkSession, folder: Path, events: int) -> None:
    """Append the files to bronze, as one batch of the feed, and say so in the ledger."""
    from loaders import bronze
    from loaders.destinations import GameTables, destination_of
    from loaders.feeds import read_feeds
    from loaders.run import kind_of_feed

    feed = read_feeds()["game_events"]
    bronze.ensure_tables(spark, destination_of(feed), kind_of_feed(feed))
    place = ("'bench' as _bucket", "'events' as _key", "'1' as _version", "_ordinal")
    frame = spark.read.parquet(str(folder / "events")).selectExpr(
        *("data", *place, "current_timestamp() as _modified_at"),
        *("0L as _batch_id", "current_timestamp() as _ingested_at"),
    )
    GameTables(game_contract()).append(frame, bronze.append)
    entry = {"feed": "game_events", "batch_id": 0, "query_id": "bench", "size_bytes": 1}
    entry |= {"container": "bench", "item": "events", "version": "1", "modified_at": None}
    entry |= {"received": events, "kept": events, "duplicates": 0, "quarantined": 0}
    entry |= {"first_position": "0", "last_position": str(events - 1)}
    entry |= {"ingested_at": datetime.now(UTC)}
    bronze.append(spark.createDataFrame([entry], bronze.LEDGER_COLUMNS), bronze.LEDGER)


if __name__ == "__main__":
    main()
