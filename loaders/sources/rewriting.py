"""Putting other words of the same length into objects that were loaded, wherever these lie.

Records keep their places: bytes are exchanged in what stands behind the compression, for as many.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import zstandard

from loaders.sources.clients import ClientSettings, client
from loaders.sources.objects import LOCAL, ObjectGone, ObjectVersion, file_version
from loaders.sources.records import BrokenStreamError, compression_of, unpack_layer

Replacements = Mapping[bytes, bytes]

# In the metadata of what was written here, so that it is known for it after an interruption.
MARK = "multihop-rewritten"
# What get_object tells of an object and put_object has to be told again.
_KEPT = (
    "CacheControl",
    "ContentDisposition",
    "ContentEncoding",
    "ContentLanguage",
    "ContentType",
    "ServerSideEncryption",
    "SSEKMSKeyId",
    "StorageClass",
    "WebsiteRedirectLocation",
)
# S3's answers for what is not there, and for what cannot be read as long as it is archived.
_GONE = frozenset({"404", "NoSuchBucket", "NoSuchKey", "NoSuchVersion"})
_ARCHIVED = "InvalidObjectState"
_WRITES_TO_LAYERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 6, mtime=0),
    "zstd": zstandard.ZstdCompressor().compress,
}


@dataclass(frozen=True, slots=True)
class Rewriting:
    """What became of an object.

    version: the newest, where it was written here, now or at an earlier attempt.
    is_changed: it was written now.
    deleted: how many older versions were.
    left: why it could not be rewritten, though it has the words.
    """

    version: ObjectVersion | None = None
    is_changed: bool = False
    deleted: int = 0
    left: str | None = None


class Bucket(NamedTuple):
    """A bucket, and whether it keeps, or has ever kept, older versions."""

    name: str
    settings: ClientSettings
    has_versions: bool


class _Found(NamedTuple):
    """An object's bytes, and what S3 says of it."""

    body: bytes
    said: Mapping[str, Any]


def open_bucket(name: str, settings: ClientSettings) -> Bucket | None:
    """What is to be known of a bucket; None: it is gone."""
    from botocore.exceptions import ClientError

    if name == LOCAL:
        return Bucket(name, settings, has_versions=False)
    try:
        said = client("s3", settings).get_bucket_versioning(Bucket=name)
    except ClientError as error:
        if _code(error) in _GONE:
            return None
        raise
    return Bucket(name, settings, has_versions="Status" in said)


def rewrite_object(bucket: Bucket, key: str, replacements: Replacements) -> Rewriting:
    """Exchange the words in the newest version of an object, and delete older ones that have them.

    What is gone is as it should be. Cut short anywhere, it may be done again.

    Args:
        replacements: old → new, of the same length.

    Raises:
        ClientError: S3 refuses, or another has written the object at the same time.
    """
    if any(len(old) != len(new) for old, new in replacements.items()):
        raise ValueError("a word and what takes its place differ in length")
    if bucket.name == LOCAL:
        return _rewrite_file(Path(key), replacements)
    newest = _rewrite_newest(bucket, key, replacements)
    deleted = _delete_older(bucket, key, replacements) if bucket.has_versions else 0
    return Rewriting(newest.version, newest.is_changed, deleted, newest.left)


def replaced(body: bytes, replacements: Replacements) -> bytes:
    """An object's bytes with the words exchanged, compressed as it was; the same where it has none.

    Raises:
        BrokenStreamError: they are in a stream that ends early, breaks, or has garbage behind it.
    """
    layers = []
    plain = body
    while len(layers) < 2 and (name := compression_of(plain[:4])):
        plain = _unpacked(plain, replacements)
        layers.append(name)
    changed = _exchanged(plain, replacements)
    if changed == plain:
        return body
    for name in reversed(layers):
        changed = _WRITES_TO_LAYERS[name](changed)
    return changed


def _unpacked(data: bytes, replacements: Replacements) -> bytes:
    """What stands behind one layer; a broken one is raised only if what can be read has a word."""
    try:
        return b"".join(unpack_layer([data]))
    except BrokenStreamError:
        readable = b"".join(_readable(data))
        innermost = b"".join(_readable(readable))
        if _exchanged(innermost, replacements) != innermost:
            raise
        return readable


