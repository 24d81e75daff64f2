"""What running feeds leave behind: a log of their batches, and where each of them stands.

Under LAKEHOUSE_ROOT, logs/loaders.jsonl has a line a batch and progress/<feed>.json how the feed
stands now, for `python -m loaders status`, which asks no source; progress/live/<model>.json is the
same of a streaming model. None holds a record or a credential.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

LOG_BYTES = 10 << 20
LOG_FILES = 5

RUNNING, ENDED, FAILED = "running", "ended", "failed"


@dataclass(frozen=True, slots=True)
class Backlog:
    """What a source had beyond the batch planned last; None where its kind has no such thing.

    Sizes in bytes, times in milliseconds since 1970. The age of a queue's messages is known of
    those that this feed has received and not deleted yet. `losses` counts how often records of a
    stream were found to have expired unread.
    """

    objects: int | None = None
    size_bytes: int | None = None
    oldest_object: str | None = None
    oldest_object_ms: int | None = None
    queue_messages: int | None = None
    queue_messages_in_flight: int | None = None
    dead_letter_messages: int | None = None
    oldest_message_ms: int | None = None
    millis_behind: Mapping[str, int] | None = None
    losses: int | None = None

    def lag_ms(self, now_ms: int) -> int:
        """How long the oldest of it has been waiting; 0 when nothing waits."""
        waiting_since = (self.oldest_object_ms, self.oldest_message_ms)
        ages = [now_ms - since for since in waiting_since if since is not None]
        return max([0, *ages, *(self.millis_behind or {}).values()])

    def caught_up(self) -> Backlog:
        """The same once the source has nothing more to give."""
        return Backlog(
            objects=None if self.objects is None else 0,
            size_bytes=None if self.size_bytes is None else 0,
            queue_messages=None if self.queue_messages is None else 0,
            queue_messages_in_flight=None if self.queue_messages_in_flight is None else 0,
            dead_letter_messages=self.dead_letter_messages,
            millis_behind=self.millis_behind and dict.fromkeys(self.millis_behind, 0),
            losses=self.losses,
        )


def parse_backlog(report: Mapping[str, Any]) -> Backlog:
    """What a source says in Spark's progress report (`latestOffset`)."""
    oldest = report.get("oldestWaiting") or {}
    return Backlog(
        objects=report.get("waitingObjects"),
        size_bytes=report.get("waitingBytes"),
        oldest_object=oldest.get("key"),
        oldest_object_ms=oldest.get("modifiedMs"),
        queue_messages=report.get("queueMessages"),
        queue_messages_in_flight=report.get("queueMessagesInFlight"),
        dead_letter_messages=report.get("deadLetterMessages"),
        oldest_message_ms=report.get("oldestMessageSentMs"),
        millis_behind=report.get("millisBehindLatest"),
        losses=report.get("losses"),
    )


@dataclass(frozen=True, slots=True)
class Progress:
    """How a feed stands. Times in milliseconds since 1970, rates of the batch loaded last."""

    feed: str
    state: str
    seen_ms: int
    batch_id: int | None = None
    rows_per_second: float | None = None
    bytes_per_second: float | None = None
    backlog: Backlog | None = None

    @property
    def lag_ms(self) -> int | None:
        """How far the feed was behind its source when it was seen; None where that is unknown."""
        return None if self.backlog is None else self.backlog.lag_ms(self.seen_ms)

    def caught_up(self, seen_ms: int) -> Progress:
        """The same once the source has nothing more to give."""
        backlog = None if self.backlog is None else self.backlog.caught_up()
        return replace(self, seen_ms=max(seen_ms, self.seen_ms), backlog=backlog)


def now_ms() -> int:
    """Milliseconds since 1970."""
    return round(datetime.now(UTC).timestamp() * 1000)


def write_progress(root: Path, progress: Progress) -> None:
    """Replace what is said of the feed, at once: a reader sees the old file or the new one."""
    _replace(root / "progress", progress.feed, asdict(progress))


def read_progress(root: Path, feed: str) -> Progress | None:
    """What a feed said last; None when it never ran, or another version of this program wrote."""
    try:
        said = json.loads((root / "progress" / f"{feed}.json").read_text())
        backlog = said["backlog"] and Backlog(**said["backlog"])
        return Progress(**{**said, "backlog": backlog})
    except (FileNotFoundError, TypeError, KeyError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class LiveProgress:
    """How a streaming model stands. Times in milliseconds, since 1970 where they are moments.

    Attributes:
        input_rows, batch_ms: of the batch run last; `batch_ms` is its wall time.
        late_rows: rows left out since the query's checkpoint began, because they came later than
            the model's delay and their window was closed.
        state_rows, state_bytes: what the query keeps of open windows.
        watermark: rows of windows that end before it are late, UTC.
        waiting_files: files of the input beyond the batch run last.
    """

    model: str
    state: str
    seen_ms: int
    batch_id: int | None = None
    input_rows: int | None = None
    batch_ms: int | None = None
    late_rows: int = 0
    state_rows: int | None = None
    state_bytes: int | None = None
    watermark: str | None = None
    waiting_files: int | None = None


def write_live_progress(root: Path, progress: LiveProgress) -> None:
    """As write_progress."""
    _replace(root / "progress" / "live", progress.model, asdict(progress))


def read_live_progress(root: Path, model: str) -> LiveProgress | None:
    """What a model's query said last; None as in read_progress."""
    try:
        path = root / "progress" / "live" / f"{model}.json"
        return LiveProgress(**json.loads(path.read_text()))
    except (FileNotFoundError, TypeError, ValueError):
        return None


def live_progress(root: Path) -> list[LiveProgress]:
    """What every model's query said last, by the models' names."""
    names = sorted(path.stem for path in (root / "progress" / "live").glob("[!.]*.json"))
    return [said for name in names if (said := read_live_progress(root, name))]


def _replace(folder: Path, name: str, said: Mapping[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{name}.json"
    unfinished.write_text(json.dumps(said))
    unfinished.replace(folder / f"{name}.json")


@contextmanager
def batch_log(root: Path) -> Iterator[logging.Logger]:
    """A logger whose messages, each a mapping, become lines of logs/loaders.jsonl."""
    folder = root / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(
        folder / "loaders.jsonl", maxBytes=LOG_BYTES, backupCount=LOG_FILES - 1, delay=True
    )
    handler.setFormatter(_JsonLines())
    logger = logging.getLogger("loaders.batches")
    logger.propagate = False  # a line of the console is printed by the command line
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    try:
        yield logger
    finally:
        logger.removeHandler(handler)
        handler.close()


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        return json.dumps({"at": at, "level": record.levelname, **record.msg})
