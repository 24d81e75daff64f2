"""Where the query of a streaming model begins: its checkpoint, keyed to the query's text.

Under LAKEHOUSE_ROOT/checkpoints/live/<model>/<fingerprint> lie Spark's checkpoint, `query`, and
`start.json`, which says where the query began. A changed text has another fingerprint, so it
begins anew, and what its forerunner kept goes away.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from loaders.live_models import LiveModel
from loaders.session import ConfigurationError, lakehouse_root

if TYPE_CHECKING:
    from pyspark.sql import SparkSession


@dataclass(frozen=True, slots=True)
class StartPoint:
    """Where a query began.

    Attributes:
        versions: first version read of each input's table; a table that is not named is read
            whole, and then what is added.
        complete_after: event time in microseconds since 1970, UTC. Windows that start later have
            all their rows in the versions read; earlier ones may lack some and are not written.
        told_after: event time as above. Windows that start earlier are history to the query: their
            rows are written, and nobody is told of them.
        replaces: the first batch has every row there is, and replaces the table's.
    """

    versions: Mapping[str, int] = field(default_factory=dict)
    complete_after: int | None = None
    told_after: int | None = None
    replaces: bool = False

    def options(self, model: LiveModel) -> dict[str, dict[str, str]]:
        """Read options of each input's table.

        One batch takes everything that is there: rows of an old table come in the order of its
        files, and would be late if the watermark moved between them. Commits that change or
        delete rows (retention, replays) bring nothing new.
        """
        common = {"skipChangeCommits": "true", "maxFilesPerTrigger": "1000000"}
        return {
            each.table: common
            | (
                {"startingVersion": str(self.versions[each.table])}
                if each.table in self.versions
                else {}
            )
            for each in model.inputs
        }


def settle_start(spark: SparkSession, model: LiveModel) -> tuple[Path, StartPoint, str | None]:
    """The checkpoint of the model's query and its start, which is settled the first time.

    Returns: Spark's checkpoint, where the query began, and what to tell of a new beginning.

    Raises:
        ConfigurationError: `start` is no time.
    """
    folder = _starts() / model.name / model.fingerprint
    record = folder / "start.json"
    notice = None
    if not record.exists():
        forerunners = folder.parent.exists() and any(folder.parent.iterdir())
        start = _start_point(spark, model)
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / ".start.json"
        unfinished.write_text(json.dumps(asdict(start)))
        unfinished.replace(record)
        notice = _told(start, changed=bool(forerunners))
    for other in folder.parent.iterdir():
        if other != folder:
            shutil.rmtree(other)
    return folder / "query", StartPoint(**json.loads(record.read_text())), notice


def _start_point(spark: SparkSession, model: LiveModel) -> StartPoint:
    if model.start == "earliest":
        told_after = None
        if model.sink:
            told_after = _latest([_newest(spark, e.event_time, e.query) for e in model.inputs])
        return StartPoint(told_after=told_after, replaces=not model.keep_old_rows)
    versions, newest = {}, []
    for each in model.inputs:
        version = _version_at(spark, each.table, model)
        if version is None:
            continue
        versions[each.table] = version
        # `version` is read again by the stream, so its rows are in both: that errs on the safe side
        query = each.query.replace(each.table, f"{each.table} version as of {version}", 1)
        newest.append(_newest(spark, each.event_time, query))
    return StartPoint(versions, _latest(newest))


def _newest(spark: SparkSession, event_time: str, query: str) -> int | None:
    return spark.sql(f"select unix_micros(max({event_time})) from {query}").first()[0]


def _latest(times: list[int | None]) -> int | None:
    return max((at for at in times if at is not None), default=None)


def _version_at(spark: SparkSession, table: str, model: LiveModel) -> int | None:
    """The version that was current at the model's start; None: all there is came later."""
    history = spark.sql(f"describe history {table}")
    if model.start != "latest":
        history = history.where(f"timestamp <= timestamp_micros({_micros(model)})")
    return history.agg({"version": "max"}).first()[0]


def _micros(model: LiveModel) -> int:
    try:
        at = datetime.fromisoformat(model.start)
    except ValueError as error:
        raise ConfigurationError(
            f"{model.name}: start: {model.start!r} is no time; write earliest, latest or a time "
            "such as 2026-01-31T00:00:00Z"
        ) from error
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return round(at.timestamp() * 1_000_000)


def _told(start: StartPoint, *, changed: bool) -> str:
    why = "its query has changed: it starts anew" if changed else "starts"
    if not start.versions:
        whence = "from the earliest row of its input"
        return f"{why} {whence}" + (", and replaces the table's rows" if start.replaces else "")
    whence = ", ".join(f"version {number} of {name}" for name, number in start.versions.items())
    if start.complete_after is None:
        return f"{why} from {whence}"
    at = datetime.fromtimestamp(start.complete_after / 1_000_000, UTC)
    return f"{why} from {whence}, with the first window after {at:%Y-%m-%d %H:%M:%S} UTC"


def models_with_a_start() -> set[str]:
    """The models of which a query was started here."""
    return {folder.name for folder in _starts().glob("*")}


def forget_start(model: str) -> None:
    """Remove what a model's queries kept; the next one begins anew."""
    shutil.rmtree(_starts() / model)


def _starts() -> Path:
    return lakehouse_root() / "checkpoints" / "live"
