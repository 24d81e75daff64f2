"""Spark Python data sources under the names that the eBook prints, for any Spark job."""

from __future__ import annotations

import tempfile
import zipfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark import SparkContext
    from pyspark.sql import SparkSession

# The folder, or the archive, from which this package was imported.
_HOME = Path(__file__).resolve().parents[2]


def register(spark: SparkSession) -> None:
    """Make the formats cloudFiles, s3-sqs and kinesis known; all that a foreign job needs."""
    from loaders.sources.cloud_files import CloudFiles
    from loaders.sources.kinesis import Kinesis
    from loaders.sources.s3_sqs import S3Sqs

    _make_importable(spark.sparkContext)
    for source in (CloudFiles, Kinesis, S3Sqs):
        spark.dataSource.register(source)


def _make_importable(context: SparkContext) -> None:
    """Have every Python worker find this package: a source is pickled by its name.

    Executors elsewhere get it as an archive. The process that plans a stream runs beside the
    driver and knows nothing of such archives, but takes the driver's PYTHONPATH.
    """
    context.environment["PYTHONPATH"] = str(_HOME)
    if not context.master.startswith("local") and _HOME.is_dir():
        context.addPyFile(_archive())


@cache
def _archive() -> str:
    path = Path(tempfile.mkdtemp(prefix="multihop-")) / "loaders.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted((_HOME / "loaders").rglob("*.py")):
            archive.write(file, file.relative_to(_HOME))
    return str(path)
