"""Small lakehouses for the dashboard, and what their rows mean, told slowly in plain Python."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from datasketches import update_theta_sketch
from deltalake import write_deltalake

from dashboard.metrics import CDN, PLAYBACK

Row = dict[str, Any]

END = datetime(2026, 5, 30, 18, 7, tzinfo=UTC)
START = END - timedelta(hours=1)
COHORTS = {
    "country": ["DEU", "USA", "SGP", "Unavailable"],
    "isp": ["Rheinkabel", "Cascadia"],
    "edge": ["FRA56-P3", "SEA19-C1", "TXL52-P1"],
    "device_type": ["tv", "phone"],
    "app_version": ["3.1", "Unavailable"],
    "video_id": ["v1", "v2"],
}
TIMESTAMP = pa.timestamp("us", "UTC")
HISTOGRAM = pa.list_(pa.struct([("bucket", pa.int32()), ("count", pa.int64())]))
SKETCHES = ("viewers", "stalled_viewers", "failing_viewers")
BREACHES = pa.list_(
    pa.struct(
        [
            ("cohort", pa.string()),
            ("value", pa.float64()),
            ("usual", pa.float64()),
            ("sample", pa.int64()),
            ("impacted", pa.int64()),
        ]
    )
)
TYPES = {
    **dict.fromkeys(
        ("minute", "hour", "window_start", "newest_arrival_at", "event_at", "modified_at"),
        TIMESTAMP,
    ),
    **dict.fromkeys(SKETCHES, pa.binary()),
    **dict.fromkeys(
        ("startup_histogram", "first_byte_histogram", "origin_first_byte_histogram"), HISTOGRAM
    ),
    "ingested_at": TIMESTAMP,
    **dict.fromkeys(("trained_at", "learned_until"), TIMESTAMP),
    "importance": pa.float64(),
    "event_date": pa.date32(),
    "session_date": pa.date32(),
    "price_date": pa.date32(),
    **dict.fromkeys(
        (
            *("first_active_on", "activity_date", "revenue_date"),
            *("played_on", "shown_on", "changed_on", "profile_date"),
        ),
        pa.date32(),
    ),
    "filed_date": pa.date32(),
    "breaches": BREACHES,
    "concurrent_plays": pa.list_(pa.int64()),
    "baseline": pa.float64(),
    "deviation": pa.float64(),
    "value": pa.float64(),
}


def write(root: Path, table: str, rows: list[Row], mode: str = "overwrite") -> None:
    """Rows as a commit to a table, as gold.noc_playback; types by the names of columns."""
    schema, _, name = table.partition(".")
    arrays = {
        column: pa.array(
            [row[column] for row in rows],
            # of live tables the column is a number
            None
            if column == "concurrent_plays" and not isinstance(rows[0][column], list)
            else TYPES.get(column),
        )
        for column in rows[0]
    }
    path = root / "warehouse" / f"{schema}.db" / name.lower()
    write_deltalake(str(path), pa.table(arrays), mode=mode)


def sketch(viewers: Iterable[str]) -> bytes:
    """A theta sketch as Spark's theta_sketch_agg leaves it."""
    made = update_theta_sketch(12)
    for viewer in viewers:
        made.update(viewer)
    return made.compact().serialize()


def playback_cells(seed: int, minutes: int = 75) -> list[Row]:
    """Cells of noc_playback of the minutes before END, and three after it by clocks that run
    ahead; with their viewers as sets.

    The sets (`of_stalled`, …) are what the sketches hold; they are no columns.
    """
    draw = random.Random(seed)
    rows = []
    for ago in range(-2, minutes + 1):
        minute = END - timedelta(minutes=ago)
        keys = {
            tuple(draw.choice(values) for values in COHORTS.values())
            for _ in range(draw.randrange(0, 6))
        }
        rows += [_playback_cell(draw, minute, key) for key in sorted(keys)]
    return rows


