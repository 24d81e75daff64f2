"""The HiveServer2 endpoint inside this JVM: dbt's target `engine`, beeline, BI tools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loaders.ports import HOST

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession


@contextmanager
def serving_sql(spark: SparkSession, port: int, root: Path) -> Iterator[None]:
    """Answer on loopback while the context lasts; each connection has a session of its own."""
    session = spark.newSession()
    for name, value in {
        "hive.server2.thrift.bind.host": HOST,
        "hive.server2.thrift.port": str(port),
        "hive.server2.logging.operation.enabled": "false",
        # By default /tmp/hive, which belongs to whoever on the machine was first.
        "hive.exec.scratchdir": f"{root}/scratch",
        "hive.exec.local.scratchdir": f"{root}/scratch",
    }.items():
        session.conf.set(name, value)
    hive = spark._jvm.org.apache.spark.sql.hive.thriftserver
    server = hive.HiveThriftServer2.startWithSparkSession(session._jsparkSession, False)
    try:
        yield
    finally:
        server.stop()
