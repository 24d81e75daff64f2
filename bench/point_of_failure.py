"""Points of failure over simulated worlds: what a model foretells, against the rules themselves.

Each world is some hours of a small video service of its own seed (demo/video/growing.py), whose
incidents come at irregular times; three of four grow, the others are there at once and cannot be
foreseen. dbt builds what the model is trained on, and what the rules said. Each world is judged by
models that have learned from the others alone.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
from deltalake import DeltaTable
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score

from bench import video
from bench.scripted import AFTERMATH, Alert, built_alerts
from demo.video.growing import growing_script, settings
from demo.video.incidents import Incident, Script
from loaders.ml.dataset import read_dataset
from loaders.ml.definitions import OUTCOME, definition_of
from loaders.ml.training import PLAIN, fit, foretold

WORLDS = int(os.environ.get("BENCH_FAILURE_WORLDS") or 6)
HOURS = float(os.environ.get("BENCH_FAILURE_HOURS") or 5)
SEED = int(os.environ.get("SEED") or 1)
FAILURE = definition_of("point_of_failure")
START = datetime(2026, 5, 1, tzinfo=UTC)
# What is usual is that of an hour; the last incident's alerts need some minutes.
QUIET_MINUTES, END_MINUTES = 50, 15
FALSE_A_DAY = 4.0
# A risk is that of an edge, a network, a kind of device, or of all.
METRICS = (
    *("failing_client_share", "rebuffering_share", "start_failure_share"),
    *("playback_failure_share", "origin_error_share", "edge_error_share"),
)
RISK_RULES = ("edge_at_risk", "isp_at_risk", "device_at_risk", "all_at_risk")
GROUPS = ("edge", "isp", "device_type", "all")
# Fewer viewers of a group, five minutes added up, are not judged.
LEAST_VIEWERS = 25
_KEY = [FAILURE.date, *FAILURE.entity]
_EPISODE = pd.Timedelta(minutes=10)
_RESAMPLES = 400


@dataclass(frozen=True, slots=True)
class World:
    """Some hours of a service; nothing is wrong before `quiet_until`."""

    seed: int
    start: datetime
    end: datetime
    incidents: Sequence[Incident]

    @property
    def quiet_until(self) -> datetime:
        return self.start + timedelta(minutes=QUIET_MINUTES)


@dataclass(frozen=True, slots=True)
class Warned:
    """An incident, when a risk was first above its threshold, and when rules first fired.

    fired_at: any rule; broken_at: the first rule of errors or stalls. None: not in it.
    """

    incident: Incident
    warned_at: datetime | None
    fired_at: datetime | None
    broken_at: datetime | None

    def lead(self, at: datetime | None) -> float | None:
        """Minutes from the warning to a time; None where one of them is missing."""
        return (at - self.warned_at).total_seconds() / 60 if self.warned_at and at else None


def main() -> None:
    """Print how well it was foretold, how long before, and how often for nothing."""
    if WORLDS < 2:
        raise SystemExit("bench: BENCH_FAILURE_WORLDS is 2 at least: a world is foretold by others")
    with tempfile.TemporaryDirectory(prefix="bench-failure-") as name:
        folder = Path(name)
        root = folder / "lakehouse"
        os.environ["LAKEHOUSE_ROOT"] = str(root)

        from loaders.session import get_spark

        spark = get_spark(resident=True)
        video.create_tables(spark)
        worlds, alerts = [], []
        for batch, seed in enumerate(range(SEED, SEED + WORLDS)):
            world = world_of(seed, HOURS)
            there = folder / str(seed)
            there.mkdir()
            service = settings(seed, _ms(world.start))
            video.simulate(there, service, 60 * HOURS, Script(world.incidents))
            video.append_events(spark.read.parquet(str(there / "events")), batch)
            video.append_logs(spark.read.parquet(str(there / "logs")), batch)
            alerts = built_alerts(spark, "alerts", "cohort_minutes")
            worlds.append(world)
        spark.stop()
        show(evaluated(worlds, alerts, root))


def world_of(seed: int, hours: float) -> World:
    """The world of a seed: each has a day of its own, whose first hours are simulated."""
    start = START + timedelta(days=seed)
    end = start + timedelta(hours=hours)
    script = growing_script(
        seed,
        _ms(start + timedelta(minutes=QUIET_MINUTES)),
        _ms(end - timedelta(minutes=END_MINUTES)),
    )
    return World(seed, start, end, script.incidents)


def _ms(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


# ---- what is foretold


def foretold_by_others(
    learned: pd.DataFrame, profiles: pd.DataFrame, worlds: Sequence[World]
) -> pd.DataFrame:
    """Profiles with the columns `world`, `score` and `last_values`, 0 to 1 both.

    Those of a world are foretold by models that were trained on the rows of the other worlds.

    Args:
        learned: rows of the dataset. profiles: those of every minute.
    """
    last_values = FAILURE.alone(FAILURE.baseline)
    found = []
    for world in worlds:
        others = learned[~_within(learned, world)]
        own = profiles[_within(profiles, world)]
        found.append(
            own.assign(
                world=world.seed,
                score=foretold(fit(FAILURE, others, PLAIN, SEED), FAILURE, own),
                last_values=foretold(fit(last_values, others, PLAIN, SEED), last_values, own),
            )
        )
    return pd.concat(found, ignore_index=True)


def _within(rows: pd.DataFrame, world: World) -> pd.Series:
    return (rows[FAILURE.date] >= world.start) & (rows[FAILURE.date] < world.end)


def risks(scored: pd.DataFrame, score: str) -> pd.DataFrame:
    """One row per minute and group: `risk`, the mean score of its cohorts by their viewers."""
    weighed = scored.assign(weighed=scored[score] * scored["viewers_5"], all="all")
    parts = []
    for kind in GROUPS:
        sums = weighed.groupby([FAILURE.date, kind])[["weighed", "viewers_5"]].sum().reset_index()
        parts.append(sums.rename(columns={kind: "cohort"}).assign(cohort_kind=kind))
    found = pd.concat(parts, ignore_index=True)
    found = found[found["viewers_5"] >= LEAST_VIEWERS]
    return found.assign(risk=found["weighed"] / found["viewers_5"])


def average_precisions(
    scored: pd.DataFrame, names: Iterable[str], seed: int
) -> tuple[Mapping[str, tuple[float, float, float]], tuple[float, float, float]]:
    """By name of a score average precision and its 95 % interval, by resampling hours; and the same
    of the first less the best of the others."""
    outcome = scored[OUTCOME].astype(int).to_numpy()
    hours = scored[FAILURE.date].dt.floor("h").to_numpy()
    known, places = np.unique(hours, return_inverse=True)
    chance = np.random.default_rng(seed)
    some: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(_RESAMPLES):
        drawn = np.bincount(chance.integers(0, len(known), len(known)), minlength=len(known))
        weights = drawn[places]
        if (weights * outcome).sum():
            for name, values in some.items():
                values.append(average_precision_score(outcome, scored[name], sample_weight=weights))
    whole = {name: average_precision_score(outcome, scored[name]) for name in some}
    first, *others = some
    best = max(others, key=whole.__getitem__)
    gains = np.subtract(some[first], some[best])
    return (
        {name: (whole[name], *_interval(values)) for name, values in some.items()},
        (whole[first] - whole[best], *_interval(gains)),
    )


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


# ---- when it is told


def episodes(moments: Iterable[datetime]) -> list[tuple[datetime, datetime]]:
    """First and last of moments that follow one another within ten minutes."""
    found: list[tuple[datetime, datetime]] = []
    for moment in sorted(set(moments)):
        if found and moment - found[-1][1] <= _EPISODE:
            found[-1] = (found[-1][0], moment)
        else:
            found.append((moment, moment))
    return found


def false_a_day(moments: Iterable[datetime], worlds: Sequence[World]) -> float:
    """Episodes of alarms that no incident is the reason of, for each day that was watched."""
    moments = list(moments)
    days = sum((world.end - world.quiet_until).total_seconds() for world in worlds) / 86_400
    return sum(_false_episodes(moments, world) for world in worlds) / days


def _false_episodes(moments: Iterable[datetime], world: World) -> int:
    own = [each for each in moments if world.quiet_until <= each <= world.end]
    return sum(
        not any(
            last >= video.utc(each.onset_ms) and first <= video.utc(each.end_ms) + AFTERMATH
            for each in world.incidents
        )
        for first, last in episodes(own)
    )


def threshold_for(risk: pd.Series, worlds: Sequence[World]) -> float:
    """The lowest risk above which there are no more than FALSE_A_DAY alarms for nothing.

    Args:
        risk: the highest of all groups by minute.
    """
    for threshold in np.quantile(risk, np.linspace(0.8, 1, 101)):
        if false_a_day(risk.index[risk > threshold], worlds) <= FALSE_A_DAY:
            return float(threshold)
    return float(risk.max())


def alarms(risk: pd.Series, worlds: Sequence[World]) -> dict[int, list[datetime]]:
    """By world: minutes above the threshold that the other worlds give."""
    found = {}
    for world in worlds:
        own = (risk.index >= world.start) & (risk.index < world.end)
        others = [each for each in worlds if each is not world]
        threshold = threshold_for(risk[~own], others)
        found[world.seed] = list(risk.index[own & (risk.to_numpy() > threshold)])
    return found


def warned(
    world: World,
    moments: Sequence[datetime],
    alerts: Sequence[Alert],
    foretold_rules: Collection[str],
) -> list[Warned]:
    """The incidents of a world, with their first alarm and the rules that fired in their time.

    Args:
        foretold_rules: those of errors or stalls, which are what is foretold.
    """

    def first(times: Iterable[datetime], incident: Incident) -> datetime | None:
        since, until = video.utc(incident.onset_ms), video.utc(incident.end_ms) + AFTERMATH
        return min((each for each in times if since <= each <= until), default=None)

    return [
        Warned(
            each,
            first(moments, each),
            first((alert.fired_at for alert in alerts), each),
            first((alert.fired_at for alert in alerts if alert.rule in foretold_rules), each),
        )
        for each in world.incidents
    ]


# ---- the rules themselves

# What of a rule's cohort a cell is part of; rules of a video are not of a cell.
_OF_CELL = {
    "all": lambda cells: pd.Series("all", index=cells.index),
    "edge": lambda cells: cells["edge"],
    "isp": lambda cells: cells["isp"],
    "device_type": lambda cells: cells["device_type"],
    "app_version, device_type": lambda cells: cells["device_type"],
}


def rules_broken(cells: pd.DataFrame, judgements: pd.DataFrame, rules: pd.DataFrame) -> np.ndarray:
    """How many rules, of whatever metric, the groups of each cell break in the last window known.

    That is the one which ended a minute before: as much is known of it as the model knows.
    """
    broken = judgements.explode("breaches").dropna(subset=["breaches"]).merge(rules, on="rule")
    broken = broken.assign(
        cohort=[each["cohort"] for each in broken["breaches"]],
        at=broken["window_start"] + pd.Timedelta(minutes=6),
    )
    # of an app version on a kind of device, the device
    broken["cohort"] = broken["cohort"].str.split(", ").str[-1]
    counts = broken.groupby(["at", "cohort_kind", "cohort"]).size()
    found = np.zeros(len(cells))
    for kind, name_of in _OF_CELL.items():
        keys = zip(cells[FAILURE.date], [kind] * len(cells), name_of(cells), strict=True)
        found += np.array([counts.get(key, 0) for key in keys], dtype=float)
    return found


# ---- what is shown


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The figures of all worlds.

    precisions: by name of what foretells, average precision and its interval; gain: of the model
    over the best of the others. told_false, rules_false: alarms and alerts for nothing, a day.
    """

    worlds: Sequence[World]
    rows: int
    base_rate: float
    precisions: Mapping[str, tuple[float, float, float]]
    gain: tuple[float, float, float]
    warned: Sequence[Warned]
    told_false: float
    rules_false: float