def _playback_cell(draw: random.Random, minute: datetime, key: tuple[str, ...]) -> Row:
    # a viewer stays in one network, and one of the networks is slow
    viewers = {f"{key[1]} {draw.randrange(200)}" for _ in range(draw.randrange(1, 5))}
    stalled = {viewer for viewer in viewers if draw.random() < (0.3 if "Ca" in viewer else 0.1)}
    failing = {viewer for viewer in viewers if draw.random() < 0.1}
    plays = draw.randrange(0, 4)
    exits, failures, business = (int(draw.random() < 0.2) for _ in range(3))
    startups = draw.randrange(0, plays + 1)
    ended = draw.randrange(0, 3)
    played = draw.randrange(0, 200)
    return {
        "minute": minute,
        **dict(zip(COHORTS, key, strict=True)),
        "sessions": len(viewers),
        "bot_sessions": int(draw.random() < 0.1),
        "viewers": sketch(viewers),
        "attempts": plays + exits + failures + business,
        "plays": plays,
        "exits_before_start": exits,
        "start_failures_technical": failures,
        "start_failures_business": business,
        "startups": startups,
        "startup_histogram": histogram(draw, startups),
        "ended_plays": ended,
        "failed_plays": draw.randrange(0, ended + 1),
        "concurrent_plays": [draw.randrange(0, 5) for _ in range(6)],
        "played_s": played,
        "played_bits": played * draw.randrange(10**6, 10**7),
        "rated_s": draw.randrange(0, played + 1),
        "stalls": len(stalled),
        "sessions_with_stall": len(stalled),
        "sessions_with_error": len(failing),
        "stalled_ms": len(stalled) * draw.randrange(1, 5000),
        "seeking_ms": draw.randrange(0, 900),
        "stalled_viewers": sketch(stalled),
        "errors": len(failing),
        "failing_viewers": sketch(failing),
        # late events come no later than now
        "newest_arrival_at": min(END, minute + timedelta(minutes=draw.choice([1, 1, 1, 20]))),
        "of_stalled": stalled,
        "of_failing": failing,
    }


def cdn_cells(seed: int, minutes: int = 75) -> list[Row]:
    """Cells of noc_cdn of the minutes before END, and three after it."""
    draw = random.Random(seed)
    rows = []
    for ago in range(-2, minutes + 1):
        for result in ("HIT", "MISS", "ERROR"):
            if draw.random() < 0.3:
                continue
            requests = draw.randrange(1, 30)
            cacheable = draw.randrange(0, requests + 1)
            first, origin = draw.randrange(0, requests), draw.randrange(0, requests)
            rows.append(
                {
                    "minute": END - timedelta(minutes=ago),
                    "edge": draw.choice(COHORTS["edge"]),
                    "isp": draw.choice(COHORTS["isp"]),
                    "resulttype": result,
                    "requests": requests,
                    "sent_bytes": requests * draw.randrange(10**5, 10**6),
                    "cacheable_requests": cacheable,
                    "hits": draw.randrange(0, cacheable + 1),
                    "cacheable_bytes": cacheable * 1000,
                    "hit_bytes": cacheable * draw.randrange(0, 1000),
                    "first_bytes": first,
                    "first_byte_ms": first * 30,
                    "first_byte_histogram": histogram(draw, first),
                    "slow_first_bytes": draw.randrange(0, first + 1),
                    "origin_first_byte_histogram": histogram(draw, origin),
                    "client_aborts": draw.randrange(0, requests + 1),
                    "origin_errors": draw.randrange(0, 2),
                    "edge_errors": draw.randrange(0, 2),
                    "other_errors": draw.randrange(0, 2),
                    "responses_4xx": draw.randrange(0, 2),
                    "responses_5xx": draw.randrange(0, 2),
                }
            )
    return rows


def histogram(draw: random.Random, count: int) -> list[Row]:
    """So many durations by buckets, in order, none of zero."""
    buckets = [draw.randrange(100, 160) for _ in range(count)]
    return [{"bucket": each, "count": buckets.count(each)} for each in sorted(set(buckets))]


def columns_of(rows: list[Row]) -> list[Row]:
    """Rows without what is no column."""
    return [{name: row[name] for name in row if not name.startswith("of_")} for row in rows]


def baselines(metrics: Iterable[str]) -> list[Row]:
    """What is usual in the hours about END, of all and of one ISP."""
    hours = [END.replace(minute=0) - timedelta(hours=ago) for ago in range(3)]
    return [
        {
            "hour": hour,
            "cohort_kind": kind,
            "cohort": cohort,
            "metric": metric,
            "baseline": float(place + len(cohort)),
            "deviation": 0.5,
        }
        for place, hour in enumerate(hours)
        for kind, cohort in (("all", "all"), ("isp", "Rheinkabel"))
        for metric in metrics
    ]


