"""What went wrong, in one line."""

from __future__ import annotations

import re

# The last line of a Python traceback, or a Java exception's first: "package.Class: message".
_CAUSE = re.compile(r"^(?:\w+\.)*([A-Z]\w*): (.+)$", re.MULTILINE)


def root_cause(message: str) -> str:
    """The innermost cause in an error message of Spark, in one line."""
    causes = _CAUSE.findall(message.partition("=== Streaming Query ===")[0])
    if not causes:
        return (message.strip() or "no message").splitlines()[0]
    kind, text = causes[-1]
    return text if kind in ("ValueError", "StateLost") else f"{kind}: {text}"
