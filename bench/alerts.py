"""alerts: of scripted incidents of the video service, how many are found, when, and where they lie.

Simulated viewers, some hours in which nothing happens and then one incident after another, all
kinds in turn; dbt builds gold.alerts of it at once, and what fired is held against the script. The
times are those of events: when logs came and how long dbt took is not in them. BENCH_INCIDENTS=18,
BENCH_QUIET_HOURS=1, BENCH_ATTEMPTS=30 (sessions that begin in a minute), SEED=1: ten million
events.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bench import video
from bench.scripted import Scripted, built_alerts, judge, show
from demo.video.incidents import Incident, random_script
from demo.video.simulator import Settings

INCIDENTS = int(os.environ.get("BENCH_INCIDENTS") or 18)
QUIET_HOURS = float(os.environ.get("BENCH_QUIET_HOURS") or 1)
ATTEMPTS = float(os.environ.get("BENCH_ATTEMPTS") or 30)
SEED = int(os.environ.get("SEED") or 1)
START = datetime(2026, 5, 29, tzinfo=UTC)
INCIDENT_MINUTES, PAUSE_MINUTES = 12, 16
# No rule says ingest: what is lost on the way looks as if nobody played.
TOLD_AS = {"ingest": "platform"}
DETECTION_MINUTES = 2


def main() -> None:
    """Print each incident with its first alert, the false alerts, and the goals met or missed."""
    with tempfile.TemporaryDirectory(prefix="bench-alerts-") as name:
        folder = Path(name)
        os.environ["LAKEHOUSE_ROOT"] = str(folder / "lakehouse")
        incidents = simulate(folder)

        from loaders.session import get_spark

        spark = get_spark(resident=True)
        video.create_tables(spark)
        video.append_events(spark.read.parquet(str(folder / "events")), 0)
        video.append_logs(spark.read.parquet(str(folder / "logs")), 0)
        alerts = built_alerts(spark, "alerts")
        spark.stop()
    judged, false = judge(map(scripted, incidents), alerts, end_of(incidents))
    show(judged, false, START + timedelta(hours=QUIET_HOURS), DETECTION_MINUTES)


def scripted(incident: Incident) -> Scripted:
    """An incident as it is judged by."""
    layer = incident.layer or ""
    return Scripted(
        incident.kind,
        ", ".join(incident.cohort.values()),
        video.utc(incident.onset_ms),
        video.utc(incident.end_ms),
        TOLD_AS.get(layer, layer),
    )


def end_of(incidents: Sequence[Incident]) -> datetime:
    """When the simulation ends."""
    ends = [video.utc(each.end_ms) for each in incidents] or [START + timedelta(hours=QUIET_HOURS)]
    return max(ends) + timedelta(minutes=PAUSE_MINUTES)


def simulate(folder: Path) -> Sequence[Incident]:
    """Write what viewers sent and the CDN logged; returns what happened."""
    start_ms = int(START.timestamp() * 1000)
    script = random_script(
        SEED,
        start_ms + int(QUIET_HOURS * 3_600_000),
        count=INCIDENTS,
        minutes=INCIDENT_MINUTES,
        pause_minutes=PAUSE_MINUTES,
    )
    minutes = (end_of(script.incidents) - START).total_seconds() / 60
    video.simulate(folder, Settings(SEED, start_ms, ATTEMPTS, daily_swing=0), minutes, script)
    return script.incidents


if __name__ == "__main__":
    main()
