"""How a studio signs a request: HMAC-SHA256 over the time and the body as sent. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

KEY_HEADER = "x-multihop-key"
TIME_HEADER = "x-multihop-timestamp"
SIGNATURE_HEADER = "x-multihop-signature"
# A request is taken this long after, or before, its time. Within it a copy of a request is taken
# too, and its events are found to be duplicates.
REPLAY_SECONDS = 300


class Unauthorised(Exception):
    """A request that is not signed as it must be; the message says what to mend."""


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """The signature in hexadecimal.

    Args:
        secret: of the studio's key.
        timestamp: the value of the time header: whole seconds since 1970.
        body: as sent, compressed if it is.
    """
    return hmac.new(secret, timestamp.encode() + b"\n" + body, hashlib.sha256).hexdigest()


def signed_headers(key_id: str, secret: bytes, timestamp: int, body: bytes) -> dict[str, str]:
    """The headers of a signed request."""
    return {
        KEY_HEADER: key_id,
        TIME_HEADER: str(timestamp),
        SIGNATURE_HEADER: signature(secret, str(timestamp), body),
    }


def claimed_key(headers: Mapping[str, str], now: float) -> str:
    """The key id of a request whose headers are complete and whose time is about now.

    Raises:
        Unauthorised: they are not.
    """
    missing = [
        name for name in (KEY_HEADER, TIME_HEADER, SIGNATURE_HEADER) if not headers.get(name)
    ]
    if missing:
        raise Unauthorised(f"missing headers: {', '.join(missing)}")
    timestamp = headers[TIME_HEADER]
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) < 12):
        raise Unauthorised(f"{TIME_HEADER} is no number of whole seconds since 1970")
    if abs(int(timestamp) - now) > REPLAY_SECONDS:
        raise Unauthorised(
            f"{TIME_HEADER} is more than {REPLAY_SECONDS} seconds away from the time here: "
            "set the clock, and sign each request when it is sent"
        )
    return headers[KEY_HEADER]


def check_signature(headers: Mapping[str, str], body: bytes, secret: bytes | None) -> None:
    """Compare in constant time; without a secret the same is done, and refused.

    So an unknown key takes as long as a wrong signature, and is answered alike.

    Raises:
        Unauthorised: key or signature is wrong.
    """
    expected = signature(secret or bytes(32), headers[TIME_HEADER], body)
    is_right = hmac.compare_digest(expected.encode(), headers[SIGNATURE_HEADER].lower().encode())
    if secret is None or not is_right:
        raise Unauthorised("unknown key, or the signature does not fit time and body")
