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


def test_a_description_is_cut_after_its_first_sentence():
    assert readme_tables.first_sentence("One row.\n  Then more.") == "One row."
    assert readme_tables.first_sentence("At 9.5 per cent") == "At 9.5 per cent"


def test_a_readme_without_markers_is_refused():
    with pytest.raises(ValueError, match="lacks a marker"):
        readme_tables.with_tables("no markers", {"sources": {}, "nodes": {}})
