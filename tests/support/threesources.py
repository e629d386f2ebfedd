"""What three sources hold, the daemons that watch them, and a naive model of what these have to show."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from simulated import Clock, Coordd, Records

from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.observation import Observation
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentsChange, AgentTraces, SourceTraces
from coordd.model import AgentSample
from coordd.runtime.clocks import ObservedClock
from coordd.sinks.restore import restore
from coordd.sources.base import RESCAN, Source, SourceListener
from coordd.sources.fake import FakeSource
from coordd.util.timestamps import parse_timestamp, utc_date

TIMEOUT, FORGET = 90.0, 990.0
SOURCES = {
    "A": (SourceName("file", "/a"), "/a", 0),
    "B": (SourceName("file", "/b"), "/b", 0),
    "C": (SourceName("redis"), NO_WORKSPACE, 1),
}
STATUS_EVENTS = {f"agent.{status}" for status in ("active", "inactive", "unknown", "removed")}
Shown = dict[AgentKey, tuple[str, tuple[str, ...], int | None]]


@dataclass
class Seen:
    """What a source is known to tell of an agent; ``traces`` is None for what only records say.

    ``recorded_tasks`` counts until every source is read that the record was made of (``shared``: several).
    """

    traces: AgentTraces | None
    beat: float | None = None
    at: float | None = None
    dormant: bool = False
    recorded_tasks: int | None = None
    recorded: bool = False
    shared: bool = False


class Model:
    """What has to be shown: each source's agents, on its own clock, joined by their names."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.clocks: dict[str, ObservedClock] = {}
        self.seen: dict[str, dict[str, Seen]] = {}

    def add(self, source: str) -> None:
        self.clocks[source] = ObservedClock(blind_since=self._clock.mono)
        self.seen[source] = {}

    def drop(self, source: str) -> None:
        del self.clocks[source], self.seen[source]

    def remember(self, sample: AgentSample, seen: float | None) -> None:
        """Restore what the last record of an agent says, whose last beat was seen at this time."""
        beat = None if sample.last_heartbeat is None else parse_timestamp(sample.last_heartbeat)
        at = None if seen is None else self._clock.mono - (self._clock.time() - seen)
        for source, (name, workspace, _) in SOURCES.items():
            if source in self.seen and name.kind in sample.sources and workspace in ("", sample.workspace):
                self.seen[source][sample.agent_id] = Seen(
                    None,
                    beat,
                    at,
                    recorded_tasks=sample.active_tasks,
                    recorded=True,
                    shared=len(sample.sources) > 1,
                )

    def read(self, source: str, world: Mapping[str, AgentTraces], *, fresh: bool) -> None:
        """Take over what a source has; ``fresh``: it was not read until now."""
        old = self.seen[source]
        self.seen[source] = {
            agent_id: self._seen(source, old.get(agent_id), traces, fresh=fresh)
            for agent_id, traces in world.items()
            if traces != AgentTraces(agent_id) or agent_id in old
        }

    def regained(self, source: str) -> None:
        """Let silence count again; what was seen of a beat meanwhile is no later than this."""
        self.clocks[source].regained(self._clock.mono)
        for one in self.seen[source].values():
            if one.at is not None:
                one.at = min(one.at, self.clocks[source].now(self._clock.mono))

    def _seen(self, source: str, old: Seen | None, traces: AgentTraces, *, fresh: bool) -> Seen:
        new = Seen(traces) if old is None else replace(old, traces=traces)
        new.recorded = new.shared
        beat = traces.heartbeat.written if traces.heartbeat else None
        known = old.traces.heartbeat if old is not None and old.traces is not None else None
        recorded = new.beat if old is not None and old.traces is None else None
        if beat is not None and traces.heartbeat != known and (recorded is None or beat > recorded):
            age = self._clock.time() - beat if fresh else 0.0
            at = self.clocks[source].now(self._clock.mono) - age
            if old is not None and old.traces is not None and old.at is not None:
                at = max(at, old.at)
            new.beat, new.at, new.dormant = beat, at, False
        return new

    def agents(self) -> dict[AgentKey, list[tuple[str, Seen]]]:
        """Return the agents: those of a workspace, and with them those of none, if only one has the id."""
        found: dict[AgentKey, list[tuple[str, Seen]]] = {}
        for source in ("A", "B", "C"):
            for agent_id, one in self.seen.get(source, {}).items():
                key = AgentKey(SOURCES[source][1], agent_id)
                homes = [other for other in found if other.agent_id == agent_id]
                awake = [other for other in homes if not all(there.dormant for _, there in found[other])]
                if source == "C" and len(awake or homes) == 1:
                    key = (awake or homes)[0]
                found.setdefault(key, []).append((source, one))
        return found

    def forget(self) -> None:
        """Make dormant what has been silent for too long by itself."""
        for source, told in self.seen.items():
            for one in told.values():
                one.dormant = one.dormant or self._is_over([(source, one)])
        for key, behind in self.agents().items():
            spent = [one for _, one in behind if one.dormant and one.traces == AgentTraces(key.agent_id)]
            others = [one for _, one in behind if one not in spent]
            if not others or any(one.at is not None for one in others):
                for source, one in behind:
                    if one in spent:
                        del self.seen[source][key.agent_id]

    def is_forgotten(self, behind: list[tuple[str, Seen]]) -> bool:
        return all(one.dormant for _, one in behind) or self._is_over(behind)

    def _is_over(self, behind: list[tuple[str, Seen]]) -> bool:
        silence = self.silence(behind)
        readable = all(
            one.dormant or one.at is None or self.clocks[source].readable for source, one in behind
        )
        return readable and silence is not None and silence > FORGET

    def silence(self, behind: list[tuple[str, Seen]]) -> float | None:
        silences = [
            max(0.0, self.clocks[source].now(self._clock.mono) - one.at)
            for source, one in behind
            if one.at is not None
        ]
        return min(silences, default=None)

    def status(self, behind: list[tuple[str, Seen]]) -> str:
        silence = self.silence(behind)
        if silence is not None and silence < TIMEOUT:
            return "active"
        if silence is None or not all(self.clocks[source].readable for source, _ in behind):
            return "unknown"
        return "inactive"

    def shown(self) -> Shown:
        """Return status, sources and tasks of each agent that is to be shown."""
        found: Shown = {}
        for key, behind in self.agents().items():
            if not self.is_forgotten(behind):
                kinds = tuple(dict.fromkeys(SOURCES[source][0].kind for source, _ in behind))
                found[key] = self.status(behind), kinds, self.tasks([one for _, one in behind])
        return found

    @staticmethod
    def tasks(behind: list[Seen]) -> int | None:
        if any(one.traces is None for one in behind):
            recorded = [one.recorded_tasks for one in behind if one.recorded]
            return None if None in recorded else recorded[0]
        lists = [one.traces.tasks for one in behind if one.traces]
        return None if None in lists else len({task for tasks in lists for task in tasks or ()})


