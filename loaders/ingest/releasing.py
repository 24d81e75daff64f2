"""Events leave the quarantine once the contract declares what was found in them.

Firehose may get an event twice, when a release is cut short between its answer and the vault's
note; readers know events by event_id.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from loaders.games.detection import in_words
from loaders.games.separation import Quarantined, Refused, Separated, Separator
from loaders.ingest.delivery import MAX_CALL_BYTES, MAX_RECORDS, put_records
from loaders.session import ConfigurationError
from loaders.vault.envelope import Damaged
from loaders.vault.store import Access, PersonalValues, Vault

TRIES = 5


class _Judged(NamedTuple):
    kept: Quarantined
    now: Separated | Quarantined | Refused


@dataclass
class Release:
    """What became of quarantined events.

    staying: (type, field, reason) → how many events; names that are none stand as *.
    """

    released: int = 0
    staying: Counter[tuple[str, str, str]] = field(default_factory=Counter)


def release(
    store: Vault,
    access: Access,
    event_types: Sequence[str],
    separator: Separator,
    firehose: Any,
    stream: str,
    pause: Callable[[float], None] = time.sleep,
) -> Release:
    """Have the quarantined events of some types go on, as if they came now for the first time.

    Personal data reach the vault first, then the rest Firehose; then an event leaves the
    quarantine. Cut short, it is completed by doing it again.

    Args:
        separator: of the contract as it is now.
        firehose: a boto3 client.
        stream: name of the delivery stream.

    Raises:
        ConfigurationError: Firehose does not take them.
        Damaged: an event, or the key that its personal data would be sealed with, does not open.
    """
    done = Release()
    events = store.open_quarantined(event_types, access)
    judged = (
        _Judged(kept, separator.separate(orjson.loads(kept.sent), kept.studio, kept.taken_at))
        for kept in events
    )
    for batch in _batches(judged):
        good = [(kept, now) for kept, now in batch if isinstance(now, Separated)]
        closed = store.put(
            PersonalValues(now.player_id, now.event_id, now.timestamp, now.personal)
            for _, now in good
            if now.player_id is not None
        )
        if closed:
            raise Damaged(f"the key of player {min(closed)} does not open")
        _pass_on(firehose, stream, [now.body for _, now in good], pause)
        store.settle_quarantined(
            released=[kept for kept, _ in good],
            staying=[now for _, now in batch if isinstance(now, Quarantined)],
        )
        done.released += len(good)
        done.staying.update(
            (kept.event_type, in_words(now.field or ""), now.reason)
            for kept, now in batch
            if not isinstance(now, Separated)
        )
    note = f"released {done.released}, staying {done.staying.total()}: {', '.join(event_types)}"
    store.note("release", access, note)
    return done


def _batches(judged: Iterator[_Judged]) -> Iterator[list[_Judged]]:
    """What Firehose takes with one call."""
    batch: list[_Judged] = []
    size = 0
    for each in judged:
        length = len(each.now.body) if isinstance(each.now, Separated) else 0
        if batch and (len(batch) == MAX_RECORDS or size + length > MAX_CALL_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += length
    if batch:
        yield batch


def _pass_on(
    firehose: Any, stream: str, bodies: Sequence[bytes], pause: Callable[[float], None]
) -> None:
    left = bodies
    for attempt in range(TRIES):
        if attempt:
            pause(0.2 * 2**attempt)
        left = [left[place] for place in put_records(firehose, stream, left)]
        if not left:
            return
    raise ConfigurationError(
        f"Firehose does not take {len(left)} events for {stream!r}, the warnings above say why; "
        "they stay in quarantine: mend it and give the command again"
    )
