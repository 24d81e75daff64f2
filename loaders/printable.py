"""Text of others, made safe to print."""

from __future__ import annotations


def printable(text: str) -> str:
    """Nothing that would steer a terminal: what cannot be printed is written as its escape."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
