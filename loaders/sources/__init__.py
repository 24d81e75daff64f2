"""Spark Python data sources under the names that the eBook prints, for any Spark job."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def register(spark: SparkSession) -> None:
    """Make the formats cloudFiles, s3-sqs and kinesis known; all that a foreign job needs."""
    from loaders.sources.cloud_files import CloudFiles
    from loaders.sources.kinesis import Kinesis
    from loaders.sources.s3_sqs import S3Sqs

    for source in (CloudFiles, Kinesis, S3Sqs):
        spark.dataSource.register(source)