@dataclass
class Place:
    """What one source holds, and whether it can be read: the same for both daemons."""

    agents: dict[str, AgentTraces] = field(default_factory=dict)
    configured: bool = True
    broken: bool = False
    still: bool = False


class ForgettingSource(FakeSource):
    """A source that tells of an agent without any trace, as of one that fell silent, while it is known."""

    known: Mapping[str, Observation] = {}

    def start(self, listener: SourceListener, known: Mapping[str, Observation]) -> None:
        self.known = known
        super().start(listener, known)

    async def read_all(self) -> SourceTraces:
        traces = await super().read_all()
        agents = {key: one for key, one in traces.agents.items() if self._is_there(key, one)}
        return replace(traces, agents=agents)

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        change = await super().read_some(hints)
        agents = {key: one if self._is_there(key, one) else None for key, one in change.agents.items()}
        return replace(change, agents=agents)

    def _is_there(self, agent_id: str, traces: AgentTraces | None) -> bool:
        return traces != AgentTraces(agent_id) or agent_id in self.known


class Finder:
    """Find the sources that are configured, in the order given."""

    def __init__(self, order: tuple[str, ...], places: Mapping[str, Place]) -> None:
        self._order, self._places = order, places
        self.sources: dict[str, FakeSource] = {}

    interval = RESCAN

    def start(self, _changed: Any) -> None:
        pass

    def stop(self) -> None:
        pass

    async def find(self) -> Mapping[SourceName, Source]:
        for letter in self._order:
            place = self._places[letter]
            if not place.configured:
                self.sources.pop(letter, None)
            elif letter not in self.sources:
                name, workspace, rank = SOURCES[letter]
                self.sources[letter] = source = ForgettingSource(name, workspace=workspace, rank=rank)
                source.agents = dict(place.agents)
                if place.broken:
                    source.break_("it is broken")
                if place.still:
                    source.stand_still("is full")
        return {source.state.name: source for source in self.sources.values()}


