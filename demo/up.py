"""make up: the engine, on an embedded AWS into which producers keep sending."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack

from demo.__main__ import use_only
from demo.aws import SetupError, embedded_aws
from demo.use_cases import USE_CASES
from loaders.cli import main as run_command
from loaders.lock import RootInUseError, require_free
from loaders.session import ConfigurationError, prepare_root


def main() -> None:
    """Start the embedded AWS and the producers, then `python -m loaders up` in this process."""
    with ExitStack() as stack:
        try:
            root = prepare_root()
            require_free(root)
            aws = stack.enter_context(embedded_aws(root / "aws"))
        except (ConfigurationError, RootInUseError, SetupError) as error:
            sys.exit(f"up: {error}")
        use_only(aws)
        print(f"embedded AWS at {aws.endpoint_url}", flush=True)
        stop = threading.Event()
        for case in USE_CASES:
            try:
                producer = case.prepare(stack, root)
            except ConfigurationError as error:
                sys.exit(f"up: {error}")
            thread = threading.Thread(target=producer.keep_sending, args=(stop,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(stop.set)  # before its thread is waited for
        sys.argv = [sys.argv[0], "up", *sys.argv[1:]]
        run_command()


if __name__ == "__main__":
    main()
