"""docs/streaming-models.md: the model that it has one write does what it says of it."""

from __future__ import annotations

import inspect
import json
import re
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import pytest
import test_project
from click.testing import CliRunner
from tiny_project import PROJECT_ROOT, Outcome, TinyProject, this_project_with
from video_lakehouse import append_events

from demo.video.simulator import PlayerEvent
from loaders.cli import cli
from loaders.live import LiveModel, live_models, start_live, stop_live
from loaders.publish import Publisher, PublishReport

PAGE = (PROJECT_ROOT / "docs" / "streaming-models.md").read_text()
FILES = dict(re.findall(r"^`(models/\S+)`:\n\n```\w+\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
NAME = "live_error_share"
MINUTE = datetime(2026, 1, 31, 18, tzinfo=UTC)


@pytest.fixture(scope="module")
def topic(aws: Any) -> Iterator[str]:
    """ARN of the topic that the environment names to the model."""
    name = f"player-errors-{uuid.uuid4().hex[:8]}"
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ERROR_SHARE_TOPIC", name)
        yield boto3.client("sns").create_topic(Name=name)["TopicArn"]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, topic: str) -> TinyProject:
    return this_project_with(tmp_path_factory.mktemp("page") / "project", FILES)


@pytest.fixture(scope="module")
def built(project: TinyProject, shared_lakehouse: Path) -> Outcome:
    """The page's first command, where nothing was loaded yet."""
    return project.dbt("build", "--select", f"+{NAME}")


@pytest.fixture(scope="module")
def model(project: TinyProject, built: Outcome) -> LiveModel:
    """As the engine reads it."""
    outcome = project.dbt("compile", "--select", "+config.materialized:stream")
    assert outcome.success, outcome.error or outcome.message
    manifest = json.loads((project.folder / "target" / "manifest.json").read_text())
    return next(each for each in live_models(manifest) if each.name == NAME)


def invoked(*arguments: str) -> str:
    outcome = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert outcome.exit_code == 0, outcome.output
    return outcome.output


def player_event(second: float, kind: str, connection: str) -> PlayerEvent:
    """An event that arrived so many seconds after MINUTE."""
    at_ms = int(MINUTE.timestamp() * 1000 + 1000 * second)
    fields = {
        "MetricType": kind,
        "connection_type": connection,
        "user_id": "u",
        "video_id": "v",
        "TimeStamp": at_ms,
    }
    return PlayerEvent(data=json.dumps(fields).encode(), user_id="u", arrived_ms=at_ms)


def test_every_block_of_sql_and_yaml_is_a_file_of_the_model() -> None:
    assert list(FILES) == [f"models/live/{NAME}.sql", f"models/live/{NAME}.yml"]
    assert len(re.findall(r"^ *```(?:sql|yaml)$", PAGE, re.MULTILINE)) == len(FILES)


def test_it_keeps_the_rules_to_which_make_test_holds_models(project: TinyProject) -> None:
    from dbt.cli.main import dbtRunner

    places = ("--project-dir", project.folder, "--profiles-dir", project.profiles)
    places += ("--target-path", project.folder / "target", "--log-path", project.folder / "logs")
    outcome = dbtRunner().invoke(["parse", "--quiet", *map(str, places)])
    assert outcome.success, outcome.exception
    models = test_project.nodes(outcome.result, "model")
    assert NAME in {each.name for each in models}
    incremental = [m for m in models if m.config.materialized in ("incremental", "stream")]
    given = {"manifest": outcome.result, "models": models, "incremental": incremental}
    rules = [rule for name, rule in vars(test_project).items() if name.startswith("test_")]
    for rule in rules:
        wanted = inspect.signature(rule).parameters
        rule(**{name: given[name] for name in wanted})


def test_the_first_build_makes_its_table_and_passes_its_unit_test(built: Outcome) -> None:
    assert built.success, built.error or built.message
    unit_test = f"{NAME}__divides_errors_by_events_of_a_minute_and_connection"
    assert (built.status[NAME], built.status[unit_test]) == ("success", "pass")


def test_as_a_stream_it_tells_its_rows_to_the_pages_queue_and_notes_the_delivery(
    project: TinyProject, model: LiveModel, spark: Any, topic: str
) -> None:
    name = topic.rpartition(":")[2]
    made = invoked("alerts", "queue", topic, "--name", name, "--filter", "update_type=errors")
    query = start_live(spark, model, lambda _: None)
    try:
        kinds = ["error"] * 3 + ["stream"] * 27
        events = [player_event(n, kind, "4g") for n, kind in enumerate(kinds)]
        append_events(spark, [*events, player_event(59, "error", "wifi")], batch_id=0)
        query.processAllAvailable()
    finally:
        stop_live(spark, model, query)

    rows = spark.sql(f"select * except (window_start) from gold.{NAME} order by connection_type")
    assert [tuple(row) for row in rows.collect()] == [("4g", 30, 3, 0.1), ("wifi", 1, 1, 1.0)]
    assert Publisher(spark).deliver() == PublishReport(sent=1, dead=0, waiting=0)
    followed = invoked("alerts", "follow", made.split()[-1], "--once")
    assert "4g: 3 of 30 events are errors in the minute from 2026-01-31 18:00:00 UTC" in followed
    (deliveries,) = re.findall(r"beeline .*?-e '(.*?)'", PAGE, re.DOTALL)
    (delivery,) = spark.sql(deliveries).collect()
    assert (delivery.model, delivery.state, delivery.attempts) == (NAME, "sent", 1)

    again = project.dbt("run", "--select", NAME)
    assert again.message[NAME] == "OK nothing new"
