"""The panels, and the pages that they stand on. Each is one function of a Question."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from dashboard.content import Content
from dashboard.lakehouse import MissingTable, tables_of
from dashboard.panels import cdn, feeds, games, live, models, places, playback, stocks, viewer
from dashboard.question import Question

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Panel:
    """queries: files of dashboard/sql. A change of a table that they read is news to the panel."""

    title: str
    about: str
    queries: Sequence[str]
    build: Callable[[Question], Content]

    @property
    def tables(self) -> set[str]:
        """All tables that it reads."""
        return {table for query in self.queries for table in tables_of(query)}


def build(name: str, question: Question) -> Content:
    """The content of a panel, in whichever state it is."""
    try:
        return PANELS[name].build(question)
    except MissingTable as missing:
        return Content(
            "empty", f"{missing} is not there yet. It comes with `make up` or `make demo`."
        )
    except Exception:
        log.exception("panel %s", name)
        return Content("error", "This could not be read. The log of the dashboard says why.")


PANELS = {
    "status": Panel(
        "Now",
        "What viewers experience, beside what is usual.",
        ("newest", "playback"),
        playback.status,
    ),
    "time_series": Panel(
        "Over time",
        "The chosen metric, the band of what is usual, and the alerts that fired.",
        ("newest", "playback", "alerts"),
        playback.time_series,
    ),
    "alerts": Panel(
        "Alerts", "What is pending, firing and resolved.", ("newest", "alerts"), playback.alerts
    ),
    "isp_edge": Panel(
        "Networks and edges",
        "The chosen metric by ISP and edge.",
        ("newest", "isp_edge"),
        places.isp_edge,
    ),
    "countries": Panel(
        "Countries",
        "The chosen metric by country of origin.",
        ("newest", "countries"),
        places.countries,
    ),
    "cohorts": Panel(
        "Worst cohorts",
        "Where a greater share is in trouble than of all, by impacted viewers.",
        ("newest", "cohorts"),
        places.cohorts,
    ),
    "cdn": Panel(
        "CDN",
        "Hits, times to first byte, the origin, errors and bytes.",
        ("newest", "cdn", "cdn_results"),
        cdn.cdn,
    ),
    "sessions": Panel(
        "Sessions",
        "Those with most trouble, or of one viewer.",
        ("newest", "viewer_sessions"),
        viewer.sessions,
    ),
    "viewer": Panel(
        "One viewer",
        "What one viewer saw, second by second.",
        ("newest", "viewer_events"),
        viewer.timeline,
    ),
    "feeds": Panel(
        "Freshness",
        "How new each feed's data are, and what came late.",
        ("newest", "feeds", "late_cells"),
        feeds.feeds,
    ),
    "quarantine": Panel(
        "Quarantine", "Records that were not taken, by reason.", ("quarantine",), feeds.quarantine
    ),
    "live_active_users": Panel(
        "Active users",
        "About how many viewers are watching.",
        ("live_active_users",),
        live.tile(
            "live_active_users", "active_users", "active users", "viewers of the last minutes"
        ),
    ),
    "live_popular_videos": Panel(
        "Most popular",
        "How often each video was begun in the last minutes.",
        ("live_popular_videos",),
        live.videos("live_popular_videos", "recent_views", "begun"),
    ),
    "live_concurrent_viewers": Panel(
        "Watching",
        "About how many are watching each video.",
        ("live_concurrent_viewers",),
        live.videos("live_concurrent_viewers", "concurrent_viewers", "viewers"),
    ),
    "live_client_errors": Panel(
        "Clients with errors",
        "The share of the clients that report playback errors.",
        ("live_client_errors",),
        live.tile(
            "live_client_errors",
            "failing_share",
            "clients with errors",
            "in five minutes,",
            "share",
            "active_clients",
        ),
    ),
    "live_video_viewers": Panel(
        "This video",
        "About how many are watching the chosen video.",
        ("live_video_viewers",),
        live.video_viewers,
    ),
    "tickers": Panel(
        "Shares", "Price and ratio of each share.", ("stock_tickers",), stocks.tickers
    ),
    "live_prices": Panel(
        "As they come",
        "The bar that came last of each share, seconds old.",
        ("live_prices",),
        stocks.live_prices,
    ),
    "stock": Panel(
        "Price and P/E",
        "A share's price and price/earnings ratios over time.",
        ("stock_tickers", "stock_valuation", "stock_blueprint", "stock_filings"),
        stocks.stock,
    ),
    "games": Panel("Games", "Each game at its newest day.", ("games",), games.games),
    "game_days": Panel(
        "Players and revenue",
        "Day by day, with the configurations that came in between.",
        ("games", "game_days"),
        games.days,
    ),
    "game_alerts": Panel(
        "Alerts of the game",
        "What is pending, firing and resolved, of the last seven days.",
        ("games", "game_newest", "game_alerts"),
        games.alerts,
    ),
    "game_retention": Panel(
        "Retention",
        "How many of a day's new players played exactly so many days later.",
        ("games", "game_retention"),
        games.retention,
    ),
    "game_offers": Panel(
        "Offers",
        "Shown, clicked, bought, by variant and segment.",
        ("games", "game_offers"),
        games.offers,
    ),
    "game_levels": Panel(
        "Levels", "How they end, under each configuration.", ("games", "game_levels"), games.levels
    ),
    "game_economy": Panel(
        "Economy",
        "What is earned and spent of the game's currencies, and balances that do not add up.",
        ("games", "game_economy"),
        games.economy,
    ),
    "model_versions": Panel(
        "Versions",
        "What was trained, how good it was, and which version scores.",
        ("model_versions",),
        models.versions,
    ),
    "model_quality": Panel(
        "Quality",
        "Of versions in use: what was foretold beside what came, and what the first tenths find.",
        ("model_curves",),
        models.quality,
    ),
    "players_at_risk": Panel(
        "Players at risk",
        "Who may leave on the newest day, may be kept, and what happened to them.",
        ("players_at_risk",),
        models.at_risk,
    ),
    "cohorts_at_risk": Panel(
        "Viewers at risk of errors and stalls",
        "Which cohorts of the newest minute may meet errors or stalls soon, and in which layer.",
        ("cohorts_at_risk",),
        models.cohorts_at_risk,
    ),
    "model_drift": Panel(
        "Drift of churn",
        "How far the players of now are from those that the version was judged on.",
        ("model_drift",),
        models.drift,
    ),
}
# The pages, and their panels in order.
PAGES = {
    "/": (
        "status",
        "time_series",
        "alerts",
        "isp_edge",
        "countries",
        "cohorts",
        "cdn",
        "sessions",
        "viewer",
        "feeds",
        "quarantine",
    ),
    "/live": (
        "live_active_users",
        "live_client_errors",
        "live_concurrent_viewers",
        "live_popular_videos",
    ),
    "/player": ("live_active_users", "live_video_viewers", "live_popular_videos"),
    "/games": (
        "games",
        "game_alerts",
        "game_days",
        "game_retention",
        "game_offers",
        "game_levels",
        "game_economy",
    ),
    "/models": (
        "model_versions",
        "cohorts_at_risk",
        "players_at_risk",
        "model_quality",
        "model_drift",
    ),
    "/stocks": ("tickers", "live_prices", "stock"),
}
