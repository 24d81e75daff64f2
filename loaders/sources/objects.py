"""Objects in a bucket or a local folder: listing them and reading their bytes."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote

from loaders.sources.clients import ClientSettings, client

LOCAL = "file"
CHUNK_BYTES = 1 << 20

# Firehose writes what it could not transform, convert or deliver into folders of these names,
# under the same prefix by default, and wherever `!{firehose:error-output-type}` is used.
ERROR_FOLDERS = frozenset(
    {
        "processing-failed",
        "format-conversion-failed",
        "elasticsearch-failed",
        "AmazonOpenSearchService-failed",
        "splunk-failed",
        "http-endpoint-failed",
    }
)


OBJECT = "object"
OVERWRITE = "overwrite"
MESSAGE = "message"

BY_ID = "id:"


class ObjectVersion(NamedTuple):
    """One version of one object. (bucket, key, version) is its identity.

    `version` is the eTag, which listings and notifications both know, or BY_ID and the version id
    where an event has no eTag, or time of change and size for a local file. `version_id` is what
    a notification named, in a bucket that keeps versions. `kind` is OBJECT, or OVERWRITE for a
    later version that is reported and not read, or MESSAGE for a notification that cannot be read.
    """

    bucket: str
    key: str
    version: str
    size_bytes: int
    modified_ms: int
    version_id: str | None = None
    kind: str = OBJECT

    @property
    def uri(self) -> str:
        """Where it lies, as users write it."""
        return f"file://{self.key}" if self.bucket == LOCAL else f"s3://{self.bucket}/{self.key}"


class ObjectGone(Exception):
    """The object cannot be read: it was deleted or overwritten since its discovery, or S3 refuses.

    The text is the reason: deleted_before_read, overwritten_before_read, or `refused:` with S3's
    error code, such as refused:AccessDenied (one object's key) or refused:InvalidObjectState (it
    is archived).
    """


@dataclass(frozen=True, slots=True)
class Location:
    """Where objects lie: a bucket and a key prefix, or `file` and an absolute folder.

    pattern: what a path with wildcards means, as a regular expression for keys, or None.
    name_pattern: the same for the last part of a key.
    """

    bucket: str
    prefix: str
    pattern: str | None = None
    name_pattern: str | None = None

    @property
    def folder(self) -> str:
        """The prefix up to its last slash: keys are told relative to it."""
        if self.bucket == LOCAL:
            return self.prefix.rstrip("/") + "/"
        return self.prefix[: self.prefix.rfind("/") + 1]

    def holds(self, bucket: str, key: str) -> bool:
        """Whether an object is data of this location."""
        if bucket != self.bucket or not key.startswith(self.prefix):
            return False
        if not key.startswith(self.folder):
            return False
        if self.pattern is not None and not re.fullmatch(self.pattern, key, re.DOTALL):
            return False
        name = key[key.rfind("/") + 1 :]
        if self.name_pattern is not None and not re.fullmatch(self.name_pattern, name, re.DOTALL):
            return False
        named = "" if self.bucket == LOCAL else self.prefix[len(self.folder) :]
        return is_data(key[len(self.folder) :], named=named)


def parse_location(path: str, name_glob: str | None = None) -> Location:
    """s3://bucket/prefix (s3a, s3n too), file:///folder or a folder; wildcards in the path.

    Only the part ahead of the first wildcard is listed.

    Args:
        name_glob: which names objects must have, such as `*.json`.

    Raises:
        ValueError: another scheme, no bucket, or a wildcard that is not closed.
    """
    name_pattern = None if name_glob is None else glob_pattern(name_glob)
    scheme, separator, rest = path.partition("://")
    if not separator:
        scheme, rest = "", path.removeprefix("file:")
    if scheme in ("s3", "s3a", "s3n"):
        bucket, _, key = rest.partition("/")
        if not bucket:
            raise ValueError(f"no bucket in the path {path!r}: write s3://bucket/prefix/")
        return _glob_location(bucket, key.lstrip("/"), name_pattern)
    if scheme == "file":
        rest = unquote(rest.removeprefix("localhost"))
    elif scheme:
        raise ValueError(f"cannot read {path!r}: use s3://bucket/prefix/ or a local folder")
    return _glob_location(LOCAL, str(Path(rest).absolute()), name_pattern)


_WILDCARD = re.compile(r"[*?\[{\\]")


def _glob_location(bucket: str, key: str, name_pattern: str | None) -> Location:
    wildcard = _WILDCARD.search(key)
    if wildcard is None:
        return Location(bucket, key, None, name_pattern)
    prefix = key[: wildcard.start()]
    if bucket == LOCAL:
        prefix = prefix[: prefix.rfind("/")] or "/"
    # What lies in a folder that matches is meant too.
    return Location(bucket, prefix, glob_pattern(key.rstrip("/")) + "(/.*)?", name_pattern)


def glob_pattern(glob: str) -> str:
    """A file glob as a regular expression: ? * [abc] [a-z] [^a] {one,other} \\ as in Hadoop.

    `?` and `*` do not reach across a slash.

    Raises:
        ValueError: a bracket or a brace is not closed, or a range runs backwards.
    """
    parts, at, depth = [], 0, 0
    while at < len(glob):
        letter = glob[at]
        if letter == "[":
            end = glob.find("]", at + 2)
            if end < 0:
                raise ValueError(f"the glob {glob!r} has a [ without ]")
            inside = glob[at + 1 : end].replace("\\", "\\\\").replace("[", "\\[")
            parts.append(f"[{'^' + inside[1:] if inside[0] in '!^' else inside}]")
            at = end
        elif letter == "\\" and at + 1 < len(glob):
            at += 1
            parts.append(re.escape(glob[at]))
        elif letter == "{":
            depth += 1
            parts.append("(?:")
        elif letter == "}" and depth:
            depth -= 1
            parts.append(")")
        elif letter == "," and depth:
            parts.append("|")
        else:
            parts.append({"*": "[^/]*", "?": "[^/]"}.get(letter) or re.escape(letter))
        at += 1
    if depth:
        raise ValueError(f"the glob {glob!r} has a {{ without }}")
    try:
        re.compile("".join(parts))
    except re.error as error:
        raise ValueError(f"the glob {glob!r} cannot be read: {error.msg}") from error
    return "".join(parts)


def list_objects(location: Location, settings: ClientSettings) -> Iterator[list[ObjectVersion]]:
    """Pages of at most 1,000 objects under the location, error output excluded."""
    if location.bucket == LOCAL:
        yield from _list_folder(location)
        return
    pages = client("s3", settings).get_paginator("list_objects_v2")
    for page in pages.paginate(Bucket=location.bucket, Prefix=location.prefix):
        yield [
            ObjectVersion(
                location.bucket,
                item["Key"],
                item["ETag"].strip('"'),
                item["Size"],
                round(item["LastModified"].timestamp() * 1000),
            )
            for item in page.get("Contents", ())
            if location.holds(location.bucket, item["Key"])
        ]


def is_data(relative_key: str, *, named: str = "") -> bool:
    """False for folder markers, hidden and unfinished files, and error output.

    Args:
        relative_key: the key from a folder on.
        named: how its first part begins by the user's own word; that hides nothing.
    """
    if not relative_key or relative_key.endswith("/"):
        return False
    parts = relative_key.lstrip("/").split("/")
    hidden = parts[1:] if named else parts
    if any(part.startswith((".", "_")) for part in hidden):
        return False
    return ERROR_FOLDERS.isdisjoint(part for part in parts[:-1] if part != named)


def _list_folder(location: Location) -> Iterator[list[ObjectVersion]]:
    page: list[ObjectVersion] = []
    for parent, folders, files in os.walk(location.prefix):
        folders.sort()
        for name in sorted(files):
            path = Path(parent) / name
            if not location.holds(LOCAL, str(path)):
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:  # deleted while the folder was walked
                continue
            page.append(
                ObjectVersion(
                    LOCAL, str(path), file_version(stat), stat.st_size, stat.st_mtime_ns // 10**6
                )
            )
            if len(page) == 1000:
                yield page
                page = []
    if page:
        yield page


def read_object(item: ObjectVersion, settings: ClientSettings) -> Iterator[bytes]:
    """The object's bytes in chunks, of exactly the version that was discovered.

    Raises:
        ObjectGone: deleted or overwritten since, or refused.
    """
    if item.bucket == LOCAL:
        yield from _read_file(item)
        return
    which = {"VersionId": item.version_id} if item.version_id else {}
    if item.version.startswith(BY_ID):
        which = {"VersionId": item.version.removeprefix(BY_ID)}
    elif item.version:
        which["IfMatch"] = f'"{item.version}"'
    with _refusals_as_such(), _gone_as_such():
        response = client("s3", settings).get_object(Bucket=item.bucket, Key=item.key, **which)
    yield from response["Body"].iter_chunks(CHUNK_BYTES)


@contextmanager
def _gone_as_such() -> Iterator[None]:
    """ObjectGone for S3's answers that mean it."""
    from botocore.exceptions import ClientError

    try:
        yield
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("NoSuchKey", "404", "NoSuchVersion"):
            raise ObjectGone("deleted_before_read") from error
        if code in ("PreconditionFailed", "412"):
            raise ObjectGone("overwritten_before_read") from error
        raise


