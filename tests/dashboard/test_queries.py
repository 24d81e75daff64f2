"""The SQL of the panels, on small tables, against what the rows mean in plain Python."""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from dashboard.choice import FILTERS, Choice
from dashboard.lakehouse import SQL, Lakehouse, MissingTable, tables_of, text_of, views_of
from dashboard.metrics import CDN, PLAYBACK
from dashboard.panels import PANELS
from tests.dashboard.gold import (
    END,
    GAME_DAYS,
    GAMES,
    START,
    baselines,
    cdn_cells,
    cdn_values,
    columns_of,
    in_windows,
    playback_cells,
    playback_values,
    write,
    write_alerts,
    write_games,
    write_models,
    write_stocks,
    write_viewing,
)

PROJECT_ROOT = Path(__file__).resolve().parents[2]
CHOICES = {
    "all": Choice(),
    "an ISP": Choice(isp="Rheinkabel"),
    "a device and a video": Choice(device="tv", video="v2"),
    "none there": Choice(country="FRA"),
}


def chosen(rows, choice, *names):
    """The rows of the last hour that the filters of these names leave."""
    wanted = {FILTERS[name][0]: value for name, value in choice.chosen().items() if name in names}
    return [
        row
        for row in rows
        if START <= row["minute"] < END
        and all(row[column] == value for column, value in wanted.items())
    ]


@pytest.fixture(scope="module")
def cells():
    return playback_cells(seed=7)


@pytest.fixture(scope="module")
def requests():
    return cdn_cells(seed=7)


@pytest.fixture(scope="module")
def lakehouse(tmp_path_factory, cells, requests):
    root = tmp_path_factory.mktemp("dashboard")
    write(root, "gold.noc_playback", columns_of(cells))
    write(root, "gold.noc_cdn", requests)
    write(root, "gold.noc_baseline", baselines([*PLAYBACK, *CDN]))
    return Lakehouse(root)


def ask(lakehouse, query, choice):
    return lakehouse.ask(query, choice.variables(END))


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_playback_is_sums_over_sums_by_five_minutes(lakehouse, cells, choice):
    rows = ask(lakehouse, "playback", choice)
    expected = in_windows(chosen(cells, choice, *FILTERS), playback_values)
    assert {(row["window_start"], row["metric"]): row["value"] for row in rows} == pytest.approx(
        expected
    )
    assert len(rows) == len(expected)


def histogram_of(durations):
    """As macros/qos/histogram.sql and duration_bucket.sql have it."""
    counts = Counter(math.floor(20 * math.log(max(each, 1))) for each in durations)
    return [{"bucket": bucket, "count": count} for bucket, count in sorted(counts.items())]


