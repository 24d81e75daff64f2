"""Shards: a child after its parents, each record once, whatever is split, merged or expires."""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loaders.sources import shards
from loaders.sources.shards import InitialPosition, Shard, parse_initial_position

NOW_MS = 1_800_000_000_000
DAY_MS = 24 * 3_600_000


def shard(name: str, *parents: str, closed: bool = False) -> Shard:
    return Shard(name, parents, 0, 9, closed)


# ---- against a slow model of a stream


@dataclass
class ModelShard:
    id: str
    parents: tuple[str, ...]
    keys: range
    closed: bool = False
    records: list[tuple[int, int]] = field(default_factory=list)  # sequence number, key


class Model:
    """A stream over the keys 0 … 15, and a consumer that knows only positions and listings."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.listed = [ModelShard("s0", (), range(8)), ModelShard("s1", (), range(8, 16))]
        self.put_records: list[tuple[int, int]] = []
        self.read_records: list[tuple[int, int]] = []
        self.lost_records: list[tuple[int, int]] = []
        self.reported_lost: list[str] = []
        self.made = 2
        self.positions = shards.initial_positions(self.listing(), InitialPosition(), NOW_MS)

    def listing(self) -> list[Shard]:
        return [Shard(s.id, s.parents, s.keys[0], s.keys[-1], s.closed) for s in self.listed]

    def open(self) -> list[ModelShard]:
        return sorted((s for s in self.listed if not s.closed), key=lambda s: s.keys[0])

    def put(self) -> None:
        key = self.chance.randrange(16)
        record = (len(self.put_records) + 1, key)
        self.put_records.append(record)
        next(s for s in self.open() if key in s.keys).records.append(record)

    def split(self) -> None:
        wide = [s for s in self.open() if len(s.keys) > 1]
        if wide:
            parent = self.chance.choice(wide)
            parent.closed = True
            middle = len(parent.keys) // 2
            for keys in (parent.keys[:middle], parent.keys[middle:]):
                self.add((parent.id,), keys)

    def merge(self) -> None:
        neighbours = list(pairwise(self.open()))
        if neighbours:
            left, right = self.chance.choice(neighbours)
            left.closed = right.closed = True
            self.add((left.id, right.id), range(left.keys[0], right.keys[-1] + 1))

    def add(self, parents: tuple[str, ...], keys: range) -> None:
        self.listed.append(ModelShard(f"s{self.made}", parents, keys))
        self.made += 1

    def expire(self) -> None:
        """The oldest shard goes, once it is closed; what was not read of it is lost."""
        if self.listed[0].closed:
            gone = self.listed.pop(0)
            self.lost_records += self.unread(gone)

    def unread(self, of: ModelShard) -> list[tuple[int, int]]:
        position = self.positions.get(of.id, {})
        if position.get("drained"):
            return []
        return [r for r in of.records if not shards.was_read(position, str(r[0]))]

    def consume(self, most: int | None = None) -> bool:
        """One read of one shard; False when none is readable or all are read."""
        self.positions = json.loads(json.dumps(self.positions))  # as through a restart
        for name in shards.missing(self.positions, self.listing()):
            self.reported_lost.append(name)
            del self.positions[name]
        self.positions = shards.follow(self.positions, self.listing())
        readable = set(shards.readable(self.positions, self.listing()))
        due = [s for s in self.listed if s.id in readable and (self.unread(s) or s.closed)]
        if not due:
            return False
        chosen = self.chance.choice(due)
        taken = self.unread(chosen)[: most or self.chance.randrange(4)]
        self.read_records += taken
        if taken:
            self.positions[chosen.id] = shards.read_to(str(taken[-1][0]), NOW_MS)
        if chosen.closed and not self.unread(chosen):
            self.positions[chosen.id] = shards.drain(self.positions[chosen.id])
        return True


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 80), expiring=st.booleans())
def test_every_record_is_read_once_and_in_the_order_of_its_key(
    seed: int, steps: int, expiring: bool
) -> None:
    model = Model(random.Random(seed))
    deeds: list[Callable[[], object]] = [model.put] * 4 + [model.split, model.merge]
    deeds += [model.consume] * 3 + [model.expire] * expiring
    for _ in range(steps):
        model.chance.choice(deeds)()
    while model.consume(most=1000):
        pass

    assert sorted(model.read_records + model.lost_records) == model.put_records
    for lost in model.lost_records:
        assert lost not in model.read_records
    assert bool(model.reported_lost) >= bool(model.lost_records)
    by_key = defaultdict(list)
    for sequence, key in model.read_records:
        by_key[key].append(sequence)
    assert all(sequences == sorted(sequences) for sequences in by_key.values())


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**32), steps=st.integers(0, 80))
def test_positions_of_expired_shards_do_not_pile_up(seed: int, steps: int) -> None:
    model = Model(random.Random(seed))
    for _ in range(steps):
        model.chance.choice([model.put, model.split, model.merge, model.expire])()
        while model.consume(most=1000):
            pass

    assert set(model.positions) == {listed.id for listed in model.listed}


# ---- who may be read


def test_a_merged_shard_waits_for_both_its_parents() -> None:
    listing = [shard("a", closed=True), shard("b", closed=True), shard("c", "a", "b")]

    assert shards.readable({"a": {}, "b": {}, "c": {}}, listing) == ["a", "b"]
    assert shards.readable({"a": {"drained": True}, "b": {}, "c": {}}, listing) == ["b"]
    both = {"a": {"drained": True}, "b": {"drained": True}, "c": {}}
    assert shards.readable(both, listing) == ["c"]


def test_a_closed_shard_is_read_until_it_is_drained() -> None:
    listing = [shard("a", closed=True), shard("b", "a")]

    assert shards.readable({"a": {"after": "7"}, "b": {}}, listing) == ["a"]


def test_a_child_waits_while_its_parents_records_are_in_the_same_batch() -> None:
    listing = [shard("a", closed=True), shard("b", "a")]
    positions = {"a": {"after": "7", "drained": True}, "b": {}}

    assert shards.readable(positions, listing, busy={"a"}) == []
    assert shards.readable(positions, listing, busy={"x"}) == ["b"]


def test_a_child_whose_parents_expired_is_read() -> None:
    assert shards.readable({"c": {}}, [shard("c", "a", "b")]) == ["c"]


def test_a_new_shard_starts_at_trim_horizon() -> None:
    listing = [shard("a", closed=True), shard("b", "a"), shard("c", "a")]

    followed = shards.follow({"a": {"after": "7"}}, listing)

    assert followed == {"a": {"after": "7"}, "b": {}, "c": {}}
    assert shards.iterator_request(followed["b"]) == {"ShardIteratorType": "TRIM_HORIZON"}


def test_a_shard_that_expired_unread_is_missing_and_one_that_was_drained_is_forgotten() -> None:
    positions = {"a": {"drained": True}, "b": {"after": "7"}, "c": {}}
    listing = [shard("c", "b")]

    assert shards.missing(positions, listing) == ["b"]
    assert set(shards.follow(positions, listing)) == {"b", "c"}


def test_a_childs_age_is_that_of_what_was_read_of_its_parents() -> None:
    listing = [shard("a", closed=True), shard("b", closed=True), shard("c", "a", "b")]
    drained = {"a": {"drained": True, "known": 50}, "b": {"drained": True, "known": 40}}

    assert shards.follow(drained, listing)["c"] == {"known": 40}
    unread = {**drained, "b": {"known": 40}}
    assert shards.follow(unread, listing)["c"] == {}


def test_shards_are_listed_again_only_while_a_drained_ones_children_are_unknown() -> None:
    parent, child = shard("a", closed=True), shard("b", "a")

    assert shards.awaits_children({}, [])
    assert shards.awaits_children({"a": {"drained": True}}, [parent])
    assert not shards.awaits_children({"a": {"drained": True}, "b": {}}, [parent, child])
    assert not shards.awaits_children({"a": {}}, [parent])


# ---- how a shard is resumed


def test_a_shard_is_resumed_after_its_last_record() -> None:
    assert shards.iterator_request(shards.read_to("123", NOW_MS)) == {
        "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
        "StartingSequenceNumber": "123",
    }


def test_an_idle_shard_is_resumed_by_time_with_an_overlap() -> None:
    position = shards.empty_to(shards.read_to("123", NOW_MS - 5 * DAY_MS), NOW_MS)

    request = shards.iterator_request(position)

    assert request["ShardIteratorType"] == "AT_TIMESTAMP"
    assert request["Timestamp"] * 1000 == NOW_MS - shards.OVERLAP_MS
    assert shards.was_read(position, "123")
    assert not shards.was_read(position, "124")


def test_an_idle_shard_is_never_resumed_before_its_start() -> None:
    position = shards.empty_to({"at": NOW_MS - 1000}, NOW_MS)

    assert shards.iterator_request(position)["Timestamp"] * 1000 == NOW_MS - 1000


def test_sequence_numbers_compare_as_numbers() -> None:
    assert not shards.was_read({"after": "9"}, "10")
    assert shards.was_read({"after": "10"}, "9")


def test_a_record_after_an_idle_time_ends_the_idleness() -> None:
    assert "idle" not in shards.read_to("5", NOW_MS)
    assert "idle" not in shards.drain(shards.empty_to({"after": "5"}, NOW_MS))


def test_records_may_be_lost_once_a_position_is_older_than_the_retention() -> None:
    assert not shards.may_have_lost(shards.read_to("1", NOW_MS - DAY_MS), NOW_MS, DAY_MS)
    assert shards.may_have_lost(shards.read_to("1", NOW_MS - DAY_MS - 1), NOW_MS, DAY_MS)
    assert not shards.may_have_lost({}, NOW_MS, DAY_MS)
    skipped = shards.skip_to_horizon(shards.read_to("1", 0), NOW_MS, DAY_MS)
    assert not shards.may_have_lost(skipped, NOW_MS, DAY_MS)
    assert shards.iterator_request(skipped)["Timestamp"] * 1000 == NOW_MS - DAY_MS


# ---- what is worth logging


@pytest.mark.parametrize(
    "after",
    [
        {"a": {"after": "2", "known": 1}},
        {"a": {"after": "1", "known": 1, "drained": True}},
        {"a": {"after": "1", "known": 2 + shards.IDLE_LOG_MS, "idle": True}},
        {},
    ],
    ids=["read", "drained", "idle for an hour", "lost"],
)
def test_progress_is_logged(after: shards.Positions) -> None:
    assert shards.is_progress({"a": {"after": "1", "known": 1}}, after)


@pytest.mark.parametrize(
    "after",
    [
        {"a": {"after": "1", "known": 1}},
        {"a": {"after": "1", "known": 60_000, "idle": True}},
        {"a": {"after": "1", "known": 1}, "b": {}},
    ],
    ids=["nothing", "idle for a minute", "a new shard"],
)
def test_what_the_next_look_finds_again_is_not_logged(after: shards.Positions) -> None:
    assert not shards.is_progress({"a": {"after": "1", "known": 1}}, after)


def test_forgetting_a_drained_shard_is_not_logged() -> None:
    assert not shards.is_progress({"a": {"drained": True}}, {})


# ---- where to start


def test_trim_horizon_starts_every_shard_at_its_oldest_record() -> None:
    listing = [shard("a", closed=True), shard("b", "a")]

    for text in ("TRIM_HORIZON", "trim_horizon", "earliest"):
        start = parse_initial_position(text)
        assert shards.initial_positions(listing, start, NOW_MS) == {"a": {}, "b": {}}


def test_latest_leaves_out_what_closed_shards_hold() -> None:
    listing = [shard("a", closed=True), shard("b", "a")]

    positions = shards.initial_positions(listing, parse_initial_position("LATEST"), NOW_MS)

    assert positions == {"a": {"drained": True}, "b": {"at": NOW_MS, "known": NOW_MS}}


@pytest.mark.parametrize(
    "time",
    ['"2027-01-15T08:00:00Z"', '"2027-01-15T09:00:00+01:00"', "1800000000", "1800000000.0"],
)
def test_a_time_starts_every_listed_shard_there(time: str) -> None:
    start = parse_initial_position(f'{{"at_timestamp": {time}}}')

    positions = shards.initial_positions([shard("a", closed=True), shard("b", "a")], start, NOW_MS)

    assert positions == {"a": {"at": 1_800_000_000_000}, "b": {"at": 1_800_000_000_000}}


@pytest.mark.parametrize("time", ['"2027-01-15T08:00:00.123999Z"', "1800000000.123999"])
def test_a_time_between_two_milliseconds_is_the_earlier_one(time: str) -> None:
    start = parse_initial_position(f'{{"at_timestamp": {time}}}')

    assert start.everywhere == {"at": 1_800_000_000_123}


def test_positions_by_shard_leave_ancestors_out_and_others_at_trim_horizon() -> None:
    listing = [
        shard("a", closed=True),
        shard("b", "a", closed=True),
        shard("c", "b"),
        shard("d", "b"),
        shard("e"),
    ]
    start = parse_initial_position('{"c": {"after_sequence_number": "17"}, "d": "LATEST"}')

    assert shards.initial_positions(listing, start, NOW_MS) == {
        "a": {"drained": True},
        "b": {"drained": True},
        "c": {"after": "17"},
        "d": {"at": NOW_MS, "known": NOW_MS},
        "e": {},
    }


def test_a_shard_that_the_stream_does_not_have_is_refused() -> None:
    start = parse_initial_position('{"shardId-9": "LATEST"}')

    with pytest.raises(ValueError, match="'shardId-9', which the stream does not have"):
        shards.initial_positions([shard("shardId-0")], start, NOW_MS)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "newest",
        "{",
        "{}",
        "[]",
        '{"at_timestamp": "2027-01-15 08:00"}',
        '{"at_timestamp": "yesterday"}',
        '{"at_timestamp": true}',
        '{"shardId-0": "at_timestamp"}',
        '{"shardId-0": {"after_sequence_number": 17}}',
        '{"shardId-0": {"after_sequence_number": "x"}}',
        '{"shardId-0": 3}',
    ],
)
def test_any_other_initial_position_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match=r"initialPosition is|at_timestamp is"):
        parse_initial_position(text)


def test_a_listed_shard_has_its_parents_and_hash_keys() -> None:
    listed = {
        "ShardId": "shardId-3",
        "ParentShardId": "shardId-1",
        "AdjacentParentShardId": "shardId-2",
        "HashKeyRange": {"StartingHashKey": "10", "EndingHashKey": str(2**128 - 1)},
        "SequenceNumberRange": {"StartingSequenceNumber": "1", "EndingSequenceNumber": "0"},
    }

    assert shards.parse_shard(listed) == Shard(
        "shardId-3", ("shardId-1", "shardId-2"), 10, 2**128 - 1, closed=True
    )