def file_version(stat: os.stat_result) -> str:
    """The version of a local file: its time of change and its size, in hexadecimal digits."""
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


def delete_object(item: ObjectVersion, settings: ClientSettings) -> None:
    """Delete exactly this version; in a bucket that keeps versions it stays as an older one.

    Raises:
        ObjectGone: deleted, or overwritten since, or archived.
    """
    _require_unchanged(item, settings)
    if item.bucket == LOCAL:
        Path(item.key).unlink(missing_ok=True)
        return
    # Not every server that speaks S3 heeds the condition, hence the look before.
    with _gone_as_such():
        client("s3", settings).delete_object(
            Bucket=item.bucket, Key=item.key, IfMatch=f'"{item.version}"'
        )


def move_object(item: ObjectVersion, to: Location, name: str, settings: ClientSettings) -> None:
    """Move exactly this version to a name under another location of the same kind.

    Cut short, it leaves a copy and the original, and may be repeated.

    Raises:
        ObjectGone: deleted, or overwritten since, or archived.
    """
    _require_unchanged(item, settings)
    if item.bucket == LOCAL:
        target = Path(to.prefix) / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(item.key, target)
        return
    with _gone_as_such():
        client("s3", settings).copy(
            {"Bucket": item.bucket, "Key": item.key},
            to.bucket,
            f"{to.prefix.rstrip('/')}/{name}".lstrip("/"),
            ExtraArgs={"CopySourceIfMatch": f'"{item.version}"'},
        )
    delete_object(item, settings)