@pytest.mark.parametrize("seed", range(3))
def test_quantiles_of_a_roll_up_are_those_of_all_durations_within_a_bucket(tmp_path, seed):
    draw = random.Random(seed)
    durations = {}
    for name, cells in (
        ("startup", columns_of(playback_cells(seed))),
        ("first_byte", cdn_cells(seed)),
    ):
        of_windows = durations[name] = {}
        for row in cells:
            # few or many, quick or slow: no mean of the cells' own quantiles is right
            some = [
                draw.lognormvariate(draw.choice([3, 6, 8]), 1) for _ in range(draw.randrange(40))
            ]
            row[f"{name}_histogram"] = histogram_of(some)
            if name == "startup":
                row["startups"] = len(some)
            place = math.ceil((END - row["minute"]) / timedelta(minutes=5))
            window = END - place * timedelta(minutes=5)
            if some and START <= row["minute"] < END:
                of_windows.setdefault(window, []).extend(some)
        write(tmp_path, {"startup": "gold.noc_playback", "first_byte": "gold.noc_cdn"}[name], cells)
    write(tmp_path, "gold.noc_baseline", baselines([*PLAYBACK, *CDN]))
    lakehouse = Lakehouse(tmp_path)
    for query, name in (("playback", "startup"), ("cdn", "first_byte")):
        found = {
            (row["window_start"], row["metric"]): row["value"]
            for row in ask(lakehouse, query, Choice())
        }
        assert durations[name]
        for window, all_durations in durations[name].items():
            in_order = sorted(all_durations)
            for share in (50, 95, 99):
                slow = in_order[-(-share * len(in_order) // 100) - 1]
                quick = found[window, f"{name}_p{share}_ms"]
                # the middle of a bucket of 5 %: half of one away at most
                assert abs(math.log(quick / max(slow, 1))) <= 0.5 / 20 + 1e-9, (window, share)


@pytest.mark.parametrize(
    ("choice", "kind", "cohort"),
    [
        (Choice(), "all", "all"),
        (Choice(isp="Rheinkabel"), "isp", "Rheinkabel"),
        (Choice(isp="Cascadia"), "isp", "Cascadia"),
        (Choice(isp="Rheinkabel", device="tv"), None, None),
    ],
)
def test_playback_stands_beside_what_is_usual_for_the_cohort_in_that_hour(
    lakehouse, choice, kind, cohort
):
    usual = {
        (row["hour"], row["metric"]): (row["baseline"], row["deviation"])
        for row in baselines(PLAYBACK)
        if (row["cohort_kind"], row["cohort"]) == (kind, cohort)
    }
    rows = ask(lakehouse, "playback", choice)
    assert {
        (row["window_start"], row["metric"]): (row["baseline"], row["deviation"]) for row in rows
    } == {
        (row["window_start"], row["metric"]): usual.get(
            (row["window_start"].replace(minute=0), row["metric"]), (None, None)
        )
        for row in rows
    }


@pytest.mark.parametrize("metric", PLAYBACK)
@pytest.mark.parametrize("query", ["isp_edge", "countries"])
def test_places_have_the_metric_of_the_whole_interval(lakehouse, cells, query, metric):
    keys = {"isp_edge": ("isp", "edge"), "countries": ("country",)}[query]
    places = {}
    for row in chosen(cells, Choice()):
        places.setdefault(tuple(row[key] for key in keys), []).append(row)
    expected = {place: playback_values(rows, 12).get(metric) for place, rows in places.items()}
    rows = ask(lakehouse, query, Choice(metric=metric))
    assert {tuple(row[key] for key in keys): row["value"] for row in rows} == pytest.approx(
        expected
    )
    sizes = [row["session_minutes"] for row in rows]
    assert sizes == sorted((sum(c["sessions"] for c in p) for p in places.values()), reverse=True)


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_cohorts_are_those_in_more_trouble_than_all_by_viewers_counted_once(
    lakehouse, cells, choice
):
    def trouble(rows):
        minutes = sum(row["sessions_with_stall"] + row["sessions_with_error"] for row in rows)
        return minutes / sum(row["sessions"] for row in rows)

    def viewers_of(rows):
        stalled = set().union(*(row["of_stalled"] for row in rows))
        failing = set().union(*(row["of_failing"] for row in rows))
        return len(stalled), len(failing), len(stalled | failing)

    rows = chosen(cells, choice, *FILTERS)
    expected = {}
    for column, _ in FILTERS.values():
        for cohort in {row[column] for row in rows} - {"Unavailable"}:
            of_cohort = [row for row in rows if row[column] == cohort]
            if trouble(of_cohort) > trouble(rows):
                expected[column, cohort] = viewers_of(of_cohort)
    found = ask(lakehouse, "cohorts", choice)
    assert bool(found) == bool(rows)
    names = ("stalled", "failing", "impacted")
    assert {
        (row["cohort_kind"], row["cohort"]): tuple(row[name] for name in names) for row in found
    } == expected
    assert [row["impacted"] for row in found] == sorted(
        (counts[2] for counts in expected.values()), reverse=True
    )


@pytest.mark.parametrize("choice", CHOICES.values(), ids=CHOICES)
def test_the_cdn_is_filtered_by_isp_and_edge_alone(lakehouse, requests, choice):
    rows = ask(lakehouse, "cdn", choice)
    expected = in_windows(chosen(requests, choice, "isp", "edge"), cdn_values)
    assert {(row["window_start"], row["metric"]): row["value"] for row in rows} == pytest.approx(
        expected
    )


def test_results_of_the_cdn_add_up(lakehouse, requests):
    rows = ask(lakehouse, "cdn_results", Choice())
    wanted = chosen(requests, Choice())
    names = ("requests", "sent_bytes", "client_aborts", "origin_errors", "edge_errors")
    assert {(row["resulttype"], *(row[name] for name in names)) for row in rows} == {
        (
            result,
            *(sum(row[name] for row in wanted if row["resulttype"] == result) for name in names),
        )
        for result in {row["resulttype"] for row in wanted}
    }


def test_choices_are_the_values_of_the_interval_whatever_is_chosen(lakehouse, cells):
    rows = ask(lakehouse, "choices", Choice(isp="Rheinkabel"))
    assert {(row["name"], row["value"]) for row in rows} == {
        (column, row[column]) for row in chosen(cells, Choice()) for column, _ in FILTERS.values()
    }


def test_late_cells_are_those_mended_long_after_their_minute(lakehouse, cells):
    (row,) = ask(lakehouse, "late_cells", Choice())
    wanted = chosen(cells, Choice())
    late = [
        each
        for each in wanted
        if each["newest_arrival_at"] - each["minute"] > timedelta(minutes=16)
    ]
    assert (row["cells"], row["late"]) == (len(wanted), len(late))
    assert row["newest_arrival_at"] == max(each["newest_arrival_at"] for each in wanted)


def test_the_newest_arrival_is_of_all_rows(lakehouse, cells):
    assert lakehouse.ask("newest", {}) == [
        {"newest_arrival_at": max(row["newest_arrival_at"] for row in cells)}
    ]


# ---- alerts, by the cases of models/gold/qos/alerts.yml


def minute(number):
    return datetime(2026, 1, 31, 18, number, tzinfo=UTC)


@pytest.fixture(scope="module")
def alerts(tmp_path_factory):
    root = tmp_path_factory.mktemp("alerts")
    broken = {
        "resolved": range(5),
        "pending": (20, 21),
        "passed": (0, 10),
        "firing": range(22, 27),
        "wavers": (0, 1, 3, 4, 5),
        "returns": (0, 1, 2, 7),  # within five minutes: the same alert
        "comes again": (0, 1, 2, 8, 9, 10),
    }
    write_alerts(root, broken, minute(0))
    return Lakehouse(root)


def told(rows):
    return {
        (row["cohort"], row["state"], row["started_at"], row["fired_at"], row["last_value"])
        for row in rows
    }


def test_alerts_fire_after_windows_in_a_row_and_are_resolved_after_quiet(alerts):
    rows = alerts.ask("alerts", Choice().variables(minute(30)))
    assert told(rows) == {
        ("resolved", "resolved", minute(0), minute(7), 5.0),
        ("wavers", "resolved", minute(0), minute(10), 6.0),
        ("returns", "resolved", minute(0), minute(7), 8.0),
        ("comes again", "resolved", minute(0), minute(7), 3.0),
        ("comes again", "resolved", minute(8), minute(15), 11.0),
        ("pending", "pending", minute(20), None, 22.0),
        ("firing", "firing", minute(22), minute(29), 26.0),
    }
    assert {(row["cohort"], row["ended_at"]) for row in rows} == {
        ("resolved", minute(14)),
        ("wavers", minute(15)),
        ("returns", minute(17)),
        ("comes again", minute(12)),
        ("comes again", minute(20)),
        ("pending", None),
        ("firing", None),
    }


def test_a_window_that_has_not_ended_makes_no_alert(alerts):
    rows = alerts.ask("alerts", Choice().variables(minute(28)))
    assert {row["state"] for row in rows if row["cohort"] == "firing"} == {"pending"}


def test_alerts_of_an_interval_began_or_lasted_in_it(alerts):
    choice = Choice(start=minute(14), end=minute(30))
    assert {row["cohort"] for row in alerts.ask("alerts", choice.variables(None))} == {
        "wavers",
        "returns",
        "comes again",
        "pending",
        "firing",
    }


def test_alerts_of_a_chosen_cohort_are_its_own(alerts):
    rows = alerts.ask("alerts", Choice(isp="firing").variables(minute(30)))
    assert {row["cohort"] for row in rows} == {"firing"}
    assert alerts.ask("alerts", Choice(edge="firing").variables(minute(30))) == []


# ---- one viewer


@pytest.fixture(scope="module")
def viewing(tmp_path_factory):
    root = tmp_path_factory.mktemp("viewing")
    write_viewing(root)
    return Lakehouse(root)


def test_sessions_are_those_that_touch_the_interval_with_most_trouble_first(viewing):
    rows = ask(viewing, "viewer_sessions", Choice())
    assert [row["user_id"] for row in rows] == ["b", "a", "c"]


@pytest.mark.parametrize(
    ("choice", "users"),
    [
        (Choice(viewer="a"), ["a"]),
        (Choice(viewer="nobody"), []),
        (Choice(device="phone"), ["c"]),
        (Choice(video="v2"), ["b"]),
        (Choice(interval="6h", viewer="a"), ["a", "a"]),
    ],
)
def test_sessions_are_filtered(viewing, choice, users):
    assert [row["user_id"] for row in ask(viewing, "viewer_sessions", choice)] == users


def test_events_are_the_viewers_own_in_order(viewing):
    rows = ask(viewing, "viewer_events", Choice(viewer="a"))
    assert [(row["event_at"], row["type"]) for row in rows] == [
        (END - timedelta(minutes=30), "play"),
        (END - timedelta(minutes=15), "stream"),
    ]


# ---- feeds, quarantine


def test_feeds_tell_of_the_day_up_to_their_last_batch(tmp_path):
    def item(feed, hours_ago, waited_s, received=10, quarantined=0, duplicates=0):
        at = END - timedelta(hours=hours_ago)
        return {
            "feed": feed,
            "ingested_at": at,
            "modified_at": at - timedelta(seconds=waited_s),
            "received": received,
            "kept": received - quarantined - duplicates,
            "duplicates": duplicates,
            "quarantined": quarantined,
        }

    write(
        tmp_path,
        "bronze.ledger",
        [
            item("a", 1, 2, received=90, quarantined=5),
            item("a", 3, 1000, received=10),
            item("a", 30, 9999),
            item("a", 0, 0, received=0),  # a batch without records
            item("a", 0, 5, received=4, duplicates=4),  # nothing new
            item("b", 100, 7),
        ],
    )
    rows = {row["feed"]: row for row in Lakehouse(tmp_path).ask("feeds", {})}
    hour = timedelta(hours=1)
    assert rows == {
        "a": {
            "feed": "a",
            "last_batch_at": END - hour,
            "newest_at": END - hour - timedelta(seconds=2),
            "received": 100,
            "kept": 95,
            "duplicates": 0,
            "quarantined": 5,
            "waited_p95_s": 1000,
            "late": 10,
        },
        "b": {
            "feed": "b",
            "last_batch_at": END - 100 * hour,
            "newest_at": END - 100 * hour - timedelta(seconds=7),
            "received": 10,
            "kept": 10,
            "duplicates": 0,
            "quarantined": 0,
            "waited_p95_s": 7,
            "late": 0,
        },
    }


def test_quarantine_counts_its_last_day_by_reason(tmp_path):
    ages = [("a", "no JSON", 0), ("a", "no JSON", 1), ("a", "too long", 2), ("b", "no JSON", 25)]
    write(
        tmp_path,
        "bronze.quarantine",
        [
            {"feed": feed, "reason": reason, "ingested_at": END - timedelta(hours=hours)}
            for feed, reason, hours in ages
        ],
    )
    rows = Lakehouse(tmp_path).ask("quarantine", {})
    assert [(row["feed"], row["reason"], row["records"]) for row in rows] == [
        ("a", "no JSON", 2),
        ("a", "too long", 1),
    ]


# ---- live


def test_lists_of_videos_are_of_the_newest_window(tmp_path):
    windows = [(10, "v1", 5), (40, "v1", 1), (40, "v2", 3)]
    for table, column in (
        ("gold.live_popular_videos", "recent_views"),
        ("gold.live_concurrent_viewers", "concurrent_viewers"),
    ):
        write(
            tmp_path,
            table,
            [
                {"window_start": minute(0) + timedelta(seconds=at), "video_id": video, column: n}
                for at, video, n in windows
            ],
        )
        rows = Lakehouse(tmp_path).ask(table.removeprefix("gold."), {})
        assert [(row["video_id"], row[column]) for row in rows] == [("v2", 3), ("v1", 1)]
    rows = Lakehouse(tmp_path).ask("live_video_viewers", {"video_id": "v2"})
    assert [row["concurrent_viewers"] for row in rows] == [3, 0]


@pytest.mark.parametrize("table", ["live_active_users", "live_client_errors"])
def test_windows_come_newest_first(tmp_path, table):
    write(
        tmp_path,
        f"gold.{table}",
        [
            {
                "window_start": minute(number),
                "active_users": number,
                "active_clients": number,
                "failing_clients": 0,
                "failing_share": 0.0,
            }
            for number in random.Random(1).sample(range(40), 40)
        ],
    )
    rows = Lakehouse(tmp_path).ask(table, {})
    assert [row["window_start"] for row in rows] == [minute(number) for number in range(39, 9, -1)]


def test_live_prices_are_the_bars_that_came_last(tmp_path):
    came = [("A", 1, 10.0), ("A", 3, 12.0), ("A", 2, 11.0), ("B", 1, 4.0)]
    rows = [
        {
            "window_start": minute(number),
            "ticker": ticker,
            "price_date": date(2024, 5, 2),
            "close": close,
            "volume": 9,
        }
        for ticker, number, close in came
    ]
    write(tmp_path, "gold.live_prices", rows)
    rows = Lakehouse(tmp_path).ask("live_prices", {})
    assert [(row["ticker"], row["close"]) for row in rows] == [("A", 12.0), ("B", 4.0)]


# ---- games


@pytest.fixture(scope="module")
def of_games(tmp_path_factory):
    root = tmp_path_factory.mktemp("games")
    return Lakehouse(root), write_games(root)


def of(rows, game):
    return [row for row in rows if row["game_id"] == game]


def shared(rows, part, whole):
    return sum(row[part] for row in rows) / sum(row[whole] for row in rows)


def test_games_stand_at_their_newest_day_beside_the_day_before_the_largest_first(of_games):
    lakehouse, tables = of_games
    expected = []
    for game in GAMES:
        days = {row["activity_date"]: row for row in of(tables["gold.players_daily"], game)}
        paid = {row["revenue_date"]: row for row in of(tables["gold.revenue_daily"], game)}
        *_, before, newest = GAME_DAYS
        expected.append(
            (
                *(game, newest, days[newest]["dau"], days[before]["dau"]),
                *(paid[newest]["net_usd"], paid[before]["net_usd"]),
            )
        )
    names = ("game_id", "activity_date", "dau", "previous_dau", "net_usd", "previous_net_usd")
    rows = lakehouse.ask("games", {})
    assert [tuple(row[name] for name in names) for row in rows] == sorted(
        expected, key=lambda each: -each[2]
    )


@pytest.mark.parametrize("game", GAMES)
def test_a_games_days_have_revenue_if_there_was_any_and_the_configurations_new_on_them(
    of_games, game
):
    lakehouse, tables = of_games
    rows = lakehouse.ask("game_days", {"game": game})
    players = {row["activity_date"]: row["dau"] for row in of(tables["gold.players_daily"], game)}
    paid = {row["revenue_date"]: row["net_usd"] for row in of(tables["gold.revenue_daily"], game)}
    assert [(row["activity_date"], row["dau"], row["net_usd"]) for row in rows] == [
        (day, players[day], paid.get(day)) for day in GAME_DAYS
    ]
    changed = {row["activity_date"]: row["config_versions"] for row in rows}
    assert {day: text for day, text in changed.items() if text} == {GAME_DAYS[7]: "c2"}


def test_a_cohort_is_retained_by_who_plays_exactly_so_many_days_later(of_games):
    lakehouse, tables = of_games
    rows = lakehouse.ask("game_retention", {"game": GAMES[0]})
    cohorts, active = {}, set()
    for row in of(tables["silver.game_players"], GAMES[0]):
        cohorts.setdefault(row["first_active_on"], set()).add(row["player_id"])
    for row in of(tables["silver.game_player_days"], GAMES[0]):
        active.add((row["player_id"], row["activity_date"]))

    def retained(day, number):
        if day + timedelta(number) > GAME_DAYS[-1]:
            return None
        return sum((player, day + timedelta(number)) in active for player in cohorts[day]) / len(
            cohorts[day]
        )

    assert [tuple(row.values()) for row in rows] == [
        (day, len(players), *(retained(day, number) for number in (1, 3, 7)))
        for day, players in sorted(cohorts.items())
    ]


@pytest.mark.parametrize(
    ("query", "table", "day", "keys", "shares"),
    [
        (
            *("game_offers", "gold.offer_funnel", "shown_on"),
            ("offer_name", "variant", "segment", "currency"),
            {
                "click_rate": ("clicks", "shows"),
                "purchase_rate": ("purchases", "shows"),
                "revenue_minor_per_show": ("revenue_minor", "shows"),
            },
        ),
        (
            *("game_levels", "gold.level_funnel", "played_on", ("level_id", "config_version")),
            {"completion_rate": ("completions", "starts"), "quit_rate": ("quits", "starts")},
        ),
    ],
)
def test_funnels_are_sums_over_sums_of_the_last_seven_days(
    of_games, query, table, day, keys, shares
):
    lakehouse, tables = of_games
    groups = {}
    for row in of(tables[table], GAMES[1]):
        if row[day] in GAME_DAYS[-7:]:
            groups.setdefault(tuple(row[key] for key in keys), []).append(row)
    rows = lakehouse.ask(query, {"game": GAMES[1]})
    assert {tuple(row[key] for key in keys): [row[name] for name in shares] for row in rows} == {
        group: pytest.approx([shared(of_group, *parts) for parts in shares.values()])
        for group, of_group in groups.items()
    }
    assert len(rows) == len(groups)


def test_currencies_are_listed_from_the_newest_day_on(of_games):
    lakehouse, _ = of_games
    rows = lakehouse.ask("game_economy", {"game": GAMES[0]})
    assert [row["changed_on"] for row in rows] == GAME_DAYS[::-1]


def test_alerts_of_a_game_are_its_own_and_those_of_its_parts(tmp_path):
    start = minute(0)
    broken = {
        GAMES[0]: range(20, 27),
        f"{GAMES[0]}, eu-1": range(4),
        f"{GAMES[0]}s": range(20, 27),
        GAMES[1]: range(20, 27),
    }
    write_alerts(tmp_path, broken, start, "gold.game_judgements")
    lakehouse = Lakehouse(tmp_path)
    assert lakehouse.ask("game_newest", {})[0]["newest_arrival_at"] == start + timedelta(minutes=31)
    choice = Choice(start=start, end=start + timedelta(minutes=31))
    rows = lakehouse.ask("game_alerts", choice.variables(None) | {"game": GAMES[0]})
    assert [(row["cohort"], row["state"], row["started_at"]) for row in rows] == [
        (GAMES[0], "firing", start + timedelta(minutes=20)),
        (f"{GAMES[0]}, eu-1", "resolved", start),
    ]


# ---- stocks


@pytest.fixture
def stocks(tmp_path):
    write_stocks(tmp_path)
    return Lakehouse(tmp_path)


def test_a_share_stands_at_its_newest_session(stocks):
    rows = stocks.ask("stock_tickers", {})
    assert [
        (row["ticker"], row["price_date"].day, row["close"], row["pe_ttm"]) for row in rows
    ] == [
        ("A", 3, 12.0, 6.0),
        ("B", 2, 4.0, 2.0),
    ]
    assert [row["change"] for row in rows] == [pytest.approx(0.2), None]


def test_the_blueprints_ratio_is_close_over_positive_basic_earnings(stocks):
    rows = stocks.ask("stock_blueprint", {"ticker": "A"})
    assert [(row["price_date"].day, row["pe"]) for row in rows] == [(2, 2.5), (3, 3.0)]


def test_a_filing_stands_at_the_close_of_the_session_that_first_used_it(stocks):
    (row,) = stocks.ask("stock_filings", {"ticker": "A"})
    assert (row["fiscal_period"], row["close_first"]) == ("2024Q1", 10.0)


def test_a_valuation_is_in_the_order_of_its_sessions(stocks):
    rows = stocks.ask("stock_valuation", {"ticker": "A"})
    assert [row["price_date"].day for row in rows] == [2, 3]


# ---- all queries


def test_every_file_belongs_to_a_panel_or_to_the_filters():
    used = {query for panel in PANELS.values() for query in panel.queries}
    files = {path.stem for path in SQL.glob("*.sql")}
    assert files == used | {"macros", "choices"}


def test_no_text_of_a_request_becomes_text_of_a_query(lakehouse, cells):
    evil = "x' or 1=1 --"
    assert ask(lakehouse, "playback", Choice(isp=evil)) == []
    assert ask(lakehouse, "playback", replace(Choice(), video='"; drop schema gold')) == []


def test_a_query_reads_no_file_and_no_network(lakehouse):
    from dashboard.lakehouse import CONFINED

    with duckdb.connect(config=CONFINED) as connection:
        for source in ("/etc/hostname", "https://192.0.2.1/x.csv"):
            with pytest.raises(duckdb.Error, match=r"disabled|not allowed|Permission"):
                connection.execute("select * from read_csv($1)", [source])


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(MissingTable, match=r"gold\.noc_playback"):
        Lakehouse(tmp_path).ask("newest", {})


def test_new_commits_are_seen_and_old_answers_are_not_given_again(tmp_path):
    lakehouse = Lakehouse(tmp_path)
    assert lakehouse.versions("live_active_users") == (None,)
    row = {"window_start": minute(0), "active_users": 1}
    write(tmp_path, "gold.live_active_users", [row])
    assert lakehouse.ask("live_active_users", {})[0]["active_users"] == 1
    write(tmp_path, "gold.live_active_users", [row | {"active_users": 2}])
    assert lakehouse.versions("live_active_users")[0][0] == 1
    assert lakehouse.ask("live_active_users", {})[0]["active_users"] == 2


def test_a_table_that_was_made_anew_is_read_anew(tmp_path):
    import shutil

    lakehouse = Lakehouse(tmp_path)
    row = {"window_start": minute(0), "active_users": 1}
    for users in (1, 2):
        write(tmp_path, "gold.live_active_users", [row | {"active_users": users}])
        assert lakehouse.ask("live_active_users", {})[0]["active_users"] == users
        shutil.move(tmp_path / "warehouse", tmp_path / f"old {users}")


def test_tables_are_found_through_views():
    assert views_of("isp_edge") == ("chosen_playback", "chosen_startups")
    assert tables_of("isp_edge") == ("gold.noc_playback",)
    assert tables_of("alerts") == ("gold.alert_judgements", "ops.alert_rules")


@pytest.mark.parametrize("query", sorted({q for panel in PANELS.values() for q in panel.queries}))
def test_each_file_says_what_a_row_is(query):
    first = (SQL / f"{query}.sql").read_text().splitlines()[0]
    assert first.startswith("-- One row"), first
    assert "--" not in text_of(query)


def test_the_world_has_codes_that_a_viewers_origin_may_have():
    seed = (PROJECT_ROOT / "seeds" / "country_codes.csv").read_text()
    world = json.loads((PROJECT_ROOT / "dashboard" / "static" / "world.json").read_text())
    unknown = {code for code in world if code not in seed}
    assert unknown <= {"CYN", "SOL", "XKX"}  # ISO 3166-1 has none of these
    assert all(len(x) == len(y) for c in world.values() for x, y in c["rings"])


# ---- models


@pytest.fixture(scope="module")
def of_models(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    write_models(root)
    return Lakehouse(root)


def test_curves_are_those_of_the_version_in_use(of_models):
    rows = of_models.ask("model_curves", {})
    assert {row["model_version"] for row in rows} == {2}
    gains = [(row["x"], row["y"]) for row in rows if row["curve"] == "gains"]
    assert gains == [(place / 10, place / 10) for place in range(1, 11)]


def test_versions_are_listed_the_newest_first(of_models):
    rows = of_models.ask("model_versions", {})
    found = [(row["model_version"], row["is_in_use"]) for row in rows]
    assert found == [(2, True), (1, False)]


def test_players_at_risk_are_those_of_the_newest_day_who_may_be_kept(of_models):
    rows = of_models.ask("players_at_risk", {"game": None})
    assert {row["profile_date"] for row in rows} == {GAME_DAYS[-1]}
    found = [(row["game_id"], row["player_id"]) for row in rows]
    assert found == [(game, player) for player in ("p2", "p1") for game in GAMES]
    rows = of_models.ask("players_at_risk", {"game": GAMES[1]})
    assert [(row["game_id"], row["player_id"]) for row in rows] == [
        (GAMES[1], "p2"),
        (GAMES[1], "p1"),
    ]
    assert rows[0]["reasons"] == [{"reason": "levels_too_hard", "value": 0.75}]


def test_cohorts_at_risk_are_those_of_the_newest_minute_who_have_viewers(of_models):
    rows = of_models.ask("cohorts_at_risk", {})
    assert [(row["edge"], row["score"]) for row in rows] == [("FRA", 0.7), ("AMS", 0.2)]
    assert len({row["minute"] for row in rows}) == 1


def test_drift_is_that_of_the_newest_day_beside_the_most_of_its_week(of_models):
    rows = of_models.ask("model_drift", {})
    names = ("feature", "profiles", "stability_index", "most_in_week")
    assert [tuple(row[name] for name in names) for row in rows] == [
        ("score", 100, 0.05, 0.05),
        ("sessions_7", 100, 0.3, 0.3),
        ("quiet", 100, 0.0, 0.06),
    ]
    assert {row["profile_date"] for row in rows} == {GAME_DAYS[-1]}
