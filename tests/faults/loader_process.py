"""A loader to be killed: starts Spark, waits for a line, loads once what its feeds have.

python loader_process.py FEEDS_FILE FEED… With REPLAY=FEED it then says so, waits for another line,
and replays what that feed has in quarantine. The metastore is kept in memory, which starts sooner;
so each process finds the bronze tables by their files alone. Of the events of games it knows two:
the tables of all would take most of a life to find.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession

from loaders import destinations
from loaders.feeds import read_feeds
from loaders.games.contract import game_contract
from loaders.replay import replay
from loaders.run import run_once
from loaders.session import prepare_root, spark_settings


def main(feeds_file: Path, names: list[str]) -> None:
    os.environ["LOADER_GROUP"] = str(os.getpgid(0))
    prepare_root()
    contract = game_contract()
    few_events = contract.model_copy(update={"events": contract.events[:2]})
    destinations.game_contract = lambda: few_events
    spark = SparkSession.builder.config(map=spark_settings()).getOrCreate()
    print("ready", flush=True)
    if not sys.stdin.readline():
        return
    for schema in ("bronze", "silver", "gold", "ops"):
        spark.sql(f"create schema if not exists {schema}")
    feeds = read_feeds(feeds_file)
    failed = run_once(spark, [feeds[name] for name in names], lambda _: None)
    if failed:
        sys.exit(str(failed))
    if "REPLAY" in os.environ:
        print("loaded", flush=True)
        sys.stdin.readline()
        replay(spark, feeds[os.environ["REPLAY"]])


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
