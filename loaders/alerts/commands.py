"""python -m loaders alerts: a queue for alerts, following it, and the functions' zip."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from loaders.alerts import remediation
from loaders.alerts.archive import write_archive
from loaders.alerts.follow import ending_on_signals, event_of_message
from loaders.alerts.follow import follow as follow_queue
from loaders.alerts.message import Alert
from loaders.alerts.queue import create_alert_queue
from loaders.alerts.weights import LOCATION, parse_location
from loaders.printable import printable
from loaders.session import ConfigurationError
from loaders.sources.clients import client
from loaders.subscribed_queue import one_line_errors, step_lines

_console = Console(highlight=False)
_errors = Console(stderr=True, highlight=False)
_STYLES = {"critical": "bold red", "warning": "yellow", "firing": "bold", "resolved": "green"}

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


@click.group()
def alerts() -> None:
    """Alerts that were told to an SNS topic: take them, filter them, act on them.

    \b
    python -m loaders alerts queue TOPIC_ARN --filter severity=critical
    python -m loaders alerts follow QUEUE_URL
    python -m loaders alerts follow QUEUE_URL --remediate
    python -m loaders alerts archive alerts.zip      the functions for AWS Lambda

    docs/alerts.md says how alerts are told, and how the functions are set up.
    """


@alerts.command()
@click.argument("topic_arn")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only alerts with this attribute; one name again: or, another name: and.",
)
@click.option(
    "--name", default="alerts", show_default=True, help="The queue is called multihop-NAME."
)
@click.option("--dry-run", is_flag=True, help="Show policies and changes; change nothing.")
@as_json
def queue(
    topic_arn: str, filters: tuple[str, ...], name: str, *, dry_run: bool, as_json: bool
) -> None:
    """Make a queue that takes what TOPIC_ARN publishes, with a dead-letter queue.

    \b
    --filter severity=critical --filter layer=edge --filter layer=isp

    takes what is critical, and of an edge or a network. What is there already is kept, and what
    differs is put right: without --filter a standing filter goes. A second run changes nothing.
    """
    report = create_alert_queue(topic_arn, filters, name=name, dry_run=dry_run)
    if as_json:
        click.echo(json.dumps(report.summary(), indent=2))
        return
    for line in step_lines(report.steps, report.documents(), dry_run=dry_run):
        _say(line)
    if report.queue_url:
        _say(f"\nqueue URL: {report.queue_url}")


@alerts.command()
@click.argument("queue_url")
@click.option("--remediate", is_flag=True, help="Pass each to loaders.alerts.remediation too.")
@click.option("--once", is_flag=True, help="End when the queue is empty.")
@as_json
def follow(queue_url: str, *, remediate: bool, once: bool, as_json: bool) -> None:
    """Print alerts as they come to QUEUE_URL, until Ctrl-C or SIGTERM.

    A message is deleted when it is printed and, with --remediate, when that has returned; what
    fails comes again. --remediate takes its settings from the environment as the function does:
    CDN_WEIGHTS, CDN_EDGES and so on. With --json an alert is a line.
    """
    if remediate:
        _require_settings()

    def handle(alert: Alert, message: Mapping[str, Any]) -> None:
        if not as_json:
            _console.print(alert_line(alert), soft_wrap=True)
        done = remediation.handler(event_of_message(message))["done"] if remediate else []
        if as_json:
            acted = {"done": done} if remediate else {}
            click.echo(json.dumps({"alert": alert.as_json(), **acted}))
            return
        for outcome in done:
            _say(f"    {_outcome_line(outcome)}")

    def complain(text: str) -> None:
        if as_json:
            click.echo(json.dumps({"error": text}), err=True)
        else:
            _errors.print(f"[red]error:[/red] {printable(text)}", soft_wrap=True)

    with one_line_errors(), ending_on_signals() as stop:
        if not (once or as_json):
            _errors.print(f"waiting for alerts from {queue_url}", style="dim", soft_wrap=True)
        follow_queue(client("sqs"), queue_url, handle, complain, stop, once=once)


@alerts.command()
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False, writable=True))
def archive(path: Path) -> None:
    """Write the functions for AWS Lambda into the zip PATH.

    \b
    handlers: loaders.alerts.remediation.handler and loaders.alerts.email.handler
    """
    try:
        write_archive(path)
    except OSError as error:
        raise ConfigurationError(f"cannot write {path}: {error.strerror}") from error
    click.echo(f"{path}  {path.stat().st_size:,} bytes")


def _require_settings() -> None:
    try:
        remediation.read_settings(os.environ)
        parse_location(os.environ.get(LOCATION))
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def alert_line(alert: Alert) -> Text:
    """An alert in one line, for people."""
    told_at = f"{alert.told_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if alert.told_at else "-" * 19
    line = Text(f"{told_at}  ")
    for value, width in ((alert.severity, 8), (alert.state, 8)):
        line.append(f"{printable(value or '-'):<{width}}  ", _STYLES.get(value, ""))
    line.append(f"{printable(alert.rule or alert.update_type)}  ")
    line.append(printable(alert.text))
    return line


def _outcome_line(outcome: Mapping[str, Any]) -> str:
    what = " ".join(str(outcome[name]) for name in ("action", "edge") if name in outcome)
    until = f" until {outcome['until']}" if "until" in outcome else ""
    reason = f": {outcome['reason']}" if "reason" in outcome else ""
    return printable(f"{what}{until}{reason}")


def _say(text: str) -> None:
    """A line for people, not wrapped, and taken literally."""
    _console.print(text, soft_wrap=True, markup=False)
