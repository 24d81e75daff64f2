"""The engine under use: producers send, people read and run dbt, all tables are compacted and
vacuumed beside them, and it is killed at random.

For MINUTES (default none), and until it has been ended in each manner; SEED chooses the moments
and the order. Both are printed. In the end bronze, silver and gold hold what was sent, as sets,
against a slow reference.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest
from deltalake import DeltaTable
from engine_process import EngineProcess, listening_addresses, wait_for
from pyhive import hive
from sender import Sender
from stocks_reference import with_fundamentals

from demo import stocks

DRAIN_TIMEOUT_S = 900
LONGEST_LIFE_S = 25
MANNERS = ("SIGTERM", "SIGKILL alone", "SIGKILL with JVM")
DBT = str(Path(sys.executable).with_name("dbt"))


class Reader(threading.Thread):
    """Someone who looks at gold by SQL all the time: no key twice, and nothing that vanishes."""

    def __init__(self, engine: EngineProcess) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self.stop = threading.Event()
        self.rows = 0
        self.newest: str | None = None
        self.complaints: list[str] = []

    def run(self) -> None:
        while not self.stop.wait(0.5):
            # Killed in between, or no table yet: the next one asks again.
            with suppress(Exception):
                self._read()

    def _read(self) -> None:
        with hive.connect("127.0.0.1", self._engine.thrift_port, username="reader") as connection:
            cursor = connection.cursor()
            while not self.stop.wait(0.5):
                cursor.execute(
                    "select count(*), count(distinct ticker, price_date) "
                    "from gold.priceWithFundamentals"
                )
                rows, keys = cursor.fetchone()
                cursor.execute("select max(price_date) from gold.priceWithFundamentals")
                self.newest = cursor.fetchone()[0]
                if rows != keys:
                    self.complaints.append(f"{rows} rows of {keys} keys")
                if rows < self.rows:
                    self.complaints.append(f"{self.rows} rows, then {rows}")
                self.rows = rows


class DbtUser(threading.Thread):
    """Someone who runs a model through the engine all the time, beside its own cycles."""

    def __init__(self, engine: EngineProcess) -> None:
        super().__init__(daemon=True)
        self._engine = engine
        self.stop = threading.Event()
        self.runs = 0
        self.complaints: list[str] = []

    def run(self) -> None:
        while not self.stop.wait(2):
            life = self._engine.life
            if life is None or not self._is_built():
                continue
            done = self._engine.run(
                *(DBT, "run", "--target", "engine", "--select", "average_close")
            )
            if done.returncode == 0:
                self.runs += 1
            elif self._engine.life == life:  # else it was killed in between
                self.complaints.append(done.stdout + done.stderr)

    def _is_built(self) -> bool:
        folder = self._engine.root / "warehouse" / "gold.db" / "average_close"
        return DeltaTable.is_deltatable(str(folder))


@pytest.fixture
def engine(tmp_path):
    engine = EngineProcess(tmp_path / "lakehouse", tmp_path / "landing", tmp_path / "engine.log")
    (tmp_path / "landing" / stocks.PRICES).mkdir(parents=True)
    (tmp_path / "landing" / stocks.FUNDAMENTALS).mkdir(parents=True)
    yield engine
    engine.end()


def table(root: Path, name: str) -> DeltaTable:
    schema, table = name.lower().split(".")
    return DeltaTable(root / "warehouse" / f"{schema}.db" / table)


def bronze(root: Path, name: str) -> Counter:
    rows = table(root, f"bronze.{name}").to_pyarrow_table(columns=["_key", "_ordinal", "data"])
    return Counter(
        (row["_key"].rpartition("landing/")[2], row["_ordinal"], row["data"])
        for row in rows.to_pylist()
    )


def gold(root: Path) -> dict:
    names = ("close", "fiscal_period", "period_end", "eps_basic_net", "eps_diluted_net")
    names += ("filing_type", "filed_date", "verified")
    rows = table(root, "gold.priceWithFundamentals").to_pyarrow_table().to_pylist()
    keyed = {(row["ticker"], row["price_date"]): tuple(row[n] for n in names) for row in rows}
    assert len(keyed) == len(rows)
    return keyed


def received_by_minute(root: Path) -> Counter:
    """Records by feed and minute of arrival, of the ledger."""
    rows = table(root, "bronze.ledger").to_pyarrow_table(
        columns=["feed", "ingested_at", "received"]
    )
    received: Counter = Counter()
    for row in rows.to_pylist():
        minute = row["ingested_at"].replace(second=0, microsecond=0)
        received[row["feed"], minute] += row["received"]
    return received


def told_by_minute(root: Path) -> Counter:
    """The same, of the live table of it."""
    rows = table(root, "gold.live_ingestion").to_pyarrow_table().to_pylist()
    return Counter({(row["feed"], row["window_start"]): row["received"] for row in rows})


def settle(engine: EngineProcess, sender: Sender) -> None:
    """Until gold holds what was sent."""
    expected = with_fundamentals(sender.landed(stocks.PRICES), sender.landed(stocks.FUNDAMENTALS))

    def is_there() -> bool:
        try:
            return gold(engine.root) == expected
        except Exception:  # noqa: BLE001 - no table yet, or a version that is being written
            return False

    wait_for(is_there, DRAIN_TIMEOUT_S, f"gold has what was sent; {engine.status()}")


def holds_what_was_sent(root: Path, sender: Sender) -> None:
    """Bronze and silver hold what was sent, and a live table nothing twice."""
    assert bronze(root, "stocksDailyPrices") == sender.places(stocks.PRICES)
    assert bronze(root, "stocksFundamentals") == sender.places(stocks.FUNDAMENTALS)
    silver = table(root, "silver.stocks_daily_prices").to_pyarrow_table().to_pylist()
    assert Counter(
        (row["ticker"], row["price_date"].isoformat(), float(row["close"]), row["volume"])
        for row in silver
    ) == Counter(
        (record["ticker"], record["price_date"], float(record["close"]), int(record["volume"]))
        for item in sender.landed(stocks.PRICES)
        for record in item.records
    )
    taken, told = received_by_minute(root), told_by_minute(root)
    assert told
    # It may leave out what came late, and counts nothing twice.
    assert {key: count for key, count in told.items() if count > taken[key]} == {}


def refused(done: subprocess.CompletedProcess[str], engine: EngineProcess) -> str:
    """The one line with which a command was refused."""
    assert done.returncode != 0
    lines = [
        line for line in (done.stdout + done.stderr).splitlines() if "an engine is running" in line
    ]
    assert len(lines) == 1, done.stdout + done.stderr
    assert f"pid {engine.pid}" in lines[0]
    assert "--target engine" in lines[0]
    assert "Traceback" not in done.stdout + done.stderr
    return lines[0]


def test_what_is_sent_stands_in_gold_whatever_is_killed(engine, tmp_path):
    minutes = float(os.environ.get("MINUTES") or 0)
    seed = int(os.environ.get("SEED") or 1)
    print(f"MINUTES={minutes:g} SEED={seed}")
    chance = random.Random(seed)
    sender, reader, user = Sender(tmp_path / "landing"), Reader(engine), DbtUser(engine)
    engine.launch()
    engine.wait_until("starting")
    assert engine.terminate() == 0

    engine.start()
    for port in (engine.thrift_port, engine.http_port):
        assert listening_addresses(port) == {"127.0.0.1"}
    sender.start()
    reader.start()

    # beside it: what has to go through the engine, and what goes through it
    refused(engine.run(sys.executable, "-m", "loaders", "up"), engine)
    refused(engine.run(sys.executable, "-m", "loaders", "run", "--once"), engine)
    refused(engine.run(DBT, "run"), engine)
    assert engine.run(DBT, "parse", "--quiet").returncode == 0
    user.start()

    ends, kills = time.monotonic() + 60 * minutes, 0
    manners: list[str] = []
    pause = threading.Event()
    while time.monotonic() < ends or manners or not kills:
        manners = manners or chance.sample(MANNERS, len(MANNERS))
        manner = manners.pop()
        pause.wait(chance.uniform(1, LONGEST_LIFE_S))
        if manner == "SIGTERM":
            assert engine.terminate() == 0
        else:
            engine.kill(with_jvm=manner == "SIGKILL with JVM")
        kills += 1
        print(f"ended by {manner}", flush=True)
        engine.owe_maintenance()
        engine.start()
    wait_for(lambda: user.runs or user.complaints, DRAIN_TIMEOUT_S, "dbt runs while it loads")
    user.stop.set()
    sender.stop()
    user.join()
    assert user.complaints == []
    settle(engine, sender)
    wait_for(lambda: not engine.owed(), DRAIN_TIMEOUT_S, f"maintained; {engine.status()}")

    wait_for(lambda: reader.rows == len(gold(engine.root)), DRAIN_TIMEOUT_S, "the reader sees it")
    reader.stop.set()
    reader.join()
    assert reader.complaints == []
    assert str(reader.newest) == str(max(day for _, day in gold(engine.root)))
    assert engine.get("healthz").startswith(("ok", "degraded"))
    assert engine.terminate() == 0

    holds_what_was_sent(engine.root, sender)
