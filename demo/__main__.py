"""make demo: an embedded AWS, real data put into it, loaded, built, and shown."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import boto3
import click
from botocore.config import Config
from rich.box import SIMPLE
from rich.table import Table

from demo import build, stocks, summary
from demo.aws import EmbeddedAws, SetupError, embedded_aws, environment
from demo.steps import console, step
from loaders.dbt_project import BuildError, DbtProject, Node
from loaders.engine import root_to_itself
from loaders.feeds import read_feeds
from loaders.queues import create_queue
from loaders.run import run_once
from loaders.session import ConfigurationError, get_spark

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

    from loaders.bronze import BatchReport

TICKER = "AAPL"
# As the eBook prints it.
VIEW_PE = f'select * from viewPE where ticker == "{TICKER}" order by price_date'
FIRST_ROWS = 5
NEXT_STEPS = f"""\
Go on with
  make demo                                              deliver and load the next session
  .venv/bin/python -m loaders status                     what was loaded, how far each feed is
  .venv/bin/dbt test --profiles-dir profiles             test every table
  .venv/bin/dbt show --profiles-dir profiles --inline \\
    'select * from gold.price_earnings_ttm where ticker = "{TICKER}" order by price_date desc'
  make docs                                              the documentation of all tables"""


class DemoError(Exception):
    """A step ended badly; the message says which and why, in one line."""


def main() -> None:
    """Run the command; a mistake that can be mended ends in one line."""
    try:
        demo(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (ConfigurationError, SetupError, DemoError, BuildError) as error:
        click.echo(f"demo: {error}", err=True)
        sys.exit(1)
    except (KeyboardInterrupt, click.Abort):
        click.echo("demo: stopped; the next run goes on from here", err=True)
        sys.exit(130)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", type=click.Choice(["stocks"]), help="Run one use case only.")
def demo(only: str | None) -> None:  # noqa: ARG001 - there is one use case so far
    """Produce real stock data, stream it into bronze, build silver and gold, show the result.

    The first run delivers everything but the last ten trading sessions; every later run
    delivers one session more, and loads only that. Everything lies under LAKEHOUSE_ROOT
    (default ./lakehouse); delete that folder to start over.
    """
    started = time.monotonic()
    with ExitStack() as stack:
        root = stack.enter_context(root_to_itself()).path
        console.print(f"multihop demo, everything under {root}")
        with step("embedded AWS") as current:
            aws = stack.enter_context(embedded_aws(root / "aws"))
            current.outcome = f"answers at {aws.endpoint_url}"
        use_only(aws)
        pool = stack.enter_context(ThreadPoolExecutor(1))
        session = pool.submit(get_spark)  # starts while the producers write
        news = deliver()
        with step("Spark"):
            spark = session.result()
        stack.callback(spark.stop)
        project = DbtProject(root)
        pool.submit(project.import_dbt)  # takes seconds too, while the JVM loads
        load(spark)
        build_tables(root, project)
        show(root, spark)
    console.print(f"{news}.\n{time.monotonic() - started:.0f} s in all.\n\n{NEXT_STEPS}")


def use_only(aws: EmbeddedAws) -> None:
    """Point this process, and the JVM and workers it starts, at the embedded AWS alone."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(environment(aws), LANDING=f"s3://{stocks.BUCKET}")


def deliver() -> str:
    """Put the next delivery into the landing bucket; returns what was new, in words.

    S3 announces the price objects to a queue, from which their feed takes them.
    """
    s3 = boto3.client("s3", config=Config(max_pool_connections=stocks.THREADS))
    with step(f"producers, to s3://{stocks.BUCKET}/{stocks.PREFIX}") as current:
        stocks.make_bucket(s3)
        queue = create_queue("stocks_daily_prices", f"s3://{stocks.BUCKET}/{stocks.PRICES}")
        os.environ["STOCKS_PRICES_QUEUE"] = queue.queue_url
        delivery = stocks.produce(s3, progress=current.advance)
        current.outcome = describe(delivery)
    return current.outcome


def describe(delivery: stocks.Delivery) -> str:
    """What was new in a delivery, in words."""
    news = [
        f"{count:,} new {what}{'s' if count != 1 else ''}: {records:,} {of_what}"
        for count, what, records, of_what in (
            (delivery.sessions, "session", delivery.bars, "bars"),
            (delivery.filing_dates, "filing date", delivery.filings, "filings"),
        )
        if count
    ]
    return f"{', '.join(news) or 'nothing new'} (up to {delivery.until})"


def load(spark: SparkSession) -> None:
    """Load what is new into bronze."""
    batches: list[BatchReport] = []
    with step("loaders, to bronze") as current:

        def report(batch: BatchReport) -> None:
            batches.append(batch)
            current.line(
                f"{batch.feed}: {batch.kept:,} records of {batch.objects:,} objects "
                f"({batch.seconds:.1f} s)"
            )

        declared = read_feeds()
        failed = run_once(spark, [declared[name] for name in stocks.FEEDS], report)
        for name, cause in failed.items():
            raise DemoError(f"feed {name}: {cause}")
        kept = sum(batch.kept for batch in batches)
        objects = sum(batch.objects for batch in batches)
        current.outcome = f"{kept:,} records of {objects:,} objects" if batches else "nothing new"


def build_tables(root: Path, project: DbtProject) -> None:
    """Run dbt, unless nothing has changed since it was green."""
    with step("dbt build, to silver and gold") as current:
        if build.is_current(root):
            current.outcome = "skipped, nothing has changed since the last green build"
            return

        def report(node: Node) -> None:
            current.advance(node.number, node.total, node.name)
            if node.kind != "test":
                current.line(f"{node.kind} {node.name}: {node.status} ({node.seconds:.1f} s)")

        kinds = [result.kind for result in build.dbt_build(project, report)]
        built = sum(kind in ("model", "seed") for kind in kinds)
        current.outcome = f"{built} models and seeds, {kinds.count('test')} tests passed"
        build.mark_current(root)


def show(root: Path, spark: SparkSession) -> None:
    """Print gold's tables, the first rows of viewPE, and where the chart lies."""
    from demo import chart  # bokeh takes seconds to import

    table = Table("gold", "", box=SIMPLE, padding=(0, 1, 0, 0))
    for title in ("rows", "newest", "KB", "files"):
        table.add_column(title, justify="right")
    for gold in summary.gold_tables(root, spark):
        table.add_row(
            gold.name,
            gold.kind,
            f"{gold.rows:,}",
            str(gold.newest or "-"),
            "-" if gold.size_bytes is None else f"{gold.size_bytes / 1024:,.0f}",
            "-" if gold.files is None else f"{gold.files:,}",
        )
    console.print(table)

    spark.sql("use gold")
    view = spark.sql(VIEW_PE)
    rows = view.limit(FIRST_ROWS).collect()
    table = Table(*view.columns, title=f"{VIEW_PE};", title_justify="left", box=SIMPLE)
    for row in rows:
        table.add_row(*(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row))
    console.print(table)

    blueprint = view.select("price_date", "pe").toArrow()
    page = root / "charts" / f"{TICKER.lower()}_price_and_pe.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text(
        chart.draw(
            TICKER, chart.read_valuation(root, TICKER), blueprint, chart.read_filings(root, TICKER)
        )
    )
    console.print(f"Chart: {page}")


if __name__ == "__main__":
    main()
