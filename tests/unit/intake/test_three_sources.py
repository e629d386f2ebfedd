"""Whatever happens in three sources, in whatever order: what is shown and recorded follows a naive model.

Two daemons see the same world and are told of it in opposite orders.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from simulated import Clock
from threesources import SOURCES, Daemon, Finder, Place

from coordd.agents.traces import AgentTraces, Heartbeat

MOMENT = 0.7
"""Seconds in which what was told is read; all other times are multiples of a minute, far from both limits."""
IDS = ("x", "y")

letters = st.sampled_from("ABC")
ids = st.sampled_from(IDS)
tasks = st.sampled_from([(), ("t1",), ("t1", "t2"), None])
kinds_of_change = st.sampled_from(["beat", "beat", "beat", "tasks", "vanish", "expire", "old"])
changes = st.tuples(letters, ids, kinds_of_change, tasks)


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
        orders = ("A", "B", "C"), ("C", "B", "A")
        self.daemons = [Daemon(self.clock, order, self.places) for order in orders]
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
                if kind == "beat":
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
            for daemon in self.daemons:
                daemon.model.clocks[letter].lost(self.clock.mono)
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
                    daemon.model.clocks[letter].lost(self.clock.mono)
                elif not place.broken:
                    daemon.model.regained(letter)
        self._settle([])

    @rule(letter=letters)
    def a_source_is_configured_or_no_longer(self, letter: str) -> None:
        place = self.places[letter]
        place.configured = not place.configured
        if self.up:
            for daemon in self.daemons:
                assert daemon.coordd is not None
                daemon.coordd.intake.find_soon()
                (daemon.model.add if place.configured else daemon.model.drop)(letter)
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
        for daemon in self.daemons:
            daemon.model.forget()

    def _settle(self, letters: list[str], *, fresh: bool = False) -> None:
        """Let what was told be read; in the model that happens at once."""
        for letter in letters:
            place = self.places[letter]
            if self.up and place.configured and not place.broken:
                for daemon in self.daemons:
                    if fresh and not place.still:
                        daemon.model.regained(letter)
                    daemon.model.read(letter, place.agents, fresh=fresh)
        self._pass(MOMENT)

    @invariant()
    def it_is_right(self) -> None:
        self._nothing_failed_that_may_not()
        self._records_tell_what_is_shown()
        if self.up:
            for daemon in self.daemons:
                assert daemon.coordd is not None
                assert daemon.coordd.shown() == daemon.model.shown()

    def _records_tell_what_is_shown(self) -> None:
        for daemon in self.daemons:
            daemon.read_records()
            if daemon.coordd is not None:
                shown = daemon.coordd.shown()
                assert daemon.story.keys() - daemon.dropped == shown.keys()
                for key, picture in shown.items():
                    recorded = daemon.story[key]
                    sources = daemon.sources.get(key, recorded.sources)
                    assert (recorded.status, sources, recorded.active_tasks) == picture, key

    def _nothing_failed_that_may_not(self) -> None:
        for daemon in self.daemons:
            for source in daemon.finder.sources.values():
                assert source.state.error in (None, "it is broken")


async def _call(function: Any, *about: Any) -> None:
    function(*about)


TestThreeSources: Any = ThreeSources.TestCase
TestThreeSources.settings = settings(max_examples=100, stateful_step_count=30)


# What was found with it.

Step = Callable[[ThreeSources], None]


def traces(*several: tuple[str, str, str] | tuple[str, str, str, tuple[str, ...]]) -> Step:
    """Let agents leave traces: (source, id, what happens, tasks)."""
    listed = [(*one, ()) if len(one) == 3 else one for one in several]
    return lambda world: world.agents_leave_traces(listed)  # type: ignore[arg-type]


def passing(minutes: int) -> Step:
    return lambda world: world.time_passes(minutes)


def standstill(letter: str) -> Step:
    """Let agents be unable to beat there, or able again."""
    return lambda world: world.agents_can_beat_or_cannot(letter)


def configured(letter: str) -> Step:
    """Let a source be configured no longer, or again."""
    return lambda world: world.a_source_is_configured_or_no_longer(letter)


def switch(world: ThreeSources) -> None:
    """Stop coordd, or start it."""
    world.coordd_stops_or_starts()


FOUND: dict[str, list[Step]] = {
    "a restart does not record again what Redis told of another agent before": [
        traces(("A", "x", "beat", ("t",)), ("C", "x", "beat"), ("B", "x", "beat")),
        switch,
        switch,
    ],
    "an agent that becomes active while coordd starts is recorded with what it does": [
        switch,
        traces(("A", "x", "tasks", ()), ("C", "x", "beat")),
        switch,
    ],
    "an agent is judged at once by what a removed source leaves of it": [
        standstill("C"),
        traces(("A", "x", "beat"), ("C", "x", "beat")),
        passing(2),
        configured("C"),
    ],
    "an agent that vanished while coordd was down is removed": [
        traces(("A", "x", "beat")),
        switch,
        traces(("A", "x", "vanish")),
        switch,
    ],
    "an agent is removed that is another one after a restart": [
        traces(("C", "x", "beat"), ("A", "x", "beat"), ("B", "x", "beat")),
        switch,
        configured("B"),
        switch,
    ],
    "of two old files neither is the home of an agent in Redis, whichever is read first": [
        switch,
        traces(("A", "x", "old"), ("B", "x", "old"), ("C", "x", "beat")),
        switch,
    ],
    "files without a beat are not forgotten with what was taken for the same agent": [
        traces(("A", "y", "beat")),
        passing(17),
        traces(("A", "y", "vanish"), ("C", "y", "tasks", ("t",))),
    ],
    "tasks in Redis are not forgotten with the last of several agents of their id": [
        traces(("A", "x", "beat"), ("B", "x", "beat"), ("C", "x", "tasks")),
        passing(17),
    ],
    "an agent that died during a standstill is not alive for as long as that lasted": [
        traces(("A", "x", "beat")),
        standstill("A"),
        passing(17),
        traces(("A", "x", "beat")),
        standstill("A"),
        passing(2),
    ],
}


@pytest.mark.parametrize("what", FOUND)
def test_the_smallest_example_of_each_fault_that_was_found(what: str) -> None:
    world = ThreeSources()
    try:
        for step in FOUND[what]:
            step(world)
            world.it_is_right()
    finally:
        world.teardown()