def _session(**given: Any) -> Row:
    at = given.pop("at")
    usual = dict.fromkeys(
        ("startup_ms", "played_s", "stalls", "stalled_ms", "errors"), 0
    ) | dict.fromkeys(("failure_class", "failure_code"), "")
    return {
        "session_key": f"{at:%H%M}",
        "first_event_at": at,
        "last_event_at": at + timedelta(minutes=10),
        "device_type": "tv",
        "app_version": "3.1",
        **usual,
        **given,
    }


def write_viewing(root: Path) -> None:
    """Sessions of four viewers, of whom one began none that day, and events of two."""
    hour = timedelta(hours=1)
    days = [
        ("a", "v1", [_session(at=END - hour / 2, stalled_ms=500), _session(at=END - 3 * hour)]),
        ("b", "v2", [_session(at=END - hour - hour / 12, stalled_ms=900)]),
        ("c", "v1", [_session(at=END - hour / 4, device_type="phone", startup_ms=70)]),
        ("d", "v1", []),
    ]
    nulled = [
        (user, video, [{k: v or None for k, v in each.items()} for each in sessions])
        for user, video, sessions in days
    ]
    table = pa.table(
        {
            "session_date": [END.date() for _ in nulled],
            "user_id": [user for user, _, _ in nulled],
            "video_id": [video for _, video, _ in nulled],
            "sessions": [sessions for _, _, sessions in nulled],
        }
    )
    fields = table.schema.field("sessions").type.value_type
    typed = pa.struct(
        [
            (
                each.name,
                pa.timestamp("us", "UTC")
                if pa.types.is_timestamp(each.type)
                else pa.int64()
                if each.name in ("startup_ms", "played_s", "stalls", "stalled_ms", "errors")
                else pa.string(),
            )
            for each in fields
        ]
    )
    table = table.set_column(
        3, "sessions", pa.array(table["sessions"].to_pylist(), pa.list_(typed))
    )
    write_deltalake(str(root / "warehouse" / "silver.db" / "playback_session_days"), table)
    names = ("buffer_type", "location", "isp", "origin", "resulttype")
    write(
        root,
        "gold.video_activity",
        [
            {
                "event_date": at.date(),
                "event_at": at,
                "type": kind,
                "user_id": user,
                "video_id": "v1",
                "at_s": 1.5,
                "time_ms": 20,
                "bitrate_bps": 9,
                "status": 200,
                "first_byte_s": 0.5,
                **dict.fromkeys(names, "x"),
            }
            for user, at, kind in (
                ("a", END - hour / 4, "stream"),
                ("a", END - hour / 2, "play"),
                ("a", END - 2 * hour, "play"),
                ("b", END - hour / 2, "play"),
            )
        ],
    )


def write_feeds(root: Path) -> None:
    """What two feeds loaded, and what of it was not taken."""
    item = {
        "ingested_at": END,
        "modified_at": END - timedelta(seconds=9),
        "received": 10,
        "kept": 9,
        "duplicates": 0,
        "quarantined": 1,
    }
    write(root, "bronze.ledger", [{"feed": feed, **item} for feed in ("cdn_logs", "player_events")])
    write(
        root,
        "bronze.quarantine",
        [{"feed": "cdn_logs", "reason": "no JSON", "ingested_at": END}],
    )


def write_alerts(
    root: Path,
    broken: dict[str, Iterable[int]],
    start: datetime,
    judgements_table: str = "gold.alert_judgements",
) -> None:
    """A rule on ISPs that fires at the third window in a row and is over after five minutes
    without; which cohort breaks it in which minutes after `start`."""
    rule = {
        "rule": "r",
        "metric": "bitrate_bps",
        "cohort_kind": "isp",
        "direction": "above",
        "fire_after": 3,
        "clear_after": 5,
        "severity": "warning",
        "layer": "isp",
        "meaning": "text",
    }
    write(root, "ops.alert_rules", [rule])
    judgements = [
        {
            "window_start": start + timedelta(minutes=number),
            "rule": "r",
            "newest_arrival_at": start + timedelta(minutes=number + 5),
            "breaches": [
                {
                    "cohort": cohort,
                    "value": 1.0 + number,
                    "usual": 1.0,
                    "sample": 10,
                    "impacted": number,
                }
                for cohort, numbers in broken.items()
                if number in numbers
            ],
        }
        for number in range(27)
    ]
    write(root, judgements_table, judgements)


