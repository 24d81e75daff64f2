"""What becomes of an incident in the demo: found in gold, told by SNS, moved away from, resolved.

The pieces are those of a real service (docs/alerts.md). Only here the demo itself does what it does
as a function of AWS Lambda, and the viewers' clock is behind.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import TYPE_CHECKING, Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from demo.video import delivery, steering, world
from demo.video.timeline import timeline
from demo.video.writers import BUCKET
from loaders.alerts import remediation
from loaders.alerts.follow import Stop, follow
from loaders.alerts.queue import create_alert_queue
from loaders.alerts.weights import LOCATION, WeightsError, WeightsObject
from loaders.live_models import told_models
from loaders.outbox import put_told
from loaders.publish import Publisher

if TYPE_CHECKING:
    from collections.abc import Sequence
    from threading import Event

    from pyspark.sql import SparkSession

    from demo.video.delivery import Viewers
    from loaders.alerts.message import Alert
    from loaders.dbt_project import DbtProject

TOPIC = "multihop-alerts"
TOPIC_VARIABLE = "QOS_ALERTS_TOPIC"  # models/gold/qos/alerts.yml
# Of one incident only the first is told that nothing explains.
RULES = ("edge_errors", "edge_errors_bad")
# An edge with less of all requests is one that nobody is sent to.
FORSAKEN_SHARE = 0.02
ACT_PAUSE_S, ROUND_S = 2.0, 60.0

ALERT = """
    select rule, started_at, fired_at, resolved_at, layer, impacted, worst_value
    from gold.alerts
    where rule in {rules} and cohort = '{edge}' and fired_at >= timestamp '{since}'
    order by suppressed_by is not null, fired_at
    limit 1
"""
MOVED = """
    select min(minute) as moved_at
    from (
        select minute, sum(requests) filter (where edge = '{edge}') / sum(requests) as share
        from gold.noc_cdn
        where minute >= timestamp '{since}'
        group by minute
    )
    where coalesce(share, 0) < {forsaken_share}
"""


def prepare() -> str:
    """Create topic and queue, name them and the CDN weights to model and function; the queue's URL.

    What is there stays. Shifts whose time is over are taken back.
    """
    topic = boto3.client("sns").create_topic(Name=TOPIC)["TopicArn"]
    os.environ[TOPIC_VARIABLE] = topic
    os.environ[LOCATION] = f"s3://{BUCKET}/{steering.WEIGHTS_KEY}"
    os.environ["CDN_EDGES"] = ",".join(world.ALL_EDGES)
    report = create_alert_queue(topic, ["update_type=alert"])
    act_on([])
    return str(report.queue_url)


def tell(spark: SparkSession, project: DbtProject) -> None:
    """Have SNS tell of alerts that are new."""
    publisher = Publisher(spark.newSession())
    for model in told_models(project.manifest()):
        put_told(publisher.spark, model)
    publisher.deliver()


def keep_acting(queue_url: str, stop: Event) -> None:
    """Act on every alert that comes, and each minute, until `stop` is set; says what was done."""
    sqs, next_round = boto3.client("sqs"), 0.0

    def say(done: list[dict[str, Any]]) -> None:
        for each in done:
            if each["action"] != "left":
                print(f"remediation: {each['edge']} {each['action']}", flush=True)

    def complain(text: str) -> None:
        print(f"remediation: {text}", file=sys.stderr, flush=True)

    while not stop.wait(ACT_PAUSE_S):
        try:
            if monotonic() >= next_round:
                next_round = monotonic() + ROUND_S
                say(act_on([]))
            follow(
                sqs, queue_url, lambda alert, _: say(act_on([alert])), complain, Stop(), once=True
            )
        except (BotoCoreError, ClientError, WeightsError) as error:
            complain(f"{error}; it is tried again")


def act_on(alerts: Sequence[Alert]) -> list[dict[str, Any]]:
    """What loaders.alerts.remediation.handler does, without Lambda's envelope and log line."""
    settings = remediation.read_settings(os.environ)
    weights = WeightsObject.at(os.environ[LOCATION])
    return remediation.remediate(alerts, settings, weights, datetime.now(UTC))["done"]


@dataclass
class Outage:
    """An incident of viewers whose first minutes have been sent.

    sent_at: when they had been, by the real clock, UTC.
    """

    viewers: Viewers
    queue_url: str
    sent_at: datetime
    moments: dict[str, datetime | None] = field(default_factory=dict)
    details: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._behind = self.sent_at - self.viewers.now
        incident = self.viewers.incident
        if incident is None:
            raise ValueError("nothing happens to these viewers")
        self._edge = incident.cohort["edge"]
        self.moments["onset"] = datetime.fromtimestamp(incident.onset_ms / 1000, UTC)
        self.details["onset"] = f"{self._edge} refuses a quarter of its requests"

    def act(self) -> list[Alert]:
        """Have the function act on the alerts that are in the queue; returns them."""
        told: list[Alert] = []

        def handle(alert: Alert, _: Any) -> None:
            told.append(alert)
            acted = act_on([alert])
            of_edge = alert.rule in RULES and alert.cohort == self._edge
            if of_edge and alert.state == "firing" and "notified" not in self.moments:
                self.moments["notified"] = alert.told_at and alert.told_at - self._behind
                self.details["notified"] = alert.subject
            for done in acted:
                if done["action"] == "shifted" and done["edge"] == self._edge:
                    self.moments["remediated"] = datetime.now(UTC) - self._behind
                    self.details["remediated"] = f"until {done['until'][11:16]} by the real clock"

        follow(boto3.client("sqs"), self.queue_url, handle, _refuse, Stop(), once=True)
        return told

    def go_on(self) -> delivery.Delivery:
        """Send what viewers do until the function has acted, and then as it has them do."""
        acted_at = self.moments.get("remediated") or datetime.now(UTC) - self._behind
        before = self.viewers.send(acted_at)
        self.viewers.obey()
        after = self.viewers.send(self.viewers.now + timedelta(minutes=delivery.HEALING_MINUTES))
        return delivery.Delivery(before.events + after.events, before.log_rows + after.log_rows)

    def timeline(self, spark: SparkSession) -> list[str]:
        """What happened when, by the viewers' clock, as lines to print."""
        since = f"{self.moments['onset']:%Y-%m-%d %H:%M:%S}"
        alert = spark.sql(ALERT.format(rules=RULES, edge=self._edge, since=since)).first()
        if alert is not None:
            first_window_ended_at = alert.started_at + timedelta(minutes=5)
            self.moments |= {
                "first_breach": first_window_ended_at.replace(tzinfo=UTC),
                "fired": alert.fired_at.replace(tzinfo=UTC),
                "resolved": alert.resolved_at and alert.resolved_at.replace(tzinfo=UTC),
            }
            self.details["fired"] = (
                f"{alert.rule}: likely layer {alert.layer}, up to "
                f"{100 * alert.worst_value:.0f} % of the requests of a window fail, "
                f"{alert.impacted:,} of them"
            )
        if shifted_at := self.moments.get("remediated"):
            shifted = f"{shifted_at + timedelta(seconds=1):%Y-%m-%d %H:%M:%S}"
            moved = spark.sql(
                MOVED.format(edge=self._edge, since=shifted, forsaken_share=FORSAKEN_SHARE)
            ).first()
            if moved is not None and moved.moved_at is not None:
                self.moments["moved"] = moved.moved_at.replace(tzinfo=UTC)
        return timeline(f"{self._edge} is overloaded", self.moments, self.details)


def _refuse(complaint: str) -> None:
    """The demo's own messages have to be readable, and its function has to take them."""
    raise RuntimeError(complaint)
