"""Exchanging words in objects that were loaded: in every compression, in files and in S3."""

from __future__ import annotations

import gzip
import os
import uuid
from pathlib import Path
from typing import Any

import boto3
import pytest
import zstandard
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from loaders.sources.objects import LOCAL, file_version
from loaders.sources.records import BrokenStreamError, decompress, split_records
from loaders.sources.rewriting import (
    MARK,
    Bucket,
    Rewriting,
    open_bucket,
    replaced,
    rewrite_object,
)

OLD, NEW = b"jT7-_aX0Q2v5cD8eFgHiJw", b"AAAAbbbbCCCCddddEEEEff"
OTHER = b"9999999999999999999999"
WORDS = {OLD: NEW}
LINES = b'{"player_id":"%s","n":1}\r\n{"n":2} {"to":"%s"}' % (OLD, OTHER)
CHANGED = LINES.replace(OLD, NEW)


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor().compress(data)


PACKINGS = {
    "plain": lambda data: data,
    "gzip": gzip.compress,
    "gzip of several members": lambda data: gzip.compress(data[:30]) + gzip.compress(data[30:]),
    "gzip with padding": lambda data: gzip.compress(data) + bytes(512),
    "zstd": zstd,
    "zstd of several frames": lambda data: zstd(data[:30]) + zstd(data[30:]),
    "gzip in gzip": lambda data: gzip.compress(gzip.compress(data)),
    "zstd in gzip": lambda data: gzip.compress(zstd(data)),
}


def places(data: bytes) -> list[tuple[int, int]]:
    return [(record.ordinal, record.offset) for record in split_records([data])]


@pytest.mark.parametrize("packing", PACKINGS)
def test_words_are_exchanged_behind_every_compression_and_records_keep_their_places(
    packing: str,
) -> None:
    body = PACKINGS[packing](LINES)
    changed = replaced(body, WORDS)
    assert b"".join(decompress([changed])) == CHANGED
    assert changed[:2] == body[:2]
    assert places(changed) == places(body)


@given(st.lists(st.sampled_from([OLD, OTHER, b"{", b"}\n", b"\xff"])), st.sampled_from([*PACKINGS]))
def test_what_has_none_of_the_words_stays_byte_for_byte(parts: list[bytes], packing: str) -> None:
    data = b"".join(parts)
    body = PACKINGS[packing](data)
    assert (replaced(body, WORDS) == body) == (OLD not in data)
    assert b"".join(decompress([replaced(body, WORDS)])) == data.replace(OLD, NEW)


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda body: body[:-9], "truncated_gzip"),
        (lambda body: body + b"garbage", "trailing_garbage"),
        (lambda body: gzip.compress(body)[:-9], "truncated_gzip"),
    ],
)
def test_a_broken_stream_is_refused_when_it_has_a_word_and_left_alone_when_not(
    break_it: Any, reason: str
) -> None:
    with pytest.raises(BrokenStreamError, match=reason):
        replaced(break_it(gzip.compress(LINES)), WORDS)
    body = break_it(gzip.compress(CHANGED))
    assert replaced(body, WORDS) == body


# ---- files


FILES = Bucket(LOCAL, (), has_versions=False)


def test_a_file_keeps_its_time_and_its_mode_and_a_second_time_changes_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(LINES)
    path.chmod(0o640)
    os.utime(path, ns=(1, 1_700_000_000_123_456_789))
    before = path.stat()
    done = rewrite_object(FILES, str(path), WORDS)
    assert path.read_bytes() == CHANGED
    assert done.is_changed
    # it was not packed: to a loader it is the version that it has loaded
    assert done.version is not None
    assert done.version.version == file_version(before)
    assert path.stat().st_mode == before.st_mode
    assert rewrite_object(FILES, str(path), WORDS) == Rewriting(done.version)
    assert [*tmp_path.iterdir()] == [path]


def test_a_file_that_is_gone_or_broken_is_left(tmp_path: Path) -> None:
    assert rewrite_object(FILES, str(tmp_path / "gone"), WORDS) == Rewriting()
    broken = tmp_path / "broken.gz"
    broken.write_bytes(gzip.compress(LINES)[:-9])
    assert rewrite_object(FILES, str(broken), WORDS) == Rewriting(left="truncated_gzip")


# ---- S3


@pytest.fixture(scope="module")
def s3(aws: Any) -> Any:
    return boto3.client("s3")


@pytest.fixture(params=["plain", "versioned"])
def bucket(request: pytest.FixtureRequest, s3: Any) -> Bucket:
    name = f"landing-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    if request.param == "versioned":
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    opened = open_bucket(name, ())
    assert opened == Bucket(name, (), has_versions=request.param == "versioned")
    return opened


