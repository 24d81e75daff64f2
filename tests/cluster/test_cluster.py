"""A cluster of its own: a Spark master and two workers, loaders submitted to it, dbt over thrift.

All are processes from the pip package, on loopback, with a root that each of them sees. What comes
out must equal an embedded run's, although a worker is killed while the loader runs.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyspark
import pytest
from deltalake import DeltaTable

from demo import stocks
from loaders.session import PROJECT_ROOT, QUICK_COMPILER

SPARK_HOME = Path(pyspark.__file__).parent
FIRST, LAST = date(2010, 1, 4), date(2010, 1, 29)
TABLES = (
    "bronze/stocksdailyprices",
    "bronze/stocksfundamentals",
    "silver/stocks_daily_prices",
    "silver/stocks_fundamentals_filed",
    "silver/stocks_fundamentals",
    "silver/stocks_quarters_known",
    "gold/stocksdailypriceswfund",
    "gold/pricewithfundamentals",
    "gold/average_close",
    "gold/price_earnings_ttm",
)
MODELS = "stock_splits path:models/silver/stocks+ path:models/gold/stocks"
# Tests move a handful of rows: compiling a query costs more than it saves.
SETTINGS = (
    "spark.executor.memory=600m",
    f"spark.executor.extraJavaOptions={QUICK_COMPILER}",
    "spark.log.level=WARN",
    "spark.sql.adaptive.enabled=false",
    "spark.sql.codegen.factoryMode=NO_CODEGEN",
    "spark.sql.codegen.wholeStage=false",
)
# The time at which a batch was planned, which no two runs share.
PLANNED_AT = "_ingested_at"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Site:
    """A lakehouse root, and the environment of the processes that work on it."""

    root: Path
    landing: Path
    more: dict[str, str] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "DBT_", "PYTHON", "SPARK_", "PYTEST"))
        }
        return inherited | {
            "LAKEHOUSE_ROOT": str(self.root),
            "LANDING": str(self.landing),
            "DBT_PROFILES_DIR": str(PROJECT_ROOT / "profiles"),
            "DBT_TARGET_PATH": str(self.root / "target"),
            "DBT_LOG_PATH": str(self.root / "logs"),
            "PYSPARK_PYTHON": sys.executable,
            "SPARK_HOME": str(SPARK_HOME),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "SPARK_DRIVER_MEMORY": "1g",
            "SPARK_DAEMON_JAVA_OPTS": QUICK_COMPILER,
            **self.more,
        }

    def start(self, *command: str, log: str) -> subprocess.Popen[str]:
        """Start a process in a group of its own; what it prints goes to logs/<log>."""
        (self.root / "logs").mkdir(parents=True, exist_ok=True)
        with (self.root / "logs" / log).open("w") as output:
            return subprocess.Popen(
                command,
                cwd=PROJECT_ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )

    def said(self, log: str) -> str:
        return (self.root / "logs" / log).read_text()

    def dbt(self, *arguments: str, log: str = "dbt.out") -> None:
        dbt = str(Path(sys.executable).parent / "dbt")
        process = self.start(dbt, *arguments, log=log)
        assert process.wait() == 0, self.said(log)[-4000:]

    def rows(self, table: str) -> Counter[str]:
        schema, name = table.split("/")
        found = DeltaTable(self.root / "warehouse" / f"{schema}.db" / name).to_pyarrow_table()
        kept = found.select(sorted(set(found.column_names) - {PLANNED_AT}))
        return Counter(json.dumps(row, default=str) for row in kept.to_pylist())


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """Ends the process and what it started, by their group."""
    try:
        yield process
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
            except ProcessLookupError:
                break
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                continue
        process.wait()


def until(condition: Any, process: subprocess.Popen[str], what: str, seconds: float = 900) -> None:
    """Wait until something is so; fails when the process that is to bring it about has ended."""
    deadline, pause = time.monotonic() + seconds, threading.Event()
    while not condition():
        assert process.poll() is None, f"ended before {what}"
        assert time.monotonic() < deadline, f"no {what}"
        pause.wait(0.1)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four weeks of sessions and what was filed in them, in a folder."""
    folder = tmp_path_factory.mktemp("landing")
    for item in stocks.landing_objects(LAST):
        if item.key.rsplit("/")[-1] >= FIRST.isoformat() or stocks.FUNDAMENTALS in item.key:
            path = folder / item.key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(item.body)
            os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


