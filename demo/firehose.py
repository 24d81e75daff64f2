"""A stand-in for Firehose: takes PutRecordBatch as boto3 sends it, writes objects as it does.

The embedded AWS makes each record an object of its own at once. Real Firehose buffers, and puts
records one after another without anything between them, gzipped, under a key with the time of
the oldest one. This does so, on loopback, in a thread. It keeps its buffer in memory: unlike
Firehose it loses it when its process is killed.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

HOST = "127.0.0.1"
_TARGET = "Firehose_20150804."
MAX_RECORDS, MAX_CALL_BYTES, MAX_RECORD_BYTES = 500, 4 << 20, 1000 << 10


@dataclass(frozen=True, slots=True)
class DeliveryStream:
    """Where a stream's objects go, and how much is put together before one is written.

    On AWS a buffer is 1 MiB to 128 MiB, or 0 to 900 seconds.
    """

    name: str
    bucket: str
    prefix: str = ""
    buffer_bytes: int = 5 << 20
    buffer_seconds: float = 60


@dataclass(slots=True)
class _Buffer:
    records: list[bytes] = field(default_factory=list)
    size: int = 0
    since: float = 0  # seconds since 1970


class FirehoseStandIn:
    """Buffers and writes.

    Args:
        refuse: says of a record with which error it fails; by default none does.
    """

    def __init__(
        self,
        s3: Any,
        streams: Sequence[DeliveryStream],
        refuse: Callable[[bytes], str | None] = lambda record: None,
    ) -> None:
        self._s3 = s3
        self._streams = {stream.name: stream for stream in streams}
        self._buffers = {stream.name: _Buffer() for stream in streams}
        self._lock = threading.Lock()
        self.refuse = refuse

    def put(self, name: str, records: Sequence[bytes]) -> list[str | None]:
        """Take records; returns each one's error.

        Raises:
            KeyError: there is no such stream.
            ValueError: more than a call may carry.
        """
        stream = self._streams[name]
        sizes = [len(record) for record in records]
        if len(records) > MAX_RECORDS or sum(sizes) > MAX_CALL_BYTES:
            raise ValueError(f"{len(records)} records, {sum(sizes)} bytes in a call")
        if max(sizes, default=0) > MAX_RECORD_BYTES:
            raise ValueError(f"a record of {max(sizes)} bytes")
        errors = [self.refuse(record) for record in records]
        taken = [record for record, error in zip(records, errors, strict=True) if error is None]
        with self._lock:
            buffer = self._buffers[name]
            buffer.since = buffer.since or time.time()
            buffer.records += taken
            buffer.size += sum(map(len, taken))
            if buffer.size >= stream.buffer_bytes:
                self._write(stream)
        return errors

    def flush(self, *, all_of_it: bool = True) -> None:
        """Write what is buffered, or what has been long enough."""
        with self._lock:
            for stream in self._streams.values():
                age = time.time() - self._buffers[stream.name].since
                if all_of_it or age >= stream.buffer_seconds:
                    self._write(stream)

    def _write(self, stream: DeliveryStream) -> None:
        buffer = self._buffers[stream.name]
        if not buffer.records:
            return
        oldest = datetime.fromtimestamp(buffer.since, UTC)
        key = (
            f"{stream.prefix}{oldest:%Y/%m/%d/%H}/"
            f"{stream.name}-1-{oldest:%Y-%m-%d-%H-%M-%S}-{uuid.uuid4()}.gz"
        )
        body = gzip.compress(b"".join(buffer.records), compresslevel=1)
        self._s3.put_object(Bucket=stream.bucket, Key=key, Body=body)
        self._buffers[stream.name] = _Buffer()


@contextmanager
def firehose_stand_in(stand_in: FirehoseStandIn) -> Iterator[str]:
    """Serve while the context lasts; yields the endpoint's URL. What is buffered at the end is
    written."""

    class Handler(_Handler):
        firehose = stand_in

    server = ThreadingHTTPServer((HOST, 0), Handler)
    ended = threading.Event()

    def flush_what_is_due() -> None:
        while not ended.wait(0.2):
            stand_in.flush(all_of_it=False)

    threads = [
        threading.Thread(target=work, daemon=True)
        for work in (server.serve_forever, flush_what_is_due)
    ]
    for thread in threads:
        thread.start()
    try:
        yield f"http://{HOST}:{server.server_port}"
    finally:
        ended.set()
        server.shutdown()
        server.server_close()
        for thread in threads:
            thread.join()
        stand_in.flush()


class _Handler(BaseHTTPRequestHandler):
    """The JSON protocol of AWS."""

    protocol_version = "HTTP/1.1"
    firehose: FirehoseStandIn

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        operation = self.headers.get("X-Amz-Target", "").removeprefix(_TARGET)
        try:
            answer = self._answer(operation, body)
        except KeyError:
            self._send(400, _error("ResourceNotFoundException", "no such delivery stream"))
        except ValueError as error:
            self._send(400, _error("InvalidArgumentException", str(error)))
        else:
            self._send(200, answer)

    def _answer(self, operation: str, body: dict[str, Any]) -> dict[str, Any]:
        name = body["DeliveryStreamName"]
        if operation != "PutRecordBatch":
            raise ValueError(f"the stand-in knows PutRecordBatch only, not {operation}")
        records = [base64.b64decode(record["Data"]) for record in body["Records"]]
        errors = self.firehose.put(name, records)
        return {
            "FailedPutCount": sum(error is not None for error in errors),
            "Encrypted": False,
            "RequestResponses": [
                {"ErrorCode": error, "ErrorMessage": "refused"}
                if error
                else {"RecordId": uuid.uuid4().hex}
                for error in errors
            ],
        }

    def _send(self, status: int, answer: dict[str, Any]) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/x-amz-json-1.1")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _error(kind: str, message: str) -> dict[str, str]:
    return {"__type": kind, "message": message}
