"""make demo: an embedded AWS, real data put into it, loaded, built, and shown."""

from __future__ import annotations

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click
from rich.box import SIMPLE
from rich.table import Column, Table

from demo import build, remedy, stocks, summary
from demo.aws import EmbeddedAws, SetupError, embedded_aws, environment
from demo.forget import forget_a_player
from demo.steps import console, step
from demo.use_cases import USE_CASES, UseCase
from loaders.batch_settings import LARGE_BATCH_BYTES, suited_to_batch
from loaders.dbt_project import BuildError, DbtProject, Node
from loaders.engine import root_to_itself
from loaders.feeds import read_feeds
from loaders.run import run_once
from loaders.session import ConfigurationError, get_spark

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from demo.remedy import Outage
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


VIEWERS = """
    select
        coalesce(device_type, 'older SDK') as device,
        count(*) as sessions,
        count_if(is_attempt) as attempts,
        count_if(is_play) as plays,
        cast(percentile(startup_ms, 0.5) as int) as median_startup_ms,
        sum(stalls) as stalls,
        round(100 * sum(stalled_ms) / sum(1000 * played_s + stalled_ms), 2) as rebuffering_percent
    from silver.playback_sessions
    group by device_type
    order by sessions desc
    limit 8
"""


PLAYERS = """
    select
        players.activity_date,
        players.dau,
        players.new_players,
        players.sessions,
        revenue.purchases,
        round(revenue.net_usd, 2) as net_usd,
        round(revenue.arpdau_usd, 3) as arpdau_usd
    from gold.players_daily as players
    left outer join gold.revenue_daily as revenue
        on
            players.activity_date = revenue.revenue_date
            and players.game_id = revenue.game_id
    order by players.activity_date desc
    limit 8
"""

# How long after a player first saw a wrong price its alert fired.
MISPRICED = """
    with

    wrong_shows as (

        select
            concat_ws(', ', shows.game_id, shows.offer_name) as cohort,
            shows.event_at,
            shows.price_minor,
            prices.price_minor as catalogue_minor
        from silver.game_offer_shown as shows
        inner join ops.game_offer_prices as prices
            on
                shows.game_id = prices.game_id
                and shows.sku = prices.sku
                and shows.currency = prices.currency
        where shows.price_minor <> prices.price_minor

    )

    select
        alerts.cohort as offer,
        concat(min(shows.price_minor), ' of ', min(shows.catalogue_minor)) as cents,
        date_format(min(shows.event_at), 'MM-dd HH:mm:ss') as first_shown,
        date_format(min(alerts.fired_at), 'MM-dd HH:mm:ss') as alert_fired,
        timestampdiff(second, min(shows.event_at), min(alerts.fired_at)) as seconds_later,
        count(distinct shows.event_at) as shown,
        max(alerts.state) as state
    from gold.game_alerts as alerts
    inner join wrong_shows as shows
        on alerts.cohort = shows.cohort
    where alerts.rule = 'offer_mispriced'
    group by alerts.cohort
"""

ALERTS = """
    select
        rule,
        cohort,
        severity,
        layer,
        state,
        date_format(started_at, 'HH:mm') as since,
        date_format(fired_at, 'HH:mm') as fired,
        round(worst_value, 3) as worst
    from gold.alerts
    where fired_at is not null and suppressed_by is null
    order by fired_at desc, severity, rule, cohort
    limit 8
"""


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
@click.option(
    "--only",
    type=click.Choice([case.name for case in USE_CASES]),
    help="Run one use case only.",
)
def demo(only: str | None) -> None:
    """Produce data, stream it into bronze, build silver and gold, show the result.

    \b
    stocks  real daily bars and filings: all but the last ten trading sessions, then one session
            more with every run
    games   simulated players of the last week, through the ingest service that takes personal data
            out of their events; an offer at a wrong price raises an alert; in the first run a
            player asks to be forgotten, and no file names them any more
    video   simulated viewers and the CDN's log; an edge fails, is found, moved away from, and the
            alert resolved

    Everything lies under LAKEHOUSE_ROOT (default ./lakehouse); delete that folder to start over.
    """
    cases = [case for case in USE_CASES if only in (None, case.name)]
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
        news, outages = deliver(cases, root)
        with step("Spark"):
            spark = session.result()
        stack.callback(spark.stop)
        project = DbtProject(root)
        pool.submit(project.import_dbt)  # takes seconds too, while the JVM loads
        new_bytes = load(spark, cases)
        # without news it is a build that was not green before, of who knows how much
        with suited_to_batch(spark, new_bytes or LARGE_BATCH_BYTES):
            build_tables(root, project, cases, [outage.viewers.now for outage in outages])
        for outage in outages:
            console.print("\n".join(run_its_course(outage, spark, project)), markup=False)
        show(root, spark, cases)
        if any(case.name == "games" for case in cases) and (said := forget_a_player(spark, root)):
            console.print(said, markup=False)
    console.print(f"{news}\n{time.monotonic() - started:.0f} s in all.\n\n{NEXT_STEPS}")


