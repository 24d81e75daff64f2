"""The shards of a Kinesis stream and how far each has been read: pure functions on JSON values.

A position says how far one shard was read. It is a JSON object, because it stands in Spark's
offset log, with these members, all optional:

    after    sequence number of the last record read; absent: none was read yet
    at       while nothing was read: arrival time (ms) to start at; absent: TRIM_HORIZON
    known    arrival time (ms) up to which nothing is left to be read
    idle     true: seen empty from `after` (or the start) up to `known`
    drained  true: the shard is closed and was read to its end

A shard that was split or merged is closed: its records stay until they expire, and new ones
go to its children. Keys keep their order because a child is read after all its parents.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

Position = dict[str, Any]
Positions = dict[str, Position]

# Arrival times are approximate and may step back, so what is resumed by time is resumed
# this much earlier; sequence numbers sort out what was read already.
OVERLAP_MS = 5 * 60_000

# An idle shard's position is logged at most this often: logging it costs an empty batch. The
# shortest retention is a day.
IDLE_LOG_MS = 60 * 60_000

TRIM_HORIZON: Position = {}
LATEST: Position = {"latest": True}


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard as ListShards describes it; a partition key's hash lies in first_hash..last_hash."""

    id: str
    parents: tuple[str, ...]
    first_hash: int
    last_hash: int
    closed: bool


def parse_shard(listed: Mapping[str, Any]) -> Shard:
    """One entry of ListShards' `Shards`.

    That an ending sequence number is there means that the shard is closed. Its value is not
    used: it does not say whether the shard was read, and some servers make it up.
    """
    parents = (listed.get("ParentShardId"), listed.get("AdjacentParentShardId"))
    return Shard(
        id=listed["ShardId"],
        parents=tuple(parent for parent in parents if parent),
        first_hash=int(listed["HashKeyRange"]["StartingHashKey"]),
        last_hash=int(listed["HashKeyRange"]["EndingHashKey"]),
        closed="EndingSequenceNumber" in listed["SequenceNumberRange"],
    )


# ---- where to start


@dataclass(frozen=True, slots=True)
class InitialPosition:
    """Where a new query starts: everywhere alike, or by shard."""

    everywhere: Position = field(default_factory=dict)
    by_shard: Mapping[str, Position] = field(default_factory=dict)


def parse_initial_position(text: str) -> InitialPosition:
    """The option initialPosition.

    Either one position for all shards:

        TRIM_HORIZON                                the oldest record kept (also: earliest)
        LATEST                                      what arrives from now on
        {"at_timestamp": "2026-11-22T10:00:00Z"}    what arrived then or later; ISO 8601 with a
                                                    time zone, or seconds since 1970

    or a JSON object from shard ids to such positions, where a shard may also have

        {"after_sequence_number": "4959…"}          what follows that record

    Ancestors of the shards named there count as read; any other shard starts at TRIM_HORIZON.

    Raises:
        ValueError: anything else; the message quotes it.
    """
    if not text.lstrip().startswith("{"):
        return InitialPosition(everywhere=_parse_position(text.strip(), text))
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ValueError(f"initialPosition is no JSON ({error}): {text}") from None
    if set(value) == {"at_timestamp"}:
        return InitialPosition(everywhere=_parse_position(value, text))
    if not value:
        raise ValueError("initialPosition is {}: name at least one shard")
    return InitialPosition(
        by_shard={shard_id: _parse_position(item, text) for shard_id, item in value.items()}
    )


def _parse_position(value: Any, text: str) -> Position:
    if isinstance(value, str):
        named = {"trim_horizon": TRIM_HORIZON, "earliest": TRIM_HORIZON, "latest": LATEST}
        if value.lower() in named:
            return named[value.lower()]
    elif isinstance(value, dict) and set(value) == {"at_timestamp"}:
        return {"at": _parse_time(value["at_timestamp"])}
    elif isinstance(value, dict) and set(value) == {"after_sequence_number"}:
        sequence = value["after_sequence_number"]
        if isinstance(sequence, str) and sequence.isdecimal():
            return {"after": sequence}
    raise ValueError(
        f"initialPosition is {text}: use TRIM_HORIZON, LATEST, "
        '{"at_timestamp": "2026-11-22T10:00:00Z"}, or a JSON object from shard ids to these or '
        'to {"after_sequence_number": "4959…"}'
    )


