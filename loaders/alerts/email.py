"""E-mail: an AWS Lambda function that sends alerts by SES, with the template beside it.

docs/alerts.md says how email_template.json gets into SES. Part of the functions' zip.

Environment:
    ALERT_MAIL_FROM    a sender that SES has verified
    ALERT_MAIL_TO      whom to send to, separated by commas, at most 50
    ALERT_TEMPLATE     name of the template in SES; default multihop-alert
"""

from __future__ import annotations

import html
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from loaders.alerts.message import Alert, alerts_of_event

MAX_RECIPIENTS = 50  # of SES, in one message


class MailSettingsError(ValueError):
    """A variable of the environment is missing or wrong; the message says which and how to mend."""


@dataclass(frozen=True, slots=True)
class MailSettings:
    """Who writes to whom, by which template."""

    sender: str
    recipients: tuple[str, ...]
    template: str = "multihop-alert"


def handler(event: Any, context: Any = None) -> dict[str, Any]:  # noqa: ARG001 - Lambda's
    """Send the alerts of an event of SNS or SQS, a message each; the signature is AWS Lambda's.

    An event that comes twice is sent twice, with the same alert's id in it.

    Returns: `sent`, SES's ids by the alert's; `left`, why records of the event were not sent. The
        same goes as one line of JSON to stderr; addresses do not.

    Raises:
        ValueError: the environment is wrong, or the event is none of these.
        botocore's errors: SES refuses. Lambda then repeats the call.
    """
    settings = read_mail_settings(os.environ)
    alerts, unreadable = alerts_of_event(event)
    sent = [
        {"alert_id": alert.alert_id, "rule": alert.rule, "email_id": send(_ses(), alert, settings)}
        for alert in alerts
    ]
    report = {"sent": sent, "left": unreadable}
    print(json.dumps({"event": "email", **report}), file=sys.stderr, flush=True)
    return report


def send(ses: Any, alert: Alert, settings: MailSettings) -> str:
    """Send one alert; returns SES's id of the message."""
    template = {
        "TemplateName": settings.template,
        "TemplateData": json.dumps(template_data(alert)),
    }
    return ses.send_email(
        FromEmailAddress=settings.sender,
        Destination={"ToAddresses": list(settings.recipients)},
        Content={"Template": template},
    )["MessageId"]


def template_data(alert: Alert) -> dict[str, str]:
    """The template's variables, each as text in one line and, as `…_html`, escaped.

    All of them, always: SES accepts a message that lacks one, and never sends it. SES escapes
    nothing itself, and a cohort may be what a player calls itself.
    """
    data = {}
    for name, value in alert.as_json().items():
        line = " ".join("".join(map(_printable, value or "")).split()) or "-"
        data |= {name: line, f"{name}_html": html.escape(line)}
    if not alert.subject:  # delivered raw
        data["subject"] = data["text"][:100]
    return data


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else " "


def read_mail_settings(environment: Mapping[str, str]) -> MailSettings:
    """The settings that variables say.

    Raises:
        MailSettingsError: one is missing or wrong.
    """
    sender = environment.get("ALERT_MAIL_FROM", "").strip()
    named = environment.get("ALERT_MAIL_TO", "").split(",")
    recipients = tuple(address.strip() for address in named if address.strip())
    for variable, addresses in (("ALERT_MAIL_FROM", (sender,)), ("ALERT_MAIL_TO", recipients)):
        if not addresses or not all("@" in address for address in addresses):
            raise MailSettingsError(f"{variable}: set it to an address, such as noc@example.com")
    if len(recipients) > MAX_RECIPIENTS:
        raise MailSettingsError(
            f"ALERT_MAIL_TO names {len(recipients)} addresses, and SES takes {MAX_RECIPIENTS}: "
            "name a list's address"
        )
    return MailSettings(sender, recipients, environment.get("ALERT_TEMPLATE") or "multihop-alert")


@cache
def _ses() -> Any:
    """One a process: a warm function keeps its client."""
    import boto3

    return boto3.client("sesv2")
