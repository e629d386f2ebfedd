"""Whatever happens in three sources, in whatever order: what is shown and recorded follows a naive model.

Two daemons see the same world and are told of it in opposite orders.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from simulated import Clock, Coordd, Records

from coordd.agents.key import NO_WORKSPACE, AgentKey
from coordd.agents.observation import Observation
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentsChange, AgentTraces, Heartbeat, SourceTraces
from coordd.model import AgentSample
from coordd.runtime.clocks import ObservedClock
from coordd.sinks.restore import restore
from coordd.sources.base import RESCAN, Source, SourceListener
from coordd.sources.fake import FakeSource
from coordd.util.timestamps import parse_timestamp, utc_date

TIMEOUT, FORGET = 90.0, 990.0
MOMENT = 0.7
"""Seconds in which what was told is read; all other times are multiples of a minute, far from both limits."""
SOURCES = {
    "A": (SourceName("file", "/a"), "/a", 0),
    "B": (SourceName("file", "/b"), "/b", 0),
    "C": (SourceName("redis"), NO_WORKSPACE, 1),
}
IDS = ("x", "y")
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
                    None, beat, at, recorded_tasks=sample.active_tasks, shared=len(sample.sources) > 1
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
        if not new.shared:
            new.recorded_tasks = None
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

    def status(self, behind: list[tuple[str, Seen]]) -> tuple[str, float | None]:
        """Return the status of an agent, and its silence."""
        silences = [
            max(0.0, self.clocks[source].now(self._clock.mono) - one.at)
            for source, one in behind
            if one.at is not None
        ]
        silence = min(silences, default=None)
        if silence is not None and silence < TIMEOUT:
            return "active", silence
        if silence is None or not all(self.clocks[source].readable for source, _ in behind):
            return "unknown", silence
        return "inactive", silence

    def forget(self) -> None:
        """Forget agents that have been silent for too long, and what a workspace alone says of such."""
        while over := [behind for behind in self._to_be_forgotten() if self._is_over(behind)]:
            for source, one in max(over, key=lambda behind: self.status(behind)[1] or 0.0):
                one.dormant = True
                if one.traces is not None and one.traces == AgentTraces(one.traces.agent_id):
                    del self.seen[source][one.traces.agent_id]

    def _to_be_forgotten(self) -> Iterator[list[tuple[str, Seen]]]:
        for behind in self.agents().values():
            for some in (behind, [(source, one) for source, one in behind if source != "C"]):
                if not all(one.dormant for _, one in some):
                    yield some

    def _is_over(self, behind: list[tuple[str, Seen]]) -> bool:
        status, silence = self.status(behind)
        return status == "inactive" and silence is not None and silence > FORGET

    def shown(self) -> Shown:
        """Return status, sources and tasks of each agent that is to be shown."""
        found: Shown = {}
        for key, behind in self.agents().items():
            if not all(one.dormant for _, one in behind):
                kinds = tuple(dict.fromkeys(SOURCES[source][0].kind for source, _ in behind))
                found[key] = self.status(behind)[0], kinds, self.tasks([one for _, one in behind])
        return found

    @staticmethod
    def tasks(behind: list[Seen]) -> int | None:
        if any(one.traces is None for one in behind):
            return next((one.recorded_tasks for one in behind if one.recorded_tasks is not None), None)
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

    known: Mapping[str, Observation] = {}  # a view, given at the start

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
        self.beats_seen: dict[AgentKey, float | None] = {}
        self.sources: dict[AgentKey, tuple[str, ...]] = {}  # those shown; that one leaves is no record
        self.finder = Finder(order, places)
        self.coordd: Coordd | None = None

    async def start(self, directory: Path) -> None:
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
        await self.coordd.start(remembered)

    async def stop(self) -> None:
        assert self.coordd is not None
        await self.coordd.stop()
        self.coordd = None

    def read_records(self) -> None:
        """Read on in the records: each tells something new, and each event is a change of status."""
        for events, samples in self.records.batches[self.read_batches :]:
            self.read_batches += 1
            before = dict(self.story)
            for one in samples:
                key = AgentKey(one.workspace or NO_WORKSPACE, one.agent_id)
                last = self.story.get(key)
                if one.cause == "removed":
                    assert last is not None, f"removed, and was not there: {one}"
                    del self.story[key]
                    continue
                if last is not None:
                    last = replace(last, sources=self.sources.get(key, last.sources))
                    assert said(one) != said(last), f"recorded twice: {one}"
                self.sources.pop(key, None)
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
        sample.active_tasks,
        sample.last_heartbeat,
        sample.declared_status,
        sample.sources,
    )


letters = st.sampled_from("ABC")
ids = st.sampled_from(IDS)
tasks = st.sampled_from([(), ("t1",), ("t1", "t2"), None])
kinds_of_change = st.sampled_from(["beat", "beat", "beat", "tasks", "vanish", "expire", "old"])
changes = st.tuples(letters, ids, kinds_of_change, tasks).filter(lambda one: one[:2] != ("B", "y"))


class ThreeSources(RuleBasedStateMachine):
    """The world, two daemons that watch it, and the model."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self._patches = [
            patch("coordd.runtime.schedule.monotonic", self.clock.monotonic),
            patch("coordd.runtime.schedule.time", self.clock.time),
        ]
        for one in self._patches:
            one.start()
        self._folder = TemporaryDirectory()
        self._loop = asyncio.Runner()
        self.places = {letter: Place() for letter in SOURCES}
        self.daemons = [
            Daemon(self.clock, order, self.places) for order in (("A", "B", "C"), ("C", "B", "A"))
        ]
        self.model = Model(self.clock)
        self.up = False
        self.start()

    def teardown(self) -> None:
        if self.up:
            self.stop()
        self._loop.close()
        self._folder.cleanup()
        for one in self._patches:
            one.stop()

    # What happens.

    @rule(several=st.lists(changes, min_size=1, max_size=4))
    def agents_leave_traces(self, several: list[tuple[str, str, str, tuple[str, ...] | None]]) -> None:
        for letter, agent_id, kind, listed in several:
            place = self.places[letter].agents
            old = place.get(agent_id, AgentTraces(agent_id))
            now = self.clock.time()
            if kind == "vanish":
                place.pop(agent_id, None)
            elif kind == "expire":  # as a key of Redis does: the source knows that it only fell silent
                if letter == "C" and agent_id in place:
                    place[agent_id] = AgentTraces(agent_id)
            elif kind == "old":
                if agent_id not in place:
                    place[agent_id] = AgentTraces(agent_id, Heartbeat(now - 3600, None, (now - 3600,)))
            else:
                beat = old.heartbeat
                # What has no beat at all is forgotten with what it is joined with, and in two workspaces that
                # depends on what was read before: such an id is in one workspace here.
                if kind == "beat" or (beat is None and agent_id == "x"):
                    beat = Heartbeat(now, None, (now,))
                place[agent_id] = AgentTraces(agent_id, beat, tasks=listed if beat else listed or ("t1",))
        for daemon, order in zip(self.daemons, (several, several[::-1]), strict=True):
            if self.up:
                for letter, agent_id, *_ in order:
                    self._tell(daemon.finder, letter, agent_id)
        self._settle([letter for letter, *_ in several])

    def _tell(self, finder: Finder, letter: str, agent_id: str) -> None:
        source = finder.sources.get(letter)
        traces = self.places[letter].agents.get(agent_id)
        if source is not None and traces is not None:
            source.put(traces)
        elif source is not None:
            source.remove(agent_id)

    @rule(minutes=st.sampled_from([1, 2, 5, 17, 20]))
    def time_passes(self, minutes: int) -> None:
        self._pass(60.0 * minutes)

    @rule(letter=letters)
    def a_source_breaks(self, letter: str) -> None:
        place = self.places[letter]
        if place.broken:
            return
        place.broken = True
        if self.up and place.configured:
            self.model.clocks[letter].lost(self.clock.mono)
            for daemon in self.daemons:
                self._loop.run(_call(daemon.finder.sources[letter].break_, "it is broken"))
        self._settle([])

    @rule(several=st.lists(letters, min_size=1, max_size=3, unique=True))
    def sources_are_mended(self, several: list[str]) -> None:
        mended = [letter for letter in several if self.places[letter].broken]
        for letter in mended:
            self.places[letter].broken = False
        for daemon, order in zip(self.daemons, (mended, mended[::-1]), strict=True):
            for letter in order:
                if self.up and self.places[letter].configured:
                    self._loop.run(_call(daemon.finder.sources[letter].mend))
        self._settle(mended, fresh=True)

    @rule(letter=letters)
    def agents_can_beat_or_cannot(self, letter: str) -> None:
        place = self.places[letter]
        place.still = not place.still
        if self.up and place.configured:
            for daemon in self.daemons:
                source = daemon.finder.sources[letter]
                self._loop.run(_call(source.stand_still, "is full" if place.still else None))
            if place.still:
                self.model.clocks[letter].lost(self.clock.mono)
            elif not place.broken:
                self.model.regained(letter)
        self._settle([])

    @precondition(lambda self: self.up)
    @rule(letter=letters)
    def a_source_is_configured_or_no_longer(self, letter: str) -> None:
        place = self.places[letter]
        place.configured = not place.configured
        for daemon in self.daemons:
            assert daemon.coordd is not None
            daemon.coordd.intake.find_soon()
        if place.configured:
            self.model.add(letter)
        else:
            self.model.drop(letter)
        self._settle([letter], fresh=True)

    @rule()
    def coordd_stops_or_starts(self) -> None:
        if self.up:
            self.stop()
        else:
            self.start()

    def stop(self) -> None:
        self.up = False
        for daemon in self.daemons:
            self._loop.run(daemon.stop())

    def start(self) -> None:
        self.up = True
        self.model = Model(self.clock)
        for letter, place in self.places.items():
            if place.configured:
                self.model.add(letter)
        for key, sample in self.daemons[0].story.items():
            self.model.remember(sample, self.daemons[0].beats_seen[key])
        began = self.clock.mono
        for daemon in self.daemons:
            self.clock.mono = began
            self._loop.run(daemon.start(Path(self._folder.name)))
        self._settle(list(SOURCES), fresh=True)

    # What comes of it.

    def _pass(self, seconds: float) -> None:
        began = self.clock.mono
        for daemon in self.daemons:
            self.clock.mono = began
            if daemon.coordd is not None:
                self._loop.run(daemon.coordd.jobs.pass_time(seconds))
        self.clock.mono = began + seconds
        if self.up:
            self.model.forget()

    def _settle(self, letters: list[str], *, fresh: bool = False) -> None:
        """Let what was told be read; in the model that happens at once."""
        for letter in letters:
            place = self.places[letter]
            if self.up and place.configured and not place.broken:
                if fresh and not place.still:
                    self.model.regained(letter)
                self.model.read(letter, place.agents, fresh=fresh)
        self._pass(MOMENT)

    @invariant()
    def it_is_right(self) -> None:
        self._nothing_failed_that_may_not()
        self._records_tell_what_is_shown()
        if self.up:
            for daemon in self.daemons:
                assert daemon.coordd is not None
                assert daemon.coordd.shown() == self.model.shown()

    def _records_tell_what_is_shown(self) -> None:
        for daemon in self.daemons:
            daemon.read_records()
            if daemon.coordd is not None:
                shown = daemon.coordd.shown()
                assert daemon.story.keys() == shown.keys()
                for key, (status, sources, active_tasks) in shown.items():
                    recorded = daemon.story[key]
                    assert (recorded.status, recorded.active_tasks) == (status, active_tasks), key
                    assert set(sources) <= set(recorded.sources)
                    daemon.sources[key] = sources

    def _nothing_failed_that_may_not(self) -> None:
        for daemon in self.daemons:
            for source in daemon.finder.sources.values():
                assert source.state.error in (None, "it is broken")


async def _call(function: Any, *about: Any) -> None:
    function(*about)


TestThreeSources: Any = ThreeSources.TestCase
TestThreeSources.settings = settings(max_examples=100, stateful_step_count=30)
