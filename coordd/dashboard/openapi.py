"""Build the OpenAPI 3.1 document from the endpoints and the types of the records. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from coordd import __version__
from coordd.dashboard.api import ENDPOINTS, Endpoint
from coordd.dashboard.feed import TOPICS
from coordd.dashboard.query import MAX_TEXT, Kind
from coordd.model import AgentInFull, AgentView, AttentionEntry, SystemSample, TaskView

_REF = "#/components/schemas/"
_WORDS = {
    "since": "Begin: a timestamp such as 2026-11-22T06:05:00Z, a duration before now such as 6h, or today, "
    "yesterday, 23:55; UTC where it has no zone",
    "until": "End, not included; as since",
    "step": "Length of the stretches that records are thinned to, such as 5m",
    "limit": "At most so many",
    "agent_id": "The agent's id",
    "workspace": "The project's directory",
    "cursor": "Where the page before ended",
    "status": "Only agents with this verdict",
    "activity": "Only agents that do this",
    "state": "Only tasks in this state",
    "range": "How far back; 6h where it is not said",
}
_TEXT = {
    400: "A parameter that means nothing",
    401: "A token is needed",
    403: "A request from another site",
    404: "No such agent",
    409: "Several agents have this id: name a workspace",
    413: "A request with a body",
    421: "A Host that is not ours",
    502: "The daemon fails at it",
    503: "The daemon cannot be asked",
    504: "It takes too long: ask for less",
}
_ALWAYS = (400, 401, 403, 413, 421)
_OF_DAEMON = (502,)


def document() -> dict[str, Any]:
    """Return the whole document."""
    paths = {endpoint.path: {"get": _operation(endpoint)} for endpoint in ENDPOINTS}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "coordd dashboard",
            "version": __version__,
            "description": "Read only. The numbers are those of `coordctl --json`; with the daemon down "
            "the answer is 503, with the reason and the age of the last snapshot.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "paths": {**paths, **_others()},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{}, {"token": []}],
    }


def _operation(endpoint: Endpoint) -> dict[str, Any]:
    parameters = [_parameter(name, kind, endpoint.most) for name, kind in endpoint.query.items()]
    if "{id}" in endpoint.path:
        parameters.insert(
            0,
            {
                "name": "id",
                "in": "path",
                "required": True,
                "description": "The agent's id, percent-encoded",
                "schema": {"type": "string", "minLength": 1, "maxLength": 256},
            },
        )
    return {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "parameters": parameters,
        "responses": {
            "200": _json("As the summary says", endpoint.answer),
            **{
                str(code): _json(_TEXT[code], "Down" if code == 503 else "Problem")
                for code in sorted({*_ALWAYS, *_OF_DAEMON, *endpoint.errors})
            },
        },
    }


def _parameter(name: str, kind: Kind, most: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": MAX_TEXT}
    if kind is int:
        schema = {"type": "integer", "minimum": 1, "maximum": most}
    elif isinstance(kind, tuple):
        schema = {"type": "string", "enum": list(kind)}
    return {"name": name, "in": "query", "description": _WORDS[name], "schema": schema}


def _others() -> dict[str, Any]:
    """Return the paths that answer no JSON records."""
    refusals = {str(code): _json(_TEXT[code], "Problem") for code in _ALWAYS}
    text = {"schema": {"type": "string"}}
    events = {
        "operationId": "events",
        "summary": "Server-sent events: every record as it comes, the latest status; ids resume",
        "parameters": [
            {
                "name": "topics",
                "in": "query",
                "description": "Some of the topics, with commas between",
                "explode": False,
                "schema": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": len(TOPICS),
                    "items": {"type": "string", "enum": list(TOPICS)},
                },
            },
            {
                "name": "last_event_id",
                "in": "query",
                "description": "Go on behind this event; as the header Last-Event-ID",
                "schema": {"type": "string", "minLength": 1, "maxLength": 64},
            },
        ],
        "responses": {"200": {"description": "A stream", "content": {"text/event-stream": text}}, **refusals},
    }
    scrape = {"application/openmetrics-text": text, "text/plain": text}
    return {
        "/api/events": {"get": events},
        "/metrics": {
            "get": {
                "operationId": "metrics",
                "summary": "OpenMetrics, or Prometheus text",
                "responses": {"200": {"description": "Metrics", "content": scrape}, **refusals},
            }
        },
        "/healthz": {
            "get": {
                "operationId": "healthz",
                "summary": "Whether the dashboard serves, and whether it has a daemon; needs no token",
                "responses": {"200": _json("It serves", "Health"), **refusals},
            }
        },
    }


def _json(description: str, schema: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": _REF + schema}}}}


def _schemas() -> dict[str, Any]:
    _, made = msgspec.json.schema_components(
        (AgentView, AgentInFull, AttentionEntry, SystemSample, TaskView), ref_template=_REF + "{name}"
    )
    found = {str(name): schema for name, schema in made.items()}
    words = {"type": "string"}
    found["Agent"] = found.pop("AgentView")
    for name in ("Agent", "AgentInFull"):
        found[name]["properties"] = {"id": words, **found[name]["properties"]}
        found[name]["required"] = ["id", *found[name]["required"]]
    objects = {"type": "array", "items": {"type": "object"}}
    numbers = {"type": "array", "items": {"type": ["number", "null"]}}
    error = {
        "type": "object",
        "required": ["kind", "message"],
        "properties": {"kind": words, "message": words},
    }
    return {
        **found,
        "Agents": {"type": "array", "items": {"$ref": _REF + "Agent"}},
        "Tasks": {
            "type": "object",
            "required": ["schema", "timestamp", "tasks", "unknown", "cursor"],
            "properties": {
                "schema": {"type": "integer"},
                "timestamp": words,
                "tasks": {"type": "array", "items": {"$ref": _REF + "TaskView"}},
                "unknown": {"type": "array", "items": words},
                "cursor": {"type": ["string", "null"]},
            },
        },
        "History": {
            "type": "object",
            "required": ["records", "truncated"],
            "properties": {"records": objects, "truncated": {"type": "boolean"}},
        },
        "Series": {
            "type": "object",
            "required": ["since", "until", "step", "gap", "times", "series"],
            "properties": {
                **{name: {"type": "number"} for name in ("since", "until", "step", "gap")},
                "times": numbers,
                "series": {"type": "object", "additionalProperties": numbers},
            },
        },
        "AgentSeries": {
            "type": "object",
            "required": ["since", "until", "step", "gaps", "truncated", "agents"],
            "properties": {
                **{name: {"type": "number"} for name in ("since", "until", "step")},
                "gaps": {
                    "description": "Times in which coordd did not run: begin and end of each",
                    "type": "array",
                    "items": {"type": "array", "items": {"type": "number"}},
                },
                "truncated": {"type": "boolean"},
                "agents": {"type": "array", "items": {"$ref": _REF + "AgentBands"}},
            },
        },
        "AgentBands": {
            "type": "object",
            "required": ["agent_id", "workspace", "project", "name", "kind", "bands"],
            "properties": {
                "agent_id": words,
                **{name: {"type": ["string", "null"]} for name in ("workspace", "project", "name", "kind")},
                "bands": {
                    "description": "Pairs, oldest first: since when, and what; null: it is gone",
                    "type": "array",
                    "items": {
                        "type": "array",
                        "prefixItems": [{"type": "number"}, {"type": ["string", "null"]}],
                    },
                },
            },
        },
        "Status": {
            "type": "object",
            "required": [
                *("schema", "timestamp", "health", "problems", "daemon", "redis", "system"),
                *("agents", "attention", "tasks", "sinks", "workspaces"),
            ],
            "properties": {
                "health": {"enum": ["ok", "degraded"]},
                "problems": {"type": "array", "items": words},
                "attention": {
                    "description": "What needs a human, who needs one most first",
                    "type": "array",
                    "items": {"$ref": _REF + "AttentionEntry"},
                },
                "system": {"anyOf": [{"$ref": _REF + "SystemSample"}, {"type": "null"}]},
            },
        },
        "Health": {
            "type": "object",
            "required": ["status", "daemon", "version"],
            "properties": {"status": {"const": "ok"}, "daemon": {"enum": ["up", "down"]}, "version": words},
        },
        "Problem": {"type": "object", "required": ["error"], "properties": {"error": error}},
        "Down": {
            "type": "object",
            "required": ["error"],
            "properties": {"error": error, "snapshot_age": {"type": ["number", "null"]}},
        },
    }
