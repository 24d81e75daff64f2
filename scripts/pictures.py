"""Takes the pictures of docs/dashboard.md: .venv/bin/python scripts/pictures.py [--root LAKEHOUSE].

Needs Chromium (apt-get install chromium). Without --root a day of a service is made up.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake
from PIL import Image
from pyarrow import csv

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.dashboard import DAY, PAINTED, TIMESTAMP, looking, serving, write_gold  # noqa: E402

ROWS = 200_000
END = DAY + timedelta(days=1)
VIEWER = "us-west-2:5f0c2a7e-0000-4000-8000-00000000cafe"
WIDTH, HEIGHT = 1280, 1500
COLOURS = 64


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="a LAKEHOUSE_ROOT; else one is made up")
    root = parser.parse_args().root
    with tempfile.TemporaryDirectory() as folder:
        interval = ""
        if root is None:
            root = Path(folder)
            make_up(root)
            hour_before = END - timedelta(hours=1)
            interval = f"&from={hour_before:%Y-%m-%dT%H:%M}&to={END:%Y-%m-%dT%H:%M}"
        with serving(root) as address, looking() as browser:
            page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
            page.goto(f"{address}/?metric=rebuffering_share{interval}")
            page.wait_for_selector(PAINTED, state="detached")
            _save(page.screenshot(), "dashboard")
            viewers = page.locator("#sessions tbody a")
            if viewers.count():
                viewers.first.click()
                page.wait_for_selector(PAINTED, state="detached")
                _save(page.locator("#viewer").screenshot(), "dashboard_viewer")


def make_up(root: Path) -> None:
    """A day of a service: at its end an edge stalls, an alert says so, and a viewer sees it."""
    write_gold(root, ROWS)
    rules = csv.read_csv(ROOT / "seeds" / "alert_rules.csv")
    _write(root, "ops.alert_rules", rules)
    entries = pa.list_(
        pa.struct(
            [
                ("cohort", pa.string()),
                *((name, pa.float64()) for name in ("value", "usual")),
                *((name, pa.int64()) for name in ("sample", "impacted")),
            ]
        )
    )
    breach = {"value": 0.021, "usual": 0.0011, "sample": 180, "impacted": 74, "cohort": "E03-P1"}
    minutes = [END - timedelta(minutes=ago) for ago in range(40, 4, -1)]
    judgements = {
        "window_start": pa.array(minutes, TIMESTAMP),
        "rule": ["edge_rebuffering"] * len(minutes),
        "breaches": pa.array(
            [[breach] if END - at <= timedelta(minutes=24) else [] for at in minutes], entries
        ),
    }
    _write(root, "gold.alert_judgements", pa.table(judgements))
    start = END - timedelta(minutes=12)
    _write(root, "silver.playback_session_days", pa.Table.from_pylist([_session(start)]))
    _write(root, "gold.video_activity", _events(start))
    _write(root, "bronze.ledger", _ledger())


def _session(start: Any) -> dict[str, Any]:
    session = {
        "session_key": "s",
        "first_event_at": start,
        "last_event_at": END - timedelta(seconds=20),
        "device_type": "tv",
        "app_version": "3.2.0",
        "startup_ms": 2_310,
        "played_s": 574,
        "stalls": 6,
        "stalled_ms": 61_400,
        "errors": 1,
        "failure_class": "technical",
        "failure_code": "3016",
    }
    return {
        "session_date": start.date(),
        "user_id": VIEWER,
        "video_id": "video-7",
        "sessions": [session],
    }


def _events(start: Any) -> pa.Table:
    """Playback of twelve minutes that stalls more and more."""
    waits = {150: 3, 290: 7, 360: 9, 450: 14, 520: 12, 600: 16}  # seconds, at a second
    told = [("play", 0, 0, None), ("firstframe", 2, 2_310, None), ("pause", 60, 0, None)]
    told += [("seek", 221, 900, None), ("error", 700, 0, None)]
    told += [("buffer", at, 1000 * s, "screenfreezedbuffer") for at, s in waits.items()]
    told += [
        ("stream", second, 0, None)
        for second in range(3, 700)
        if not 60 < second < 75 and not any(at - s <= second <= at for at, s in waits.items())
    ]
    rows = [
        {
            "event_date": start.date(),
            "event_at": start + timedelta(seconds=second),
            "type": kind,
            "user_id": VIEWER,
            "video_id": "video-7",
            "at_s": float(second),
            "time_ms": waited,
            "buffer_type": buffer_type,
            "bitrate_bps": 6_000_000 if second < 150 else 3_000_000 if second < 450 else 1_200_000,
            "location": "E03-P1",
            "isp": "Network 2",
            "origin": "DEU",
            "resulttype": "HIT",
            "status": 200,
            "first_byte_s": 0.02,
        }
        for kind, second, waited, buffer_type in sorted(told, key=lambda each: each[1])
    ]
    return pa.Table.from_pylist(rows)


def _ledger() -> pa.Table:
    items = [("cdn_logs", 300, 12_000, 9), ("player_events", 4, 210_000, 31)]
    return pa.Table.from_pylist(
        [
            {
                "feed": feed,
                "ingested_at": END - timedelta(minutes=ago),
                "modified_at": END - timedelta(minutes=ago, seconds=waited),
                "received": received,
                "kept": received - broken,
                "duplicates": 0,
                "quarantined": broken,
            }
            for feed, waited, received, broken in items
            for ago in range(1, 600, 15)
        ]
    )


def _write(root: Path, table: str, rows: pa.Table) -> None:
    schema, _, name = table.partition(".")
    write_deltalake(str(root / "warehouse" / f"{schema}.db" / name), rows)


def _save(picture: bytes, name: str) -> None:
    path = ROOT / "docs" / "pictures" / f"{name}.png"
    image = Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS)
    image.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