def _readable(data: bytes) -> Iterator[bytes]:
    """What comes out of a layer before it breaks."""
    try:
        yield from unpack_layer([data])
    except BrokenStreamError:
        return


def _exchanged(data: bytes, replacements: Replacements) -> bytes:
    for old, new in replacements.items():
        data = data.replace(old, new)
    return data


# ---- local files


def _rewrite_file(path: Path, replacements: Replacements) -> Rewriting:
    """A file keeps its time of change, so that the first part of its version stays."""
    try:
        body, stat = path.read_bytes(), path.stat()
    except FileNotFoundError:
        return Rewriting()
    try:
        changed = replaced(body, replacements)
    except BrokenStreamError as error:
        return Rewriting(left=error.reason)
    if is_changed := changed != body:
        unfinished = path.with_name(f".{path.name}.rewritten")
        unfinished.write_bytes(changed)
        unfinished.chmod(stat.st_mode & 0o7777)
        os.utime(unfinished, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        unfinished.replace(path)
        stat = path.stat()
    modified_ms = stat.st_mtime_ns // 10**6
    version = ObjectVersion(LOCAL, str(path), file_version(stat), stat.st_size, modified_ms)
    return Rewriting(version, is_changed)


# ---- objects of S3


def _rewrite_newest(bucket: Bucket, key: str, replacements: Replacements) -> Rewriting:
    try:
        found = _read(bucket, key)
        changed = replaced(found.body, replacements)
    except ObjectGone as gone:
        return Rewriting(left=str(gone) or None)
    except BrokenStreamError as error:
        return Rewriting(left=error.reason)
    if changed == found.body:
        is_ours = MARK in found.said["Metadata"]
        return Rewriting(_version(bucket, key, found.said, len(changed)) if is_ours else None)
    said = client("s3", bucket.settings).put_object(
        Bucket=bucket.name,
        Key=key,
        Body=changed,
        IfMatch=found.said["ETag"],
        Metadata={**found.said["Metadata"], MARK: "erasure"},
        **{name: found.said[name] for name in _KEPT if name in found.said},
    )
    # when it was written first is what loaders go by
    return Rewriting(_version(bucket, key, {**found.said, **said}, len(changed)), is_changed=True)


def _delete_older(bucket: Bucket, key: str, replacements: Replacements) -> int:
    """Delete the older versions that have a word, also where the object itself was deleted."""
    s3 = client("s3", bucket.settings)
    deleted = 0
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket.name, Prefix=key)
    older = [
        item["VersionId"]
        for page in pages
        for item in page.get("Versions", ())
        if item["Key"] == key and not item["IsLatest"]
    ]
    for version_id in older:
        try:
            found = _read(bucket, key, VersionId=version_id)
            has_a_word = replaced(found.body, replacements) != found.body
        except ObjectGone as gone:
            has_a_word = bool(str(gone))  # archived: nobody can look, and nobody needs it
        except BrokenStreamError:
            has_a_word = True
        if has_a_word:
            s3.delete_object(Bucket=bucket.name, Key=key, VersionId=version_id)
            deleted += 1
    return deleted


def _read(bucket: Bucket, key: str, **which: str) -> _Found:
    """The bytes of an object.

    Raises:
        ObjectGone: it is gone, without a text; or archived, which is the text.
    """
    from botocore.exceptions import ClientError

    try:
        said = client("s3", bucket.settings).get_object(Bucket=bucket.name, Key=key, **which)
        return _Found(said["Body"].read(), said)
    except ClientError as error:
        if _code(error) in _GONE:
            raise ObjectGone from error
        if _code(error) == _ARCHIVED:
            raise ObjectGone(_ARCHIVED) from error
        raise


def _version(bucket: Bucket, key: str, said: Mapping[str, Any], size_bytes: int) -> ObjectVersion:
    modified_ms = round(said["LastModified"].timestamp() * 1000)
    return ObjectVersion(bucket.name, key, said["ETag"].strip('"'), size_bytes, modified_ms)


def _code(error: Any) -> str:
    return error.response["Error"]["Code"]
