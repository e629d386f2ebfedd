"""Implement the methods of the control socket: what each takes and what it answers.

A handler reads the store at that moment and returns plain values; it knows neither sockets nor lines. The
rows of :meth:`Methods.table` are what ``describe`` answers, and what the README's table is checked against.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Protocol, TypeVar

import msgspec

from coordd import __version__
from coordd.agents.join import Agent
from coordd.agents.key import AgentKey
from coordd.agents.shown import ShownAgent
from coordd.agents.store import AgentStore
from coordd.control.documents import Documents
from coordd.control.history import HistoryParams, HistoryQueries
from coordd.control.hub import Hub
from coordd.control.peer import Peer
from coordd.control.rpc import Method, NoParams, Opened, Raw
from coordd.model import TOPICS, Status, TaskState, TaskView, Topic
from coordd.protocol import jsonrpc
from coordd.protocol.jsonrpc import Fault
from coordd.runtime.clocks import Moment
from coordd.tasks.views import TaskList, TaskPosition
from coordd.util.timestamps import format_utc

CACHE = 1.0
"""Seconds for which an encoded list may be answered again while nothing changes."""
MAX_CACHED = 4 << 20
"""Bytes of the largest answer that is kept for that."""
MAX_ANSWERS = 16
"""Answers that are kept."""
SLICE = 500
"""Agents or tasks that are encoded before the event loop runs again."""

Params = TypeVar("Params")


class ListParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``agents.list``."""

    status: Status | None = None
    workspace: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    cursor: str | None = None


class GetParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``agents.get``; the workspace "" means an agent that only Redis knows."""

    agent_id: str
    workspace: str | None = None


class TasksParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``tasks.list``."""

    state: TaskState | None = None
    workspace: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    cursor: str | None = None


class SubscribeParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Parameters of ``subscribe``: None means every topic; an empty list ends a subscription."""

    topics: frozenset[Topic] | None = None


class Reloader(Protocol):
    """Reload the configuration; service/reloading.py implements it."""

    async def reload(self) -> tuple[list[str], list[str]]:
        """Take a new configuration; return the keys that changed, and of these those that need a restart."""
        ...


@dataclass(frozen=True, slots=True)
class _CachedPage:
    version: int
    until: float
    answer: Raw


class Methods:
    """Handle the methods, with what they read from."""

    def __init__(
        self,
        *,
        store: AgentStore,
        documents: Documents,
        tasks: TaskList,
        hub: Hub,
        history: HistoryQueries,
        reloader: Reloader,
        now: Callable[[], Moment],
    ) -> None:
        self._store = store
        self._documents = documents
        self._tasks = tasks
        self._hub = hub
        self._history = history
        self._reloader = reloader
        self._now = now
        self._encoder = msgspec.json.Encoder()
        self._lists: dict[ListParams, _CachedPage] = {}
        self._task_lists: dict[TasksParams, _CachedPage] = {}

    def table(self) -> dict[str, Method]:
        """Return all methods by name."""
        rows = (
            Method("ping", "the daemon's version, pid and uptime", self.ping, NoParams),
            Method(
                "describe",
                "the protocol version and the methods with their parameters",
                self.describe,
                NoParams,
            ),
            Method("status", "the document of `coordctl status --json`", self.status, NoParams),
            Method("system.latest", "the latest system sample", self.system_latest, NoParams),
            Method(
                "agents.list", "agents by workspace and id, a page at a time", self.agents_list, ListParams
            ),
            Method("agents.get", "one agent with its evidence, tasks and claims", self.agents_get, GetParams),
            Method(
                "tasks.list",
                "tasks and claims, orphaned ones first, a page at a time",
                self.tasks_list,
                TasksParams,
            ),
            Method(
                "history.query",
                "past records, oldest first; since and until are timestamps or durations before now",
                self.history_query,
                HistoryParams,
            ),
            Method(
                "subscribe",
                "a snapshot, then notifications: "
                + ", ".join(f"`{topic}`" for topic in TOPICS)
                + " for each record, `lagged` for those lost; half of all connections may subscribe",
                self.subscribe,
                SubscribeParams,
            ),
            Method("reload", "read the configuration again", self.reload, NoParams, control=True),
        )
        return {row.name: row for row in rows}

    def ping(self, _params: NoParams, _peer: Peer) -> object:
        """Return ``{"version", "pid", "uptime"}``."""
        return self._documents.identity(self._now())

    def describe(self, _params: NoParams, _peer: Peer) -> object:
        """Return the protocol version, and the methods with their parameters."""
        return {
            "protocol": jsonrpc.PROTOCOL,
            "version": __version__,
            "methods": {
                row.name: {"summary": row.summary, "params": _parameters(row.params), "control": row.control}
                for row in self.table().values()
            },
        }

    def status(self, _params: NoParams, _peer: Peer) -> object:
        """Return the document of ``coordctl status --json``."""
        return self._documents.status(self._now())

    def system_latest(self, _params: NoParams, _peer: Peer) -> object:
        """Return the latest system sample; raises Fault before the first one."""
        if self._store.system is None:
            raise Fault(jsonrpc.SERVER_ERROR, "No system sample yet", kind="not-yet")
        return self._store.system

    def agents_list(self, params: ListParams, _peer: Peer) -> object:
        """Return ``{"timestamp", "agents", "cursor"}``; the same bytes while nothing can have changed."""
        now = self._now()
        self._store.expire(now.mono)
        cached = self._lists.get(params)
        if cached and cached.version == self._store.version and now.mono < cached.until:
            return cached.answer
        after = _key_of(params.cursor) if params.cursor else None
        if min(len(self._store), params.limit or math.inf) > SLICE:
            return self._agents_in_slices(params, now, after)
        page: list[ShownAgent] = []
        cursor = None
        for shown in self._store.shown(
            now.mono, status=params.status, workspace=params.workspace, after=after
        ):
            if params.limit is not None and len(page) == params.limit:
                cursor = _cursor_of(page[-1].agent.key)
                break
            page.append(shown)
        views = [self._encoder.encode(view) for view in self._documents.agents(page, now)]
        answer = _joined(now, b"agents", views, {"cursor": cursor})
        return self._keep(self._lists, params, _CachedPage(self._store.version, now.mono + CACHE, answer))

    async def _agents_in_slices(self, params: ListParams, now: Moment, after: AgentKey | None) -> Raw:
        """Encode agents some at a time, the event loop running in between; each as it is at that moment."""
        version, parts, cursor, left = self._store.version, [], None, params.limit or math.inf
        while True:
            found = self._store.shown(now.mono, status=params.status, workspace=params.workspace, after=after)
            page = list(islice(found, int(min(SLICE, left))))
            parts += [self._encoder.encode(view) for view in self._documents.agents(page, now)]
            left -= len(page)
            if page:
                after = page[-1].agent.key
            if left <= 0 and next(found, None) is not None:
                cursor = _cursor_of(after)
            if left <= 0 or len(page) < SLICE:
                break
            await asyncio.sleep(0)
        answer = _joined(now, b"agents", parts, {"cursor": cursor})
        return self._keep(self._lists, params, _CachedPage(version, now.mono + CACHE, answer))

    @staticmethod
    def _keep(cache: dict[Params, _CachedPage], params: Params, answer: _CachedPage) -> Raw:
        if len(answer.answer.json) <= MAX_CACHED:
            if len(cache) >= MAX_ANSWERS:
                cache.clear()
            cache[params] = answer
        return answer.answer

    def agents_get(self, params: GetParams, _peer: Peer) -> object:
        """Return one agent with its evidence, tasks and claims."""
        now = self._now()
        found = self._find(params)
        return self._documents.agent_in_full(self._store.look(found, now.mono), now)

    def tasks_list(self, params: TasksParams, _peer: Peer) -> object:
        """Return ``{"timestamp", "tasks", "unknown", "cursor"}``; see :meth:`Documents.tasks`."""
        now = self._now()
        version = self._tasks.version(now)
        cached = self._task_lists.get(params)
        if cached and cached.version == version and now.mono < cached.until:
            return cached.answer
        after = _position_of(params.cursor) if params.cursor else None
        if params.limit is None or params.limit > SLICE:
            return self._tasks_in_slices(params, now, after)
        page: list[TaskView] = []
        cursor, last = None, after
        for position, view in self._tasks.shown(
            now, state=params.state, workspace=params.workspace, after=after
        ):
            if params.limit is not None and len(page) == params.limit:
                cursor = _cursor_of(last)
                break
            page.append(view)
            last = position
        answer = Raw(self._encoder.encode(self._documents.tasks(page, now, cursor=cursor)))
        return self._keep(self._task_lists, params, _CachedPage(version, now.mono + CACHE, answer))

    async def _tasks_in_slices(self, params: TasksParams, now: Moment, after: TaskPosition | None) -> Raw:
        version, parts, cursor, left = self._tasks.version(now), [], None, params.limit or math.inf
        while True:
            found = self._tasks.shown(now, state=params.state, workspace=params.workspace, after=after)
            page = list(islice(found, int(min(SLICE, left))))
            parts += [self._encoder.encode(view) for _, view in page]
            left -= len(page)
            if page:
                after = page[-1][0]
            if left <= 0 and next(found, None) is not None:
                cursor = _cursor_of(after)
            if left <= 0 or len(page) < SLICE:
                break
            await asyncio.sleep(0)
        answer = _joined(now, b"tasks", parts, {"unknown": self._tasks.unknown(), "cursor": cursor})
        return self._keep(self._task_lists, params, _CachedPage(version, now.mono + CACHE, answer))

    def history_query(self, params: HistoryParams, peer: Peer) -> Awaitable[object]:
        """Return ``{"records", "truncated"}``."""
        return self._query_history(params, peer)

    async def _query_history(self, params: HistoryParams, peer: Peer) -> Raw:
        return Raw(await self._history.query(params, peer))

    def subscribe(self, params: SubscribeParams, _peer: Peer) -> Opened:
        """Return ``{"seq", "timestamp", "topics", "status", "agents"}``; later records have a higher seq."""
        now = self._now()
        topics = [topic for topic in TOPICS if params.topics is None or topic in params.topics]
        snapshot = {
            "seq": self._hub.seq,
            "timestamp": format_utc(now.wall),
            "topics": topics,
            "status": self._documents.status(now),
            "agents": self._documents.agents(self._store.shown(now.mono), now),
        }
        return Opened(Raw(self._encoder.encode(snapshot)), self._hub.subscribe(topics))

    def reload(self, _params: NoParams, _peer: Peer) -> Awaitable[object]:
        """Return ``{"changed", "restart_required"}``."""
        return self._reload()

    async def _reload(self) -> object:
        changed, restart_required = await self._reloader.reload()
        return {"changed": changed, "restart_required": restart_required}

    def _find(self, params: GetParams) -> Agent:
        found = [
            agent
            for agent in self._store.named(params.agent_id)
            if params.workspace is None or agent.key.workspace == params.workspace
        ]
        if not found:
            raise Fault(jsonrpc.SERVER_ERROR, f"No agent {params.agent_id!r} is known", kind="no-such-agent")
        if len(found) > 1:
            raise Fault(
                jsonrpc.INVALID_PARAMS,
                f"Agent {params.agent_id!r} exists in {len(found)} workspaces: name one",
                kind="ambiguous",
                workspaces=[agent.key.recorded_workspace for agent in found],
            )
        return found[0]


def _joined(now: Moment, name: bytes, parts: list[bytes], rest: dict[str, object]) -> Raw:
    """Return a document with a page of entries that are already encoded."""
    head, tail = msgspec.json.encode({"timestamp": format_utc(now.wall)}), msgspec.json.encode(rest)
    return Raw(b'%b,"%b":[%b],%b' % (head[:-1], name, b",".join(parts), tail[1:]))


def _parameters(params: type[msgspec.Struct]) -> list[dict[str, object]]:
    return [
        {"name": field.name, "type": _type_name(field.type), "required": field.required}
        for field in msgspec.structs.fields(params)
    ]


def _type_name(kind: object) -> str:
    schema = msgspec.json.schema(kind)
    options = schema.get("anyOf", [schema])
    names: list[str] = []
    for option in options:
        names += [json.dumps(value) for value in option["enum"]] if "enum" in option else [option["type"]]
    return "|".join(names)


def _cursor_of(position: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(position).encode()).decode()


def _key_of(cursor: str) -> AgentKey:
    key: AgentKey = _decoded_cursor(cursor, AgentKey)
    return key


def _position_of(cursor: str) -> TaskPosition:
    position: TaskPosition = _decoded_cursor(cursor, TaskPosition)
    return position


def _decoded_cursor(cursor: str, kind: object) -> Any:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(cursor.encode()), type=kind)
    except (ValueError, binascii.Error) as error:  # msgspec's own errors are ValueErrors
        raise Fault(jsonrpc.INVALID_PARAMS, "Invalid params: not a cursor of ours", kind="params") from error
