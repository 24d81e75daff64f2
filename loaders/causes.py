"""What went wrong, in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

# The last line of a Python traceback, or a Java exception's first: "package.Class: message".
_CAUSE = re.compile(r"^(?:\w+\.)*([A-Z]\w*): (.+)$", re.MULTILINE)


def root_cause(message: str) -> str:
    """The innermost cause in an error message of Spark, in one line."""
    causes = _CAUSE.findall(message.partition("=== Streaming Query ===")[0])
    if not causes:
        return (message.strip() or "no message").splitlines()[0]
    return _told(*causes[-1])


def _told(kind: str, text: str) -> str:
    return text if kind in ("ValueError", "StateLost", "BatchError") else f"{kind}: {text}"


class BatchError(Exception):
    """Why a batch failed, in one line."""


# By this text Spark knows that a batch did not fail, but was cut short when its query was stopped.
_INTERRUPTED = "java.lang.InterruptedException"
_CUT_SHORT = (
    f"py4j.protocol.Py4JJavaError: An error occurred while calling a batch\n: {_INTERRUPTED}"
)


@contextmanager
def brief_errors() -> Iterator[None]:
    """Around what Spark calls for a batch: its error leaves in one line.

    Spark 4.2 searches the text of a Python error with a regular expression that takes a stack
    frame a character. A Java stack trace in it overflows the thread's stack, and the query ends
    without saying why.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - it is raised again
        text = str(error)
        if f": {_INTERRUPTED}" in text:
            raise BatchError(_CUT_SHORT) from None
        raise BatchError(_cause_of(error, text)) from None


def _cause_of(error: Exception, text: str) -> str:
    from pyspark.errors import PySparkException

    java = getattr(error, "java_exception", None)
    if java is not None:  # its own text: the trace has many others
        return root_cause(str(java.toString()))
    if isinstance(error, PySparkException):
        return root_cause(text)
    kind = type(error).__name__
    return _told(kind, text.splitlines()[0]) if text else kind
