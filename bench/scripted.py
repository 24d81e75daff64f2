"""What alerts say, held against incidents that were scripted: found, false, how soon, where."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from bench.measure import verdict

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from loaders.dbt_project import Node

# A window of five minutes may hold the end of an incident; who was in trouble is so a while longer.
AFTERMATH = timedelta(minutes=10)
GOALS = {"recall": 0.95, "precision": 0.9, "right layer": 0.9}


@dataclass(frozen=True, slots=True)
class Scripted:
    """Something that happens.

    layer: where the cause lies, as rules call it; empty: nothing is broken.
    """

    kind: str
    whom: str
    onset: datetime
    end: datetime
    layer: str


@dataclass(frozen=True, slots=True)
class Alert:
    """What fired, and was told."""

    rule: str
    cohort: str
    layer: str
    severity: str
    fired_at: datetime


@dataclass(slots=True)
class Judged:
    """An incident, and the alerts that fired in it, by time and severity."""

    incident: Scripted
    alerts: list[Alert] = field(default_factory=list)

    @property
    def minutes(self) -> float:
        """From the onset to the first alert."""
        return (self.alerts[0].fired_at - self.incident.onset).total_seconds() / 60

    @property
    def is_right(self) -> bool:
        """Whether the first alert names the layer."""
        return self.alerts[0].layer == self.incident.layer


def built_alerts(spark: SparkSession, model: str, *besides: str) -> list[Alert]:
    """Build a model of alerts with all that it is built of; returns what fired and was told.

    Args:
        besides: models that are built in the same run.

    Raises:
        SystemExit: a model failed.
    """
    from loaders.dbt_project import DbtProject
    from loaders.session import lakehouse_root

    def say(node: Node) -> None:
        print(f"{node.name}: {node.seconds:.1f} s", file=sys.stderr, flush=True)

    results = DbtProject(lakehouse_root()).run(
        *("build", "--select", *(f"+{name}" for name in (model, *besides))),
        *("--exclude-resource-type", "unit_test", "--exclude-resource-type", "test"),
        report=say,
    )
    for result in results:
        if result.is_bad:
            raise SystemExit(f"bench: {result.problem}")
    fired = spark.sql(f"""
        select rule, cohort, layer, severity, fired_at
        from gold.{model}
        where fired_at is not null and suppressed_by is null
    """).collect()
    return [Alert(*row[:4], row["fired_at"].astimezone(UTC)) for row in fired]


def judge(
    incidents: Iterable[Scripted], alerts: Iterable[Alert], end: datetime
) -> tuple[list[Judged], list[Alert]]:
    """Each incident in which something is broken, with its alerts; and the alerts of none.

    An alert is of an incident by its time, whoever it says is affected.

    Args:
        end: of what was simulated; what fires after it is true: all is silent then.
    """
    judged = [Judged(each) for each in incidents if each.layer]
    false = []
    in_time = [alert for alert in alerts if alert.fired_at <= end]
    for alert in sorted(in_time, key=lambda each: (each.fired_at, each.severity, each.rule)):
        causes = [
            each
            for each in judged
            if each.incident.onset <= alert.fired_at <= each.incident.end + AFTERMATH
        ]
        if causes:
            causes[-1].alerts.append(alert)
        else:
            false.append(alert)
    return judged, false


def show(
    judged: Sequence[Judged], false: Sequence[Alert], quiet_until: datetime, median_minutes: float
) -> None:
    """Print each incident with its first alert, the false alerts, and the goals met or missed.

    Args:
        quiet_until: before it nothing was wrong.
        median_minutes: the goal from onset to alert.
    """
    console = Console(highlight=False)
    table = Table("incident", "of", "minutes", "first alert", "of", "layer", "others", box=SIMPLE)
    for each in judged:
        incident, alerts = each.incident, each.alerts
        row = ("-", "none", "", "", "")
        if alerts:
            first = alerts[0]
            layer = "right" if each.is_right else f"{first.layer}, not {incident.layer}"
            row = (f"{each.minutes:.0f}", first.rule, first.cohort, layer, str(len(alerts) - 1))
        table.add_row(incident.kind, incident.whom, *row)
    console.print(table)
    for alert in false:
        console.print(f"false: {alert.fired_at:%d %H:%M} {alert.rule} {alert.cohort}")
    found = [each for each in judged if each.alerts]
    told = sum(len(each.alerts) for each in judged)
    figures = {
        "recall": len(found) / len(judged) if judged else float("nan"),
        "precision": told / (told + len(false)) if told + len(false) else float("nan"),
        "right layer": sum(each.is_right for each in found) / len(found) if found else float("nan"),
    }
    for name, goal in GOALS.items():
        console.print(f"{name}: {verdict(figures[name], goal, at_least=True)}")
    median = statistics.median(each.minutes for each in found) if found else float("nan")
    console.print(f"onset to alert, median: {verdict(median, median_minutes, ' min')}")
    quiet = sum(alert.fired_at < quiet_until for alert in false)
    console.print(f"alerts before the first incident: {verdict(quiet, 0)}")