def _require_unchanged(item: ObjectVersion, settings: ClientSettings) -> None:
    """An object written again with the same bytes keeps its eTag: its time must be no later.

    Nor may it be archived: then perhaps nobody could read it.
    """
    if item.bucket == LOCAL:
        try:
            version = file_version(Path(item.key).stat())
        except FileNotFoundError as error:
            raise ObjectGone("deleted") from error
        if version != item.version:
            raise ObjectGone("overwritten")
        return
    with _gone_as_such():
        found = client("s3", settings).head_object(Bucket=item.bucket, Key=item.key)
    is_later = found["LastModified"].timestamp() * 1000 > item.modified_ms
    if found["ETag"].strip('"') != item.version or is_later:
        raise ObjectGone("overwritten")
    if found.get("StorageClass") in _ARCHIVED or "ArchiveStatus" in found:
        raise ObjectGone("refused:InvalidObjectState")


_ARCHIVED = ("GLACIER", "DEEP_ARCHIVE")

# What S3 says of the caller, or of this moment: any object would be answered so.
_NOT_OF_THE_OBJECT = frozenset(
    {
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "NotSignedUp",
        "RequestTimeTooSkewed",
        "RequestTimeout",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
    }
)


@contextmanager
def _refusals_as_such() -> Iterator[None]:
    """ObjectGone where this object is refused: one that nobody may read must not stop the rest."""
    from botocore.exceptions import ClientError, ParamValidationError

    try:
        yield
    except ParamValidationError as error:  # no bucket or key can have such a name
        raise ObjectGone("refused:InvalidName") from error
    except ClientError as error:
        if _is_refusal(error.response):
            raise ObjectGone(f"refused:{error.response['Error']['Code']}") from error
        raise


def _is_refusal(response: Mapping[str, Any]) -> bool:
    """Whether S3 will not hand out this object, though it may others."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_final = 400 <= status < 500 and status != 429
    return is_final and response["Error"]["Code"] not in _NOT_OF_THE_OBJECT


def _read_file(item: ObjectVersion) -> Iterator[bytes]:
    try:
        with Path(item.key).open("rb") as file:
            stat = os.fstat(file.fileno())
            if file_version(stat) != item.version:
                raise ObjectGone("overwritten_before_read")
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError as error:
        raise ObjectGone("deleted_before_read") from error
