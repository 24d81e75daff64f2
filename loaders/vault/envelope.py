"""Envelope encryption: values under data keys, data keys under a KMS master key.

Values are sealed with AES-256-GCM under a random nonce. The associated data of a value name the
place it stands in, so that a value copied to another row or field does not open.
"""

from __future__ import annotations

import base64
import hmac
import os
from typing import TYPE_CHECKING, NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

if TYPE_CHECKING:
    from collections.abc import Sequence

NONCE_BYTES = 12


class Damaged(Exception):
    """Sealed bytes that do not open: changed, cut, moved, or sealed under another key."""


class DataKey(NamedTuple):
    """A key in clear, and as KMS wraps it."""

    plain: bytes
    wrapped: bytes


class Sealer:
    """Seals and opens with one data key."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    def seal(self, value: bytes, place: Sequence[str]) -> bytes:
        """Nonce and ciphertext of a value that stands in a place."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, value, _associated(place))

    def open(self, sealed: bytes, place: Sequence[str]) -> bytes:
        """The value.

        Raises:
            Damaged: it was not sealed with this key for this place.
        """
        try:
            return self._cipher.decrypt(
                sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], _associated(place)
            )
        except (InvalidTag, ValueError) as error:
            raise Damaged(f"what stands in {'/'.join(place)} does not open") from error


def _associated(place: Sequence[str]) -> bytes:
    """The parts of a place, each with its length, so that no two places read the same."""
    parts = [part.encode() for part in place]
    return b"".join(len(part).to_bytes(4) + part for part in parts)


def pseudonym_of(key: bytes, studio: str, user_id: str) -> str:
    """What the lake calls a studio's player: 128 bits of HMAC-SHA256, in 22 characters.

    Without the key nobody can try ids out. The same player has the same pseudonym always, and
    another one in each studio.
    """
    digest = hmac.digest(key, _associated((studio, user_id)), "sha256")
    return base64.urlsafe_b64encode(digest[:16]).rstrip(b"=").decode()
