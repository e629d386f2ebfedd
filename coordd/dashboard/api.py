"""Answer the JSON endpoints: check parameters, ask the daemon, pass its answer on.

The daemon's bytes are passed on unchanged wherever possible. The OpenAPI document is made from ``ENDPOINTS``.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from coordd.dashboard.agent_series import STEPS, Samples, agent_series
from coordd.dashboard.answers import BadRequest, daemon_error, json_response, problem, unavailable
from coordd.dashboard.last_known import LastKnown
from coordd.dashboard.query import Kind, read_query
from coordd.dashboard.reused import Reused
from coordd.dashboard.series import DEFAULT, RANGES, series
from coordd.dashboard.upstream import Params, Unavailable, Upstream
from coordd.errors import ClientError
from coordd.model import ACTIVITIES, SCHEMA, STATUSES, TASK_STATES
from coordd.util.one_at_a_time import OneAtATime

log = logging.getLogger(__name__)

RECENT_WINDOWS = ("2m", "30m", "24h")
"""Spans in which recent events are looked for, the shortest first: a large fleet makes thousands an hour."""
RECENT_MOST = 1000
RECENT_OF_PAGE = 200
"""Recent events that the page asks for."""

_LONGEST_ID = 256
"""Characters of an agent's id at most."""
_SPAN: dict[str, Kind] = {"since": str, "until": str}
_PAGE: dict[str, Kind] = {"workspace": str, "limit": int, "cursor": str}
_SCHEMA = b'{"schema":%d,' % SCHEMA


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A path with its parameters; ``show`` is the part of the last known state that a 503 includes."""

    path: str
    name: str
    summary: str
    answer: str
    query: Mapping[str, Kind] = field(default_factory=dict)
    show: str | None = None
    errors: tuple[int, ...] = (503,)
    most: int = 100_000


ENDPOINTS = (
    Endpoint("/api/status", "status", "The document of `coordctl status --json`", "Status", show="status"),
    Endpoint("/api/metrics/system/latest", "system_latest", "The latest sample of the host", "SystemSample"),
    Endpoint(
        "/api/metrics/system/history",
        "system_history",
        "Past samples of the host, oldest first; `step` thins them to mean, min and max",
        "History",
        {**_SPAN, "step": str, "limit": int},
        errors=(503, 504),
    ),
    Endpoint(
        "/api/metrics/system/series",
        "system_series",
        "The host's past as columns of numbers, a few hundred points whatever the range",
        "Series",
        {"range": tuple(RANGES)},
        errors=(503, 504),
    ),
    Endpoint(
        "/api/metrics/agent/history",
        "agent_history",
        "Past samples of one agent, or of all, oldest first",
        "History",
        {"agent_id": str, "workspace": str, **_SPAN, "step": str, "limit": int},
        errors=(503, 504),
    ),
    Endpoint(
        "/api/metrics/agent/series",
        "agent_series",
        "What agents did, as bands: for each since when what, and the times in which coordd did not run",
        "AgentSeries",
        {"range": tuple(RANGES), "agent_id": str, "workspace": str},
        errors=(503, 504),
    ),
    Endpoint(
        "/api/agents/active",
        "agents",
        "Every agent that is known, not only the active ones",
        "Agents",
        {"status": STATUSES, "activity": ACTIVITIES, "workspace": str},
        show="agents",
    ),
    Endpoint(
        "/api/agents/{id}",
        "agent",
        "One agent with the evidence for its verdict, its tasks and claims; as /api/agents/?agent_id= too, "
        "for ids that no path can end with (.., active)",
        "AgentInFull",
        {"workspace": str, "agent_id": str},
        errors=(404, 409, 503),
    ),
    Endpoint(
        "/api/tasks",
        "tasks",
        "Tasks and claims, orphaned ones first",
        "Tasks",
        {"state": TASK_STATES, **_PAGE},
    ),
    Endpoint(
        "/api/events/recent",
        "events_recent",
        "The newest events of the last day, oldest first",
        "History",
        {"limit": int},
        errors=(503, 504),
        most=RECENT_MOST,
    ),
)

Handler = Callable[[Request], Awaitable[Response]]


class _Recent(msgspec.Struct):
    records: list[msgspec.Raw]
    truncated: bool


class _Banded(msgspec.Struct):
    records: list[dict[str, Any]]
    truncated: bool


class Api:
    """The handlers by the names in :data:`ENDPOINTS`."""

    def __init__(self, *, upstream: Upstream, last: LastKnown) -> None:
        self._upstream = upstream
        self._last = last
        self._derived: dict[bytes, tuple[bytes, bytes]] = {}
        self._recent = OneAtATime(lambda: self._find_recent(RECENT_OF_PAGE))
        self._series = Reused(self._make_series)
        self._bands = Reused(lambda name: self._make_bands(name, {}))

    def handler(self, endpoint: Endpoint) -> Handler:
        """Return the handler of an endpoint."""
        answer: Callable[[dict[str, Any], Request], Awaitable[bytes]] = getattr(self, f"_{endpoint.name}")

        async def handle(request: Request) -> Response:
            try:
                query = read_query(request.scope["query_string"], endpoint.query, most=endpoint.most)
                return json_response(await answer(query, request))
            except BadRequest as error:
                return problem(400, "params", str(error))
            except Unavailable as error:
                return await unavailable(error, self._last, show=endpoint.show)
            except ClientError as error:
                return daemon_error(error)
            except (msgspec.DecodeError, LookupError, TypeError) as error:
                log.warning("the daemon's answer for %s makes no sense: %s", endpoint.path, error)
                return problem(
                    502, "daemon-error", "the daemon's answer makes no sense; is it another version?"
                )

        return handle

    async def _status(self, _query: Params, _request: Request) -> bytes:
        status = await self._upstream.ask("status")
        self._last.heard_status(status)  # what was shown last is what is shown once the daemon is down
        return status

    async def _system_latest(self, _query: Params, _request: Request) -> bytes:
        return await self._upstream.ask("system.latest")

    async def _system_history(self, query: Params, _request: Request) -> bytes:
        return await self._upstream.history({"type": "system", **query})

    async def _system_series(self, query: Params, _request: Request) -> bytes:
        return await self._series(str(query.get("range", DEFAULT)))

    async def _make_series(self, name: str) -> bytes:
        chosen = RANGES[name]
        found = await self._upstream.history(
            {"type": "system", "since": f"{chosen.span}s", "step": chosen.step, "limit": 5000}, of_page=True
        )
        return series(msgspec.json.decode(found)["records"], chosen, time.time())

    async def _agent_series(self, query: Params, _request: Request) -> bytes:
        name = str(query.pop("range", DEFAULT))
        return await (self._make_bands(name, query) if query else self._bands(name))

    async def _make_bands(self, name: str, only: Params) -> bytes:
        step = RANGES[name].span / STEPS
        asked = {"type": "agent", "since": f"{RANGES[name].span}s", "step": step, "bands": True, **only}
        found, samples, listed = await asyncio.gather(
            self._upstream.history(asked, of_page=not only),
            self._series(name),
            self._upstream.ask("agents.list"),
        )
        banded = msgspec.json.decode(found, type=_Banded)
        present = [
            one
            for one in msgspec.json.decode(listed)["agents"]
            if all(one[field] == value for field, value in only.items())
        ]
        return agent_series(
            banded.records,
            present,
            msgspec.json.decode(samples, type=Samples),
            step=step,
            truncated=banded.truncated,
        )

    async def _agent_history(self, query: Params, _request: Request) -> bytes:
        return await self._upstream.history({"type": "agent", **query})

    async def _agents(self, query: Params, _request: Request) -> bytes:
        raw = await self._upstream.ask("agents.list", query or None)
        key = msgspec.json.encode(query)
        derived = self._derived.get(key)
        if derived is None or derived[0] is not raw:
            derived = (raw, _with_ids(raw))
            if len(self._derived) >= 8:
                self._derived.clear()
            self._derived[key] = derived
            if not query:
                self._last.heard_agents(derived[1])
        return derived[1]

    async def _agent(self, query: Params, request: Request) -> bytes:
        agent_id: str = request.path_params["id"] or str(query.get("agent_id", ""))
        if not 1 <= len(agent_id) <= _LONGEST_ID:
            raise BadRequest(f"an agent's id has 1 to {_LONGEST_ID} characters")
        if query.get("agent_id", agent_id) != agent_id:
            raise BadRequest("agent_id: the path names another agent")
        raw = await self._upstream.ask("agents.get", {**query, "agent_id": agent_id})
        return _with_id(msgspec.json.decode(raw))

    async def _tasks(self, query: Params, _request: Request) -> bytes:
        raw = await self._upstream.ask("tasks.list", query or None)
        return _SCHEMA + raw[1:]

    async def _events_recent(self, query: Params, _request: Request) -> bytes:
        limit = int(str(query.get("limit", 100)))
        if limit == RECENT_OF_PAGE:
            return await self._recent()
        return await self._find_recent(limit)

    async def _find_recent(self, limit: int) -> bytes:
        newest = _Recent([], truncated=False)
        for window in RECENT_WINDOWS:
            found = msgspec.json.decode(
                await self._upstream.history(
                    {"type": "event", "since": window, "limit": 100_000}, of_page=limit == RECENT_OF_PAGE
                ),
                type=_Recent,
            )
            if found.truncated and newest.records:
                break  # its end is missing, which is the part that was asked for
            newest = found
            if len(newest.records) >= limit:
                break
        more = newest.truncated or len(newest.records) > limit
        return msgspec.json.encode({"records": newest.records[-limit:], "truncated": more})


def _with_ids(raw: bytes) -> bytes:
    """Return the agents of an ``agents.list`` page as a list, each with its id also as ``id``."""
    agents = msgspec.json.decode(raw)["agents"]
    return msgspec.json.encode([{"id": agent["agent_id"], **agent} for agent in agents])


def _with_id(agent: dict[str, object]) -> bytes:
    return msgspec.json.encode({"id": agent["agent_id"], **agent})