SCORES = {
    "score": "the model",
    "last_values": "the last values",
    "rules": "rules broken, of any metric",
}


def evaluated(worlds: Sequence[World], alerts: Sequence[Alert], root: Path) -> Evaluation:
    """Train for each world on the others, and hold what is foretold against what came."""
    learned = read_dataset(root, FAILURE).rows
    judgements, rules = _table(root, "gold", "alert_judgements"), _table(root, "ops", "alert_rules")
    profiles = _table(root, "gold", "cohort_minutes")
    known = (profiles["edge"] != "Unavailable") & (profiles["isp"] != "Unavailable")
    scored = foretold_by_others(learned, profiles[known], worlds)
    risk = risks(scored, "score").groupby(FAILURE.date)["risk"].max()
    told = alarms(risk, worlds)
    judged = scored.merge(learned[[*_KEY, OUTCOME]], on=_KEY)
    judged = judged.assign(rules=rules_broken(judged, judgements, rules))
    precisions, gain = average_precisions(judged, SCORES, SEED)
    foretold_rules = set(rules.loc[rules["metric"].isin(METRICS), "rule"])
    fired = [each for each in alerts if each.rule not in RISK_RULES]
    return Evaluation(
        worlds,
        len(judged),
        float(judged[OUTCOME].mean()),
        precisions,
        gain,
        [
            each
            for world in worlds
            for each in warned(world, told[world.seed], fired, foretold_rules)
        ],
        false_a_day([moment for some in told.values() for moment in some], worlds),
        false_a_day([each.fired_at for each in fired], worlds),
    )


