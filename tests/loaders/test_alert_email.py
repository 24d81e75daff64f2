"""E-mail of alerts: the template has what it needs, and what SES sends is whole and harmless."""

from __future__ import annotations

import json
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loaders.alerts import email
from loaders.alerts.email import MailSettings, MailSettingsError, read_mail_settings, template_data
from loaders.alerts.message import ATTRIBUTES, Alert

PROJECT_ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = json.loads((PROJECT_ROOT / "loaders/alerts/email_template.json").read_text())
CONTENT = TEMPLATE["TemplateContent"]
ALERT = Alert(
    text="critical, firing: More than 1 % of the requests fail. edge FRA56-P3",
    subject="critical, firing: edge_errors",
    told_at=datetime(2026, 1, 31, 18, 7, tzinfo=UTC),
    update_type="alert",
    rule="edge_errors",
    state="firing",
    severity="critical",
    layer="edge",
    cohort_kind="edge",
    cohort="FRA56-P3",
    alert_id="0123456789abcdef0123456789abcdef",
    message_id="m",
)

anything = st.text()
alerts = st.builds(
    Alert,
    text=anything,
    subject=anything,
    told_at=st.none() | st.just(ALERT.told_at),
    **dict.fromkeys(ATTRIBUTES, anything),
)


def variables(text: str) -> set[str]:
    return set(re.findall(r"\{\{(\w+)\}\}", text))


def test_the_template_is_what_ses_takes_and_names_variables_alone() -> None:
    assert TEMPLATE.keys() == {"TemplateName", "TemplateContent"}
    assert CONTENT.keys() == {"Subject", "Text", "Html"}
    assert TEMPLATE["TemplateName"] == MailSettings("a@example.com", ()).template
    for part, text in CONTENT.items():
        assert text.count("{{") == text.count("}}") == len(re.findall(r"\{\{\w+\}\}", text)), part
    # what an alert is known by stands in the text and in the HTML
    told = {"text", *ATTRIBUTES} - {"update_type", "renotified", "message_id"}
    assert told <= variables(CONTENT["Text"])
    assert {f"{name}_html" for name in told} <= variables(CONTENT["Html"])


@given(alerts)
def test_every_variable_has_a_value_in_one_line_and_the_htmls_are_escaped(alert: Alert) -> None:
    data = template_data(alert)
    assert variables("".join(CONTENT.values())) <= data.keys()
    assert all(value and value.isprintable() for value in data.values())
    html = [data[name] for name in variables(CONTENT["Html"])]
    assert all(name.endswith("_html") for name in variables(CONTENT["Html"]))
    assert [value for value in html if re.search("[<>\"']", value)] == []
    assert json.loads(json.dumps(data)) == data


def test_an_alert_that_was_delivered_raw_has_its_text_as_subject() -> None:
    assert template_data(Alert("x" * 200))["subject"] == "x" * 100


@pytest.mark.parametrize(
    ("given_settings", "said"),
    [
        ({"ALERT_MAIL_TO": "noc@example.com"}, "ALERT_MAIL_FROM: set it to an address"),
        ({"ALERT_MAIL_FROM": "a@example.com"}, "ALERT_MAIL_TO: set it to an address"),
        ({"ALERT_MAIL_FROM": "a@example.com", "ALERT_MAIL_TO": "noc"}, "ALERT_MAIL_TO: set it"),
        (
            {"ALERT_MAIL_FROM": "a@example.com", "ALERT_MAIL_TO": "b@example.com," * 51},
            "ALERT_MAIL_TO names 51 addresses, and SES takes 50",
        ),
    ],
)
def test_a_wrong_setting_is_named(given_settings: dict[str, str], said: str) -> None:
    with pytest.raises(MailSettingsError, match=said):
        read_mail_settings(given_settings)


# ---- against a server


@pytest.fixture
def mail(aws: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """SES with the template as it lies beside the function, and what was sent to an address."""
    ses, name = boto3.client("sesv2"), f"alert-{uuid.uuid4().hex[:8]}"
    recipient = f"{name}@example.com"
    ses.create_email_identity(EmailIdentity="alerts@example.com")
    ses.create_email_template(**TEMPLATE | {"TemplateName": name})
    monkeypatch.setenv("ALERT_MAIL_FROM", "alerts@example.com")
    monkeypatch.setenv("ALERT_MAIL_TO", f"{recipient}, second@example.com")
    monkeypatch.setenv("ALERT_TEMPLATE", name)
    email._ses.cache_clear()

    def sent() -> list[dict[str, Any]]:
        with urlopen(f"{aws.endpoint_url}/_ministack/ses/messages", timeout=30) as answer:
            accounts = json.load(answer)["messages"].values()
        return [each for of in accounts for each in of if recipient in each["To"]]

    yield sent
    ses.delete_email_identity(EmailIdentity="alerts@example.com")


def event_of(alert: Alert) -> dict[str, Any]:
    attributes = {name: {"Type": "String", "Value": getattr(alert, name)} for name in ATTRIBUTES}
    notification = {
        "Message": alert.text,
        "Subject": alert.subject,
        "Timestamp": "2026-01-31T18:07:00.000Z",
        "MessageAttributes": attributes,
    }
    return {"Records": [{"EventSource": "aws:sns", "Sns": notification}, {"Sns": {}}]}


def test_an_alert_becomes_one_message_to_all_addresses(
    mail: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    report = email.handler(event_of(ALERT), None)
    (message,) = mail()
    assert message["Source"] == "alerts@example.com"
    assert len(message["To"]) == 2
    assert message["Subject"] == "critical, firing: edge_errors FRA56-P3"
    assert ALERT.text in message["BodyText"]
    assert "who       edge FRA56-P3" in message["BodyText"]
    assert "where alert_id = '0123456789abcdef0123456789abcdef'" in message["BodyText"]
    assert "<td>edge FRA56-P3</td>" in message["BodyHtml"]
    assert "{{" not in message["BodyText"] + message["BodyHtml"] + message["Subject"]
    assert report["left"] == ["a notification without a text"]
    assert [each["alert_id"] for each in report["sent"]] == [ALERT.alert_id]
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line) == {"event": "email", **report}
    assert "example.com" not in line  # an address is personal data


def test_what_ses_refuses_is_raised_so_that_the_call_is_repeated(
    mail: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_TEMPLATE", "there-is-none")
    with pytest.raises(boto3.client("sesv2").exceptions.NotFoundException):
        email.handler(event_of(ALERT), None)
    assert mail() == []
