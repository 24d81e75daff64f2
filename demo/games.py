"""A simulator of a mobile game's players: what its servers send to the ingest service.

Seeded: one plan gives the same events, to the byte. Players come back as those of a real launch
did; they play levels and matches, earn and spend, see offers and pay, in all thirty events of
loaders/games/events.yml. Things go wrong as they do: events come twice, late, from clocks that
are off; purchases are paid back days later; sessions have no end. Incidents are scripted, and
what really happened is told (Truth), for alerts and metrics to be measured by.

Personal data are made up, of documentation ranges and example domains.
"""

from __future__ import annotations

import bisect
import math
import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from operator import itemgetter
from typing import Any, NamedTuple

Event = dict[str, Any]

DAY, HOUR, MINUTE = 86_400, 3_600, 60
HEARTBEAT_SECONDS = 30  # as loaders/games/events.yml says

# Share of a launch's players that are active exactly so many days after their first one: measured
# on a real launch of 2016 (3,994 players); between and beyond, straight lines on logarithms.
RETENTION = {1: 0.567, 3: 0.397, 7: 0.292}
# How likely a player who has not left for good plays on a day.
DAILY_PLAY = 0.7

APPLICATION = "castles"
SERVERS = ("eu-1", "eu-2", "us-1", "ap-1")
LEVELS = 60
COUNTRIES = ("DE", "US", "FR", "BR", "JP", "IN", "GB", "PL")
DEVICES = (
    ("Pixel 8", "Android 15", "android", 8192),
    ("iPhone 15", "iOS 18", "ios", 6144),
    ("Galaxy A15", "Android 14", "android", 4096),
    ("iPad 10", "iPadOS 18", "ios", 4096),
)
NETWORKS = (("organic", None, 0), ("north_ads", "spring", 180), ("south_ads", "castles_1", 240))


class Offer(NamedTuple):
    """An offer of the catalogue; its price in US cents."""

    name: str
    sku: str
    price_minor: int
    gems: int


CATALOGUE = (
    Offer("starter_bundle", "bundle_1", 499, 300),
    Offer("weekend_gems", "gems_500", 999, 700),
    Offer("castle_pack", "castle_1", 1999, 1500),
)

MISPRICED_OFFER = "mispriced_offer"
IMPOSSIBLE_LEVEL = "impossible_level"
CURRENCY_EXPLOIT = "currency_exploit"
PAYMENT_OUTAGE = "payment_outage"
SERVER_OUTAGE = "server_outage"
INCIDENTS = (MISPRICED_OFFER, IMPOSSIBLE_LEVEL, CURRENCY_EXPLOIT, PAYMENT_OUTAGE, SERVER_OUTAGE)


