"""make up: the engine, on an embedded AWS into which producers keep sending."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ExitStack

import boto3

from demo import stocks
from demo.__main__ import use_only
from demo.aws import SetupError, embedded_aws
from loaders.cli import main as run_command
from loaders.queues import create_queue
from loaders.session import ConfigurationError, prepare_root

PRODUCERS = (stocks.keep_sending,)


def main() -> None:
    """Start the embedded AWS and the producers, then `python -m loaders up` in this process."""
    with ExitStack() as stack:
        try:
            root = prepare_root()
            aws = stack.enter_context(embedded_aws(root / "aws"))
        except (ConfigurationError, SetupError) as error:
            sys.exit(f"up: {error}")
        use_only(aws)
        print(f"embedded AWS at {aws.endpoint_url}", flush=True)
        s3 = boto3.client("s3")
        stocks.make_bucket(s3)
        queue = create_queue("stocks_daily_prices", f"s3://{stocks.BUCKET}/{stocks.PRICES}")
        os.environ["STOCKS_PRICES_QUEUE"] = queue.queue_url
        stop = threading.Event()
        for producer in PRODUCERS:
            thread = threading.Thread(target=producer, args=(s3, stop), daemon=True)
            thread.start()
            stack.callback(thread.join)
        stack.callback(stop.set)
        sys.argv = [sys.argv[0], "up", *sys.argv[1:]]
        run_command()


if __name__ == "__main__":
    main()
