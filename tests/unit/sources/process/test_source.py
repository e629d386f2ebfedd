"""Test the source of agents that are known by their processes alone: looks that hang, bounds, ends."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Collection, Hashable
from dataclasses import replace

import pytest
import pytest_asyncio
from sources import Follower
from waiting import PATIENCE, until

from coordd.agents.observation import Observation
from coordd.agents.source import SourceName
from coordd.host.process_facts import Process, ProcessFacts
from coordd.runtime.worker import Worker
from coordd.sources.process import source as process_source
from coordd.sources.process.families import SeenProgram
from coordd.sources.process.programs import PROGRAMS
from coordd.sources.process.source import ProcessSource
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.work_tree import Place

ROWS = {row.kind: row for row in PROGRAMS}


def facts(pid: int, name: str = "crush", *, start: int = 100, parent: int = 1) -> ProcessFacts:
    return ProcessFacts(Process(pid, start), parent, 1.0, uid=7, name=name)


class Machine:
    """Processes that a test starts, ends, and hangs; each is of the kind that it is called."""

    def __init__(self) -> None:
        self.running: dict[int, ProcessFacts] = {}
        self.hanging: dict[int, threading.Event] = {}
        self.looks: list[int] = []
        self.wanted = True
        self.workers = Worker("programs", replaceable=True), Worker("places", replaceable=True)
        self.source = ProcessSource(
            shows=lambda: True,
            running=lambda: [facts(1, "init"), *self.running.values()],
            watched=lambda one: one.name != "init",
            look=self._look,
            lives=lambda one: one.pid in self.running and self.running[one.pid].process == one,
            wanted=lambda _place: self.wanted,
            places=Places(worker=self.workers[1], configured=dict, resolve=lambda cwd, _: Place(cwd, cwd)),
            worker=self.workers[0],
        )
        self.follower = Follower(self.source)
        self.follower.start()

    def _look(self, seen: ProcessFacts) -> SeenProgram | None:
        pid = seen.process.pid
        self.looks.append(pid)
        if (hanging := self.hanging.get(pid)) is not None:
            hanging.wait(PATIENCE)
        if seen.name not in ROWS:
            return None
        return SeenProgram(ROWS[seen.name], seen.process, seen.parent, seen.started, "ann", "/p")

    def start(self, *every: ProcessFacts, told: bool = True) -> None:
        self.running |= {one.process.pid: one for one in every}
        if told:
            self.source.started(every)

    @property
    def known(self) -> dict[str, Observation]:
        return self.follower.known

    def hints(self) -> Collection[Hashable]:
        return self.follower.hints


@pytest_asyncio.fixture
async def machine(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Machine]:
    monkeypatch.setattr(process_source, "LOOK_DEADLINE", 0.1)
    machine = Machine()
    yield machine
    for hanging in machine.hanging.values():
        hanging.set()
    await machine.source.stop()
    machine.workers[1].close()


async def test_one_that_hangs_hides_nobody_and_is_found_once_it_answers(machine: Machine) -> None:
    machine.hanging[6] = threading.Event()
    machine.start(facts(5), facts(6), facts(7))
    traces = await machine.follower.read()
    assert set(machine.known) == {"crush-5", "crush-7"}
    assert set(traces.malformed) == {"process 6"}
    await machine.follower.read()
    assert machine.looks == [5, 6, 7]  # it is not looked at again while it hangs
    machine.hanging.pop(6).set()
    await until(machine.hints)
    await machine.follower.catch_up(lambda: "crush-6" in machine.known)
    assert (await machine.follower.read()).malformed == {}


async def test_what_hangs_for_ever_is_forgotten_when_it_ends(machine: Machine) -> None:
    machine.hanging[6] = threading.Event()
    machine.start(facts(6))
    await machine.follower.read()
    del machine.running[6]
    assert (await machine.follower.read()).malformed == {}


async def test_what_is_no_agent_is_looked_at_once(machine: Machine) -> None:
    machine.start(facts(5, "node"), facts(6))
    await machine.follower.read()
    for _ in range(3):  # as the system's sample tells all of them every ten minutes
        machine.source.started(list(machine.running.values()))
        assert machine.hints() == set()
    assert machine.looks == [5, 6]
    machine.start(facts(5, "crush"))  # it runs another program by now
    await machine.follower.catch_up(lambda: "crush-5" in machine.known)


async def test_a_pid_that_was_used_again_is_another_agent_of_the_same_id(machine: Machine) -> None:
    machine.start(facts(5))
    await machine.follower.read()
    machine.start(facts(5, start=200))
    await machine.follower.catch_up(lambda: _process(machine, "crush-5") == Process(5, 200))


def _process(machine: Machine, agent_id: str) -> Process | None:
    one = machine.known[agent_id]
    return one.traces.session.process if one.traces and one.traces.session else None


async def test_a_child_that_turns_out_to_be_the_agent_takes_the_place_of_its_parent(
    machine: Machine,
) -> None:
    machine.start(facts(5, "codex"))
    await machine.follower.read()
    assert set(machine.known) == {"codex-5"}
    machine.start(facts(6, "codex", parent=5))
    await machine.follower.catch_up(lambda: set(machine.known) == {"codex-6"})


async def test_who_is_not_wanted_is_not_told_of(machine: Machine) -> None:
    machine.start(facts(5))
    machine.wanted = False
    assert (await machine.follower.read()).agents == {}


async def test_of_a_last_run_only_what_ended_meanwhile_is_told_as_over(machine: Machine) -> None:
    machine.start(facts(5), facts(6))
    await machine.follower.read()
    again = Machine()
    again.running = {5: machine.running[5]}
    again.known.update({name: replace(one, traces=None) for name, one in machine.known.items()})
    traces = await again.follower.read()
    told = {name: one.session.lives for name, one in traces.agents.items() if one.session}
    assert told == {"crush-5": True, "crush-6": False}
    assert not traces.agents["crush-6"].session.present  # type: ignore[union-attr]  # it has one
    await again.source.stop()
    again.workers[1].close()


async def test_only_so_many_are_listed_and_that_is_said(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_source, "MOST", 3)
    machine.start(*(facts(10 + number) for number in range(9)))
    traces = await machine.follower.read()
    assert len(traces.agents) == 3
    assert "more than 3 processes" in traces.over_limit["processes"]
    assert machine.source.state.name == SourceName("process")


async def test_what_waits_to_be_looked_at_is_bounded(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_source, "MOST_WAITING", 3)
    machine.start(*(facts(10 + number) for number in range(9)))
    await machine.follower.read()
    assert len(machine.looks) == 3
    await machine.follower.read()  # those that were not taken in are told again with the next look at all
    machine.source.started(list(machine.running.values()))
    await machine.follower.catch_up(lambda: len(machine.known) == 6)
