"""The folder in which a table is about to be created."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


def clear_empty_folder(spark: SparkSession, location: str) -> None:
    """Remove a table's folder in which no file is: what a kill while it was created leaves.

    `create table` of Delta's refuses a folder that is not empty, be it of folders alone, for good.
    """
    folder = spark._jvm.org.apache.hadoop.fs.Path(location)
    files = folder.getFileSystem(spark._jsparkSession.sessionState().newHadoopConf())
    if files.exists(folder) and not files.listFiles(folder, True).hasNext():
        files.delete(folder, True)
