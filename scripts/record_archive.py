"""Records the classes that a Spark session with Delta loads: python scripts/record_archive.py FILE.

The JVM writes the archive when it exits (class-data sharing). It serves later JVMs of the
same Java with the same class path: jars/*, then pyspark's own, seen from the project root.
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

STATEMENTS = """
create schema bronze
create table bronze.seen (id bigint, day date) using delta cluster by (day)
insert into bronze.seen select id, date'2024-01-01' from range(10)
create temporary view batch as select id, date'2024-01-01' as day from range(5, 15)
cache table batch
select count(*), min(day), max(day) from batch
merge into bronze.seen as s using batch as b on s.id = b.id and s.day = b.day
    when matched then update set * when not matched then insert *
select day, count(*) from bronze.seen group by day order by day
describe detail bronze.seen
describe history bronze.seen
show table extended in bronze like '*'
drop table bronze.seen
"""


def record(archive: Path, root: str) -> None:
    """Run a short session in the throw-away lakehouse `root`; its JVM leaves `archive` behind."""
    os.environ["LAKEHOUSE_ROOT"] = root
    os.environ["PYSPARK_PYTHON"] = sys.executable
    os.chdir(ROOT)

    from pyspark import SparkContext
    from pyspark.sql import SparkSession

    from loaders.session import spark_settings

    Path(root, "logs").mkdir()
    settings = spark_settings()
    options = settings["spark.driver.extraJavaOptions"].replace(
        "-XX:SharedArchiveFile=jars/spark.jsa", f"-XX:ArchiveClassesAtExit={archive}"
    )
    builder = SparkSession.builder.enableHiveSupport()
    for key, value in {**settings, "spark.driver.extraJavaOptions": options}.items():
        builder = builder.config(key, value)
    spark = builder.getOrCreate()
    for statement in STATEMENTS.replace("\n    ", " ").strip().splitlines():
        spark.sql(statement).collect()
    jvm = SparkContext._gateway.proc
    spark.stop()
    jvm.stdin.close()  # the JVM exits
    jvm.wait()


def main() -> None:
    """Record beside the archive and then take its place: half an archive would crash a JVM."""
    archive = Path(sys.argv[1]).resolve()
    fresh = archive.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as root:
        record(fresh, root)
    if not fresh.exists():
        sys.exit("the JVM wrote no archive")
    fresh.replace(archive)


if __name__ == "__main__":
    main()
