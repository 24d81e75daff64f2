"""Game events from bronze to gold, in three batches that come in no order, against a slow, plain
reference over all of them at once, and against a full refresh.

Some deliveries come before an earlier one of the same event, and tell of another time, mostly of
another day: so events move when the earlier one comes."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from datetime import UTC, timedelta
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import games_reference as games
import pytest
from deltalake import DeltaTable

from demo.games import (
    APPLICATION,
    CATALOGUE,
    DAY,
    HOUR,
    IMPOSSIBLE_LEVEL,
    MISPRICED_OFFER,
    Incident,
    Plan,
    Simulation,
)
from loaders.bronze import ensure_tables
from loaders.destinations import destination_of
from loaders.feeds import read_feeds
from loaders.games.contract import game_contract
from loaders.run import kind_of_feed
from loaders.session import PROJECT_ROOT

SEEDS = ("game_currencies", "game_offer_prices", "alert_rules", "churn_reasons")
GAMES = (*SEEDS, "path:models/silver/games", "path:models/gold/games")
START = Plan().start.timestamp()
PLAN = Plan(
    days=9,
    installs=6,
    incidents=(
        Incident(IMPOSSIBLE_LEVEL, START + 3 * 86_400, START + 5 * 86_400, "level_05"),
        Incident(MISPRICED_OFFER, START + 6 * 86_400, START + 7 * 86_400, "weekend_gems"),
    ),
    duplicates=0.02,
    late=0.03,
    skewed=0.2,
    refunds=1.0,
    heartbeat_seconds=7200,
)
BATCHES = 3
PRICES = {(f"north/{APPLICATION}", offer.sku, "USD"): offer.price_minor for offer in CATALOGUE}


class Played(NamedTuple):
    simulation: Simulation
    batches: list[list[games.Event]]

    def events(self) -> list[games.Event]:
        return [event for batch in self.batches for event in batch]


@pytest.fixture(scope="module")
def played() -> Played:
    """A simulation, and its events in batches, with what the simulator does not do besides."""
    simulation, events = games.passed_on(PLAN)
    chance = Random(3)

    def again(event: games.Event, **data: Any) -> games.Event:
        new_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        return event | {"event_id": new_id, "event_data": event["event_data"] | data}

    bought = [event for event in events if event["event_type"] == "iap_purchase"]
    events += [
        again(bought[0]),  # a transaction that is reported twice
        again(bought[1], transaction_id="t-yen", currency="JPY"),
        again(bought[2], transaction_id="t-false", receipt_valid=False),
    ]
    truth = simulation.truth
    # after the game was at rest for more than a month
    back = again(
        min((e for e in events if e["event_type"] == "login"), key=itemgetter("ingest_ts"))
    )
    for time in ("event_timestamp", "sent_timestamp", "ingest_ts"):
        back[time] += 50 * DAY
    back["session_id"] = "s-back"
    truth.endless.add(back["session_id"])
    truth.active[50] = {back["player_id"].removeprefix("p-")}
    chance.shuffle(events)
    moving = {event["event_id"]: chance.uniform(-20, 20) * HOUR for event in events[::20]}
    # a day on which nobody else plays
    last = max(
        (e for e in events if e["event_type"] == "level_end"), key=itemgetter("event_timestamp")
    )
    moving[last["event_id"]] = 3 * DAY
    staying = [event for event in events if event["event_id"] not in moving]
    arriving_last = [event for event in events if event["event_id"] in moving]
    batches = [staying[batch::BATCHES] for batch in range(BATCHES)]
    for before, batch in pairwise([batches[-1], *batches]):  # some of the one before again
        batch.extend(before[:: 20 * BATCHES])
    batches[0] += [taken_later(event, moving[event["event_id"]]) for event in arriving_last]
    batches[-1] += [*arriving_last, back]
    return Played(simulation, batches)


def taken_later(event: games.Event, seconds: float) -> games.Event:
    """A delivery that was taken two hours later and says that it happened at another time."""
    taken = event["ingest_ts"] + 2 * HOUR
    happened = games.once([event])[0]["at"].timestamp() + seconds
    return event | {
        "ingest_ts": taken,
        "sent_timestamp": taken - (happened - event["event_timestamp"]),
    }


@pytest.fixture(scope="module")
def once(played: Played) -> list[games.Event]:
    return games.once(played.events())


@pytest.fixture(scope="module")
def built(
    spark: Any,
    dbt: Callable[..., Any],
    shared_lakehouse: Path,
    played: Played,
) -> None:
    """Silver and gold, built of the first batch and brought up to date by the others."""
    feed = read_feeds()["game_events"]
    ensure_tables(spark, destination_of(feed), kind_of_feed(feed))
    for batch, events in enumerate(played.batches):
        games.append_batch(spark, events, batch)
        if batch == 0:  # what gold and sessions do not read is built at once below
            dbt("seed", "--select", *SEEDS)
            unit_tested = "game_client_error"  # its unit test asks for the columns of its table
            dbt("run", "--select", "+path:models/gold/games", "game_sessions", unit_tested)
        if batch == BATCHES - 1:  # two at once
            dbt("build", "--select", *GAMES)


def rows(spark: Any, query: str) -> Counter:
    return Counter(
        tuple(value.replace(tzinfo=UTC) if hasattr(value, "hour") else value for value in row)
        for row in spark.sql(query).collect()
    )


def test_every_event_is_kept_once_in_the_table_of_its_type_and_in_that_of_all(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    query = " union all ".join(
        f"select '{event.name}', event_id, event_at, player_id from silver.{event.table}"
        for event in game_contract().events
    )
    expected = Counter((e["event_type"], e["event_id"], e["at"], e.get("player_id")) for e in once)
    assert rows(spark, query) == expected
    query = "select event_type, event_id, event_at, player_id from silver.game_events"
    assert rows(spark, query) == expected


def test_every_event_is_counted_in_one_minute_of_gold(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    """What the service took is in bronze: tests/loaders/test_ingest*.py, test_game_events.py."""
    query = (
        "select minute, substring_index(cohort, ', ', -1), events from gold.game_minutes"
        " where metric = 'event_share'"
    )
    minutes = Counter(
        (e["at"].replace(second=0, microsecond=0, tzinfo=None), e["event_type"]) for e in once
    )
    assert {tuple(row[:2]): row[2] for row in spark.sql(query).collect()} == minutes


def test_wrong_clocks_are_put_right(spark: Any, built: None, played: Played) -> None:
    query = "select distinct player_id from silver.game_events where is_clock_wrong"
    skewed = {(f"p-{user_id}",) for user_id in played.simulation.truth.skew}
    assert rows(spark, query).keys() == skewed
    assert skewed


def test_players_are_active_on_the_days_on_which_they_really_played(
    spark: Any, built: None, played: Played
) -> None:
    query = (
        "select datediff(activity_date, date'2026-03-01'), player_id from silver.game_player_days"
    )
    active = played.simulation.truth.active
    expected = {(day, f"p-{user_id}") for day, users in active.items() for user_id in users}
    assert set(rows(spark, query)) == expected


def test_sessions_are_those_of_the_reference(
    spark: Any,
    built: None,
    once: list[games.Event],
    played: Played,
) -> None:
    query = (
        "select player_id, session_id, started_at, ended_at, is_end_inferred, played_s, events"
        " from silver.game_sessions"
    )
    found = rows(spark, query)
    assert found == Counter(games.sessions(once))
    assert {row[1] for row in found if row[4]} == played.simulation.truth.endless


def test_daily_players_are_those_of_the_reference(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    query = (
        "select activity_date, dau, wau, mau, new_players, retained_players from gold.players_daily"
    )
    assert rows(spark, query) == Counter(games.players_daily(once))


def test_cohorts_are_retained_as_in_the_reference(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    query = "select cohort_date, day_number, players, active_players from gold.retention_cohorts"
    assert rows(spark, query) == Counter(games.retention_cohorts(once))


def test_players_are_profiled_by_what_was_known_when_a_day_began(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    query = f"select profile_date, player_id, {games.PROFILE} from gold.player_profile"
    found = {(day, player): tuple(row) for day, player, *row in spark.sql(query).collect()}
    assert found == games.player_profile(once)
    days = {day for day, _ in found}
    assert len(days) >= PLAN.days - 1


def test_revenue_is_that_of_the_reference(
    spark: Any, built: None, once: list[games.Event], played: Played
) -> None:
    found = {
        row.revenue_date: tuple(row[1:])
        for row in spark.sql(
            "select revenue_date, dau, purchases, payers, refunds, ads, gross_usd, refunds_usd,"
            " ads_usd, unchecked_purchases, invalid_purchases, unrated from gold.revenue_daily"
        ).collect()
    }
    expected = games.revenue_daily(once)
    assert {day: row[:5] + row[8:] for day, row in found.items()} == {
        day: row[:5] + row[8:] for day, row in expected.items()
    }
    for day, row in found.items():
        assert row[5:8] == pytest.approx([float(value) for value in expected[day][5:8]]), day
    refunded = sum(row[6] for row in found.values())
    assert refunded == pytest.approx(sum(played.simulation.truth.refunded.values()) / 100)
    assert refunded > 0
    assert sum(row[10] for row in found.values()) == 1


def test_cohorts_are_worth_what_the_reference_says(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    query = "select cohort_date, day_number, players, net_usd, ltv_usd from gold.ltv_cohorts"
    found = {tuple(row[:2]): tuple(row[2:]) for row in spark.sql(query).collect()}
    expected = games.ltv_cohorts(once)
    assert found.keys() == expected.keys()
    for cohort, (players, net_usd, ltv_usd) in found.items():
        assert players == expected[cohort][0]
        assert net_usd == pytest.approx(float(expected[cohort][1])), cohort
        assert ltv_usd == pytest.approx(net_usd / players)
    assert max(net for _, net, _ in found.values()) > 0


def test_campaigns_bring_back_what_they_cost_as_in_the_reference(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    query = (
        "select network, campaign, day_number, players, spend_usd, net_usd, roas"
        " from gold.acquisition_roas"
    )
    found = {tuple(row[:3]): tuple(row[3:]) for row in spark.sql(query).collect()}
    expected = games.acquisition_roas(once)
    assert found.keys() == expected.keys()
    for campaign, (players, spend, net, roas) in found.items():
        reference = expected[campaign]
        assert (players, spend) == (reference[0], pytest.approx(float(reference[1]))), campaign
        assert net == pytest.approx(float(reference[2])), campaign
        assert roas == (pytest.approx(net / spend) if spend else None)
    assert any(spend for _, spend, _, _ in found.values())


def test_offers_lead_to_purchases_as_in_the_reference(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    query = (
        "select shown_on, offer_name, variant, segment, shows, players, clicks, dismissals,"
        " purchases, revenue_minor from gold.offer_funnel"
    )
    expected = games.offer_funnel(once)
    assert rows(spark, query) == Counter(expected)
    assert sum(row[8] for row in expected) > 5


def test_what_happens_to_offers_now_is_as_in_the_reference(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    query = (
        "select window_start, offer_name, variant, segment, players, shows, clicks, dismissals,"
        " purchases, revenue_minor from gold.liveops_now"
    )
    expected = games.liveops_now(once)
    assert rows(spark, query) == Counter(expected)
    assert sum(row[8] for row in expected) > 5


def test_a_system_without_spark_reads_what_happens_to_the_offers_of_a_segment(
    built: None, once: list[games.Event], root: Path
) -> None:
    page = (PROJECT_ROOT / "docs" / "games.md").read_text()
    names: dict[str, Any] = {}
    exec(page.partition("```python")[2].partition("```")[0], names)
    expected = games.liveops_now(once)
    since = sorted(row[0] for row in expected)[len(expected) // 2]
    found = names["offers_of"]("core", since, str(root))
    columns = ("window_start", "offer_name", "variant", "segment", "players", "shows", "clicks")
    columns += ("dismissals", "purchases", "revenue_minor")
    assert {tuple(row[name] for name in columns) for row in found} == {
        row for row in expected if row[3] == "core" and row[0] >= since
    }
    assert found


def test_levels_are_played_as_in_the_reference(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    query = (
        "select played_on, level_id, config_version, players, starts, completions, failures,"
        " quits, starts_without_end, ends_without_start from gold.level_funnel"
    )
    expected = games.level_funnel(once)
    assert rows(spark, query) == Counter(expected)
    assert sum(row[5] for row in expected if row[1:3] == ("level_05", "c2")) == 0


def test_windows_of_live_operations_are_those_of_the_reference(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    query = (
        "select unix_seconds(window_start) div 60, cohort_kind, cohort, metric, value, numerator,"
        " denominator, sample, impacted from gold.game_windows"
    )
    found = {tuple(row[:4]): tuple(row[4:]) for row in spark.sql(query).collect()}
    expected = games.game_windows(once, PRICES)
    assert found.keys() == expected.keys()
    for key, figures in found.items():
        assert figures[1:] == expected[key][1:], key
        assert figures[0] == pytest.approx(expected[key][0]), key
    assert {key[3] for key in found} == games.COUNTS | games.TROUBLES | {
        "ccu",
        "earned_per_player_minute",
        "matchmaking_wait_p95_ms",
    }


def test_a_mispriced_offer_is_an_alert_with_its_first_show(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    wrong = [
        event["at"]
        for event in once
        if event["event_type"] == "offer_shown" and event["event_data"]["price_minor"] == 99
    ]
    query = (
        "select started_at, fired_at, cohort, state, severity, suppressed_by from gold.game_alerts"
        " where rule = 'offer_mispriced' order by started_at"
    )
    alerts = [tuple(row) for row in spark.sql(query).collect()]
    first = min(wrong).replace(tzinfo=None)
    started = first.replace(second=0, microsecond=0) - timedelta(minutes=4)
    offer = f"north/{APPLICATION}, weekend_gems"
    assert alerts[0][:2] == (started, started + timedelta(minutes=5))
    assert alerts[0][1] - first <= timedelta(minutes=1)
    assert {alert[2:] for alert in alerts} == {(offer, "resolved", "critical", None)}
    query = (
        "select window_start, explode(breaches.cohort) from gold.game_judgements"
        " where rule = 'offer_mispriced'"
    )
    minutes = {time.replace(second=0, microsecond=0) for time in wrong}
    assert set(rows(spark, query)) == {
        (minute - timedelta(minutes=n), offer) for minute in minutes for n in range(5)
    }


def test_a_change_of_the_configuration_is_compared_with_what_was_before(
    spark: Any, built: None, once: list[games.Event]
) -> None:
    named = {}
    for event in once:
        if version := event["event_data"].get("config_version"):
            minute = event["at"].replace(second=0, microsecond=0)
            named[version] = min(minute, named.get(version, minute))
    found = rows(spark, "select config_version, changed_at from gold.game_config_changes")
    assert found == Counter(named.items())
    assert len(named) == 3
    query = (
        "select config_version, cohort_kind, cohort, metric,"
        " before_value, after_value, before_sample, after_sample from gold.game_config_effects"
    )
    effects = {tuple(row[:4]): tuple(row[4:]) for row in spark.sql(query).collect()}
    changes = {version: int(minute.timestamp()) // 60 for version, minute in named.items()}
    expected = games.config_effects(games.game_windows(once, PRICES), changes)
    assert effects.keys() == expected.keys()
    for key, figures in effects.items():
        assert figures == pytest.approx(expected[key]), key
    assert any(None not in figures for figures in expected.values())


def test_what_is_earned_and_spent_is_as_in_the_reference(
    spark: Any, built: None, once: list[games.Event], played: Played
) -> None:
    query = (
        "select changed_on, currency, players, earned, spent, balances, broken_balances,"
        " unexplained_balances from gold.economy_balance"
    )
    found = rows(spark, query)
    assert found == Counter(games.economy_balance(once))
    held = Counter()
    for (_, currency), amount in played.simulation.truth.balances.items():
        held[currency] += amount
    net = Counter()
    for row in found:
        net[row[1]] += row[3] - row[4]
    assert net == held


def test_a_run_without_news_leaves_every_table_at_its_version(
    dbt: Callable[..., Any], built: None, root: Path
) -> None:
    def versions() -> dict[str, int]:
        return {
            f"{schema}.{folder.name}": DeltaTable(folder).version()
            for schema in ("silver", "gold")
            for folder in (root / "warehouse" / f"{schema}.db").iterdir()
        }

    before = versions()
    dbt("run", "--select", "path:models/silver/games", "path:models/gold/games")
    assert versions() == before
    assert {"silver.game_login", "silver.game_players", "gold.game_judgements"} <= before.keys()


# What is judged by what was usual then stays as it was (macros/alerts/judged_windows.sql).
AS_IT_WAS = "game_judgements"
# The contract knows each event that the simulator sends; no profile is scored here.
EMPTY = {"silver.game_unknown", "gold.players_at_risk"}


def test_a_full_refresh_gives_the_same_rows_in_every_column(
    spark: Any, dbt: Callable[..., Any], built: None
) -> None:
    def rows_of(table: str) -> Counter:
        # sums of doubles depend on the order of rows; what an event was before is no more known
        columns = [
            f"round({name}, 6) as {name}" if kind == "double" else name
            for name, kind in spark.table(table).dtypes
            if name != "moved_from"
        ]
        query = f"select to_json(struct({', '.join(columns)})) from {table}"
        return Counter(row[0] for row in spark.sql(query).collect())

    tables = [
        f"{schema}.{row.tableName}"
        for schema in ("silver", "gold")
        for row in spark.sql(f"show tables in {schema}").collect()
        if row.tableName not in (AS_IT_WAS, "game_moves") and not row.isTemporary
    ]
    moved = spark.sql(
        "select distinct event_type from silver.game_events where moved_from is not null"
    )
    assert moved.count() > 25
    before = {table: rows_of(table) for table in tables}
    assert {table for table in tables if not before[table]} == EMPTY
    dbt("run", "--full-refresh", "--select", "path:models/silver/games", "path:models/gold/games")
    differing = {}
    for table in tables:
        after = rows_of(table)
        if after != before[table]:
            differing[table] = {
                "only before": list(before[table] - after)[:3],
                "only after": list(after - before[table])[:3],
            }
    assert differing == {}
