"""python -m bench [NAME]…: run benchmarks, all of them when none is named."""

from __future__ import annotations

import argparse
import importlib

BENCHMARKS = {
    "stocks": "full load, one new day and nothing new, from landing folder to gold",
    "cycle": "the engine's cycles by what is new and what is stored (BENCH_SCALES='1 10 50')",
    "freshness": "from an event to its row in gold (BENCH_RATE=100 BENCH_MINUTES=5)",
    "ingest": "objects to bronze, against others; kinesis; memory (BENCH_PARTS='rates small')",
    "kinesis": "from GetRecords' answers to Arrow rows, in one process",
    "small_files": "files, log and reading after many micro-batches (SMALL_FILES_BATCHES=…)",
    "live": "commit to bronze until the row in a streaming model's table (LIVE_MINUTES=10)",
    "up": "what make up runs, for an hour: is its memory flat (UP_MINUTES=60)",
    "games": "game events from S3 to the table of each (BENCH_EVENTS=200000)",
    "games_ingest": "the ingest service on one core, from HTTP to journal, Firehose and vault",
    "games_freshness": "from an object of game events to gold (BENCH_RATE=2000 BENCH_MINUTES=6)",
    "planning": "planning a batch with 1,000 and with 1,000,000 objects loaded before",
    "qos": "cycles of the video models, by millions of events (BENCH_MILLIONS='1 10 50')",
    "alerts": "scripted incidents of video: found, false, how soon, where (BENCH_INCIDENTS=18)",
    "game_alerts": "the same of a game's incidents (BENCH_INCIDENTS=30 BENCH_INSTALLS=3000)",
    "ml": "churn and failures foretold, and scoring (BENCH_PARTS='churn failure' BENCH_WORLDS=20)",
    "dashboard": "the NOC page on a million rows of gold: first paint, refresh (DASHBOARD_ROWS=…)",
    "ip_join": "addresses located by a million ranges, against a plain BETWEEN",
}


def main() -> None:
    """Run the benchmarks named on the command line, each in a lakehouse of its own."""
    listing = "\n".join(f"  {name:15} {what}" for name, what in BENCHMARKS.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"Measure, and print tables.\n\n{listing}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="which benchmarks to run")
    names = parser.parse_args().names or list(BENCHMARKS)
    for name in names:
        if name not in BENCHMARKS:
            parser.error(f"no benchmark {name!r}; there are {', '.join(BENCHMARKS)}")
        importlib.import_module(f"bench.{name}").main()


if __name__ == "__main__":
    main()
