"""The HiveServer2 endpoint inside this JVM: dbt's target `engine`, beeline, BI tools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from loaders.ports import HOST
from loaders.session import ANSWER_BY_STATISTICS

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def sql_settings(port: int) -> dict[str, str]:
    """What Spark has to be started with: Hive reads it once, with the metastore."""
    return {
        "spark.hadoop.hive.server2.thrift.bind.host": HOST,
        "spark.hadoop.hive.server2.thrift.port": str(port),
        "spark.hadoop.hive.server2.logging.operation.enabled": "false",
        ANSWER_BY_STATISTICS: "false",
    }


@contextmanager
def serving_sql(spark: SparkSession) -> Iterator[None]:
    """Answer on loopback while the context lasts; each connection has a session of its own."""
    hive = spark._jvm.org.apache.spark.sql.hive.thriftserver
    server = hive.HiveThriftServer2.startWithSparkSession(spark.newSession()._jsparkSession, False)
    try:
        yield
    finally:
        server.stop()
