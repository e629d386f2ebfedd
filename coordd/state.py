"""The latest picture, as clients are shown it.

A change enters the picture (:meth:`Picture.publish`) after its record was written; until then the picture
shows what was before. Verdicts are computed at the moment of reading: a heap of deadlines tells which agents
have fallen silent since, so that counting costs only what changed. The picture reads no clock and does no
I/O.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from coordd.clocks import Heart, ObservedClock
from coordd.liveness import Evidence, Verdict, judge
from coordd.model import AgentCounts, Status, SystemSample
from coordd.reducer import Key, KnownAgent


@dataclass(slots=True)
class Workspace:
    """One source of agents: where it is, how it is followed, and what it cannot do right now.

    ``state``: ``inotify`` or ``poll`` while it is read, ``waiting`` while there is nothing to read yet,
    ``unreadable`` with ``error``. ``malformed`` maps traces that cannot be used to the reason.
    """

    path: str
    clock: ObservedClock
    state: str = "waiting"
    error: str | None = None
    malformed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shown:
    """One agent at the moment of asking: what is known, and its verdict now.

    ``age`` is the real time in seconds since its last beat, None when there was none. The silence in the
    evidence is the part of it in which somebody was listening.
    """

    agent: KnownAgent
    verdict: Verdict
    evidence: Evidence
    age: float | None


class Picture:
    """All agents, workspaces and the latest system sample, with counters kept as they change.

    ``on_change`` is told of each agent that comes, goes, or has another status or other tasks.
    """

    def __init__(self, *, timeout: float, heart: Heart) -> None:
        self.timeout = timeout
        self.workspaces: dict[str, Workspace] = {}
        self.system: SystemSample | None = None
        self.version = 0
        self.on_change: Callable[[Key], None] = lambda _key: None
        self._heart = heart
        self._agents: dict[Key, KnownAgent] = {}
        self._beats: dict[Key, float] = {}
        self._order: list[tuple[str, str]] = []
        self._shown: dict[Key, Status] = {}
        self._counts: dict[Status, int] = {"active": 0, "inactive": 0, "unknown": 0}
        self._deadlines: list[tuple[float, tuple[str, str], Key]] = []
        self._timed: dict[Key, float] = {}
        self._unrecorded: set[Key] = set()

    def __len__(self) -> int:
        return len(self._agents)

    def get(self, key: Key) -> KnownAgent | None:
        """The agent as last published."""
        return self._agents.get(key)

    def in_workspace(self, workspace: str | None) -> list[KnownAgent]:
        """All agents of one workspace."""
        name = workspace or ""
        start = bisect_left(self._order, (name, ""))
        found = []
        for place in self._order[start:]:
            if place[0] != name:
                break
            found.append(self._agents[(workspace, place[1])])
        return found

    def named(self, agent_id: str) -> list[KnownAgent]:
        """The agents of that id, in whichever workspace."""
        keys = [(path, agent_id) for path in (None, *self.workspaces)]
        return [self._agents[key] for key in keys if key in self._agents]

    def publish(self, agent: KnownAgent, mono: float) -> None:
        """Show the agent as it is now known."""
        key = agent.key
        before = self._agents.get(key)
        if before is None:
            insort(self._order, _place(key))
        self._agents[key] = agent
        if before is None or _beat(before) != _beat(agent):
            self._date_beat(agent, mono)
        if before is None or _tasks(before) != _tasks(agent):
            self.on_change(key)
        self._unrecorded.discard(key)
        self.version += 1
        self._show(key, self._judge(agent, self._heart.horizon(mono)).status)
        self._await_deadline(agent, mono)

    def remove(self, key: Key) -> None:
        """Forget the agent."""
        if self._agents.pop(key, None) is None:
            return
        del self._order[bisect_left(self._order, _place(key))]
        self._counts[self._shown.pop(key)] -= 1
        self._beats.pop(key, None)
        self._unrecorded.discard(key)
        self.version += 1
        self.on_change(key)

    def rejudge(self, workspace: str | None, mono: float) -> None:
        """Judge a workspace's agents anew after its clock or its readability changed."""
        for agent in self.in_workspace(workspace):
            self._show(agent.key, self._judge(agent, self._heart.horizon(mono)).status)
            self._await_deadline(agent, mono)

    def rejudge_all(self, mono: float) -> None:
        """Judge everything anew, after a gap or another timeout."""
        self._deadlines.clear()
        self._timed.clear()
        for workspace in {key[0] for key in self._agents}:
            self.rejudge(workspace, mono)

    def counts(self, mono: float) -> AgentCounts:
        """How many agents have which status at this moment."""
        self.expire(mono)
        return AgentCounts(**self._counts)

    def expire(self, mono: float) -> None:
        """Let every deadline that has passed count."""
        horizon = self._heart.horizon(mono)
        while self._deadlines and self._deadlines[0][0] <= horizon:
            due, _, key = heapq.heappop(self._deadlines)
            if self._timed.get(key) != due:
                continue  # an earlier deadline took its place
            del self._timed[key]
            agent = self._agents.get(key)
            if agent is not None:
                self._show(key, self._judge(agent, horizon).status)
                self._await_deadline(agent, horizon)

    def horizon(self, mono: float) -> float:
        """The latest moment at which agents may be judged: ``mono``, but for a gap not yet reported."""
        return self._heart.horizon(mono)

    def status_of(self, key: Key) -> Status | None:
        """The status as :meth:`expire` last found it, None where there is no such agent."""
        return self._shown.get(key)

    def next_deadline(self) -> float | None:
        """Monotonic time of the next possible change of a verdict; may be too early, never too late."""
        return self._deadlines[0][0] if self._deadlines else None

    @property
    def owes_records(self) -> bool:
        """Whether some agent's verdict is known to differ from the one in its last record."""
        return bool(self._unrecorded)

    def take_unrecorded(self, mono: float) -> list[Key]:
        """The agents whose verdict now differs from the one in their last record."""
        self.expire(mono)
        keys, self._unrecorded = self._unrecorded, set()
        return sorted(keys, key=_place)

    def shown(
        self,
        mono: float,
        *,
        status: str | None = None,
        workspace: str | None = None,
        after: Key | None = None,
    ) -> Iterator[Shown]:
        """The agents in the order (workspace, id), judged at this moment, beginning after a key."""
        self.expire(mono)
        start = 0
        if after is not None:
            place = _place(after)
            start = bisect_left(self._order, place)
            start += start < len(self._order) and self._order[start] == place
        elif workspace is not None:
            start = bisect_left(self._order, (workspace, ""))
        for index in range(start, len(self._order)):
            name, agent_id = self._order[index]
            key: Key = (name or None, agent_id)
            if workspace is not None and name != workspace:
                if name > workspace:
                    return
                continue
            if status is None or self._shown[key] == status:
                yield self.look(self._agents[key], mono)

    def look(self, agent: KnownAgent, mono: float) -> Shown:
        """One published agent judged at this moment."""
        evidence = self._evidence(agent, self._heart.horizon(mono))
        beat = self._beats.get(agent.key)
        age = None if beat is None else max(0.0, mono - beat)
        return Shown(agent, judge(evidence), evidence, age)

    def malformed(self) -> Iterable[tuple[str, str]]:
        """The traces that cannot be used right now, with the reason for each."""
        for workspace in self.workspaces.values():
            yield from workspace.malformed.items()

    def _evidence(self, agent: KnownAgent, mono: float) -> Evidence:
        clock = self._clock(agent.key)
        return agent.evidence(clock.now(mono), timeout=self.timeout, readable=clock.readable)

    def _judge(self, agent: KnownAgent, mono: float) -> Verdict:
        return judge(self._evidence(agent, mono))

    def _clock(self, key: Key) -> ObservedClock:
        return self.workspaces[key[0] or ""].clock

    def _show(self, key: Key, status: Status) -> None:
        before = self._shown.get(key)
        if before != status:
            if before is not None:
                self._counts[before] -= 1
            self._counts[status] += 1
            self._shown[key] = status
            self.version += 1
            self.on_change(key)
        if status != self._agents[key].verdict.status:
            self._unrecorded.add(key)
        else:
            self._unrecorded.discard(key)

    def _date_beat(self, agent: KnownAgent, mono: float) -> None:
        """Keep when the beat was, now: what its clock takes out later must not make it younger."""
        if agent.beat_at is None:
            self._beats.pop(agent.key, None)
        else:
            silence = self._clock(agent.key).now(mono) - agent.beat_at
            self._beats[agent.key] = mono - max(0.0, silence)

    def _await_deadline(self, agent: KnownAgent, mono: float) -> None:
        """Put the agent on the heap if it can fall silent and does not stand there, possibly too early."""
        if agent.beat_at is None or self._shown[agent.key] != "active":
            return
        silence = self._clock(agent.key).now(mono) - agent.beat_at
        due = mono + max(0.001, self.timeout - silence)
        # An agent can come back with an older beat than the one it was on the heap for.
        if self._timed.get(agent.key, math.inf) > due:
            heapq.heappush(self._deadlines, (due, _place(agent.key), agent.key))
            self._timed[agent.key] = due


def _tasks(agent: KnownAgent) -> tuple[str, ...] | None:
    return agent.traces.tasks if agent.traces else None


def _beat(agent: KnownAgent) -> tuple[float | None, float | None]:
    return agent.beat_at, agent.beat_wall


def _place(key: Key) -> tuple[str, str]:
    return (key[0] or "", key[1])