def use_only(aws: EmbeddedAws) -> None:
    """Point this process, and the JVM and workers it starts, at the embedded AWS alone."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        del os.environ[name]
    os.environ.update(environment(aws), LANDING=f"s3://{stocks.BUCKET}")


def deliver(cases: Sequence[UseCase], root: Path) -> tuple[str, list[Outage]]:
    """Have each use case send what is new; returns what that was, in words, and outages in it."""
    news, outages = [], []
    for case in cases:
        with step(f"producers of {case.name}") as current, ExitStack() as stack:
            producer = case.prepare(stack, root)
            current.outcome = producer.produce(current.advance)
            if outage := producer.outage():
                outages.append(outage)
        news.append(f"{case.name}: {current.outcome}")
    return "\n".join(news), outages


def load(spark: SparkSession, cases: Sequence[UseCase] = USE_CASES) -> int:
    """Load what is new into bronze; returns its bytes, as they lie in S3 and Kinesis."""
    batches: list[BatchReport] = []
    with step("loaders, to bronze") as current:

        def report(batch: BatchReport) -> None:
            batches.append(batch)
            current.line(
                f"{batch.feed}: {batch.kept:,} records of {batch.objects:,} objects "
                f"({batch.seconds:.1f} s)"
            )

        declared = read_feeds()
        feeds = [declared[name] for case in cases for name in case.feeds]
        failed = run_once(spark, feeds, report)
        for name, cause in failed.items():
            raise DemoError(f"feed {name}: {cause}")
        kept = sum(batch.kept for batch in batches)
        objects = sum(batch.objects for batch in batches)
        current.outcome = f"{kept:,} records of {objects:,} objects" if batches else "nothing new"
    return sum(batch.size_bytes for batch in batches)


def build_tables(
    root: Path,
    project: DbtProject,
    cases: Sequence[UseCase] = USE_CASES,
    clocks: Sequence[datetime] = (),
) -> None:
    """Run dbt, unless nothing has changed since it was green.

    Args:
        clocks: of those whose clock is behind: alerts stand as they stood then.
    """
    models = () if tuple(cases) == USE_CASES else tuple(case.models for case in cases)
    variables = {"alerts_as_of": f"{min(clocks):%Y-%m-%d %H:%M:%S}"} if clocks else {}
    with step("dbt build, to silver and gold") as current:
        if build.is_current(root, models):
            current.outcome = "skipped, nothing has changed since the last green build"
            return

        def report(node: Node) -> None:
            current.advance(node.number, node.total, node.name)
            if node.kind != "test":
                current.line(f"{node.kind} {node.name}: {node.status} ({node.seconds:.1f} s)")

        kinds = [result.kind for result in build.dbt_build(project, report, models, variables)]
        built = sum(kind in ("model", "seed") for kind in kinds)
        current.outcome = f"{built} models and seeds, {kinds.count('test')} tests passed"
        build.mark_current(root, models)


def run_its_course(outage: Outage, spark: SparkSession, project: DbtProject) -> list[str]:
    """Have an outage told, remedied and resolved; what happened when, as lines."""
    with step("alerts, to SNS and to the function that moves traffic") as current:
        project.parse()
        remedy.tell(spark, project)
        current.outcome = f"{len(outage.act())} told"
    with step("viewers, until traffic has moved and the alert is resolved") as current:
        sent = outage.go_on()
        current.outcome = f"{sent.events:,} player events, {sent.log_rows:,} rows of the CDN's log"
    new_bytes = load(spark, [case for case in USE_CASES if case.name == "video"])
    with step("dbt run, to the alerts") as current, suited_to_batch(spark, new_bytes):
        results = build.all_green(project.run("run", "--select", "+alerts"))
        current.outcome = f"{sum(result.kind == 'model' for result in results)} models"
    with step("alerts, to SNS") as current:
        remedy.tell(spark, project)
        current.outcome = f"{len(outage.act())} told"
    return outage.timeline(spark)


def show(root: Path, spark: SparkSession, cases: Sequence[UseCase] = USE_CASES) -> None:
    """Print gold's tables, and what each use case has to show."""
    table = Table(Column("gold", no_wrap=True), "", box=SIMPLE, padding=(0, 1, 0, 0))
    for title in ("rows", "newest", "KB", "files"):
        table.add_column(title, justify="right")
    for gold in summary.gold_tables(root, spark):
        table.add_row(
            gold.name,
            gold.kind,
            f"{gold.rows:,}",
            gold.newest_in_words,
            "-" if gold.size_bytes is None else f"{gold.size_bytes / 1024:,.0f}",
            "-" if gold.files is None else f"{gold.files:,}",
        )
    console.print(table)
    for case in cases:
        SHOWN[case.name](root, spark)


def show_stocks(root: Path, spark: SparkSession) -> None:
    """Print the first rows of viewPE, and where the chart lies."""
    from dashboard import stock_chart as chart  # bokeh takes seconds to import

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


def show_games(_root: Path, spark: SparkSession) -> None:
    """Print who played and what was paid, day by day, and which offer had a wrong price."""
    show_rows("players and revenue by day", spark.sql(PLAYERS))
    show_rows("an offer at a wrong price, and its alert", spark.sql(MISPRICED))


def show_video(_root: Path, spark: SparkSession) -> None:
    """Print what viewers experienced, by kind of device, and which alerts that raised."""
    show_rows("what viewers experienced", spark.sql(VIEWERS))
    show_rows("alerts", spark.sql(ALERTS))


def show_rows(title: str, rows: DataFrame) -> None:
    """Print a small table."""
    key, *others = rows.columns
    table = Table(Column(key, no_wrap=True), title=title, title_justify="left", box=SIMPLE)
    for column in others:
        table.add_column(column, overflow="fold")
    for row in rows.collect():
        table.add_row(*("-" if cell is None else str(cell) for cell in row))
    console.print(table)


SHOWN = {"stocks": show_stocks, "games": show_games, "video": show_video}


if __name__ == "__main__":
    main()
