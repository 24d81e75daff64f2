"""The HTTP side of the ingest service: requests in, answers out."""

from __future__ import annotations

import asyncio
import math
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from loaders.games.contract import Contract
from loaders.ingest.journal import JournalFailed
from loaders.ingest.openapi import description
from loaders.ingest.service import OUTCOMES, Answer, IngestService, Overloaded, RateLimited
from loaders.ingest.signing import Unauthorised, check_signature, claimed_key

BODY_SECONDS = 10
_JSON = "application/json"


class Problem(Exception):
    """A request that is not taken: status, what is wrong, and when to come again."""

    def __init__(self, status: int, message: str, retry_seconds: float = 0) -> None:
        super().__init__(message)
        self.status = status
        self.headers = (
            {"retry-after": str(max(1, math.ceil(retry_seconds)))} if retry_seconds else {}
        )


def create_app(service: IngestService, contract: Contract) -> Starlette:
    """The application; the service runs while it does."""
    openapi = orjson.dumps(description(contract))

    @asynccontextmanager
    async def running(_: Starlette) -> AsyncIterator[None]:
        async with service.running():
            yield

    async def post_events(request: Request) -> Response:
        started = time.perf_counter()
        try:
            content = await _take(service, request)
            answer = Response(content, media_type=_JSON)
        except Problem as problem:
            answer = _refusal(problem)
        service.metrics.note_request(answer.status_code, time.perf_counter() - started)
        return answer

    async def get_health(_: Request) -> Response:
        status = 503 if service.problem else 200
        degraded = service.complaint and f"degraded: {service.complaint}"
        content = {"status": service.problem or degraded or "ok"}
        return Response(orjson.dumps(content), status, media_type=_JSON)

    async def get_metrics(_: Request) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    async def get_openapi(_: Request) -> Response:
        return Response(openapi, media_type=_JSON)

    return Starlette(
        routes=[
            Route("/v1/events", post_events, methods=["POST"]),
            Route("/healthz", get_health, methods=["GET"]),
            Route("/metrics", get_metrics, methods=["GET"]),
            Route("/openapi.json", get_openapi, methods=["GET"]),
        ],
        lifespan=running,
    )


async def _take(service: IngestService, request: Request) -> bytes:
    """The answer to a request with events.

    Raises:
        Problem: it is not taken as a whole.
    """
    try:
        key_id = claimed_key(request.headers, time.time())
        body = await _body(request, service.limits.body_bytes)
        key = await service.studio_key(key_id)
        check_signature(request.headers, body, key and key.secret)
        assert key is not None  # noqa: S101 - or the signature would not be right
        events = _events(request, body, service)
        return _answered(await service.take(key.studio, events))
    except Unauthorised as error:
        raise Problem(401, str(error)) from None
    except RateLimited as error:
        raise Problem(429, str(error), error.seconds) from None
    except Overloaded as error:
        raise Problem(503, str(error), error.seconds) from None
    except JournalFailed as error:
        raise Problem(503, str(error), 30) from None


async def _body(request: Request, limit: int) -> bytes:
    """The body as sent."""
    too_large = Problem(413, f"a body is at most {limit} bytes: send fewer events at a time")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for chunk in request.stream():
                size += len(chunk)
                if size > limit:
                    raise too_large
                chunks.append(chunk)
    except TimeoutError:
        raise Problem(408, f"the body did not come within {BODY_SECONDS} seconds") from None
    except ClientDisconnect:
        raise Problem(400, "the connection ended within the body") from None
    return b"".join(chunks)


def _events(request: Request, body: bytes, service: IngestService) -> list[Any]:
    """The events in a body whose signature is right."""
    limits = service.limits
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _JSON:
        raise Problem(415, f"the content-type is {_JSON}")
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding == "gzip":
        body = _unzipped(body, 8 * limits.body_bytes)
    elif encoding != "identity":
        raise Problem(415, "the content-encoding is gzip, or there is none")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem(400, "the body is no JSON") from None
    if not (
        isinstance(document, dict)
        and document.keys() == {"events"}
        and isinstance(document["events"], list)
        and document["events"]
    ):
        raise Problem(400, 'the body is {"events": […]}, with one event at least')
    if len(document["events"]) > limits.batch_events:
        raise Problem(422, f"there are at most {limits.batch_events} events in a request")
    return document["events"]


def _unzipped(body: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj(wbits=31)
    try:
        plain = stream.decompress(body, limit)
    except zlib.error:
        raise Problem(400, "the body is no gzip") from None
    if stream.unconsumed_tail:
        raise Problem(413, f"a body is at most {limit} bytes when unzipped")
    if not stream.eof or stream.unused_data:
        raise Problem(400, "the body is not one whole gzip member")
    return plain


def _answered(answers: Sequence[Answer]) -> bytes:
    counts = dict.fromkeys(OUTCOMES, 0)
    for answer in answers:
        counts[answer.status] += 1
    events = [
        {"event_id": answer.event_id, "status": answer.status}
        | ({"reason": answer.reason, "field": answer.field} if answer.reason else {})
        for answer in answers
    ]
    return orjson.dumps({**counts, "events": events})


def _refusal(problem: Problem) -> Response:
    headers = dict(problem.headers)
    if problem.status == 401:
        headers["www-authenticate"] = "Multihop-HMAC"
    content = orjson.dumps({"error": str(problem)})
    return Response(content, problem.status, headers, media_type=_JSON)
