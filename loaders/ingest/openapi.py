"""The OpenAPI description of the ingest service, from the contract of the events. Pure."""

from __future__ import annotations

from typing import Any

from loaders.games.contract import Contract, Event, EventField
from loaders.ingest.signing import KEY_HEADER, REPLAY_SECONDS, SIGNATURE_HEADER, TIME_HEADER

_TYPES: dict[str, dict[str, Any]] = {
    "string": {"type": "string", "maxLength": 1024},
    "integer": {"type": "integer", "format": "int64"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "timestamp": {"type": "number", "minimum": 946_684_800, "exclusiveMaximum": 4_102_444_800},
    "uuid": {"type": "string", "format": "uuid"},
}
_ERRORS = {
    "400": "The body is not as described.",
    "401": "Key, time or signature is missing or wrong.",
    "408": "The body did not come in time.",
    "413": "Too many bytes.",
    "415": "The body is of another type or encoding.",
    "422": "There are too many events, or none.",
    "429": "The studio sends more than it may; Retry-After says when to go on.",
    "503": "Nothing can be taken now; Retry-After says when to try again.",
}


def description(contract: Contract) -> dict[str, Any]:
    """The description, as JSON will hold it."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "multihop games ingest",
            "version": "1",
            "description": (
                "Game servers post batches of events. What is answered as accepted or quarantined "
                "is on disk. "
                "Send what got no answer, 429 or 503 again, unchanged: an event is taken once, by "
                f"its event_id. {SIGNATURE_HEADER} is the hexadecimal HMAC-SHA256, under the "
                f"studio's secret, of the value of {TIME_HEADER} (seconds since 1970, at most "
                f"{REPLAY_SECONDS} off), a line feed, and the body as sent."
            ),
        },
        "security": [{"key": [], "timestamp": [], "signature": []}],
        "paths": {
            "/v1/events": {"post": _post_events()},
            "/healthz": {"get": _get("Whether events are taken.", ("200", "503"))},
            "/metrics": {"get": _get("What was counted, for Prometheus.", ("200",), "text/plain")},
            "/openapi.json": {"get": _get("This description.", ("200",))},
        },
        "components": {
            "securitySchemes": {
                name: {"type": "apiKey", "in": "header", "name": header}
                for name, header in (
                    ("key", KEY_HEADER),
                    ("timestamp", TIME_HEADER),
                    ("signature", SIGNATURE_HEADER),
                )
            },
            "schemas": {
                "Batch": {
                    "type": "object",
                    "required": ["events"],
                    "additionalProperties": False,
                    "properties": {
                        "events": {
                            "type": "array",
                            "minItems": 1,
                            "maxItems": 500,
                            # Each is judged alone: one that is wrong does not stop the others.
                            "items": {
                                "description": "Refused, in the answer, unless it is one of the "
                                "schemas event_…; an event of another type needs the envelope "
                                "only. Quarantined where something looks like personal data that "
                                "no schema has there."
                            },
                        }
                    },
                },
                "Answer": _answer(),
                "Error": {
                    "type": "object",
                    "required": ["error"],
                    "properties": {"error": {"type": "string"}},
                },
                **{f"event_{event.name}": _event(contract, event) for event in contract.events},
            },
        },
    }


def _post_events() -> dict[str, Any]:
    return {
        "operationId": "post_events",
        "summary": "Take a batch of events.",
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _ref("Batch")}},
        },
        "responses": {
            "200": _response("What became of each event, in their order.", _ref("Answer")),
            **{status: _response(text, _ref("Error")) for status, text in _ERRORS.items()},
        },
    }


def _get(
    summary: str, statuses: tuple[str, ...], media_type: str = "application/json"
) -> dict[str, Any]:
    schema = {"type": "object" if media_type == "application/json" else "string"}
    return {
        "summary": summary,
        "security": [],
        "responses": {
            status: {"description": summary, "content": {media_type: {"schema": schema}}}
            for status in statuses
        },
    }


def _answer() -> dict[str, Any]:
    count = {"type": "integer", "minimum": 0}
    return {
        "type": "object",
        "required": ["accepted", "duplicate", "quarantined", "refused", "events"],
        "properties": {
            "accepted": count,
            "duplicate": count | {"description": "Were taken before."},
            "quarantined": count
            | {
                "description": "Are kept apart, sealed, because of personal data where there "
                "should be none: the events are not lost, and need not be sent again."
            },
            "refused": count,
            "events": {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["event_id", "status"],
                    "properties": {
                        "event_id": {"type": ["string", "null"]},
                        "status": {"enum": ["accepted", "duplicate", "quarantined", "refused"]},
                        "reason": {
                            "type": "string",
                            "description": "Why it is quarantined or refused.",
                        },
                        "field": {"type": ["string", "null"], "description": "Which field it is."},
                    },
                },
            },
        },
    }


def _event(contract: Contract, event: Event) -> dict[str, Any]:
    envelope = tuple(
        field for field in contract.envelope if event.player or field.personal != "identity"
    )
    schema = _object(envelope, event.version)
    schema["properties"]["event_type"] = {"const": event.name}
    schema["properties"]["event_version"] = {
        "type": "integer",
        "minimum": 1,
        "maximum": event.version,
    }
    schema["properties"]["event_data"] = _object(event.fields, event.version)
    return schema | {"description": event.description}


def _object(fields: tuple[EventField, ...], version: int) -> dict[str, Any]:
    return {
        "type": "object",
        "required": [field.name for field in fields if field.required and field.since <= version],
        "properties": {
            field.name: _TYPES[field.type]
            | {"description": field.description}
            | ({"examples": list(field.values)} if field.values else {})
            for field in fields
        },
    }


def _response(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
