"""Loaders that are killed with SIGKILL at every step lose nothing and repeat nothing.

FAULTS is the number of kills, SEED what chooses them: both are printed when a run fails.
"""

from __future__ import annotations

import os
import random
from itertools import chain, islice
from pathlib import Path
from typing import Any

import pytest
import servers
from lives import ANNOUNCED, EVENTS, LISTED, Kill, Sender, lives

BETWEEN = "between the commits of tables"
OF_OBJECTS = (
    "objects planned",
    "offset of objects logged",
    "objects half read",
    "before the commit of quarantine",
    "after the commit of quarantine",
    "before the commit of ledger",
    "after the commit of ledger",
)
OF_A_REPLAY = (
    "replay: before its plan stands",
    "replay: after its plan stands",
    "replay: before the commit of a table",
    "replay: between the commits of tables",
    "replay: after the commit of a table",
    "replay: before the commit of quarantine",
    "replay: after the commit of quarantine",
    "replay: before the delete from quarantine",
    "replay: after the delete from quarantine",
    "replay: before the commit of ledger",
    "replay: after the commit of ledger",
    "replay: before its folder goes",
    "replay: after its folder goes",
)
STEPS = {
    ANNOUNCED: (
        *OF_OBJECTS,
        "messages received",
        "before the commit of a table",
        BETWEEN,
        "after the commit of a table",
        "before the delete of messages",
        "after the delete of messages",
        *OF_A_REPLAY,
    ),
    LISTED: (
        *OF_OBJECTS,
        "before the commit of listed",
        "after the commit of listed",
        "before the delete of a copied object",
        "after the delete of a copied object",
        "before moved objects are noted",
        "after moved objects are noted",
    ),
    EVENTS: (
        "shards planned",
        "offset of shards logged",
        "shards half read",
        "before the commit of events",
        "after the commit of events",
        "before the commit of quarantine",
        "before the commit of ledger",
        "after the commit of ledger",
    ),
}
# Kills until the sender is compared with the tables, in which all feeds are drained.
KILLS_A_STORY = 20
LIVES_TO_DRAIN = 4
FAULTS = int(os.environ.get("FAULTS", "8"))
SEED = int(os.environ.get("SEED", "1"))


def stories(faults: int, seed: int) -> list[list[Kill]]:
    """Plans of kills: each step in turn, then at its first, second or third time.

    First, so in every run, a batch that is cut between its tables.

    A life has one replay, whose steps come once.
    """
    draw = random.Random(seed)
    places = [(feed, step) for feed, steps in STEPS.items() for step in steps]
    shuffled = draw.sample(places, len(places))
    firsts = (Kill(*place, 1) for place in sorted(shuffled, key=lambda place: place[1] != BETWEEN))
    drawn = draw.choices(places, k=faults)
    others = (Kill(feed, step, draw.randint(1, times(step))) for feed, step in drawn)
    kills = list(islice(chain(firsts, others), faults))
    return [kills[at : at + KILLS_A_STORY] for at in range(0, faults, KILLS_A_STORY)]


def times(step: str) -> int:
    return 1 if step in OF_A_REPLAY else 3


@pytest.mark.parametrize("plan", stories(FAULTS, SEED), ids=lambda plan: f"{len(plan)}-kills")
def test_a_loader_killed_at_every_step_loads_each_record_once(
    plan: list[Kill], aws: Any, tmp_path: Path
) -> None:
    told = f"FAULTS={FAULTS} SEED={SEED}: {plan}"
    with servers.roto(tmp_path / "roto.log") as kinesis_url:
        sender = Sender(tmp_path, kinesis_url)
        survived: list[Kill | None] = []
        with lives(sender, [*plan, *[None] * LIVES_TO_DRAIN]) as processes:
            for life in processes:
                if life.kill:
                    sender.send()
                elif survived[-1:] == [None] and sender.messages_left() == 0:
                    break
                if not life.load(sender.bring_back):
                    survived.append(life.kill)

        kills = len(plan) - sum(kill is not None for kill in survived)
        print(f"{kills} of {len(plan)} loaders were killed; those who lived on: {survived}")
        # Only a step that is reached more than once may have been survived.
        assert not [kill for kill in survived if kill and kill.number == 1], told
        assert sender.messages_left() == 0, told
        assert sender.in_bronze() == sender.kept, told
        assert sender.in_quarantine() == sender.quarantined, told
        assert sender.objects("listed/") == {}, told
        assert sender.objects("archive/") == sender.listed, told
        ledger = sender.ledger()
        assert [
            row
            for row in ledger
            if row["received"] != row["kept"] + row["duplicates"] + row["quarantined"]
        ] == [], told
        assert sum(row["kept"] for row in ledger) == sender.kept.total(), told