def _table(root: Path, schema: str, name: str) -> pd.DataFrame:
    return DeltaTable(root / "warehouse" / f"{schema}.db" / name).to_pandas()


def show(found: Evaluation) -> None:
    """Print the figures of an evaluation."""
    console = Console(highlight=False)
    hours = sum((each.end - each.quiet_until).total_seconds() for each in found.worlds) / 3600
    console.print(
        f"{found.rows:,} minutes of cohorts in {len(found.worlds)} worlds, {hours:.0f} hours with "
        f"incidents; before {found.base_rate:.1%} of them a rule of errors or stalls breaks"
    )
    table = Table("foretold by", "average precision", "95 %", box=SIMPLE)
    for name, said in SCORES.items():
        whole, low, high = found.precisions[name]
        table.add_row(said, f"{whole:.3f}", f"{low:.3f} to {high:.3f}")
    whole, low, high = found.gain
    table.add_row(
        "the model less the better of the others", f"{whole:+.3f}", f"{low:+.3f} to {high:+.3f}"
    )
    console.print(table)
    table = Table(
        *("incident", "comes", "number", "warned of", "before any rule", "minutes before it"),
        *("minutes before errors or stalls break a rule",),
        box=SIMPLE,
    )
    for key, some in _kinds(found.warned).items():
        leads = [each.lead(each.fired_at) for each in some]
        table.add_row(
            *key,
            str(len(some)),
            str(sum(each.warned_at is not None for each in some)),
            str(sum(lead is not None and lead > 0 for lead in leads)),
            _median(leads),
            _median(each.lead(each.broken_at) for each in some),
        )
    console.print(table)
    console.print(
        f"for nothing, a day: {found.told_false:.1f} alarms of the model (threshold of the other "
        f"worlds for {FALSE_A_DAY:g}), {found.rules_false:.1f} of the rules"
    )


def _kinds(some: Iterable[Warned]) -> Mapping[tuple[str, str], list[Warned]]:
    """By kind and how they come; all of them last."""
    found: dict[tuple[str, str], list[Warned]] = {}
    for each in some:
        comes = "growing" if each.incident.ramp_ms else "at once"
        for key in ((each.incident.kind, comes), ("all", comes)):
            found.setdefault(key, []).append(each)
    return dict(sorted(found.items(), key=lambda item: (item[0][0] == "all", item[0])))


def _median(leads: Iterable[float | None]) -> str:
    known = [lead for lead in leads if lead is not None]
    return f"{np.median(known):+.0f}" if known else "-"


if __name__ == "__main__":
    main()
