"""loaders/feeds.yml: what is declared, and what is said about mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from loaders.feeds import read_feeds
from loaders.session import ConfigurationError

GOOD = """
feeds:
  prices:
    source: cloudFiles
    location: /data/prices
    table: prices
    description: bars
"""


def feeds_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "feeds.yml"
    path.write_text(text)
    return path


def test_the_shipped_feeds_are_valid_and_write_tables_of_their_own() -> None:
    feeds = read_feeds()
    assert {"stocks_daily_prices", "stocks_fundamentals"} <= feeds.keys()
    assert len({feed.table.lower() for feed in feeds.values()}) == len(feeds)


def test_locations_take_the_environment_or_their_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = feeds_file(tmp_path, GOOD.replace("/data/prices", "${WHERE:-s3://b}/p/"))
    assert read_feeds(path)["prices"].location == "s3://b/p/"
    monkeypatch.setenv("WHERE", "/local")
    assert read_feeds(path)["prices"].location == "/local/p/"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("source: cloudFiles", "sorce: cloudFiles"), r"feeds\.prices\.so.*: (unknown|missing)"),
        (("    table: prices\n", ""), r"feeds\.prices\.table: missing"),
        (("source: cloudFiles", "source: ftp"), r"feeds\.prices\.source: .*cloudFiles.*'ftp'"),
        (("table: prices", "table: a-b"), r"feeds\.prices\.table: .*'a-b'"),
        (
            ("description: bars", "description: bars\n    max_files_per_trigger: 0"),
            r"feeds\.prices\.max_files_per_trigger: .*not 0",
        ),
        (("location: /data/prices", "location: ${NOT_SET_ANYWHERE}"), "NOT_SET_ANYWHERE"),
        (("feeds:", "feed:"), "top-level key"),
        (("location: /data", "location: [/data"), "no YAML"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_is_allowed(
    tmp_path: Path, change: tuple[str, str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message) as error:
        read_feeds(feeds_file(tmp_path, GOOD.replace(*change)))
    assert "\n" not in str(error.value)


def test_two_feeds_cannot_write_one_table(tmp_path: Path) -> None:
    second = (
        GOOD.replace("feeds:\n", "")
        .replace("prices:", "more:")
        .replace("table: prices", "table: PRICES")
    )
    with pytest.raises(ConfigurationError, match="written by two feeds"):
        read_feeds(feeds_file(tmp_path, GOOD + second))
