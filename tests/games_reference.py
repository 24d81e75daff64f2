"""Simulated players in bronze, and a slow, plain reference of what silver and gold make of them."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from itertools import pairwise
from math import ceil, exp, floor, log
from typing import Any

from demo.games import Plan, Simulation
from loaders import bronze
from loaders.destinations import GameTables
from loaders.games.contract import game_contract
from loaders.games.separation import Separated, Separator

Event = dict[str, Any]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PROVENANCE = "_bucket string, _key string, _version string, _ordinal bigint"


def passed_on(plan: Plan) -> tuple[Simulation, list[Event]]:
    """A simulation, and what the ingest service passes on of it, as often as it was sent."""
    simulation = Simulation(plan)
    separator = Separator(game_contract(), lambda studio, user_id: f"p-{user_id}")
    events = []
    for sent in simulation.events():
        separated = separator.separate(sent.event, "north", sent.at)
        assert isinstance(separated, Separated), separated
        events.append(json.loads(separated.body))
    return simulation, events


def append_batch(spark: Any, events: Sequence[Event], batch_id: int) -> None:
    """Append events as a batch of the feed: each to its table, then the ledger."""
    key = f"object-{batch_id}"
    rows = [(json.dumps(event), "bucket", key, "1", number) for number, event in enumerate(events)]
    frame = spark.createDataFrame(rows, f"data string, {PROVENANCE}").selectExpr(
        "*",
        "timestamp'2026-04-01 12:00:00' as _modified_at",
        f"{batch_id}L as _batch_id",
        "timestamp'2026-04-01 12:00:00' as _ingested_at",
    )
    GameTables(game_contract()).append(frame, bronze.append)
    entry = {"feed": "game_events", "batch_id": batch_id, "query_id": "query", "size_bytes": 1}
    entry |= {"container": "bucket", "item": key, "version": "1", "modified_at": None}
    entry |= {"received": len(rows), "kept": len(rows), "duplicates": 0, "quarantined": 0}
    entry |= {"first_position": "0", "last_position": str(len(rows) - 1)}
    entry |= {"ingested_at": datetime(2026, 4, 1, 12, tzinfo=UTC)}
    bronze.append(spark.createDataFrame([entry], bronze.LEDGER_COLUMNS), bronze.LEDGER)


# ---- the reference: over all events, each taken once, with its true time


def once(events: Iterable[Event]) -> list[Event]:
    """Each event as the ingest service took it first, with `at`, when it happened."""
    first: dict[str, Event] = {}
    for event in events:
        known = first.get(event["event_id"])
        if known is None or event["ingest_ts"] < known["ingest_ts"]:
            first[event["event_id"]] = event
    return [event | {"at": _at(event)} for event in first.values()]


def _at(event: Event) -> datetime:
    happened, taken = _micros(event["event_timestamp"]), _micros(event["ingest_ts"])
    if "sent_timestamp" in event:
        off = taken - _micros(event["sent_timestamp"])
        if abs(off) // 1_000_000 > 60:
            happened += off
    return EPOCH + timedelta(microseconds=happened)


def _micros(seconds: float) -> int:
    return floor(Fraction(repr(seconds)) * 1_000_000 + Fraction(1, 2))


def _of(events: Sequence[Event], event_type: str) -> list[Event]:
    return [event for event in events if event["event_type"] == event_type]


def active_days(events: Sequence[Event]) -> dict[str, set[date]]:
    """player → days on which they played."""
    days = defaultdict(set)
    for event in events:
        if "player_id" in event and event["event_type"] != "iap_refund":
            days[event["player_id"]].add(event["at"].date())
    return days


def sessions(events: Sequence[Event]) -> set[tuple]:
    """(player, session, began, ended, whether no end came, seconds played, number of events)."""
    by_session = defaultdict(list)
    for event in events:
        if "session_id" in event and "player_id" in event and event["event_type"] != "iap_refund":
            by_session[event["player_id"], event["session_id"]].append(event)
    found = set()
    for (player, session), some in by_session.items():
        millis = sorted((event["at"] - EPOCH) // timedelta(milliseconds=1) for event in some)
        gaps = [later - sooner for sooner, later in pairwise(millis)]
        played = sum(gap for gap in gaps if gap <= 30 * 60_000)
        times = [event["at"] for event in some]
        is_open = not _of(some, "session_end")
        found.add((player, session, min(times), max(times), is_open, played / 1000, len(some)))
    return found


def players_daily(events: Sequence[Event]) -> set[tuple]:
    """(day, DAU, WAU, MAU, new, retained)."""
    days = active_days(events)
    found = set()
    for day in set().union(*days.values()):

        def within(trailing: int, day: date = day) -> int:
            since = day - timedelta(trailing - 1)
            return sum(any(since <= each <= day for each in own) for own in days.values())

        new = sum(min(own) == day for own in days.values())
        retained = sum({day, day - timedelta(1)} <= own for own in days.values())
        found.add((day, within(1), within(7), within(30), new, retained))
    return found


def player_profile(events: Sequence[Event]) -> dict[tuple[date, str], tuple]:
    """(day, player) → what PROFILE names, of events before the day, within a week of playing."""
    by_day: dict[str, dict[date, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for event in events:
        if "player_id" in event and event["event_type"] != "iap_refund":
            by_day[event["player_id"]][event["at"].date()].append(event)
    newest = max(day for days in by_day.values() for day in days)
    found = {}
    for player, days in by_day.items():
        first = min(days)
        for offset in range(1, (newest - first).days + 1):
            day = first + timedelta(days=offset)
            ago = {n: days[day - timedelta(days=n)] for n in range(1, 29)}
            ago = {n: some for n, some in ago.items() if some}
            if min(ago, default=8) <= 7:
                found[day, player] = (min(ago), offset, *_profile(ago))
    return found


PROFILE = (
    "days_since_played, tenure_days, active_days_7, active_days_7_before, active_days_28,"
    " sessions_7, sessions_28, sessions_of_last_day, events_7, levels_completed_7, levels_failed_7,"
    " levels_quit_7, matches_7, matchmakings_7, offers_shown_7, offers_refused_7, purchases_7,"
    " payments_failed_7, ads_7, crashes_7, purchases_28, levels_failed_of_last_day,"
    " round(waited_s_7, 3)"
)


def _profile(ago: Mapping[int, list[Event]]) -> tuple:
    """By how many days ago → the events of that day."""
    week = [event for n, some in ago.items() if n <= 7 for event in some]
    month = [event for some in ago.values() for event in some]
    last = ago[min(ago)]

    def ends(some: Sequence[Event], result: str, event_type: str = "level_end") -> int:
        return sum(each["event_data"].get("result") == result for each in _of(some, event_type))

    def sessions_of(days: Iterable[list[Event]]) -> int:
        return sum(len({e["session_id"] for e in some if "session_id" in e}) for some in days)

    waits = [each["event_data"].get("wait_s", 0) for each in _of(week, "matchmaking_result")]
    errors = _of(week, "client_error")
    return (
        sum(n <= 7 for n in ago),
        sum(7 < n <= 14 for n in ago),
        len(ago),
        sessions_of(some for n, some in ago.items() if n <= 7),
        sessions_of(ago.values()),
        sessions_of([last]),
        len(week),
        *(ends(week, result) for result in ("completed", "failed", "quit")),
        len(_of(week, "match_start")),
        len(waits),
        len(_of(week, "offer_shown")),
        ends(week, "dismissed", "offer_result"),
        len(_of(week, "iap_purchase")),
        len(_of(week, "iap_failed")),
        len(_of(week, "ad_impression")),
        sum(each["event_data"].get("severity") == "crash" for each in errors),
        len(_of(month, "iap_purchase")),
        ends(last, "failed"),
        round(sum(waits), 3),
    )


def retention_cohorts(events: Sequence[Event]) -> set[tuple]:
    """(cohort, day number, players, active players)."""
    days = active_days(events)
    last = max(set().union(*days.values()))
    cohorts = defaultdict(list)
    for own in days.values():
        cohorts[min(own)].append(own)
    return {
        (day, n, len(players), sum(day + timedelta(n) in own for own in players))
        for day, players in cohorts.items()
        for n in range((last - day).days + 1)
    }


def _transactions(events: Sequence[Event]) -> list[Event]:
    """The first report of each purchase."""
    first: dict[str, Event] = {}
    for event in sorted(_of(events, "iap_purchase"), key=lambda e: (e["at"], e["event_id"])):
        first.setdefault(event["event_data"]["transaction_id"], event)
    return list(first.values())


def revenue_daily(events: Sequence[Event]) -> dict[date, tuple]:
    """day → (DAU, purchases, payers, refunds, ads; what these three brought in US dollars, exact;
    unchecked, invalid, unrated)."""
    daus = Counter(day for own in active_days(events).values() for day in own)
    transactions = _transactions(events)
    refunds, ads = _of(events, "iap_refund"), _of(events, "ad_impression")
    days = set(daus) | {event["at"].date() for event in (*transactions, *refunds, *ads)}
    days |= {event["at"].date() for event in _of(events, "iap_purchase")}
    found = {}
    for day in days:
        reported = [e for e in transactions if e["at"].date() == day]
        paid = [e for e in reported if e["event_data"].get("receipt_valid") is not False]
        back = [e for e in refunds if e["at"].date() == day]
        shown = [e for e in ads if e["at"].date() == day]
        found[day] = (
            daus[day],
            len(paid),
            len({e["player_id"] for e in paid}),
            len(back),
            len(shown),
            _dollars(paid),
            _dollars(back),
            sum((Fraction(str(e["event_data"]["ecpm_usd"])) for e in shown), Fraction()) / 1000,
            sum("receipt_valid" not in e["event_data"] for e in paid),
            len(reported) - len(paid),
            sum(e["event_data"]["currency"] != "USD" for e in (*paid, *back)),
        )
    return found


def _brought(events: Sequence[Event]) -> list[tuple[str, date, Fraction]]:
    """(player, day, US dollars) of each thing that brought money, or cost some back."""
    paid = [e for e in _transactions(events) if e["event_data"].get("receipt_valid") is not False]
    found = [(e["player_id"], e["at"].date(), _dollars([e])) for e in paid]
    found += [(e["player_id"], e["at"].date(), -_dollars([e])) for e in _of(events, "iap_refund")]
    found += [
        (e["player_id"], e["at"].date(), Fraction(str(e["event_data"]["ecpm_usd"])) / 1000)
        for e in _of(events, "ad_impression")
    ]
    return found


def ltv_cohorts(events: Sequence[Event]) -> dict[tuple[date, int], tuple[int, Fraction]]:
    """(cohort, day number) → players, what they brought by then in US dollars."""
    first = {player: min(days) for player, days in active_days(events).items()}
    return {
        (cohort, number): (
            players,
            sum(
                (
                    dollars
                    for player, day, dollars in _brought(events)
                    if first[player] == cohort and day <= cohort + timedelta(number)
                ),
                Fraction(),
            ),
        )
        for cohort, number, players, _ in retention_cohorts(events)
    }


def acquisition_roas(events: Sequence[Event]) -> dict[tuple[str, str, int], tuple]:
    """(network, campaign, day number) → players, spent, brought, both in US dollars."""
    active = active_days(events)
    first = {player: min(days) for player, days in active.items()}
    last = max(set().union(*active.values()))
    installs = sorted(_of(events, "app_install"), key=lambda e: (e["at"], e["event_id"]))
    source: dict[str, tuple[str, str]] = {}
    for event in installs:
        data = event["event_data"]
        source.setdefault(event["player_id"], (data["network"], data.get("campaign", "")))
    found = {}
    for network, campaign in {*source.values(), ("", "")}:
        own = {player for player in first if source.get(player, ("", "")) == (network, campaign)}
        for number in range((last - min(first.values())).days + 1):
            old = {player for player in own if first[player] + timedelta(number) <= last}
            if old:

                def is_in(player: str, day: date, old: set = old, number: int = number) -> bool:
                    return player in old and day <= first[player] + timedelta(number)

                found[network, campaign, number] = (
                    len(old),
                    sum(
                        Fraction(event["event_data"].get("cost_minor", 0), 100)
                        for event in installs
                        if is_in(event["player_id"], event["at"].date())
                    ),
                    sum(dollars for player, day, dollars in _brought(events) if is_in(player, day)),
                )
    return found


def _dollars(events: Iterable[Event]) -> Fraction:
    in_usd = (e["event_data"] for e in events if e["event_data"]["currency"] == "USD")
    return sum((Fraction(data["amount_minor"], 100) for data in in_usd), Fraction())


def offer_funnel(events: Sequence[Event]) -> set[tuple]:
    """(day, offer, variant, segment, shows, players, clicks, dismissals, purchases, cents)."""
    results = defaultdict(list)
    for event in _of(events, "offer_result"):
        results[event["event_data"]["offer_id"]].append(event)
    groups = defaultdict(list)
    for show in _of(events, "offer_shown"):
        data = show["event_data"]
        until = show["at"] + timedelta(hours=24)
        paid = [
            event["event_data"]["amount_minor"]
            for event in _transactions(events)
            if event["event_data"].get("offer_id") == data["offer_id"]
            and show["at"] <= event["at"] <= until
            and event["event_data"].get("receipt_valid") is not False
        ]
        group = (show["at"].date(), data["offer_name"], data["variant"], data["segment"])
        answers = {
            event["event_data"]["result"]
            for event in results[data["offer_id"]]
            if show["at"] <= event["at"] <= until
        }
        groups[group].append((show["player_id"], answers, paid))
    return {
        (
            *group,
            len(shows),
            len({player for player, _, _ in shows}),
            sum("clicked" in answers for _, answers, _ in shows),
            sum("dismissed" in answers for _, answers, _ in shows),
            sum(bool(paid) for _, _, paid in shows),
            sum(sum(paid) for _, _, paid in shows),
        )
        for group, shows in groups.items()
    }


def liveops_now(events: Sequence[Event]) -> set[tuple]:
    """(start of five minutes, offer, variant, segment, players, shows, clicks, dismissals,
    purchases, cents)."""
    shows = {event["event_data"]["offer_id"]: event for event in _of(events, "offer_shown")}
    groups = defaultdict(list)

    def put(event: Event, what: str, cents: int = 0) -> None:
        show = shows.get(event["event_data"]["offer_id"])
        is_its = show and timedelta() <= event["at"] - show["at"] <= timedelta(hours=24)
        offer = show["event_data"] if is_its else {}
        minutes = (event["at"] - EPOCH) // timedelta(minutes=5)
        group = (EPOCH + minutes * timedelta(minutes=5),)
        group += tuple(offer.get(name) or "" for name in ("offer_name", "variant", "segment"))
        groups[group].append((event["player_id"], what, cents))

    for show in shows.values():
        put(show, "shown")
    for event in _of(events, "offer_result"):
        put(event, event["event_data"]["result"])
    for event in _transactions(events):
        data = event["event_data"]
        if data.get("offer_id") and data.get("receipt_valid") is not False:
            put(event, "bought", data["amount_minor"])
    return {
        (
            *group,
            len({player for player, _, _ in happened}),
            *(
                sum(each == what for _, each, _ in happened)
                for what in ("shown", "clicked", "dismissed", "bought")
            ),
            sum(cents for _, _, cents in happened),
        )
        for group, happened in groups.items()
    }


def level_funnel(events: Sequence[Event]) -> set[tuple]:
    """(day, level, configuration, players, starts, completed, failed, quit, starts without end,
    ends without start)."""
    groups = defaultdict(list)
    for event in (*_of(events, "level_start"), *_of(events, "level_end")):
        data = event["event_data"]
        group = (event["at"].date(), data["level_id"], data.get("config_version", ""))
        what = data.get("result", "start")
        groups[group].append((event["player_id"], event["session_id"], what))
    found = set()
    for group, played in groups.items():
        whats = Counter(what for _, _, what in played)
        surplus = Counter()
        for player, session, what in played:
            surplus[player, session] += 1 if what == "start" else -1
        found.add(
            (
                *group,
                len({player for player, _, _ in played}),
                *(whats[what] for what in ("start", "completed", "failed", "quit")),
                sum(max(left, 0) for left in surplus.values()),
                sum(max(-left, 0) for left in surplus.values()),
            )
        )
    return found


def economy_balance(events: Sequence[Event]) -> set[tuple]:
    """(day, currency, players, earned, spent, balances, broken, unexplained)."""
    orders = {}
    for event in (*_of(events, "currency_earned"), *_of(events, "currency_spent")):
        sign = 1 if event["event_type"] == "currency_earned" else -1
        orders[event["event_id"]] = (event, sign * event["event_data"]["amount"])
    balances = _of(events, "balance_changed")
    days = {(e["at"].date(), e["event_data"]["currency"]) for e in balances}
    days |= {(e["at"].date(), e["event_data"]["currency"]) for e, _ in orders.values()}
    found = set()
    for day, currency in days:

        def is_here(event: Event, day: date = day, currency: str = currency) -> bool:
            return event["at"].date() == day and event["event_data"]["currency"] == currency

        own = [(event, change) for event, change in orders.values() if is_here(event)]
        told = [event["event_data"] for event in balances if is_here(event)]
        close = {
            order_id
            for order_id, (event, _) in orders.items()
            if day - timedelta(1) <= event["at"].date() <= day
        }
        explained = [data for data in told if data.get("order_id") in close]
        found.add(
            (
                day,
                currency,
                len({event["player_id"] for event, _ in own}),
                sum(max(change, 0) for _, change in own),
                sum(max(-change, 0) for _, change in own),
                len(told),
                sum(data["new"] - data["old"] != orders[data["order_id"]][1] for data in explained),
                len(told) - len(explained),
            )
        )
    return found


# ---- what live operations watch, in windows of five minutes; times in minutes since 1970

Part = tuple[int, int | None, int | None, Any]  # minute, above the line, below it, of what
COUNTS = {"logins", "purchases", "revenue_minor", "heartbeats", "event_share"}
TROUBLES = {
    "payment_failure_share",
    "mispriced_share",
    "level_failure_share",
    "crashes_per_session",
}


def game_windows(
    events: Sequence[Event], prices: Mapping[tuple[str, str, str], int], silence: int = 360
) -> dict[tuple, tuple]:
    """(minute, cohort kind, cohort, metric) → value, numerator, denominator, sample, impacted.

    Args:
        prices: (game, sku, currency) → price of the catalogue.
        silence: minutes for which what is counted is zero after it was last seen.
    """
    parts: dict[tuple, list[Part]] = defaultdict(list)
    for event in events:
        _put_parts(parts, event, prices)
    minutes = {key: sorted({part[0] for part in own}) for key, own in parts.items()}
    starts = {key: {m - n for m in own for n in range(5)} for key, own in minutes.items()}
    played: dict[str, set[int]] = defaultdict(set)
    for key, own in starts.items():
        played[_game(key)] |= own
    found = {}
    for key, own in parts.items():
        by_minute = defaultdict(list)
        for part in own:
            by_minute[part[0]].append(part)
        for start in starts[key]:
            inside = [part for m in range(start, start + 5) for part in by_minute[m]]
            if figure := _figure(key[2], inside):
                found[start, *key] = figure
        if key[2] in COUNTS:
            for start in played[_game(key)] - starts[key]:
                before = bisect_left(minutes[key], start) - 1
                if before >= 0 and start - minutes[key][before] <= silence:
                    found[start, *key] = (0, 0, 1, 0, None)
    return _shared_events(found)


def config_effects(
    windows: Mapping[tuple, tuple], changes: Mapping[str, int]
) -> dict[tuple, tuple[float | None, float | None, int, int]]:
    """(version, cohort kind, cohort, metric) → value and sample before and after a change.

    Args:
        windows: those of game_windows, of one game.
        changes: version → minute in which it was first seen.
    """
    found = {}
    keys = {tuple(key) for _, *key in windows}
    times = sorted(changes.values())
    for version, changed in changes.items():
        until = min([changed + 60, *(time for time in times if time > changed)])
        for key in keys:
            before, after = (
                [windows[start, *key] for start in starts if (start, *key) in windows]
                for starts in (range(changed - 60, changed, 5), range(changed, until - 4, 5))
            )
            if before or after:
                figures = zip(_together(before), _together(after), strict=True)
                found[version, *key] = tuple(figure for pair in figures for figure in pair)
    return found


def _together(figures: Sequence[tuple]) -> tuple[float | None, int]:
    if not figures:
        return None, 0
    sample = sum(figure[3] for figure in figures)
    if figures[0][1] is None:  # a quantile
        return sum(figure[0] for figure in figures) / len(figures), sample
    return sum(figure[1] for figure in figures) / sum(figure[2] for figure in figures), sample


def _game(key: tuple) -> str:
    return key[1].partition(", ")[0]


def _put_parts(
    parts: dict[tuple, list[Part]], event: Event, prices: Mapping[tuple[str, str, str], int]
) -> None:
    game = f"{event['studio_id']}/{event['application_id']}"
    minute = (event["at"] - EPOCH) // timedelta(minutes=1)
    data = event["event_data"]
    price = prices.get((game, data.get("sku"), data.get("currency")))
    for metric, above, below, what, *fields in _watched(event, data, price):
        for field in fields:
            # of a platform the envelope's: a login's data has one of its own
            name = data[field] if field in data and field != "platform" else event.get(field)
            key = (f"game, {field}", f"{game}, {name}", metric) if field else ("game", game, metric)
            parts[key].append((minute, above, below, what))


def _watched(event: Event, data: Event, price: int | None) -> list[tuple]:
    """(metric, above the line, below it, of what, *what cohorts have in common) of an event."""
    own = {
        "server_heartbeat": lambda: [
            ("heartbeats", 1, None, None, "server_id"),
            ("ccu", data["ccu"], 1, None, "server_id"),
        ],
        "login": lambda: [("logins", 1, None, None, "", "platform", "server_id")],
        "iap_purchase": lambda: (
            []
            if data.get("receipt_valid") is False
            else [
                ("purchases", 1, None, None, ""),
                ("revenue_minor", data["amount_minor"], None, None, "currency"),
                ("payment_failure_share", 0, 1, None, "", "platform"),
            ]
        ),
        "iap_failed": lambda: (
            [("payment_failure_share", 1, 1, None, "", "platform")]
            * (data["reason"] != "cancelled")
        ),
        "offer_shown": lambda: (
            [("mispriced_share", int(data["price_minor"] != price), 1, None, "offer_name")]
            * (price is not None)
        ),
        "level_end": lambda: [
            ("level_failure_share", int(data["result"] != "completed"), 1, None, "level_id")
        ],
        "session_start": lambda: [("crashes_per_session", 0, 1, None, "", "app_version")],
        "client_error": lambda: (
            [("crashes_per_session", 1, 0, None, "", "app_version")] * (data["severity"] == "crash")
        ),
        "currency_earned": lambda: [
            (
                "earned_per_player_minute",
                data["amount"],
                None,
                (event["at"].replace(second=0, microsecond=0), event["player_id"]),
                "currency",
            )
        ],
        "matchmaking_result": lambda: [
            ("matchmaking_wait_p95_ms", None, None, 1000 * data["wait_s"], "")
        ],
    }.get(event["event_type"], list)
    return [("event_share", 1, None, None, "event_type"), *own()]


def _figure(metric: str, parts: Sequence[Part]) -> tuple | None:
    above = [part[1] for part in parts if part[1] is not None]
    below = [part[2] for part in parts if part[2] is not None]
    if metric == "matchmaking_wait_p95_ms":
        waits = sorted(part[3] for part in parts)
        wait = waits[ceil(Fraction(95, 100) * len(waits)) - 1]
        middle = exp((floor(20 * log(max(wait, 1))) + 0.5) / 20)
        return middle, None, None, len(parts), None
    denominator = sum(below) if below else 1
    sample = sum(below) if below else len(parts)
    if metric == "earned_per_player_minute":
        denominator = sample = len({part[3] for part in parts})
    if not denominator:
        return None
    trouble = sum(above) if metric in TROUBLES else None
    return sum(above) / denominator, sum(above), denominator, sample, trouble


def _shared_events(found: dict[tuple, tuple]) -> dict[tuple, tuple]:
    """Events of a type become their share of all events of the game."""
    sums: Counter[tuple] = Counter()
    for (start, *key), figure in found.items():
        if key[2] == "event_share":
            sums[start, _game(tuple(key))] += figure[1]
    for (start, *key), figure in found.items():
        if key[2] == "event_share":
            whole = sums[start, _game(tuple(key))]
            found[start, *key] = (figure[1] / whole, figure[1], whole, whole, None)
    return found