def write_live(root: Path, users: int) -> None:
    """Windows of now: so many active users, half of them with each of two videos."""
    now = datetime.now(UTC).replace(microsecond=0)
    windows = [now - timedelta(seconds=30 * ago) for ago in range(3)]
    active = [{"window_start": window, "active_users": users} for window in windows]
    write(root, "gold.live_active_users", active)
    shares = {"active_clients": users, "failing_clients": 1, "failing_share": 1 / users}
    write(root, "gold.live_client_errors", [{"window_start": each, **shares} for each in windows])
    bars = [
        {
            "window_start": now,
            "ticker": ticker,
            "price_date": now.date(),
            "close": 12.5,
            "volume": 7,
        }
        for ticker in ("A", "B")
    ]
    write(root, "gold.live_prices", bars)
    for table, column in (
        ("gold.live_concurrent_viewers", "concurrent_viewers"),
        ("gold.live_popular_videos", "recent_views"),
    ):
        rows = [
            {"window_start": window, "video_id": video, column: users // 2}
            for window in windows
            for video in ("v1", "v2")
        ]
        write(root, table, rows)


def write_everything(root: Path, seed: int) -> None:
    """All that any panel reads."""
    write(root, "gold.noc_playback", columns_of(playback_cells(seed)))
    write(root, "gold.noc_cdn", cdn_cells(seed))
    write(root, "gold.noc_baseline", baselines([*PLAYBACK, *CDN]))
    write_alerts(root, {"Cascadia": range(20, 27)}, END - timedelta(minutes=32))
    write_alerts(
        root,
        {f"{GAMES[0]}, eu-1": range(20, 27), GAMES[1]: range(3)},
        END - timedelta(minutes=32),
        "gold.game_judgements",
    )
    write_viewing(root)
    write_feeds(root)
    write_live(root, 400)
    write_stocks(root)
    write_games(root)
    write_models(root)


GAMES = ("north/castle", "north/kart")
GAME_DAYS = [date(2026, 5, day) for day in range(20, 31)]


def write_games(root: Path, seed: int = 5) -> dict[str, list[Row]]:
    """Days of two games; the second level's configuration changes on the way. By table."""
    draw = random.Random(seed)
    played = {
        (game, f"{game} {first} {number}"): sorted(
            {GAME_DAYS[first]} | {day for day in GAME_DAYS[first:] if draw.random() < 0.4}
        )
        for game in GAMES
        for first in range(len(GAME_DAYS))
        for number in range(draw.randrange(1, 5))
    }
    players = [
        {"game_id": game, "player_id": player, "first_active_on": days[0]}
        for (game, player), days in played.items()
    ]
    player_days = [
        {"game_id": game, "player_id": player, "activity_date": day}
        for (game, player), days in played.items()
        for day in days
    ]
    cells = [(game, day) for game in GAMES for day in GAME_DAYS]
    daily = [
        {
            "activity_date": day,
            "game_id": game,
            "dau": draw.randrange(5, 50),
            "wau": 60,
            "mau": 70,
            "stickiness": 0.5,
            "new_players": draw.randrange(5),
        }
        for game, day in cells
    ]
    revenue = [
        {
            "revenue_date": day,
            "game_id": game,
            "purchases": draw.randrange(9),
            **{name: draw.random() for name in ("gross_usd", "refunds_usd", "ads_usd")},
            "net_usd": draw.uniform(-1, 9),
            "arpdau_usd": draw.random(),
            "conversion": draw.random(),
        }
        for game, day in cells[1:]  # on the first day nobody paid
    ]
    levels = [
        {
            "played_on": day,
            "game_id": game,
            "level_id": level,
            "config_version": "c2" if level == "l2" and day > GAME_DAYS[6] else "c1",
            "starts": draw.randrange(1, 9),
            "completions": draw.randrange(2),
            "quits": draw.randrange(2),
        }
        for game, day in cells
        for level in ("l1", "l2")
    ]
    offers = [
        {
            "shown_on": day,
            "game_id": game,
            "offer_name": "bundle",
            "variant": variant,
            "segment": "payer",
            "currency": "USD",
            "shows": draw.randrange(1, 9),
            **{name: draw.randrange(2) for name in ("clicks", "purchases")},
            "revenue_minor": draw.randrange(999),
        }
        for game, day in cells
        for variant in "ab"
    ]
    economy = [
        {
            "changed_on": day,
            "game_id": game,
            "currency": "gems",
            "players": 4,
            "earned": 90,
            "spent": 100,
            "net": -10,
            "broken_balances": 1,
            "unexplained_balances": 0,
        }
        for game, day in cells
    ]
    tables = {
        "silver.game_players": players,
        "silver.game_player_days": player_days,
        "gold.players_daily": daily,
        "gold.revenue_daily": revenue,
        "gold.level_funnel": levels,
        "gold.offer_funnel": offers,
        "gold.economy_balance": economy,
    }
    for table, rows in tables.items():
        draw.shuffle(rows)
        write(root, table, rows)
    return tables


def write_models(root: Path) -> None:
    """Two versions of a model, of which the second is in use, scores of two days, and drift."""
    key = {"model": "player_churn"}
    figures = dict.fromkeys(
        ("baseline_roc_auc", "gain_low", "gain_high", "calibration_error", "top_decile_lift"), 0.5
    )
    versions = [
        key
        | {
            "model_version": number,
            "is_in_use": number == 2,
            "trained_at": END + timedelta(days=number),
            "learned_until": END - timedelta(days=30),
            "rows": 400,
            "roc_auc": 0.6 + number / 10,
        }
        | figures
        for number in (1, 2)
    ]
    points = [
        key
        | {"model_version": number, "curve": curve, "place": place, "rows": 40}
        # the second version's are the higher ones
        | {"x": place / 10, "y": place / 10 * (0.5 + number / 4)}
        for number in (1, 2)
        for curve, first in (("reliability", 0), ("gains", 1), ("gains_of_baseline", 1))
        for place in range(first, first + 10)
    ]
    drift = [
        {
            "profile_date": GAME_DAYS[-1] - timedelta(days=ago),
            "model_version": 2,
            "feature": feature,
            "profiles": 100 - ago,
            "stability_index": most / (1 + ago) if feature != "quiet" else 0.01 * ago,
            "importance": None if feature == "score" else 0.25,
        }
        for feature, most in (("score", 0.05), ("sessions_7", 0.3), ("quiet", 0))
        for ago in range(9)
    ]
    players = [
        {
            "profile_date": GAME_DAYS[-1] - timedelta(days=ago),
            "game_id": game,
            "player_id": f"p{number}",
            "score": (number + 1) / 10,
            "risk_decile": 8 - number,
            "reasons": [{"reason": "levels_too_hard", "value": 0.75}] if number else [],
            "is_savable": number > 0,
            "days_since_played": 1 + number,
            "model_version": 2,
        }
        for ago in range(2)
        for game in GAMES
        for number in range(3)
    ]
    write(root, "bronze.model_versions", versions)
    write(root, "bronze.model_curves", points)
    write(root, "ops.player_churn_drift", drift)
    write(root, "gold.players_at_risk", players)
    minute = datetime(2026, 5, 30, 18, tzinfo=UTC)
    cohorts = [
        {
            "minute": minute - timedelta(minutes=ago),
            "edge": edge,
            "isp": "North",
            "device_type": "tv",
            "score": score,
            "layer": "edge",
            "layer_evidence": 0.5,
            "viewers_1": viewers,
            "viewers_5": 5,
            "model_version": 1,
        }
        for ago in range(2)
        for edge, score, viewers in (("AMS", 0.2, 3), ("FRA", 0.7 + ago / 10, 4), ("gone", 0.9, 0))
    ]
    write(root, "gold.cohorts_at_risk", cohorts)


def write_stocks(root: Path) -> None:
    """Two sessions of two shares, and the filing that one of them rests on."""
    days = [date(2024, 5, 2), date(2024, 5, 3)]
    prices = [("A", days[1], 12.0), ("A", days[0], 10.0), ("B", days[0], 4.0)]
    write(
        root,
        "gold.price_earnings_ttm",
        [
            {
                "ticker": ticker,
                "price_date": day,
                "close": close,
                "eps_ttm": 2.0,
                "pe_ttm": close / 2,
                "null_reason": "",
            }
            for ticker, day, close in prices
        ],
    )
    funded = [
        {
            "ticker": "A",
            "price_date": day,
            "close": close,
            "eps_basic_net": eps,
            "fiscal_period": "2024Q1",
            "filing_type": "10-Q",
            "filed_date": filed,
            "verified": True,
        }
        for day, close, eps, filed in (
            (days[0], 10.0, 4.0, days[0]),
            (days[1], 12.0, 4.0, days[0]),
            (date(2024, 5, 6), 12.0, -1.0, None),
            (date(2024, 5, 7), 12.0, float("nan"), None),
        )
    ]
    write(root, "gold.priceWithFundamentals", funded)
    write(root, "gold.stocksDailyPricesWFund", funded)


# ---- what the rows mean


def divided(top: float, bottom: float) -> float | None:
    return top / bottom if bottom else None


def quantiles_ms(name: str, histograms: Iterable[list[Row]]) -> dict[str, float | None]:
    """The middles of the buckets that hold the median and the 95th and 99th percentiles."""
    buckets = sorted(
        entry["bucket"] for each in histograms for entry in each for _ in range(entry["count"])
    )
    return {
        f"{name}_p{share}_ms": math.exp((buckets[-(-share * len(buckets) // 100) - 1] + 0.5) / 20)
        if buckets
        else None
        for share in (50, 95, 99)
    }


def playback_values(rows: list[Row], windows: float = 1) -> dict[str, float]:
    """The metrics of some cells, those that have a value."""

    def total(name: str) -> int:
        return sum(row[name] for row in rows)

    moments: dict[tuple[datetime, int], int] = {}
    for row in rows:
        for place, plays in enumerate(row["concurrent_plays"]):
            key = (row["minute"], place)
            moments[key] = moments.get(key, 0) + plays
    waited = total("stalled_ms") + total("seeking_ms")
    values = {
        "concurrent_plays": max(moments.values(), default=None),
        "attempts": total("attempts") / windows,
        "start_failure_share": divided(total("start_failures_technical"), total("attempts")),
        "exit_before_start_share": divided(total("exits_before_start"), total("attempts")),
        **quantiles_ms("startup", (row["startup_histogram"] for row in rows)),
        "rebuffering_share": divided(total("stalled_ms"), 1000 * total("played_s") + waited),
        "playback_failure_share": divided(total("failed_plays"), total("ended_plays")),
        "bitrate_bps": divided(total("played_bits"), total("rated_s")),
    }
    return {name: value for name, value in values.items() if value is not None}


def cdn_values(rows: list[Row]) -> dict[str, float]:
    """The metrics of some cells of the CDN, those that have a value."""

    def total(name: str) -> int:
        return sum(row[name] for row in rows)

    judged = total("requests") - total("client_aborts")
    values = {
        "requests": total("requests"),
        "sent_bits_per_second": 8 * total("sent_bytes") / 300,
        "hit_share": divided(total("hits"), total("cacheable_requests")),
        "hit_byte_share": divided(total("hit_bytes"), total("cacheable_bytes")),
        **quantiles_ms("first_byte", (row["first_byte_histogram"] for row in rows)),
        "slow_first_byte_share": divided(total("slow_first_bytes"), total("first_bytes")),
        **quantiles_ms("origin_first_byte", (row["origin_first_byte_histogram"] for row in rows)),
        "cdn_error_share": divided(total("origin_errors") + total("edge_errors"), judged),
        "origin_error_share": divided(total("origin_errors"), judged),
        "edge_error_share": divided(total("edge_errors"), judged),
        "response_4xx_share": divided(total("responses_4xx"), total("requests")),
        "response_5xx_share": divided(total("responses_5xx"), total("requests")),
        "client_abort_share": divided(total("client_aborts"), total("requests")),
    }
    return {name: value for name, value in values.items() if value is not None}


def in_windows(
    rows: list[Row], values: Callable[[list[Row]], dict[str, float]]
) -> dict[tuple[datetime, str], float]:
    """Metrics of five minutes each, end to end up to END."""
    windows: dict[datetime, list[Row]] = {}
    for row in rows:
        place = math.ceil((END - row["minute"]) / timedelta(minutes=5))
        windows.setdefault(END - place * timedelta(minutes=5), []).append(row)
    return {
        (start, metric): value
        for start, cells in windows.items()
        for metric, value in values(cells).items()
    }