@pytest.fixture(scope="module")
def embedded(landing: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The same data, loaded and built on one machine; ends when the cluster is through."""
    site = Site(tmp_path_factory.mktemp("embedded"), landing)
    script = (
        "from dbt.cli.main import dbtRunner\n"
        "from loaders.feeds import read_feeds\n"
        "from loaders.run import run_once\n"
        "from loaders.session import get_spark\n"
        f"feeds = [read_feeds()[name] for name in {stocks.FEEDS}]\n"
        "assert run_once(get_spark(), feeds, print) == {}\n"
        f"built = dbtRunner().invoke(['build', '--select', *{MODELS.split()}, "
        "'--exclude-resource-type', 'unit_test'])\n"
        "raise SystemExit(not built.success)\n"
    )
    site.process = site.start(sys.executable, "-c", script, log="embedded.out")
    with ended(site.process):
        yield site


@pytest.fixture(scope="module")
def cluster(landing: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Loaded by spark-submit, built by dbt over thrift; one worker is killed on the way."""
    site = Site(tmp_path_factory.mktemp("cluster"), landing)
    port = free_port()
    url, spark_class = f"spark://127.0.0.1:{port}", str(SPARK_HOME / "bin" / "spark-class")
    with ExitStack() as running:

        def start(name: str, *arguments: str, log: str) -> subprocess.Popen[str]:
            process = site.start(
                spark_class, f"org.apache.spark.deploy.{name}", *arguments, log=log
            )
            return running.enter_context(ended(process))

        loopback = ("--host", "127.0.0.1")
        master = start(
            "master.Master",
            *(*loopback, "--port", str(port), "--webui-port", str(free_port())),
            log="master.out",
        )
        until(lambda: listens(port), master, "master")
        workers = [
            start(
                "worker.Worker",
                *(*loopback, "--webui-port", str(free_port()), "-c", "1", "-m", "1G"),
                *("-d", str(site.root / f"worker{number}"), url),
                log=f"worker{number}.out",
            )
            for number in range(2)
        ]
        jars = sorted(str(jar) for jar in (PROJECT_ROOT / "jars").glob("*.jar"))
        submit = [
            str(SPARK_HOME / "bin" / "spark-submit"),
            *("--master", url, "--driver-memory", "1g", "--driver-class-path", "jars/*"),
            *("--jars", ",".join(jars), "--driver-java-options", QUICK_COMPILER),
            *(part for setting in SETTINGS for part in ("--conf", setting)),
        ]
        _load(site, submit, workers[1], running)
        _serve(site, submit, running)
        site.dbt("build", "--target", "cluster", "--exclude-resource-type", "unit_test",
                 "--select", *MODELS.split())  # fmt: skip
        yield site


def _load(site: Site, submit: list[str], victim: Any, running: ExitStack) -> None:
    """python -m loaders run --once, submitted; a worker dies when the first batch is in."""
    archive = site.root / "loaders.zip"
    with zipfile.ZipFile(archive, "w") as package:
        for file in (PROJECT_ROOT / "loaders").rglob("*.py"):
            package.write(file, file.relative_to(PROJECT_ROOT))
    loader = running.enter_context(
        ended(
            site.start(
                *(*submit, "--py-files", str(archive), "loaders/__main__.py"),
                *("run", "--once", "--json", *stocks.FEEDS),
                log="loader.out",
            )
        )
    )
    until(lambda: '"batch_id": 0' in site.said("loader.out"), loader, "batch")
    os.killpg(victim.pid, signal.SIGKILL)
    assert loader.wait() == 0, site.said("loader.out")[-4000:]


def _serve(site: Site, submit: list[str], running: ExitStack) -> None:
    """A Spark Thrift server in the cluster, and where the target `cluster` finds it."""
    settings = subprocess.run(
        [sys.executable, "-m", "loaders", "spark-conf"],
        check=True,
        cwd=PROJECT_ROOT,
        env=site.environment,
        capture_output=True,
        text=True,
    ).stdout
    (site.root / "spark.conf").write_text(settings)
    port = free_port()
    server = site.start(
        *(*submit, "--properties-file", str(site.root / "spark.conf")),
        *("--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2", "spark-internal"),
        *("--hiveconf", f"hive.server2.thrift.port={port}"),
        *("--hiveconf", "hive.server2.thrift.bind.host=127.0.0.1"),
        log="thrift.out",
    )
    running.enter_context(ended(server))
    until(lambda: listens(port), server, "thrift server")
    site.more["CLUSTER_PORT"] = str(port)


@pytest.mark.parametrize("table", TABLES)
def test_a_cluster_makes_the_same_rows_as_one_machine(
    embedded: Site, cluster: Site, table: str
) -> None:
    assert embedded.process.wait() == 0, embedded.said("embedded.out")[-4000:]
    expected = embedded.rows(table)
    assert expected
    assert cluster.rows(table) == expected


def test_operations_run_over_thrift(cluster: Site) -> None:
    for number, (name, arguments) in enumerate(
        (
            ("optimize_tables", "{schema: gold, full: true}"),
            ("delete_expired", "{dry_run: true}"),
            ("vacuum_tables", "{schema: gold, dry_run: true}"),
            ("table_health", "{schema: gold}"),
            ("restore_table", "{table: gold.average_close, version: 0}"),
        )
    ):
        log = f"operation{number}.out"
        cluster.dbt("run-operation", name, "--args", arguments, "--target", "cluster", log=log)
    assert "gold.average_close" in cluster.said("operation3.out")


def test_a_second_run_over_thrift_finds_nothing_new(cluster: Site) -> None:
    cluster.dbt("run", "--target", "cluster", "--select", "average_close", log="again.out")
    assert "OK nothing new" in cluster.said("again.out")


def test_unit_tests_run_over_thrift(cluster: Site) -> None:
    cluster.dbt(
        *("test", "--target", "cluster", "--select", "average_close,test_type:unit"),
        log="unit.out",
    )
