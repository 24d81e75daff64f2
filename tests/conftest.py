"""One Spark session a process of a run; dbt runs inside it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import free_port

PROJECT_ROOT = Path(__file__).resolve().parent.parent
NEEDS_SPARK = (
    "tests/adapter/",
    "tests/pipeline/",
    "tests/demo/test_demo.py",
    "tests/ml/test_scoring.py",
    "tests/test_readme.py",
)
IN_PROCESSES_OF_THEIR_OWN = "tests/faults/"
# They take minutes each, and most of those waiting: never the last ones running.
LONG_STORIES = (IN_PROCESSES_OF_THEIR_OWN, "tests/soak/", "tests/cluster/")
OF_GAMES = (
    "tests/pipeline/test_player_erasure.py",
    "tests/pipeline/test_game",
    "tests/pipeline/test_roll_back.py",
)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """For `pytest -n 2`: one process has what needs Spark, the other the rest and the games.

    So both are busy to the end, and few files pay for the start of a second session. Stories of
    kills start all they need themselves: each may run in either. Not xdist's loadgroup: with
    pytest 9.2 its groups are lost.
    """
    from xdist.scheduler import LoadFileScheduling

    class SparkTogether(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = super()._split_scope(nodeid)
            if file.startswith(IN_PROCESSES_OF_THEIR_OWN):
                return nodeid
            if file.startswith(OF_GAMES):
                return "spark, of games"
            return "spark" if file.startswith(NEEDS_SPARK) else file

    config.option.loadscopereorder = False
    return SparkTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What keeps a process busy longest comes first; else the order of the files."""

    def rank(item: pytest.Item) -> int:
        if item.nodeid.startswith(LONG_STORIES):
            return 1
        if item.nodeid.startswith(OF_GAMES):
            return 2
        return 0 if item.nodeid.startswith(NEEDS_SPARK) else 3

    items.sort(key=rank)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LAKEHOUSE_ROOT of this run's own."""
    path = tmp_path_factory.mktemp("lakehouse")
    os.environ["LAKEHOUSE_ROOT"] = str(path)
    os.environ["DBT_TARGET_PATH"] = str(path / "target")
    os.environ["DBT_LOG_PATH"] = str(path / "logs")
    os.environ["DBT_PROFILES_DIR"] = str(PROJECT_ROOT / "profiles")
    return path


@pytest.fixture(scope="session")
def aws(root: Path) -> Iterator[Any]:
    """The embedded AWS; boto3 in this process, and in Spark's workers, reaches it alone."""
    from demo.aws import embedded_aws, environment

    with embedded_aws(root / "aws") as running:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(environment(running))
        yield running


@pytest.fixture(scope="session")
def spark(root: Path, aws: Any) -> Iterator[Any]:
    from loaders.session import ANSWER_BY_STATISTICS, get_spark
    from loaders.thrift import sql_settings

    # A whole run repays the full compiler: without it a file alone took a third less CPU, and the
    # whole a third more.
    # A test may have it answer as HiveServer2: a port is read at the start.
    session = get_spark(resident=True, settings=sql_settings(free_port()))
    session.conf.set(ANSWER_BY_STATISTICS, "true")  # as in the engine
    # Tests move a handful of rows: compiling a query costs more than it saves.
    session.conf.set("spark.sql.codegen.wholeStage", "false")
    session.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    session.conf.set("spark.sql.adaptive.enabled", "false")
    session.conf.set("spark.sql.leafNodeDefaultParallelism", "1")
    session.conf.set("spark.sql.shuffle.partitions", "1")
    yield session
    session.stop()


@pytest.fixture(scope="session")
def dbt(spark: Any) -> Callable[..., Any]:
    """Runs dbt in this process: dbt("build", "--select", …) returns dbtRunner's result.

    The project is read once, and again by `parse` and `compile`, whose manifest is written. Fails
    the test when dbt fails, unless expect_failure=True.
    """
    from dbt.cli.main import dbtRunner

    # `session`: that of the fixture, with its settings
    of_project = ("--project-dir", str(PROJECT_ROOT), "--target", "session", "--quiet")
    parsed = dbtRunner().invoke(["parse", *of_project]).result

    def run(*arguments: str, expect_failure: bool = False) -> Any:
        if arguments[0] in ("parse", "compile"):
            outcome = dbtRunner().invoke([*arguments, *of_project])
        else:
            runner = dbtRunner(manifest=parsed)
            outcome = runner.invoke([*arguments, *of_project, "--no-write-json"])
        if not expect_failure and not outcome.success:
            messages = [
                f"{result.node.name}: {result.message}"
                for result in getattr(outcome.result, "results", None) or []
                if result.status not in ("success", "pass", "no-op")
            ]
            pytest.fail(f"dbt {' '.join(arguments)}: {outcome.exception or messages}")
        return outcome

    return run


@pytest.fixture
def lakehouse(spark: Any, root: Path) -> Path:
    """An empty lakehouse: no table in any schema, no checkpoint."""
    return emptied(spark, root)


@pytest.fixture(scope="module")
def shared_lakehouse(spark: Any, root: Path) -> Path:
    """A lakehouse that is empty for the first test of a module that asks for it."""
    return emptied(spark, root)


@pytest.fixture(scope="session")
def empty_lakehouse(spark: Any, root: Path) -> Callable[[], Path]:
    """Empties the lakehouse, for a fixture that lasts longer than a module."""
    return lambda: emptied(spark, root)


def emptied(spark: Any, root: Path) -> Path:
    for (schema,) in spark.sql("show schemas").collect():
        if schema == "default":
            continue
        spark.sql(f"drop schema if exists {schema} cascade")
        shutil.rmtree(root / "warehouse" / f"{schema}.db", ignore_errors=True)
    for schema in ("bronze", "silver", "gold", "ops"):
        spark.sql(f"create schema if not exists {schema}")
    for folder in ("checkpoints", "progress"):
        shutil.rmtree(root / folder, ignore_errors=True)
    # Delta remembers the tables of the folders that are gone.
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
    return root