class Daemon:
    """One daemon, its records, and what these say if they are read from the beginning."""

    def __init__(self, clock: Clock, order: tuple[str, ...], places: Mapping[str, Place]) -> None:
        self._clock, self._order, self._places = clock, order, places
        self.records = Records()
        self.read_batches = 0
        self.story: dict[AgentKey, AgentSample] = {}
        self.sources: dict[AgentKey, tuple[str, ...]] = {}  # at the start: those recorded that are read still
        self.dropped: set[AgentKey] = set()  # at the start: their workspace is read no longer
        self.beats_seen: dict[AgentKey, float | None] = {}
        self.finder = Finder(order, places)
        self.model = Model(clock)
        self.coordd: Coordd | None = None

    async def start(self, directory: Path) -> None:
        """Start with what the records say of the last run; they are written to the directory."""
        self.model = Model(self._clock)
        for letter, place in self._places.items():
            if place.configured:
                self.model.add(letter)
        for key, sample in self.story.items():
            self.model.remember(sample, self.beats_seen[key])
        path = directory / f"agent_{utc_date(self._clock.time())}.jsonl"
        lines = [msgspec.json.encode(sample) + b"\n" for sample in self.records.samples]
        path.write_bytes(b"".join(lines))
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            remembered = restore(None, descriptor, now=self._clock.time())
        finally:
            os.close(descriptor)
        self.finder = Finder(self._order, self._places)
        self.coordd = Coordd(
            clock=self._clock,
            records=self.records,
            finders=(self.finder,),
            timeout=TIMEOUT,
            forget_after=FORGET,
        )
        places = {workspace for _, workspace, _ in self._read()}
        self.dropped = {one.key for one in remembered if one.key.workspace not in places}
        for key, one in self.story.items():
            kinds = {name.kind for name, workspace, _ in self._read() if workspace in ("", key.workspace)}
            self.sources[key] = tuple(kind for kind in one.sources if kind in kinds)
        await self.coordd.start(remembered)

    def _read(self) -> list[tuple[SourceName, str, int]]:
        return [SOURCES[letter] for letter, place in self._places.items() if place.configured]

    async def stop(self) -> None:
        assert self.coordd is not None
        await self.coordd.stop()
        self.coordd = None

    def read_records(self) -> None:
        """Read on in the records: each tells something new, and each event is a change of status."""
        for events, samples in self.records.batches[self.read_batches :]:
            self.read_batches += 1
            before = {key: one for key, one in self.story.items() if key not in self.dropped}
            for one in samples:
                key = AgentKey(one.workspace or NO_WORKSPACE, one.agent_id)
                last = self.story.get(key) if key in before else None
                self.dropped.discard(key)
                if one.cause == "removed":
                    assert last is not None, f"removed, and was not there: {one}"
                    del self.story[key]
                    continue
                sources = self.sources.pop(key, None)
                if last is not None:
                    last = replace(last, sources=sources or last.sources)
                    assert said(one) != said(last), f"recorded twice: {one}"
                assert (last is None) == (one.cause in ("appeared", "start")), one
                self.story[key] = one
                if one.status == "active" and one.cause in ("heartbeat", "appeared"):
                    self.beats_seen[key] = parse_timestamp(one.timestamp)
                elif last is None or one.last_heartbeat != last.last_heartbeat:
                    beat = one.last_heartbeat
                    self.beats_seen[key] = None if beat is None else parse_timestamp(beat)
            self._check_events(events, before)

    def _check_events(
        self, events: list[tuple[str, str, str | None]], before: Mapping[AgentKey, AgentSample]
    ) -> None:
        told = [event for event in events if event[0] in STATUS_EVENTS]
        assert len(told) == len(set(told)), told
        for kind, agent_id, workspace in told:
            key = AgentKey(workspace or NO_WORKSPACE, agent_id)
            status = kind.removeprefix("agent.")
            if status == "removed":
                assert key in before
                assert key not in self.story
            else:
                assert self.story[key].status == status
                assert key not in before or before[key].status != status, f"{kind} again"
        for key, one in self.story.items():
            last = before.get(key)
            if last is not None and last.status != one.status:
                assert (f"agent.{one.status}", key.agent_id, key.recorded_workspace) in told, one


def said(sample: AgentSample) -> tuple[object, ...]:
    """Return what a record says of its agent, whenever it was written."""
    return (
        sample.status,
        sample.reason,
        sample.activity,
        sample.active_tasks,
        sample.last_heartbeat,
        sample.declared_status,
        sample.sources,
    )
