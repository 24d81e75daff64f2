"""Which tables have players, which objects they came from: what an erasure knows without Spark."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from loaders.erasure import (
    Holder,
    _has_rows,
    _objects,
    held_in_lake,
    holders,
    new_pseudonym,
    require_pseudonyms,
    update_statement,
)
from loaders.session import ConfigurationError
from loaders.vault.envelope import pseudonym_of

PLAYER, OTHER = "jT7-_aX0Q2v5cD8eFgHiJw", "0123456789abcdefABCDEF"


def table(root: Path, name: str, **columns: list) -> None:
    schema, _, name = name.partition(".")
    write_deltalake(root / "warehouse" / f"{schema}.db" / name, pa.table(columns))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    place = {"_bucket": ["b", "b", "b"], "_key": ["k1", "k1", "k2"]}
    data = [f'{{"player_id":"{who}"}}' for who in (PLAYER, PLAYER, OTHER)]
    table(tmp_path, "bronze.game_login", data=data, **place)
    table(tmp_path, "bronze.cdn_logs", data=data, **place)
    rows = {"container": ["b", "b"], "item": ["k3", "k4"]}
    raw = [b"\xff" + PLAYER.encode(), OTHER.encode()]
    table(tmp_path, "bronze.quarantine", raw=raw, reason=["r", "r"], **rows)
    who = {"player_id": [OTHER, None], "target_player_id": [None, PLAYER]}
    table(tmp_path, "silver.game_guild_action", n=[1, 2], **who)
    table(tmp_path, "gold.players_daily", dau=[1])
    table(tmp_path, "ops.strange", player_id=[17])
    (tmp_path / "warehouse" / "silver.db" / "cut_while_created" / "_delta_log").mkdir(parents=True)
    return tmp_path


def test_tables_are_known_by_their_columns(root: Path) -> None:
    assert {each.name: dict(each.columns) for each in holders(root)} == {
        "bronze.game_login": {"data": "in text"},
        "bronze.quarantine": {"raw": "in bytes"},
        "silver.game_guild_action": {"player_id": "whole", "target_player_id": "whole"},
    }


def test_a_lake_that_does_not_exist_has_no_tables(tmp_path: Path) -> None:
    assert holders(tmp_path / "lakehouse") == []


def test_a_player_is_found_in_any_of_the_columns_and_with_the_objects(root: Path) -> None:
    of = {each.name: each for each in holders(root)}
    assert [name for name, each in of.items() if _has_rows(each, [PLAYER])] == [*of]
    assert [name for name, each in of.items() if _has_rows(each, [new_pseudonym()])] == []
    found = {name: _objects(each, [PLAYER]) for name, each in of.items()}
    assert found == {
        "bronze.game_login": {("b", "k1")},
        "bronze.quarantine": {("b", "k3")},
        "silver.game_guild_action": set(),
    }


def test_all_rows_of_a_player_are_held_of_them_and_no_others(root: Path) -> None:
    of_login = {"data": f'{{"player_id":"{PLAYER}"}}', "_bucket": "b", "_key": "k1"}
    raw = b"\xff" + PLAYER.encode()
    said: list[str] = []
    assert held_in_lake(root, PLAYER, said.append) == {
        "bronze.game_login": [of_login, of_login],
        "bronze.quarantine": [{"raw": raw, "reason": "r", "container": "b", "item": "k3"}],
        "silver.game_guild_action": [{"player_id": None, "target_player_id": PLAYER, "n": 2}],
    }
    assert said[0] == "looking through 3 tables"
    assert held_in_lake(root, new_pseudonym()) == {}
    with pytest.raises(ConfigurationError, match="no player_id"):
        held_in_lake(root, "player")


def test_the_statement_touches_rows_of_the_players_alone() -> None:
    columns = {"player_id": "whole", "data": "in text", "raw": "in bytes"}
    statement = update_statement(Holder("s.t", Path("/a`b"), columns), {"A": "x", "B": "y"})
    assert statement == (
        "update delta.`/a``b` set "
        "`player_id` = case `player_id` when 'A' then 'x' when 'B' then 'y' else `player_id` end, "
        "`data` = replace(replace(`data`, 'A', 'x'), 'B', 'y'), "
        "`raw` = encode(replace(replace(decode(`raw`, 'ISO-8859-1'), 'A', 'x'), 'B', 'y'), "
        "'ISO-8859-1') "
        "where `player_id` in ('A', 'B') or contains(`data`, 'A') or contains(`data`, 'B') "
        "or contains(decode(`raw`, 'ISO-8859-1'), 'A') "
        "or contains(decode(`raw`, 'ISO-8859-1'), 'B')"
    )


def test_a_new_pseudonym_has_the_form_of_the_others() -> None:
    of_a_player = pseudonym_of(b"key", "north", "u-17")
    require_pseudonyms([of_a_player, new_pseudonym()])
    assert len(new_pseudonym()) == len(of_a_player)
    assert new_pseudonym() != new_pseudonym()


@pytest.mark.parametrize("word", ["", "a", "north", f"{PLAYER}x", f"{PLAYER[:-1]}'", "é" * 22])
def test_what_is_no_pseudonym_is_refused(word: str) -> None:
    with pytest.raises(ConfigurationError, match="no player_id"):
        require_pseudonyms([PLAYER, word])
