"""One SparkSession, configured from profiles/profiles.yml: dbt and loaders cannot differ."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import yaml

from loaders.lock import (
    RootInUseError,
    metastore_in_use,
    require_free,
    require_metastore_free,
)
from loaders.machine import MachineError, require_java, require_writable

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_HOME = Path(__file__).resolve().parent.parent
# Submitted to a cluster the package is an archive; then the project is where one stands.
PROJECT_ROOT = _HOME if _HOME.is_dir() else Path.cwd()
PROFILES = PROJECT_ROOT / "profiles" / "profiles.yml"

# The quick compiler suits commands that end soon; a resident process wants the full one. G1's
# concurrent marking took 93 of 800 CPU seconds of a build; a resident process wants short pauses.
QUICK_COMPILER = "-XX:TieredStopAtLevel=1"
SIMPLE_COLLECTOR = "-XX:+UseParallelGC"
# What takes half a region is put among what is old, and begins a marking of the whole heap.
LARGE_REGIONS = "-XX:G1HeapRegionSize=8m"
# Where HiveServer2 makes the sessions, Delta may not answer from statistics: it takes dates for
# java.sql.Date there, which they are not, and `select max(day)` fails (tests/adapter).
ANSWER_BY_STATISTICS = "spark.databricks.delta.optimizeMetadataQuery.enabled"


class ConfigurationError(Exception):
    """Something the user can mend; the message says what and how, in one line."""


def lakehouse_root() -> Path:
    """Where everything that a run writes lies: LAKEHOUSE_ROOT, default ./lakehouse."""
    return Path(os.environ.get("LAKEHOUSE_ROOT") or PROJECT_ROOT / "lakehouse").absolute()


def prepare_root() -> Path:
    """Create the root and settle the paths that the profile leaves relative.

    Raises:
        ConfigurationError: the root cannot be written.
    """
    root = lakehouse_root()
    try:
        require_writable(root)
    except MachineError as error:
        raise ConfigurationError(str(error)) from error
    os.environ["LAKEHOUSE_ROOT"] = str(root)
    os.chdir(PROJECT_ROOT)  # jars/ and profiles/ are named from here, as in a plain dbt run
    return root


def read_profile(path: Path = PROFILES, target: str = "local") -> dict[str, Any]:
    """One target of the dbt profile, rendered as dbt renders it."""

    def env_var(name: str, default: str | None = None) -> str:
        value = os.environ.get(name, default)
        if value is None:
            raise ConfigurationError(f"{path.name} needs the environment variable {name}: set it")
        return value

    environment = jinja2.Environment(autoescape=False)  # noqa: S701 - YAML, no HTML
    environment.filters.update(as_number=float, as_bool=lambda value: value, as_native=str)
    profile = yaml.safe_load(path.read_text())["multihop"]

    def render(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: render(item) for key, item in value.items()}
        if isinstance(value, str):
            return environment.from_string(value).render(env_var=env_var)
        return value

    return render(profile["outputs"][target])


@cache
def spark_settings(*, resident: bool = False) -> dict[str, str]:
    """Spark's settings of the `local` target.

    A resident process has the full compiler and Java's own choice of a collector, and its tasks
    share the cores (tasks.py).
    """
    settings = dict(read_profile()["server_side_parameters"])
    if resident:
        settings["spark.scheduler.mode"] = "FAIR"
        options = settings["spark.driver.extraJavaOptions"]
        for of_short_runs in (QUICK_COMPILER, SIMPLE_COLLECTOR):
            options = options.replace(of_short_runs, "")
        # G1 else enlarges the heap for ten minutes, by collections that hold everything up.
        whole_heap = f"-Xms{settings['spark.driver.memory']}"
        settings["spark.driver.extraJavaOptions"] = f"{options} {LARGE_REGIONS} {whole_heap}"
    return settings


# What a cluster decides, or whoever submits to it.
_OF_A_PROCESS = (
    "spark.app.",
    "spark.buffer.pageSize",  # a task has 8,192 pages at most
    "spark.driver.",
    "spark.master",
    "spark.ui.",
)


def cluster_settings() -> dict[str, str]:
    """What a Spark Thrift server in a cluster needs of the `local` target's settings."""
    kept = {
        key: value for key, value in spark_settings().items() if not key.startswith(_OF_A_PROCESS)
    }
    return kept | {ANSWER_BY_STATISTICS: "false"}


def _submitted_settings() -> dict[str, str]:
    """What spark-submit was given, when it started this process; that stands above the profile."""
    if "PYSPARK_GATEWAY_PORT" not in os.environ:
        return {}
    from pyspark import SparkConf, SparkContext

    SparkContext._ensure_initialized()
    return dict(SparkConf().getAll())


def get_spark(*, resident: bool = False, settings: Mapping[str, str] | None = None) -> SparkSession:
    """The process's SparkSession, started on first use.

    Args:
        resident: for a process that stays.
        settings: of Spark, besides those of the profile.

    Raises:
        ConfigurationError: not set up, no Java, or another process has the root or its metastore.
    """
    root = prepare_root()
    try:
        require_free(root)
        require_metastore_free(root)
    except RootInUseError as error:
        raise ConfigurationError(str(error)) from error
    submitted = _submitted_settings()
    if not submitted:
        _require_set_up()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    warnings.filterwarnings("ignore", category=FutureWarning, module="pyspark")

    from pyspark.sql import SparkSession

    builder = SparkSession.builder.enableHiveSupport()
    for key, value in {**spark_settings(resident=resident), **(settings or {})}.items():
        if key not in submitted:
            builder = builder.config(key, value)
    spark = builder.getOrCreate()
    _leave_out_checksum_files(spark)
    for schema in ("bronze", "silver", "gold", "ops"):
        try:
            spark.sql(f"create schema if not exists {schema}")
        except Exception as error:
            if "metastore" in str(error).lower() or "derby" in str(error).lower():
                raise ConfigurationError(metastore_in_use(root)) from error
            raise
    return spark


def _require_set_up() -> None:
    try:
        require_java()
    except MachineError as error:
        raise ConfigurationError(str(error)) from error
    if not any((PROJECT_ROOT / "jars").glob("delta-spark*.jar")):
        raise ConfigurationError("Delta's jars are missing: run `make setup`")


def _leave_out_checksum_files(spark: SparkSession) -> None:
    """Have Hadoop write no `.crc` beside each local file, in this process.

    They are half of a Delta log's files, and its folder is listed whenever a table is looked at:
    40,000 files more are a second more. Files that have one keep it, and are held against it.
    """
    address = spark._jvm.java.net.URI("file:///")
    files = spark._jvm.org.apache.hadoop.fs.FileSystem.get(
        address, spark._jsc.hadoopConfiguration()
    )
    files.setWriteChecksum(False)


# Small statements, commits above all, wait for the disk and the driver more than for a core.
_THREADS = 6


def in_threads(spark: SparkSession, deed: Callable[[str], None], names: Iterable[str]) -> None:
    """Do a deed for each name, some at a time, as part of the job that the caller's thread is at.

    Raises:
        Exception: what the deed raised for the first name that failed, when all are through.
    """
    from pyspark import inheritable_thread_target

    with ThreadPoolExecutor(_THREADS) as pool:
        futures = [
            # made anew for each: it carries the properties of this thread into the other
            pool.submit(inheritable_thread_target(spark)(deed), name)
            for name in names
        ]
    for future in futures:
        future.result()
