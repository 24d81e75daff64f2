"""The URL of a page, read and written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dashboard.choice import FILTERS, INTERVALS, BadChoice, Choice, read_choice
from dashboard.metrics import PLAYBACK
from loaders.session import PROJECT_ROOT

NOW = datetime(2026, 5, 30, 18, 7, 41, tzinfo=UTC)
VALUES = st.text(min_size=1, max_size=40).filter(
    lambda text: text.strip() == text and text.isprintable()
)
MINUTES = st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)).map(  # noqa: DTZ001 - made UTC
    lambda at: at.replace(second=0, microsecond=0, tzinfo=UTC)
)


@st.composite
def choices(draw):
    start = draw(st.none() | MINUTES)
    end = start and start + timedelta(minutes=draw(st.integers(5, 7 * 24 * 60)))
    return Choice(
        draw(st.sampled_from(sorted(INTERVALS))),
        start,
        end,
        metric=draw(st.sampled_from(sorted(PLAYBACK))),
        **{name: draw(st.none() | VALUES) for name in (*FILTERS, "viewer", "ticker", "game")},
    )


@given(choices())
def test_what_is_written_into_the_url_is_read_from_it(choice):
    assert read_choice(dict(parse_qsl(choice.query()))) == choice


def test_a_url_without_a_query_is_the_last_hour_of_all():
    assert read_choice({}) == Choice()
    assert Choice().query() == ""
    assert Choice().chosen() == {}


def test_empty_fields_of_a_form_and_unknown_names_are_left_alone():
    assert read_choice({"isp": "", "country": " ", "utm": "x"}) == Choice()


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"interval": "5y"}, "choose one of 30m, 1h"),
        ({"metric": "viewers"}, "choose one of concurrent_plays"),
        ({"from": "2026-05-30T18:00"}, "give both"),
        ({"from": "yesterday", "to": "2026-05-30T18:00"}, "as 2026-05-30T18:00"),
        ({"from": "2026-02-30T18:00", "to": "2026-05-30T18:00"}, "from '2026-02-30T18:00'"),
        ({"from": "2026-05-30T18:00", "to": "2026-05-30T18:00"}, "five minutes to seven days"),
        ({"from": "2026-05-01T18:00", "to": "2026-05-30T18:00"}, "five minutes to seven days"),
        ({"isp": "x" * 201}, "at most 200 characters"),
        ({"isp": "a\x00b"}, "at most 200 characters of text"),
    ],
)
def test_a_bad_query_is_refused_with_what_to_do(query, says):
    with pytest.raises(BadChoice, match=says):
        read_choice(query)


def test_the_interval_ends_with_the_newest_minute_that_has_ended():
    variables = Choice(interval="3h").variables(NOW)
    assert variables["to_minute"] == NOW.replace(second=0)
    assert variables["to_minute"] - variables["from_minute"] == timedelta(hours=3)
    assert variables["windows"] == 36


def test_what_is_usual_is_known_of_one_filter_and_of_a_version_on_a_device():
    def cohort(**filters):
        variables = Choice(**filters).variables(NOW)
        return variables["cohort_kind"], variables["cohort"]

    assert cohort() == ("all", "all")
    assert cohort(device="tv") == ("device_type", "tv")
    assert cohort(device="tv", version="3.1") == ("app_version, device_type", "3.1, tv")
    assert cohort(device="tv", isp="N") == (None, None)


def test_the_cdn_knows_isp_and_edge_alone():
    variables = Choice(country="DEU", isp="N").variables(NOW)
    assert (variables["cdn_cohort_kind"], variables["cdn_cohort"]) == ("isp", "N")
    variables = Choice(country="DEU").variables(NOW)
    assert (variables["cdn_cohort_kind"], variables["cdn_cohort"]) == ("all", "all")


def test_the_addresses_that_alerts_name_are_read():
    models = PROJECT_ROOT / "models" / "gold" / "qos" / "alerts.yml"
    (unit_test,) = [
        each
        for each in yaml.safe_load(models.read_text())["unit_tests"]
        if each["name"] == "alerts__name_the_page_that_shows_those_concerned"
    ]
    choices = {
        row["rule"]: read_choice(dict(parse_qsl(row["dashboard_query"])))
        for row in unit_test["expect"]["rows"]
    }
    assert {rule: choice.chosen() for rule, choice in choices.items()} == {
        "all": {},
        "isp": {"isp": "A & B, Inc."},
        "video": {"video": "é 1"},
        "device": {"device": "tv"},
        "app": {"device": "smart tv", "version": "1.2.3"},
        "long": {"version": "2.0"},
    }
    assert all(choice.start and choice.end for choice in choices.values())
