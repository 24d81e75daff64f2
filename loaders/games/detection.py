"""Finding personal data where there should be none: by the shape of a value, by a field's name.

A net with known holes: it finds e-mail addresses, telephone numbers in international form, IP and
hardware addresses, and fields that are called like personal data. A person's name under a name
that says nothing is not found.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

# Each is looked for in JSON text too, so none may reach beyond the quotes of a string.
_EMAIL = rb'[^\s"@,;<>\\]{1,64}@(?:[^\s"@.,;<>\\]+\.)+[A-Za-z]{2,24}'
_IPV4 = rb"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])"
# Four groups and more, or a gap of zeros: 12:34:56 is a time of day. Hardware addresses too.
_IPV6 = (
    rb"(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{1,4}:){3,7}(?:[0-9A-Fa-f]{1,4}|:)(?![0-9A-Za-z:])"
    rb"|(?<![0-9A-Za-z:])(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}(?![0-9A-Za-z:])"
)
_PHONE = rb"(?<![\w+])\+[1-9](?:[ ().-]{0,2}\d){7,14}(?!\d)"
_KINDS = {"email": _EMAIL, "ip_address": _IPV4 + b"|" + _IPV6, "phone": _PHONE}
_ANY = re.compile(b"|".join(_KINDS.values()))
_BY_KIND = {kind: re.compile(pattern) for kind, pattern in _KINDS.items()}

# Names of fields, without case and underscores.
_NAMES = frozenset(
    (
        "email", "mail", "emailaddress", "phone", "phonenumber", "mobile", "msisdn",
        "telephone", "ip", "ipaddress", "clientip", "remoteip", "remoteaddr", "xforwardedfor",
        "macaddress", "firstname", "lastname", "fullname", "realname", "surname", "displayname",
        "nickname", "username", "address", "street", "streetaddress", "postcode", "zipcode",
        "postalcode", "birthdate", "birthday", "dateofbirth", "dob", "ssn", "passport", "iban",
        "cardnumber", "creditcard", "latitude", "longitude", "lat", "lon", "lng", "geolocation",
        "userid", "accountid", "deviceid", "deviceids", "advertisingid", "adid", "idfa", "idfv",
        "gaid", "imei", "androidid", "facebookid", "googleid", "appleid", "gamecenterid",
        "steamid", "discordid", "password", "passwd", "accesstoken", "sessiontoken",
        "devicetoken", "pushtoken", "receipt",
    )
)  # fmt: skip

# No address and no number is one.
_A_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}(?:\[\])*")


class Finding(NamedTuple):
    """Where something was found, and what; never the thing itself."""

    path: str
    kind: str


def may_hold_personal_data(text: bytes) -> bool:
    """Whether a value in a JSON text looks like personal data; quick where there is none.

    Also where an escape may hide where a value begins.
    """
    if b"\\" in text:
        return True
    is_worth_a_look = (
        b"@" in text or b"+" in text or _OF_AN_IPV4.search(text) or _OF_AN_IPV6.search(text)
    )
    return bool(is_worth_a_look) and _ANY.search(text) is not None


# A part of each address, which begins with a letter that is found without looking at the others:
# 1.5 us a text of 400 bytes, where _ANY takes 70.
_OF_AN_IPV4 = re.compile(rb"\.\d{1,3}\.\d{1,3}\.")
_OF_AN_IPV6 = re.compile(rb":(?<=[0-9A-Fa-f:]:)[0-9A-Fa-f:]")


def is_personal_name(name: str) -> bool:
    """Whether a field that nobody declared is called like personal data."""
    return _plain(name) in _NAMES


def _plain(name: str) -> str:
    return re.sub(r"[^a-z]", "", name.lower())


def in_words(path: str) -> str:
    """A path, or a type of events, with * for each name that may say more than a name does."""
    return ".".join(name if _A_WORD.fullmatch(name) else "*" for name in path.split("."))


def kind_of_value(value: str) -> str | None:
    """The kind of personal data that a text looks like, or has in it."""
    text = value.encode(errors="replace")
    return next((kind for kind, pattern in _BY_KIND.items() if pattern.search(text)), None)


def findings(
    value: Any, path: str = "", declared: frozenset[str] = frozenset()
) -> Iterator[Finding]:
    """What looks like personal data in a JSON value.

    Args:
        value: as a JSON parser returns it.
        path: what stands before the names in the findings' paths.
        declared: paths of fields that someone has looked at: their names are no finding, their
            values are.
    """
    if isinstance(value, dict):
        for name, item in value.items():
            inner = f"{path}.{name}" if path else name
            is_said = item not in (None, "", [], {}) and not isinstance(item, bool)
            if kind := kind_of_value(name):
                yield Finding(path or "a field's name", kind)
            elif is_said and inner not in declared and is_personal_name(name):
                yield Finding(inner, f"field_{_plain(name)}")
            else:
                yield from findings(item, inner, declared)
    elif isinstance(value, list):
        for item in value:
            yield from findings(item, f"{path}[]", declared)
    elif isinstance(value, str) and (kind := kind_of_value(value)):
        yield Finding(path, kind)