def everything(s3: Any, bucket: Bucket) -> list[bytes]:
    """Bytes of all versions of all objects, the newest first."""
    listed = s3.list_object_versions(Bucket=bucket.name).get("Versions", [])
    return [
        s3.get_object(Bucket=bucket.name, Key=item["Key"], VersionId=item["VersionId"])[
            "Body"
        ].read()
        for item in sorted(listed, key=lambda item: not item["IsLatest"])
    ]


def test_an_object_is_written_anew_as_what_it_was_and_its_older_version_is_deleted(
    s3: Any, bucket: Bucket
) -> None:
    said = {
        "ContentType": "application/x-ndjson",
        "ContentEncoding": "gzip",
        "Metadata": {"sent-by": "games"},
    }
    s3.put_object(Bucket=bucket.name, Key="games/a b.gz", Body=gzip.compress(LINES), **said)
    done = rewrite_object(bucket, "games/a b.gz", WORDS)
    assert [gzip.decompress(body) for body in everything(s3, bucket)] == [CHANGED]
    now = s3.get_object(Bucket=bucket.name, Key="games/a b.gz")
    assert {name: now[name] for name in said} == said | {
        "Metadata": {"sent-by": "games", MARK: "erasure"}
    }
    assert done.is_changed
    assert done.deleted == bucket.has_versions
    assert done.version is not None
    assert done.version.version == now["ETag"].strip('"')
    assert done.version.size_bytes == now["ContentLength"]
    # done again it writes nothing, and still says which version the books have to know
    again = rewrite_object(bucket, "games/a b.gz", WORDS)
    assert not again.is_changed
    assert again.version is not None
    assert again.version[:4] == done.version[:4]
    assert s3.head_object(Bucket=bucket.name, Key="games/a b.gz")["ETag"] == now["ETag"]


def test_an_object_of_others_alone_is_not_written(s3: Any, bucket: Bucket) -> None:
    s3.put_object(Bucket=bucket.name, Key="a", Body=CHANGED)
    assert rewrite_object(bucket, "a", WORDS) == Rewriting()
    assert everything(s3, bucket) == [CHANGED]


def test_older_versions_go_even_where_the_object_was_overwritten_or_deleted(
    s3: Any, bucket: Bucket
) -> None:
    for key in ("overwritten", "deleted"):
        s3.put_object(Bucket=bucket.name, Key=key, Body=LINES)
        s3.put_object(Bucket=bucket.name, Key=key, Body=gzip.compress(LINES)[:-9])
        s3.put_object(Bucket=bucket.name, Key=key, Body=OTHER)
    s3.put_object(Bucket=bucket.name, Key="deleted-not", Body=LINES)
    s3.delete_object(Bucket=bucket.name, Key="deleted")
    for key in ("overwritten", "deleted"):
        assert rewrite_object(bucket, key, WORDS) == Rewriting(deleted=2 * bucket.has_versions)
    kept = [OTHER] * (1 + bucket.has_versions)
    assert sorted(everything(s3, bucket)) == sorted([*kept, LINES])


def test_what_is_gone_is_as_it_should_be(s3: Any, bucket: Bucket) -> None:
    assert rewrite_object(bucket, "nothing", WORDS) == Rewriting()
    assert open_bucket(f"none-{uuid.uuid4().hex[:8]}", ()) is None


def test_a_broken_object_is_left_with_the_reason(s3: Any, bucket: Bucket) -> None:
    body = gzip.compress(LINES)[:-9]
    s3.put_object(Bucket=bucket.name, Key="a", Body=body)
    assert rewrite_object(bucket, "a", WORDS) == Rewriting(left="truncated_gzip")
    assert everything(s3, bucket) == [body]


def test_what_another_writes_at_the_same_time_is_not_overwritten(
    s3: Any, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3.put_object(Bucket=bucket.name, Key="a", Body=LINES)

    def late(body: bytes, _: Any) -> bytes:
        s3.put_object(Bucket=bucket.name, Key="a", Body=OTHER)
        return body.replace(OLD, NEW)

    monkeypatch.setattr("loaders.sources.rewriting.replaced", late)
    with pytest.raises(ClientError, match="PreconditionFailed"):
        rewrite_object(bucket, "a", WORDS)
    assert s3.get_object(Bucket=bucket.name, Key="a")["Body"].read() == OTHER


def test_words_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="length"):
        rewrite_object(FILES, "/a", {OLD: b"short"})
