"""The README's table of tables is the manifest's."""

from __future__ import annotations

import json

import pytest

from scripts import readme_tables


def test_the_table_of_tables_is_up_to_date(dbt, root):
    dbt("parse")
    manifest = json.loads((root / "target" / "manifest.json").read_text())
    readme = readme_tables.README.read_text()
    assert readme == readme_tables.with_tables(readme, manifest), (
        "run: .venv/bin/dbt parse --profiles-dir profiles && "
        ".venv/bin/python scripts/readme_tables.py target/manifest.json"
    )


def test_a_description_is_cut_to_its_first_sentence_on_one_line():
    first_sentence = readme_tables.first_sentence
    assert first_sentence("One row per ticker:\n  0.5 at most. More.") == (
        "One row per ticker: 0.5 at most"
    )
    assert first_sentence("Daily bars.") == "Daily bars"


def test_a_readme_without_markers_is_refused():
    with pytest.raises(ValueError, match="lacks a marker"):
        readme_tables.with_tables("no markers", {"sources": {}, "nodes": {}})
