"""Build the documents that clients get and the snapshot has, from what the daemon knows.

Plain dicts and dataclasses, with their fields in the order of the output; the encoder makes JSON of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import msgspec

from coordd import __version__
from coordd.agents.activity import deciding_activity_row
from coordd.agents.ended_today import EndedToday
from coordd.agents.evidence import evidence_of
from coordd.agents.explain import explain_activity, explain_verdict
from coordd.agents.key import NO_WORKSPACE
from coordd.agents.liveness import deciding_row
from coordd.agents.observation import ObservationKey
from coordd.agents.samples import view_fields
from coordd.agents.shown import ShownAgent
from coordd.agents.source import SourceName, SourceState, with_remedy
from coordd.agents.store import AgentStore
from coordd.agents.told_by import activity_sources, verdict_sources, with_sources
from coordd.control.account_limits import account_limits
from coordd.model import SCHEMA, AgentInFull, AgentView, OwnCost, SinkStatus, VerdictRow
from coordd.protocol.snapshot import ENDED
from coordd.redislink.state import RedisState
from coordd.runtime.clocks import Moment
from coordd.tasks.board import Board
from coordd.tasks.needs import Needs
from coordd.tasks.views import TaskList
from coordd.util.fields import Denied
from coordd.util.timestamps import format_utc

SLICE = 500
"""Agents that are encoded before the event loop runs again."""
SHOWN_MALFORMED = 20
"""Malformed traces that are named in ``status``; all of them are counted."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What stays the same while the daemon runs, for the documents.

    ``reads_homes`` is whether it looks for the homes of coding agents of all users.
    ``mode`` is ``coordination.mode``: which backends are read. ``start`` has the fields that say how to start
    it again (protocol/starting.py).
    """

    host: str
    pid: int
    started: Moment
    layout: str
    config_file: str | None
    socket: str
    metrics_dir: str
    log_dir: str
    reads_homes: bool
    mode: str
    start: Mapping[str, object]


class Documents:
    """Build the documents.

    ``sinks`` returns the status of each sink by name; ``lateness`` the seconds by which sampling of the host
    is late, 0.0 when it is on time. ``agents_of`` counts the agents that a source tells of, ``ended_today``
    those that ended in order since midnight. ``forgotten`` tells the next daemon who has left something and
    is not shown. ``awaited`` names places that would be sources if they were there, each with its kind, and
    why that cannot be told if it cannot. ``entries`` returns what each entry of the configuration stands for,
    ``search`` what the search for sources leaves out,
    ``configuration`` its problems and ``runtime_files`` those of coordd's own files, as sentences.
    ``restart_required`` names the keys of the configuration that await a restart.
    """

    def __init__(
        self,
        *,
        store: AgentStore,
        board: Board,
        tasks: TaskList,
        identity: Identity,
        sinks: Callable[[], Mapping[str, SinkStatus]],
        lateness: Callable[[float], float],
        cost: OwnCost,
        redis: RedisState,
        needs: Needs,
        agents_of: Callable[[SourceName], int],
        ended_today: EndedToday,
        forgotten: Callable[[float], Sequence[tuple[object, ...]]],
        refusal: Callable[[ObservationKey], str | None],
        awaited: Callable[[], Iterable[tuple[str, str, str | None]]] = tuple,
        entries: Callable[[], list[dict[str, object]]] = list,
        search: Callable[[], Iterable[str]] = tuple,
        configuration: Callable[[], Sequence[str]] = tuple,
        runtime_files: Callable[[], Iterable[str]] = tuple,
        restart_required: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._store = store
        self._runtime_files = runtime_files
        self._restart_required = restart_required
        self._board = board
        self._tasks = tasks
        self._identity = identity
        self._sinks = sinks
        self._lateness = lateness
        self._cost = cost
        self._redis = redis
        self._needs = needs
        self._agents_of = agents_of
        self._ended_today = ended_today
        self._forgotten = forgotten
        self._refusal = refusal
        self._awaited = awaited
        self._entries = entries
        self._search = search
        self._configuration = configuration

    def identity(self, now: Moment) -> dict[str, object]:
        """Return the answer to ``ping``: version, pid and uptime."""
        return {
            "version": __version__,
            "pid": self._identity.pid,
            "uptime": round(now.mono - self._identity.started.mono, 3),
        }

    def status(self, now: Moment) -> dict[str, object]:
        """Return the document of ``status``: health, problems, and the counts."""
        sinks = self._sinks()
        counts = self._store.counts(now.mono)
        tasks = self._board.counts(now)
        own = self._own_problems(now, sinks)
        problems = [*own, *self._needs.problems(now)]
        return {
            "schema": SCHEMA,
            "timestamp": format_utc(now.wall),
            "health": "degraded" if problems else "ok",
            "problems": problems,
            "own_problems": own,
            "warnings": [f"sink {name}: {sink.warning}" for name, sink in sinks.items() if sink.warning],
            "daemon": self._daemon(now),
            "redis": self._redis.document(),
            "system": self._store.system,
            "agents": {
                "total": len(self._store),
                "active": counts.active,
                "inactive": counts.inactive,
                "unknown": counts.unknown,
                "stalled": self._store.activity_counts()["stalled"],
                "ended": self._store.inactive_count("ended"),
                "killed": self._store.inactive_count("killed"),
                "ended_today": self._ended_today.count(now.wall),
                "activities": self._store.activity_counts(),
            },
            "attention": self._needs.entries(now),
            "limits": account_limits(self._store.sources.values(), now.wall),
            "tasks": tasks,
            "sinks": sinks,
            "workspaces": [
                self._workspace(path, source)
                for path, source in self._store.workspaces.items()
                if path != NO_WORKSPACE
            ],
            "workspace_entries": self._entries(),
            "sources": [
                *(self._source(one) for one in self._store.sources.values() if not one.holds_tasks),
                *(_awaited(*one) for one in self._awaited()),
            ],
            "traces_malformed": self._malformed(),
            "restart_required": list(self._restart_required()),
        }

    def _workspace(self, path: str, source: SourceState) -> dict[str, object]:
        return {
            "path": path,
            "state": source.state,
            "error": source.error,
            "project": source.project or path,
            "aliases": list(source.aliases),
            "entry": source.entry,
        }

    def _source(self, source: SourceState) -> dict[str, object]:
        return {
            "kind": source.name.kind,
            "path": source.name.path or None,
            "state": source.state,
            "error": source.error,
            "agents": self._agents_of(source.name),
            "unrecognised": list(source.unrecognised),
        }

    def summary(self, now: Moment) -> str:
        """Return one line about the state, for ``systemctl status``."""
        counts, need = self._store.counts(now.mono), len(self._needs.entries(now))
        dead = counts.inactive - self._store.inactive_count("ended")
        told = [("alive", counts.active), ("dead", dead), ("unknown", counts.unknown)]
        words = [f"{number} {word}" for word, number in told if number or word == "alive"]
        text = ", ".join(words) if counts.active or dead or counts.unknown else "no agents"
        text += f", {need} {'needs' if need == 1 else 'need'} you" if need else ""
        problems = [*self._own_problems(now, self._sinks()), *self._needs.problems(now)]
        return f"{text}; degraded: {'; '.join(problems)}" if problems else f"{text}; no problems"

    def summary_until(self, now: Moment) -> float:
        """Return the monotonic time at which time alone may change :meth:`summary`; infinite for never."""
        return self._needs.next_deadline(now)

    def agent(self, shown: ShownAgent, now: Moment) -> AgentView:
        """Return an agent as an entry of ``agents.list``, as of this moment."""
        return AgentView(**self._fields(shown, now))

    def agent_in_full(self, shown: ShownAgent, now: Moment) -> AgentInFull:
        """Return the document of ``agents.get``: an agent with its evidence, tasks and claims."""
        key, traces, row = shown.agent.key, shown.agent.traces, deciding_row(shown.evidence)
        fields = self._fields(shown, now)
        activity_row, activity_rows = None, []
        if shown.verdict.status == "active" or shown.doing.activity is not None:
            horizon = self._store.horizon(now.mono)
            work = self._store.judging.activity_of(key, shown.agent.observations, horizon)
            deciding = deciding_activity_row(work)
            activity_row = VerdictRow(deciding.number, deciding.when)
            explained = explain_activity(work, tool=fields.get("tool"))
            activity_rows = with_sources(explained, activity_sources(shown.agent.observations))
        return AgentInFull(
            **fields,
            verdict=VerdictRow(row.number, row.when),
            stalled=self._stalled(shown, now),
            verdict_rows=with_sources(
                explain_verdict(shown.evidence), verdict_sources(shown.agent.observations)
            ),
            activity_row=activity_row,
            activity_rows=activity_rows,
            evidence=evidence_of(
                self._store.look_at_sources(shown.agent, now.mono),
                stall=self._tasks.stall_evidence(key, now),
                stall_after=self._store.judging.limits.stall_after,
                wall=now.wall,
                refusal=self._refusal,
            ),
            tasks=traces.tasks if traces else None,
            claims=self._tasks.claims_of(key, now),
        )

    def _stalled(self, shown: ShownAgent, now: Moment) -> bool | None:
        """Return whether an agent is stalled: not if it holds nothing, and None where nothing tells."""
        if shown.doing.activity != "unknown":
            return shown.doing.activity == "stalled"
        horizon = self._store.horizon(now.mono)
        return False if self._store.judging.held(shown.agent.key, horizon).holds is False else None

    async def snapshot(self, now: Moment) -> dict[str, object]:
        """Return the snapshot, for ``coordctl status`` without a daemon, and for the next daemon.

        Its field :data:`ENDED` is for who ends the daemon in order to fill in.

        The agents are encoded some at a time: the event loop runs in between.
        """
        status, encode = self.status(now), msgspec.json.Encoder().encode
        agents: list[msgspec.Raw] = []
        after = None
        while page := list(islice(self._store.shown(now.mono, after=after), SLICE)):
            agents += [msgspec.Raw(encode(self.agent(one, now))) for one in page]
            after = page[-1].agent.key
            if len(page) < SLICE:
                break
            await asyncio.sleep(0)
        return {
            "schema": SCHEMA,
            "written_at": format_utc(now.wall),
            ENDED: None,
            "status": status,
            "agents": agents,
            "acknowledged": self._needs.acknowledged.ids,
            "ended_today": self._ended_today.listed(now.wall),
            "forgotten": self._forgotten(now.wall),
        }

    def _fields(self, shown: ShownAgent, now: Moment) -> dict[str, Any]:
        project = self._store.project_of(shown.agent.key.workspace)
        return view_fields(shown, wall=now.wall, host=self._identity.host, project=project)

    def _daemon(self, now: Moment) -> dict[str, object]:
        identity = self._identity
        return {
            "version": __version__,
            "pid": identity.pid,
            "metrics_dir": identity.metrics_dir,
            "log_dir": identity.log_dir,
            "host": identity.host,
            "uptime": round(now.mono - identity.started.mono, 3),
            "started_at": format_utc(identity.started.wall),
            "layout": identity.layout,
            "config_file": identity.config_file,
            "coord_mode": self._redis.mode,
            "mode": identity.mode,
            "cpu_seconds": self._cost.cpu_seconds,
            "rss": self._cost.rss,
            "socket": identity.socket,
            "reads_homes": identity.reads_homes,
            **identity.start,
        }

    def _own_problems(self, now: Moment, sinks: Mapping[str, SinkStatus]) -> list[str]:
        """Return what ails coordd itself, and what it reads; what agents need is told beside it."""
        problems = []
        late = self._lateness(now.mono)
        if late > 0:
            problems.append(f"the host sample is {late:.0f} s late")
        problems.extend(self._redis.problems(now))
        problems.extend(self._runtime_files())
        for name, sink in sinks.items():
            # A Redis that is down is reported once, not twice.
            if sink.state != "ok" and (name != "redis" or not self._redis.explains(sink.error)):
                problems.append(f"sink {name} fails: {sink.error} ({sink.backlog} records wait)")
        problems.extend(
            f"{_named(source)} cannot be read: {source.error}"
            for source in self._store.sources.values()
            if source.state == "unreadable" and not source.told_elsewhere
        )
        problems.extend(
            f"{_named(source)}: {source.error}; it is awaited"
            for source in self._store.sources.values()
            if source.state == "waiting" and source.error is not None and source.entry is not None
        )
        problems.extend(
            f"{_named(source)}: {kind}: {words}"
            for source in self._store.sources.values()
            for kind, words in source.over_limit.items()
            if source.state != "unreadable"
        )
        problems.extend(self._denied())
        problems.extend(self._search())
        problems.extend(self._configuration())
        return problems

    def _denied(self) -> Iterable[str]:
        """Yield what of the readable sources may not be read, a sentence for each source."""
        told = self._redis.troubles()
        for source in self._store.sources.values():
            denied = [] if source.state == "unreadable" else source.denied
            # that none of a kind may be read is told already
            denied = [one for one in denied if not any(f":{kind}" in one[0] for kind in told)]
            if denied:
                path, why = denied[0]
                which = why if path in why else f"{path}: {why}"
                more = f", and {len(denied) - 1} more of its traces" if len(denied) > 1 else ""
                yield f"{_named(source)}: {with_remedy(which + more, source.name.kind)}"

    def _malformed(self) -> dict[str, object]:
        traces = list(self._store.malformed())
        # those that somebody would remove come first: the others are listed as problems already
        traces.sort(key=lambda one: isinstance(one[1], Denied))
        return {
            "count": len(traces) + sum(one.malformed_unnamed for one in self._store.sources.values()),
            "denied": sum(isinstance(reason, Denied) for _, reason in traces),
            "traces": [
                {"path": path, "reason": str(reason), "denied": isinstance(reason, Denied)}
                for path, reason in traces[:SHOWN_MALFORMED]
            ],
        }


def _awaited(kind: str, path: str, error: str | None) -> dict[str, object]:
    state = "waiting" if error is None else "unreadable"
    return {"kind": kind, "path": path, "state": state, "error": error, "agents": 0, "unrecognised": []}


def _named(source: SourceState) -> str:
    if source.holds_tasks and source.workspace != NO_WORKSPACE:
        return f"workspace {source.workspace}"
    return f"{source.name.kind} {source.name.path}" if source.name.path else source.name.kind.capitalize()
