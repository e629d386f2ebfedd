"""Implement the methods of the control socket: what each takes and what it answers.

A handler reads the store at that moment and returns plain values; it knows neither sockets nor lines. The
rows of :meth:`Methods.table` are what ``describe`` answers, and what the README's table is checked against.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import Protocol

import msgspec

from coordd import __version__
from coordd.agents.join import Agent
from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.control.documents import Documents
from coordd.control.history import HistoryParams, HistoryQueries
from coordd.control.pages import Pages
from coordd.control.params import (
    AckParams,
    GetParams,
    ListParams,
    PurgeParams,
    SubscribeParams,
    TasksParams,
    parameters_of,
)
from coordd.control.peer import Peer
from coordd.control.reload import Reloader
from coordd.control.rpc import Method, NoParams, Opened
from coordd.control.subscribing import Subscribing
from coordd.model import (
    RECORD_TOPICS,
    AgentView,
    OrphanView,
    TaskView,
)
from coordd.protocol import jsonrpc
from coordd.protocol.jsonrpc import Fault
from coordd.runtime.clocks import Moment
from coordd.tasks.needs import Needs
from coordd.tasks.views import TaskList, TaskPosition
from coordd.util.timestamps import format_utc


class Purger(Protocol):
    """Purge records; service/purging.py implements it."""

    async def purge(
        self, *, agent_id: str | None, place: str | None, dry_run: bool, job: int | None
    ) -> Mapping[str, object]:
        """Begin a purge, or ask for the one with this number; return how far it is."""
        ...


class Methods:
    """Handle the methods, with what they read from."""

    def __init__(
        self,
        *,
        store: AgentStore,
        documents: Documents,
        tasks: TaskList,
        subscribing: Subscribing,
        history: HistoryQueries,
        reloader: Reloader,
        purger: Purger,
        needs: Needs,
        orphans: Callable[[], Awaitable[Sequence[OrphanView] | None]],
        forget: Callable[[AgentKey], Awaitable[None]],
        keep: Callable[[], Awaitable[None]],
        now: Callable[[], Moment],
    ) -> None:
        self._store = store
        self._documents = documents
        self._tasks = tasks
        self._subscribing = subscribing
        self._history = history
        self._reloader = reloader
        self._purger = purger
        self._needs = needs
        self._orphans = orphans
        self._forget = forget
        self._keep = keep
        self._now = now
        self._agents_list = Pages[ListParams, AgentKey](
            name="agents", position=AgentKey, look=self._agents, version=self._agents_version, now=now
        )
        self._tasks_list = Pages[TasksParams, TaskPosition](
            name="tasks",
            position=TaskPosition,
            look=self._listed_tasks,
            version=tasks.version,
            now=now,
            rest=lambda: {"unknown": tasks.unknown()},
        )

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
                "agents.list", "agents by workspace and id, a page at a time", self._agents_list, ListParams
            ),
            Method("agents.get", "one agent with its evidence, tasks and claims", self.agents_get, GetParams),
            Method(
                "agents.forget",
                "an agent that is not alive leaves the list now; its records stay",
                self.agents_forget,
                GetParams,
                control=True,
            ),
            Method(
                "attention.ack",
                "an entry of attention, or each, is seen: it is off the list until it changes",
                self.attention_ack,
                AckParams,
                control=True,
            ),
            Method(
                "tasks.list",
                "tasks and claims, orphaned ones first, a page at a time",
                self._tasks_list,
                TasksParams,
            ),
            Method(
                "orphans.list",
                "processes that outlived their agent, by agent and start; coordd ends none of them",
                self.orphans_list,
                NoParams,
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
                + ", ".join(f"`{topic}`" for topic in RECORD_TOPICS)
                + " for each record, `task` and `attention` for each change, `lagged` for those lost; "
                "`since` (`RUN:SEQ`) goes on after a lost connection; half of all connections may subscribe",
                self.subscribe,
                SubscribeParams,
            ),
            Method(
                "records.purge",
                "the records of an agent or a project go; answers how far it is, ask again with `job`",
                self.records_purge,
                PurgeParams,
                control=True,
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
                row.name: {
                    "summary": row.summary,
                    "params": parameters_of(row.params),
                    "control": row.control,
                }
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

    def _agents(
        self, params: ListParams, now: Moment, after: AgentKey | None
    ) -> Iterator[tuple[AgentKey, AgentView]]:
        found = self._store.shown(
            now.mono,
            status=params.status,
            activity=params.activity,
            workspace=self._store.named_workspace(params.workspace),
            after=after,
            wall=now.wall,
        )
        return ((one.agent.key, self._documents.agent(one, now)) for one in found)

    def _agents_version(self, now: Moment) -> int:
        self._store.expire(now.mono)
        return self._store.version

    def agents_get(self, params: GetParams, _peer: Peer) -> object:
        """Return one agent with its evidence, tasks and claims."""
        now = self._now()
        found = self._find(params)
        return self._documents.agent_in_full(self._store.look(found, now.mono, now.wall), now)

    def agents_forget(self, params: GetParams, _peer: Peer) -> Awaitable[object]:
        """Return ``{"forgotten": true}``."""
        return self._forget_agent(params)

    async def _forget_agent(self, params: GetParams) -> object:
        now = self._now()
        found = self._find(params)
        if self._store.look(found, now.mono, now.wall).verdict.status == "active":
            raise Fault(
                jsonrpc.INVALID_PARAMS,
                f"Agent {params.agent_id!r} is alive: only one that is not can be forgotten",
                kind="alive",
            )
        await self._forget(found.key)
        return {"forgotten": True}

    def attention_ack(self, params: AckParams, _peer: Peer) -> Awaitable[object]:
        """Return ``{"acknowledged"}``, the number of entries; raises Fault for an entry that is not there."""
        return self._acknowledge(params)

    async def _acknowledge(self, params: AckParams) -> object:
        count = self._needs.ack(params.entry, self._now())
        if params.entry is not None and count == 0:
            raise Fault(
                jsonrpc.INVALID_PARAMS,
                f"Nothing that needs you has the id {params.entry!r}: coordctl status --json lists attention",
                kind="no-such-entry",
            )
        if count:
            await self._keep()
        return {"acknowledged": count}

    def _listed_tasks(
        self, params: TasksParams, now: Moment, after: TaskPosition | None
    ) -> Iterator[tuple[TaskPosition, TaskView]]:
        workspace = self._store.named_workspace(params.workspace)
        return self._tasks.shown(now, state=params.state, workspace=workspace, after=after)

    def orphans_list(self, _params: NoParams, _peer: Peer) -> Awaitable[object]:
        """Return ``{"timestamp", "orphans"}``; raises Fault where that cannot be told."""
        return self._list_orphans()

    async def _list_orphans(self) -> object:
        found = await self._orphans()
        if found is None:
            raise Fault(
                jsonrpc.SERVER_ERROR, "Looking at all processes takes too long: try again", kind="timeout"
            )
        return {"timestamp": format_utc(self._now().wall), "orphans": found}

    def history_query(self, params: HistoryParams, peer: Peer) -> Awaitable[object]:
        """Return ``{"records", "truncated"}``."""
        return self._query_history(params, peer)

    async def _query_history(self, params: HistoryParams, peer: Peer) -> msgspec.Raw:
        return msgspec.Raw(await self._history.query(params, peer))

    def subscribe(self, params: SubscribeParams, _peer: Peer) -> Opened:
        """Return ``{"run", "seq", "timestamp", "topics", "resumed", …}``; what follows has a higher seq."""
        return self._subscribing.subscribe(params)

    def records_purge(self, params: PurgeParams, _peer: Peer) -> Awaitable[object]:
        """Return how far it is: ``job``, ``done``, ``lines``, ``files``, ``left``, and the like."""
        named = params.project if params.project is not None else params.workspace
        if params.project is not None and params.agent_id is not None:
            raise Fault(jsonrpc.INVALID_PARAMS, "Invalid params: an agent or a project, not both")
        if params.job is None and params.agent_id is None and params.project is None:
            raise Fault(jsonrpc.INVALID_PARAMS, "Invalid params: name an agent or a project")
        return self._purger.purge(
            agent_id=params.agent_id,
            place=self._store.named_workspace(named),
            dry_run=params.dry_run,
            job=params.job,
        )

    def reload(self, _params: NoParams, _peer: Peer) -> Awaitable[object]:
        """Return ``{"changed", "restart_required", "problems"}``."""
        return self._reloader.reload()

    def _find(self, params: GetParams) -> Agent:
        workspace = self._store.named_workspace(params.workspace)
        found = [
            agent
            for agent in self._store.named(params.agent_id)
            if workspace is None or agent.key.workspace == workspace
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
