"""Objects in a bucket or a local folder: listing them and reading their bytes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlparse

from loaders.sources.clients import ClientSettings, client

LOCAL = "file"
CHUNK_BYTES = 1 << 20

# Firehose writes what it could not deliver under the same prefix by default.
EXCLUDED_PREFIXES = ("processing-failed/", "elasticsearch-failed/", "splunk-failed/")


OBJECT = "object"
OVERWRITE = "overwrite"
MESSAGE = "message"


class ObjectVersion(NamedTuple):
    """One version of one object. (bucket, key, version) is its identity.

    `version` is the eTag, which listings and notifications both know, and time of change and
    size for a local file. `version_id` is what a notification named, in a bucket that keeps
    versions. `kind` is OBJECT, or OVERWRITE for a later version that is reported and not read,
    or MESSAGE for a notification that cannot be read.
    """

    bucket: str
    key: str
    version: str
    size_bytes: int
    modified_ms: int
    version_id: str | None = None
    kind: str = OBJECT


class ObjectGone(Exception):
    """The object cannot be read: it was deleted or overwritten since its discovery, or S3 refuses.

    The text is the reason: deleted_before_read, overwritten_before_read, or `refused:` with S3's
    error code, such as refused:AccessDenied (one object's key) or refused:InvalidObjectState (it
    is archived).
    """


@dataclass(frozen=True, slots=True)
class Location:
    """Where objects lie: a bucket and a key prefix, or `file` and an absolute folder."""

    bucket: str
    prefix: str


def parse_location(path: str) -> Location:
    """s3://bucket/prefix (s3a, s3n too), file:///folder or a folder.

    Raises:
        ValueError: another scheme, or no bucket.
    """
    parts = urlparse(path)
    if parts.scheme in ("s3", "s3a", "s3n"):
        if not parts.netloc:
            raise ValueError(f"no bucket in the path {path!r}: write s3://bucket/prefix/")
        return Location(parts.netloc, parts.path.lstrip("/"))
    if parts.scheme == "file":
        return Location(LOCAL, str(Path(unquote(parts.path)).absolute()))
    if parts.scheme:
        raise ValueError(f"cannot read {path!r}: use s3://bucket/prefix/ or a local folder")
    return Location(LOCAL, str(Path(path).absolute()))


def list_objects(location: Location, settings: ClientSettings) -> Iterator[list[ObjectVersion]]:
    """Pages of at most 1,000 objects under the location, error output excluded."""
    if location.bucket == LOCAL:
        yield from _list_folder(Path(location.prefix))
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
            if is_data(item["Key"].removeprefix(location.prefix))
        ]


def is_data(relative_key: str) -> bool:
    """False for folder markers, hidden and unfinished files, and error output."""
    if not relative_key or relative_key.endswith("/"):
        return False
    parts = relative_key.lstrip("/").split("/")
    if any(part.startswith((".", "_")) for part in parts):
        return False
    return not any(f"{part}/" in EXCLUDED_PREFIXES for part in parts[:-1])


def _list_folder(folder: Path) -> Iterator[list[ObjectVersion]]:
    page: list[ObjectVersion] = []
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(parent) / name
            if not is_data(str(path.relative_to(folder))):
                continue
            try:
                stat = path.stat()
            except FileNotFoundError:  # deleted while the folder was walked
                continue
            version = f"{stat.st_mtime_ns:x}-{stat.st_size:x}"
            page.append(
                ObjectVersion(LOCAL, str(path), version, stat.st_size, stat.st_mtime_ns // 10**6)
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
    from botocore.exceptions import ClientError, ParamValidationError

    which = {"VersionId": item.version_id} if item.version_id else {}
    if item.version:
        which["IfMatch"] = f'"{item.version}"'
    try:
        response = client("s3", settings).get_object(Bucket=item.bucket, Key=item.key, **which)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("NoSuchKey", "404", "NoSuchVersion"):
            raise ObjectGone("deleted_before_read") from error
        if code in ("PreconditionFailed", "412"):
            raise ObjectGone("overwritten_before_read") from error
        if _is_refusal(error.response):
            raise ObjectGone(f"refused:{code}") from error
        raise
    except ParamValidationError as error:  # no bucket or key can have such a name
        raise ObjectGone("refused:InvalidName") from error
    yield from response["Body"].iter_chunks(CHUNK_BYTES)


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


def _is_refusal(response: Mapping[str, Any]) -> bool:
    """Whether S3 will not hand out this object, though it may others."""
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    is_final = 400 <= status < 500 and status != 429
    return is_final and response["Error"]["Code"] not in _NOT_OF_THE_OBJECT


def _read_file(item: ObjectVersion) -> Iterator[bytes]:
    try:
        with Path(item.key).open("rb") as file:
            stat = os.fstat(file.fileno())
            if f"{stat.st_mtime_ns:x}-{stat.st_size:x}" != item.version:
                raise ObjectGone("overwritten_before_read")
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except FileNotFoundError as error:
        raise ObjectGone("deleted_before_read") from error