class Incident(NamedTuple):
    """Something that goes wrong between two times (seconds since 1970).

    about: the offer, level or server; empty where it concerns everything.
    """

    kind: str
    start: float
    end: float
    about: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated.

    days: full days from `start` on. installs: new players a day. heartbeat_seconds: how far apart a
    server's heartbeats are; from day `live_from` on as far as the contract says. The shares are of
    events, but for `skewed`, which is of players.
    """

    seed: int = 1
    start: datetime = datetime(2026, 3, 1, tzinfo=UTC)
    days: int = 2
    installs: int = 50
    incidents: tuple[Incident, ...] = ()
    duplicates: float = 0.005
    late: float = 0.01
    skewed: float = 0.02
    refunds: float = 0.03
    endless: float = 0.08
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    live_from: int | None = None


@dataclass(slots=True)
class Truth:
    """What really happened, as no receiver of the events can know.

    sent: event_type → distinct events. duplicates, late: event ids. skew: player → how many
    seconds the clock is fast. active: day since the start → players. endless: sessions without an
    end. purchases: transaction → US cents; refunded: the same of those that were paid back.
    """

    sent: Counter[str] = field(default_factory=Counter)
    duplicates: set[str] = field(default_factory=set)
    late: set[str] = field(default_factory=set)
    skew: dict[str, float] = field(default_factory=dict)
    active: dict[int, set[str]] = field(default_factory=dict)
    endless: set[str] = field(default_factory=set)
    purchases: dict[str, int] = field(default_factory=dict)
    refunded: dict[str, int] = field(default_factory=dict)
    balances: dict[tuple[str, str], int] = field(default_factory=dict)


class Sent(NamedTuple):
    """An event, and when its server sends it (seconds since 1970)."""

    at: float
    event: Event


def retention(day: float) -> float:
    """Share of players that are active exactly `day` days after their first one."""
    (one, _), *_, (last_but_one, _), (last, _) = RETENTION.items()
    left, right = (one, 3) if day <= 3 else (last_but_one, last)
    slope = math.log(RETENTION[right] / RETENTION[left]) / math.log(right / left)
    return RETENTION[left] * (day / left) ** slope


def active_days(chance: random.Random, most: int) -> list[int]:
    """The days, from 0 to `most`, on which a player plays, day 0 among them.

    A player leaves for good some day, and until then plays on most days: so that the share that is
    active on day n is retention(n), and an absence means something.
    """
    fate = chance.random()
    days = [0]
    for day in range(1, most + 1):
        if retention(day) / DAILY_PLAY <= fate:
            break
        if chance.random() < DAILY_PLAY:
            days.append(day)
    return days


@dataclass(slots=True)
class Player:
    """A player, as the game knows them."""

    user_id: str
    number: int
    days: Sequence[int]
    device: tuple[str, str, str, int]
    country: str
    server: str
    skew: float
    spender: float
    sessions: int = 0
    level: int = 1
    attempts: int = 0
    xp: int = 0
    rank_points: int = 0
    last_login: float | None = None
    busy_until: float = 0.0
    balances: dict[str, int] = field(default_factory=lambda: {"coins": 0, "gems": 0})
    exploits: bool = False


class Simulation:
    """One run of a plan. `truth` is complete when all events were taken."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.truth = Truth()
        self._chance = random.Random(plan.seed)  # noqa: S311 - a game, no secrets
        self._start = plan.start.timestamp()
        self._end = self._start + plan.days * DAY
        self._outbox: list[Sent] = []
        self._configs = _config_versions(plan)
        self._by_kind = {
            kind: [incident for incident in plan.incidents if incident.kind == kind]
            for kind in INCIDENTS
        }

    def events(self) -> Iterator[Sent]:
        """Everything that is sent until the plan's end, in the order of sending."""
        players: list[Player] = []
        for day in range(self.plan.days):
            players += [self._new_player(day, n) for n in range(self.plan.installs)]
            starts = self._sessions_of(day, players)
            at = 0
            for hour in range(24):
                until = self._start + day * DAY + (hour + 1) * HOUR
                self._heartbeats(until - HOUR, until)
                while at < len(starts) and starts[at][0] < until:
                    start, player = starts[at]
                    is_down = self.during(SERVER_OUTAGE, start, player.server)
                    if not is_down and start > player.busy_until:
                        _Session(self, player, start).play()
                    at += 1
                yield from self._sent_until(until)
        yield from self._sent_until(math.inf)

    # ---- who plays when

    def _new_player(self, day: int, number: int) -> Player:
        chance = self._chance
        user_id = f"user-{day}-{number}"
        is_skewed = chance.random() < self.plan.skewed
        skew = chance.choice((-1, 1)) * chance.uniform(60, 3 * HOUR) if is_skewed else 0.0
        if is_skewed:
            self.truth.skew[user_id] = skew
        return Player(
            user_id=user_id,
            number=day * self.plan.installs + number,
            days=[day + n for n in active_days(chance, self.plan.days)],
            device=chance.choice(DEVICES),
            country=chance.choice(COUNTRIES),
            server=chance.choice(SERVERS),
            skew=skew,
            spender=chance.betavariate(0.4, 6),
            exploits=chance.random() < 0.1,
        )

    def _sessions_of(self, day: int, players: Sequence[Player]) -> list[tuple[float, Player]]:
        chance = self._chance
        midnight = self._start + day * DAY
        starts = []
        for player in players:
            if day not in player.days:
                continue
            for _ in range(1 + min(5, int(chance.expovariate(0.9)))):
                # Few play at four in the morning, many at eight in the evening. The last hour is
                # left out, so that no session reaches into a day on which the player is absent.
                hour = chance.triangular(0, 22.9, 20)
                starts.append((midnight + hour * HOUR, player))
        starts.sort(key=lambda start: (start[0], start[1].number))
        return starts

    def _heartbeats(self, start: float, end: float) -> None:
        pause, live_from = self.plan.heartbeat_seconds, self.plan.live_from
        if live_from is not None and start >= self._start + live_from * DAY:
            pause = HEARTBEAT_SECONDS
        for server in SERVERS:
            at = start
            while at < end:
                if not self.during(SERVER_OUTAGE, at, server):
                    data = {"ccu": 50 + self._chance.randrange(20), "tick_ms": 16.6, "queue": 0}
                    event = self._event("server_heartbeat", at, data, {"server_id": server})
                    self._outbox.append(Sent(at, event))
                at += pause

    def note_activity(self, player: Player, at: float) -> None:
        """Note in the truth that a player played."""
        day = int((at - self._start) // DAY)
        self.truth.active.setdefault(day, set()).add(player.user_id)

    # ---- what the world is like

    def during(self, kind: str, at: float, about: str = "") -> bool:
        """Whether an incident of a kind, about a thing, is on."""
        return any(
            incident.start <= at < incident.end and incident.about in ("", about)
            for incident in self._by_kind[kind]
        )

    def config_version(self, at: float) -> str:
        """The game's configuration at a time; an impossible level comes with a new one."""
        return self._configs[bisect.bisect_right(self._configs, at, key=itemgetter(0)) - 1][1]

    # ---- sending

    def send(self, event_type: str, at: float, data: Event, envelope: Mapping[str, Any]) -> Event:
        """Send an event of a player; now and then late, or twice."""
        chance, plan = self._chance, self.plan
        skew = self.truth.skew.get(envelope["user_id"], 0.0)
        event = self._event(event_type, at + skew, data, envelope)
        delay = chance.uniform(0.1, 5)
        if chance.random() < plan.late:
            delay = chance.uniform(10 * MINUTE, 2 * DAY)
            self.truth.late.add(event["event_id"])
        event["sent_timestamp"] = round(at + delay + skew, 3)
        self._outbox.append(Sent(at + delay, event))
        if chance.random() < plan.duplicates:
            self.truth.duplicates.add(event["event_id"])
            self._outbox.append(Sent(at + delay + chance.uniform(0.5, 10 * MINUTE), event))
        return event

    def send_refund(self, at: float, data: Event, envelope: Mapping[str, Any]) -> None:
        """A refund that the store tells of days after a purchase; none after the plan's end."""
        later = at + self._chance.uniform(2 * DAY, 10 * DAY)
        if later < self._end:
            event = self._event("iap_refund", later, data, envelope)
            self._outbox.append(Sent(later, event))
            self.truth.refunded[data["transaction_id"]] = data["amount_minor"]

    def _event(
        self, event_type: str, timestamp: float, data: Event, envelope: Mapping[str, Any]
    ) -> Event:
        self.truth.sent[event_type] += 1
        return {
            "event_id": self.new_id(),
            "event_type": event_type,
            "event_version": 2 if event_type in _SECOND_VERSIONS else 1,
            "event_timestamp": round(timestamp, 3),
            "application_id": APPLICATION,
            "app_version": "2.4.1",
            **envelope,
            "event_data": data,
        }

    def new_id(self) -> str:
        """A UUID of version 4."""
        digits = f"{self._chance.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def _sent_until(self, until: float) -> Iterator[Sent]:
        due = [sent for sent in self._outbox if sent.at < until]
        self._outbox = [sent for sent in self._outbox if sent.at >= until]
        due.sort(key=lambda sent: (sent.at, sent.event["event_id"]))
        yield from due


_SECOND_VERSIONS = {"player_registered", "store_viewed", "client_error"}


def _config_versions(plan: Plan) -> list[tuple[float, str]]:
    """When which configuration begins."""
    changes = {plan.start.timestamp() - DAY}
    for incident in plan.incidents:
        if incident.kind == IMPOSSIBLE_LEVEL:
            changes |= {incident.start, incident.end}
    return [(at, f"c{number}") for number, at in enumerate(sorted(changes), 1)]


class _Session:
    """A session of a player, from its start on."""

    def __init__(self, simulation: Simulation, player: Player, start: float) -> None:
        self._sim = simulation
        self._player = player
        self._chance = simulation._chance
        self._now = self._start = start
        player.sessions += 1
        self._envelope = {
            "user_id": player.user_id,
            "session_id": f"s-{player.number}-{player.sessions}",
            "platform": player.device[2],
            "country": player.country,
            "server_id": player.server,
        }

    def play(self) -> None:
        """The whole session; a server that goes down cuts it short, and says nothing."""
        player, chance = self._player, self._chance
        self._sim.note_activity(player, self._start)
        is_first = player.sessions == 1
        if is_first:
            self._install()
        self._log_in(is_first=is_first)
        ends_at = self._start + min(55 * MINUTE, chance.lognormvariate(math.log(9 * MINUTE), 0.7))
        if is_first:
            self._tutorial()
        activities = (self._level, self._level, self._level, self._match, self._shop, self._social)
        while self._now < ends_at and not self._is_down():
            chance.choice(activities)()
        player.busy_until = self._now
        if self._is_down() or chance.random() < self._sim.plan.endless:
            self._sim.truth.endless.add(self._envelope["session_id"])
            return
        reason = chance.choice(("quit", "background", "background", "timeout"))
        length = round(self._now - self._start, 1)
        data = {"length_s": length, "last_screen": "map", "reason": reason}
        self._send("session_end", data)

    def _is_down(self) -> bool:
        return self._sim.during(SERVER_OUTAGE, self._now, self._player.server)

    def _send(self, event_type: str, data: Event, seconds: float = 1.0) -> str:
        """Send an event now, after which so much time has passed; returns its id."""
        event = self._sim.send(event_type, self._now, data, self._envelope)
        self._now += seconds
        return event["event_id"]

    # ---- coming in

    def _install(self) -> None:
        player, chance = self._player, self._chance
        network, campaign, cost = chance.choice(NETWORKS)
        paid = {"campaign": campaign, "creative": f"{campaign}_a", "cost_minor": cost}
        self._send(
            "app_install",
            {"network": network, "advertising_id": self._sim.new_id()}
            | (paid | {"currency": "USD"} if campaign else {}),
        )
        self._send(
            "player_registered",
            {
                "method": "email",
                "country": player.country,
                "email": f"player{player.number}@example.com",
                "display_name": f"Knight {player.number}",
                "birth_date": f"{1960 + player.number % 45}-0{1 + player.number % 9}-15",
                "phone": f"+1202555{100 + player.number % 100:04}",
            },
            3,
        )
        granted = chance.random() < 0.6
        data = {"purpose": "marketing", "granted": granted, "policy_version": "2026-01"}
        self._send("consent_changed", data)
        variant = chance.choice(("control", "short_tutorial"))
        self._send("experiment_assigned", {"experiment_id": "tutorial", "variant": variant})

    def _log_in(self, *, is_first: bool) -> None:
        player, chance = self._player, self._chance
        if not is_first and chance.random() < 0.15:
            message = {"message_id": f"m-{player.sessions}", "campaign": "come_back"}
            self._send("push_opened", message | {"device_token": self._sim.new_id()})
        data: Event = {"platform": "guest", "client_ip": f"198.51.100.{player.number % 254 + 1}"}
        if player.last_login:
            data["last_login_ts"] = round(player.last_login, 3)
        player.last_login = self._now
        self._send("login", data)
        self._send("session_start", {"session_num": player.sessions, "is_first": is_first})
        if is_first or chance.random() < 0.1:
            model, system, _, ram = player.device
            device = {"model": model, "os": system, "ram_mb": ram, "locale": "en-GB"}
            ids = {"device_id": self._sim.new_id(), "advertising_id": self._sim.new_id()}
            self._send("client_device", device | {"timezone": "Europe/Berlin"} | ids)

    def _tutorial(self) -> None:
        for step in range(1, 5):
            self._send("tutorial_step", {"step": step, "status": "started"}, 20)
            status = "completed" if self._chance.random() < 0.95 else "skipped"
            self._send("tutorial_step", {"step": step, "status": status, "elapsed_s": 20.0})
        self._earn("coins", 100, "tutorial")

    # ---- playing

    def _level(self) -> None:
        player, chance = self._player, self._chance
        player.attempts += 1
        level_id = f"level_{player.level:02}"
        config = {"config_version": self._sim.config_version(self._now)}
        attempt = {"level_id": level_id, "attempt": player.attempts}
        duration = round(chance.uniform(40, 150), 1)
        self._send("level_start", attempt | config, duration)
        is_impossible = self._sim.during(IMPOSSIBLE_LEVEL, self._now, level_id)
        wins = not is_impossible and chance.random() < 0.75 - 0.004 * player.level
        result = "completed" if wins else chance.choice(("failed", "failed", "quit"))
        data: Event = {"level_id": level_id, "result": result, "duration_s": duration} | config
        if wins:
            data |= {"score": chance.randrange(100, 5000), "stars": chance.randint(1, 3)}
        self._send("level_end", data)
        if wins:
            self._earn("coins", 10 + player.level, "level", level_id)
            player.level, player.attempts = min(LEVELS, player.level + 1), 0
            self._gain(25)
        if chance.random() < 0.3:
            placement = {"placement": "level_end", "network": "north_ads"}
            watched = {"completed": chance.random() < 0.8, "clicked": chance.random() < 0.03}
            ecpm = round(chance.uniform(2, 14), 2)
            self._send("ad_impression", placement | {"ecpm_usd": ecpm} | watched, 15)
        if chance.random() < 0.02:
            self._error()

    def _gain(self, xp: int) -> None:
        player, chance = self._player, self._chance
        before = player.xp // 100
        player.xp += xp
        if player.xp // 100 > before:
            self._send("player_level_up", {"level": player.xp // 100 + 1, "xp": player.xp})
            if chance.random() < 0.3:
                achievement = {"achievement_id": f"rank_{player.xp // 100}"}
                self._send("achievement_unlocked", achievement)
        if chance.random() < 0.3:
            done = chance.random()
            state = "completed" if done > 0.8 else "progressed"
            progress = 1.0 if done > 0.8 else round(done, 2)
            quest = {"quest_id": f"quest_{player.xp // 200}", "state": state}
            self._send("quest_progress", quest | {"progress": progress})

    def _match(self) -> None:
        player, chance = self._player, self._chance
        wait = round(chance.expovariate(1 / 8), 1)
        self._now += wait
        searched = {"mode": "duel", "wait_s": wait}
        if wait > 40:
            self._send(
                "matchmaking_result", searched | {"outcome": "timed_out", "reason": "few_players"}
            )
            return
        self._send("matchmaking_result", searched | {"outcome": "matched"})
        match = {"match_id": self._sim.new_id()}
        duration = round(chance.uniform(60, 240), 1)
        self._send("match_start", match | {"map_id": "north_keep", "mode": "duel"}, duration)
        result = chance.choice(("won", "lost", "lost", "drawn"))
        self._send("match_end", match | {"result": result, "xp": 15, "duration_s": duration})
        self._gain(15)
        if result == "won":
            self._earn("coins", 25, "match")
            player.rank_points += 10
            progress = {"live_event_id": "spring_cup", "phase": "groups"}
            points = {"points": player.rank_points, "rank": max(1, 500 - player.rank_points)}
            self._send("live_event_progress", progress | points)

    def _social(self) -> None:
        player, chance = self._player, self._chance
        action = chance.choice(("joined", "donated", "invited"))
        data: Event = {"group_id": f"guild_{player.number % 20}", "action": action}
        if action == "invited":
            data["target_user_id"] = f"user-0-{chance.randrange(max(1, self._sim.plan.installs))}"
        self._send("guild_action", data, 10)
        if player.balances["coins"] >= 20 and action == "donated":
            self._spend("coins", 20, "donation")

    # ---- virtual money

    def _earn(self, currency: str, amount: int, source: str, item_id: str | None = None) -> None:
        repeats = 1
        if self._player.exploits and self._sim.during(CURRENCY_EXPLOIT, self._now):
            repeats, amount = 6, amount * 20  # the reward is claimed over and over
        for _ in range(repeats):
            data: Event = {"currency": currency, "amount": amount, "source": source}
            data["config_version"] = self._sim.config_version(self._now)
            if item_id:
                data["item_id"] = item_id
            self._change(currency, amount, self._send("currency_earned", data, 0.2))

    def _spend(self, currency: str, amount: int, sink: str, item_id: str | None = None) -> None:
        data: Event = {"currency": currency, "amount": amount, "sink": sink}
        if item_id:
            data["item_id"] = item_id
        self._change(currency, -amount, self._send("currency_spent", data, 0.2))

    def _change(self, currency: str, amount: int, order_id: str) -> None:
        player = self._player
        old = player.balances[currency]
        player.balances[currency] = new = old + amount
        self._sim.truth.balances[player.user_id, currency] = new
        balance = {"currency": currency, "old": old, "new": new, "order_id": order_id}
        self._send("balance_changed", balance, 0.2)

    # ---- real money

    def _shop(self) -> None:
        player, chance = self._player, self._chance
        seen = {"store_id": "main", "item_id": "gems", "entry_point": "menu"}
        self._send("store_viewed", seen, 8)
        if player.balances["gems"] >= 50 and chance.random() < 0.5:
            self._spend("gems", 50, "lootbox", "box_1")
            rarity = chance.choices(("common", "rare", "epic", "legendary"), (70, 22, 7, 1))[0]
            box = {"box_id": "box_1", "cost": 50, "rarity": rarity, "item_id": f"item_{rarity}"}
            self._send("lootbox_opened", box, 5)
        if player.balances["coins"] >= 80:
            self._spend("coins", 80, "upgrade", "wall")
        if chance.random() < 0.6:
            self._offer(chance.choice(CATALOGUE))

    def _offer(self, offer: Offer) -> None:
        chance = self._chance
        is_mispriced = self._sim.during(MISPRICED_OFFER, self._now, offer.name)
        price = offer.price_minor // 10 if is_mispriced else offer.price_minor
        offer_id = self._sim.new_id()
        variant = chance.choice(("a", "b"))
        shown = {"offer_id": offer_id, "offer_name": offer.name, "sku": offer.sku}
        shown |= {"segment": "new" if self._player.sessions < 5 else "core", "variant": variant}
        shown |= {"price_minor": price, "currency": "USD"}
        shown |= {"config_version": self._sim.config_version(self._now)}
        seconds = round(chance.uniform(1, 30), 1)
        self._send("offer_shown", shown, seconds)
        appeal = (0.25 if is_mispriced else 0.06) + (0.02 if variant == "b" else 0.0)
        clicks = chance.random() < appeal + self._player.spender
        result = "clicked" if clicks else chance.choice(("dismissed", "expired"))
        answer = {"offer_id": offer_id, "result": result, "seconds_to_decide": seconds}
        self._send("offer_result", answer, 4)
        if clicks:
            self._pay(offer, price, offer_id, is_mispriced=is_mispriced)

    def _pay(self, offer: Offer, price: int, offer_id: str, *, is_mispriced: bool) -> None:
        chance = self._chance
        if self._sim.during(PAYMENT_OUTAGE, self._now):
            failed = {"sku": offer.sku, "reason": "store_unavailable", "store_code": "503"}
            self._send("iap_failed", failed, 5)
            return
        if chance.random() < (0.05 if is_mispriced else 0.35):
            self._send("iap_failed", {"sku": offer.sku, "reason": "cancelled"}, 5)
            return
        if chance.random() < 0.02:
            failed = {"sku": offer.sku, "reason": "declined", "store_code": "51"}
            self._send("iap_failed", failed, 5)
            return
        transaction = {"transaction_id": f"t-{self._sim.new_id()}"}
        money = {"amount_minor": price, "currency": "USD"}
        data: Event = transaction | {"sku": offer.sku} | money | {"offer_id": offer_id}
        validity = chance.random()
        if validity > 0.1:  # else nobody asked
            data["receipt_valid"] = validity > 0.11
        data["receipt"] = f"receipt of {self._player.user_id} {transaction['transaction_id']}"
        self._send("iap_purchase", data, 3)
        self._sim.truth.purchases[transaction["transaction_id"]] = price
        self._earn("gems", offer.gems, "purchase", offer.sku)
        if chance.random() < self._sim.plan.refunds:
            self._sim.send_refund(self._now, transaction | money, self._envelope)

    def _error(self) -> None:
        chance = self._chance
        severity = chance.choice(("warning", "error", "crash"))
        data = {"severity": severity, "code": "E42", "stack_hash": f"{chance.getrandbits(32):08x}"}
        data |= {"fps": round(chance.uniform(5, 60), 1), "memory_mb": chance.randrange(300, 3000)}
        told = f"{self._player.user_id} could not load castle {chance.randrange(9)}"
        self._send("client_error", data | {"message": told})