def _parse_time(value: Any) -> int:
    """Milliseconds since 1970; rounded down, so that a record of just that time is not missed."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return round(value * 1_000_000) // 1000
    try:
        time = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        time = None
    if time is None or time.tzinfo is None:
        raise ValueError(
            f"at_timestamp is {value!r}: give ISO 8601 with a time zone, such as "
            '"2026-11-22T10:00:00Z", or seconds since 1970'
        )
    return round(time.timestamp() * 1_000_000) // 1000


def initial_positions(shards: Collection[Shard], start: InitialPosition, now_ms: int) -> Positions:
    """The position of each listed shard for a query that starts at `now_ms`.

    Raises:
        ValueError: `start` names a shard that is not listed.
    """
    by_id = {shard.id: shard for shard in shards}
    for shard_id in start.by_shard:
        if shard_id not in by_id:
            raise ValueError(
                f"initialPosition names shard {shard_id!r}, which the stream does not have; "
                f"it has {', '.join(by_id)}"
            )
    read_before = _ancestors(start.by_shard, by_id)

    def position(shard: Shard) -> Position:
        wanted = start.by_shard.get(shard.id, start.everywhere)
        if shard.id not in start.by_shard and shard.id in read_before:
            return {"drained": True}
        if wanted == LATEST:
            return {"drained": True} if shard.closed else {"at": now_ms, "known": now_ms}
        return dict(wanted)

    return {shard.id: position(shard) for shard in shards}


def _ancestors(shard_ids: Iterable[str], by_id: Mapping[str, Shard]) -> set[str]:
    found: set[str] = set()
    waiting = list(shard_ids)
    while waiting:
        shard = by_id.get(waiting.pop())
        for parent in shard.parents if shard else ():
            if parent not in found:
                found.add(parent)
                waiting.append(parent)
    return found


# ---- which shards there are, and which may be read


def follow(positions: Positions, shards: Collection[Shard]) -> Positions:
    """The positions once the listing was seen: new shards join, drained expired ones leave.

    A shard that is new has parents, or the stream had no shard before: it starts at
    TRIM_HORIZON. What a child's parents were read up to holds for the child as well.
    """
    listed = {shard.id for shard in shards}
    followed = {
        shard_id: position
        for shard_id, position in positions.items()
        if shard_id in listed or not position.get("drained")
    }
    for shard in shards:
        position = followed.get(shard.id, TRIM_HORIZON)
        if "known" not in position:
            known = _known_of_parents(followed, shard)
            position = position if known is None else {**position, "known": known}
        followed[shard.id] = position
    return followed


def _known_of_parents(positions: Positions, shard: Shard) -> int | None:
    parents = [positions[parent] for parent in shard.parents if parent in positions]
    if not parents or not all(p.get("drained") and "known" in p for p in parents):
        return None
    return min(parent["known"] for parent in parents)


def missing(positions: Positions, shards: Iterable[Shard]) -> list[str]:
    """Shards that expired before they were read to their end: their last records are lost."""
    listed = {shard.id for shard in shards}
    return [
        shard_id
        for shard_id, position in positions.items()
        if shard_id not in listed and not position.get("drained")
    ]


def readable(
    positions: Positions, shards: Iterable[Shard], busy: Collection[str] = ()
) -> list[str]:
    """Shards that may be read now: not drained themselves, and all their parents drained.

    A parent without a position has expired. A parent that is `busy` has records in the batch
    being planned: its children wait for the next batch, because rows of one batch have no order.
    """
    return [
        shard.id
        for shard in shards
        if shard.id in positions
        and not positions[shard.id].get("drained")
        and all(
            parent not in positions or (positions[parent].get("drained") and parent not in busy)
            for parent in shard.parents
        )
    ]


def awaits_children(positions: Positions, shards: Iterable[Shard]) -> bool:
    """Whether a drained shard's children are not listed yet (or no shard is listed at all)."""
    parents = {parent for shard in shards for parent in shard.parents}
    drained = [shard_id for shard_id, position in positions.items() if position.get("drained")]
    return not positions or any(shard_id not in parents for shard_id in drained)


# ---- how a position moves


def read_to(sequence: str, arrived_ms: int) -> Position:
    """Records were read, the last one being `sequence`."""
    return {"after": sequence, "known": arrived_ms}


def empty_to(position: Position, now_ms: int) -> Position:
    """The shard was read to its tip at `now_ms` and had nothing."""
    return {**position, "known": max(now_ms, position.get("known", 0)), "idle": True}


def drain(position: Position) -> Position:
    """The shard ended."""
    return {key: value for key, value in position.items() if key != "idle"} | {"drained": True}


def skip_to_horizon(position: Position, now_ms: int, retention_ms: int) -> Position:
    """Go on at the oldest record kept, after some that were not read have expired."""
    return {**position, "known": now_ms - retention_ms + OVERLAP_MS, "idle": True}


def iterator_request(position: Position) -> dict[str, Any]:
    """GetShardIterator's arguments for what comes next.

    An idle shard is resumed by time: its last record may have expired, and from an old record
    the service would lead through hours of empty pages.
    """
    if position.get("idle"):
        start_ms = max(position["known"] - OVERLAP_MS, position.get("at", 0))
        return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": start_ms / 1000}
    if "after" in position:
        return {
            "ShardIteratorType": "AFTER_SEQUENCE_NUMBER",
            "StartingSequenceNumber": position["after"],
        }
    if "at" in position:
        return {"ShardIteratorType": "AT_TIMESTAMP", "Timestamp": position["at"] / 1000}
    return {"ShardIteratorType": "TRIM_HORIZON"}


def was_read(position: Position, sequence: str) -> bool:
    """Whether a record lies at or before the position."""
    return "after" in position and int(sequence) <= int(position["after"])


def may_have_lost(position: Position, now_ms: int, retention_ms: int) -> bool:
    """Whether records behind the position may have expired unread."""
    return position.get("known", now_ms) < now_ms - retention_ms


def is_progress(before: Positions, after: Positions) -> bool:
    """Whether the positions moved so that Spark's log must know it.

    A shard only found idle, or only listed, is found so again: not worth a batch, but hourly.
    """

    def moved(shard_id: str, position: Position) -> bool:
        new = after.get(shard_id)
        if new is None:
            return not position.get("drained")
        same = all(new.get(name) == position.get(name) for name in ("after", "drained"))
        idle_ms = new.get("known", 0) - position.get("known", new.get("known", 0))
        return not same or idle_ms > IDLE_LOG_MS

    return any(moved(shard_id, position) for shard_id, position in before.items()) or any(
        "after" in position or "drained" in position
        for shard_id, position in after.items()
        if shard_id not in before
    )
