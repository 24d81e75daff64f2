"""Games: players, revenue, cohorts, offers, levels and currencies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dashboard import charts
from dashboard.choice import Choice
from dashboard.content import Content, Link, Table, Tile, spark_points
from dashboard.metrics import show_time
from dashboard.panels.playback import STATES
from dashboard.question import Question

if TYPE_CHECKING:
    from collections.abc import Callable

    from dashboard.lakehouse import Row

TABLE_DAYS = 30
ALERT_DAYS = 7
NOTHING = "No day of any game yet."


def games(question: Question) -> Content:
    """Each game at its newest day."""
    rows = question.of_choice("games")
    if not rows:
        return Content("empty", NOTHING)
    return Content(
        table=Table(
            "Games, at their newest day",
            (
                "game",
                "day",
                "players",
                "change",
                "new",
                "DAU/MAU",
                "net, $",
                "change",
                "$ a player",
            ),
            [
                (
                    Link(row["game_id"], question.choice.query(game=row["game_id"])),
                    f"{row['activity_date']:%Y-%m-%d}",
                    f"{row['dau']:,}",
                    _change(row["dau"], row["previous_dau"]),
                    f"{row['new_players']:,}",
                    _share(row["stickiness"]),
                    _money(row["net_usd"]),
                    _change(row["net_usd"], row["previous_net_usd"]),
                    _money(row["arpdau_usd"]),
                )
                for row in rows
            ],
            tuple(range(2, 9)),
        )
    )


def days(question: Question) -> Content:
    """Players and revenue of the chosen game by day, with a mark where a configuration was new."""
    of_game = _of_game(question)
    rows = of_game.of_choice("game_days") if of_game else []
    if not rows:
        return Content("empty", NOTHING)
    newest = rows[-1]
    changes = [row for row in rows if row["config_versions"]]
    return Content(
        tiles=[
            Tile(
                label,
                show(newest[column]),
                f"{newest['activity_date']:%Y-%m-%d}",
                spark=spark_points([row[column] for row in rows if row[column] is not None]),
            )
            for label, column, show in (
                ("players", "dau", "{:,}".format),
                ("DAU/MAU", "stickiness", _share),
                ("net revenue, $", "net_usd", _money),
                ("$ a player", "arpdau_usd", _money),
                ("players who pay", "conversion", _share),
            )
        ],
        chart=charts.game_days(rows, question.scheme),
        chart_label=f"Players and net revenue of {of_game.choice.game} by day",
        table=Table(
            f"{of_game.choice.game}: newest days",
            (
                *("day", "players", "of 7 days", "of 30 days", "new", "purchases"),
                *("gross, $", "refunds, $", "ads, $", "net, $", "new configuration"),
            ),
            [
                (
                    f"{row['activity_date']:%Y-%m-%d}",
                    *(f"{row[name]:,}" for name in ("dau", "wau", "mau", "new_players")),
                    "-" if row["purchases"] is None else f"{row['purchases']:,}",
                    *(
                        _money(row[name])
                        for name in ("gross_usd", "refunds_usd", "ads_usd", "net_usd")
                    ),
                    row["config_versions"] or "",
                )
                for row in rows[: -TABLE_DAYS - 1 : -1]
            ],
            tuple(range(1, 10)),
        ),
        notes=["Marks are days on which levels were first played under a new configuration."]
        if changes
        else [],
    )


def alerts(question: Question) -> Content:
    """What live operations were, or should have been, woken by."""
    of_game = _of_game(question)
    rows = of_game.of_last_days("game_alerts", ALERT_DAYS) if of_game else []
    if not rows:
        return Content(message="No alert in this time.")
    return Content(
        table=Table(
            f"{of_game.choice.game}: alerts, those that fire first",
            (
                *("state", "severity", "what", "who", "where to look"),
                *("since, UTC", "value", "usual", "impacted"),
            ),
            [
                (
                    *(row[name] for name in ("state", "severity", "meaning")),
                    row["cohort"].removeprefix(of_game.choice.game).removeprefix(", ") or "all",
                    row["layer"],
                    show_time(row["started_at"]),
                    *(_figure(row[name]) for name in ("last_value", "last_usual", "impacted")),
                )
                for row in sorted(rows, key=lambda row: STATES.index(row["state"]))
            ],
            (6, 7, 8),
        )
    )


def retention(question: Question) -> Content:
    """How many of each day's new players came back."""
    return _listed(
        question,
        "game_retention",
        "Cohorts by first day",
        ("first day", "players", "a day later", "3 days later", "7 days later"),
        lambda row: (
            f"{row['cohort_date']:%Y-%m-%d}",
            f"{row['players']:,}",
            *(_share(row[f"retention_{number}"]) for number in (1, 3, 7)),
        ),
        (1, 2, 3, 4),
    )


def offers(question: Question) -> Content:
    """What was shown to whom, and bought."""
    return _listed(
        question,
        "game_offers",
        "Offers of the last seven days",
        ("offer", "variant", "segment", "shown", "clicked", "bought", "minor units a show", ""),
        lambda row: (
            *(row[name] or "-" for name in ("offer_name", "variant", "segment")),
            f"{row['shows']:,}",
            _share(row["click_rate"]),
            _share(row["purchase_rate"]),
            f"{row['revenue_minor_per_show']:,.1f}",
            row["currency"],
        ),
        (3, 4, 5, 6),
    )


def levels(question: Question) -> Content:
    """How levels end, under each configuration."""
    return _listed(
        question,
        "game_levels",
        "Levels of the last seven days",
        ("level", "configuration", "started", "completed", "quit"),
        lambda row: (
            row["level_id"],
            row["config_version"] or "-",
            f"{row['starts']:,}",
            _share(row["completion_rate"]),
            _share(row["quit_rate"]),
        ),
        (2, 3, 4),
    )


def economy(question: Question) -> Content:
    """What players earn and spend of each currency of the game."""
    return _listed(
        question,
        "game_economy",
        "Currencies by day",
        ("day", "currency", "players", "earned", "spent", "net", "broken", "unexplained"),
        lambda row: (
            f"{row['changed_on']:%Y-%m-%d}",
            row["currency"],
            *(
                f"{row[name]:,}"
                for name in (
                    *("players", "earned", "spent", "net"),
                    *("broken_balances", "unexplained_balances"),
                )
            ),
        ),
        tuple(range(2, 8)),
    )


def _of_game(question: Question) -> Question | None:
    """The question of the chosen game, else of the one with most players; None without any."""
    choice = question.choice
    game = choice.game
    if game is None:
        known = question.of_choice("games")
        game = known[0]["game_id"] if known else None
    if game is None:
        return None
    return question.instead(Choice(start=choice.start, end=choice.end, game=game))


def _listed(
    question: Question,
    query: str,
    caption: str,
    columns: tuple[str, ...],
    cells: Callable[[Row], tuple[str, ...]],
    numbers: tuple[int, ...],
) -> Content:
    of_game = _of_game(question)
    rows = of_game.of_choice(query) if of_game else []
    if not rows:
        return Content("empty", "Nothing yet.")
    return Content(
        table=Table(
            f"{of_game.choice.game}: {caption}", columns, [cells(row) for row in rows], numbers
        )
    )


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def _money(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _change(value: float | None, previous: float | None) -> str:
    return f"{100 * (value / previous - 1):+.1f} %" if value is not None and previous else "-"
