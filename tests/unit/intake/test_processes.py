"""Test how the processes of agents are followed: batches, second looks, ends, looks that fail or hang."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

import pytest
from simulated import Clock, Jobs
from waiting import PATIENCE, until

from coordd.agents.observation import ObservationKey
from coordd.agents.process import Here
from coordd.agents.process_claim import ProcessClaim
from coordd.agents.source import SourceName
from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.intake import process_probe
from coordd.intake.process_probe import MOST_HANGING
from coordd.intake.processes import BATCH, ProcessIntake
from coordd.runtime import schedule as schedule_module
from coordd.runtime.worker import DeadlineMissed, Worker

FILES = SourceName("file", "/p")
OWNER = 1000


def place(agent_id: str) -> ObservationKey:
    return FILES, agent_id


class FakeMachine:
    """Processes that a test starts, ends, hides and hangs."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.processes: dict[int, ProcessFacts] = {}
        self.failing: set[int] = set()
        self.hanging: dict[int, threading.Event] = {}
        self.looks: list[int] = []
        self.scans = 0

    def run(self, pid: int, start: int = 1, *, age: float = 60.0, **facts: Any) -> Process:
        told: dict[str, Any] = {"uid": OWNER, "commanded": True, "cwd": "/p", "inner_pid": pid, **facts}
        process = Process(pid, start)
        self.processes[pid] = ProcessFacts(process, 1, self._clock.time() - age, **told)
        return process

    def look(self, pid: int) -> ProcessFacts | None:
        self.looks.append(pid)
        if (hanging := self.hanging.get(pid)) is not None:
            hanging.wait(PATIENCE)
        if pid in self.failing:
            raise ProbeFailed("may not look")
        return self.processes.get(pid)

    def start_of(self, pid: int) -> int | None:
        facts = self.processes.get(pid)
        return None if facts is None else facts.process.start

    def find_contained(self, wanted: Collection[Process]) -> dict[Process, int]:
        self.scans += 1
        inner = {Process(one.inner_pid or 0, one.process.start): pid for pid, one in self.processes.items()}
        return {one: inner[one] for one in wanted if one in inner}


class InlineWorker:
    """Calls at once, and counts the calls."""

    def __init__(self) -> None:
        self.calls = 0

    async def run(self, call: Callable[..., Any], *args: object, deadline: float) -> Any:
        self.calls += 1
        return call(*args)


class FakeWatch:
    """Ends processes when a test says so."""

    def __init__(self) -> None:
        self.watched: dict[Process, list[Callable[[Process], None]]] = defaultdict(list)
        self.checks = 0

    def watch(self, process: Process, ended: Callable[[Process], None]) -> bool:
        self.watched[process].append(ended)
        return True

    def unwatch(self, process: Process, ended: Callable[[Process], None]) -> None:
        self.watched[process].remove(ended)
        if not self.watched[process]:
            del self.watched[process]

    async def check(self) -> None:
        self.checks += 1

    def end(self, process: Process) -> None:
        for ended in self.watched.pop(process):
            ended(process)


class Listener:
    def __init__(self) -> None:
        self.told: list[tuple[str, list[str], Process | None]] = []

    def _tell(self, what: str, places: Collection[ObservationKey], process: Process | None = None) -> None:
        self.told.append((what, sorted(agent_id for _, agent_id in places), process))

    def alive(self, places: Collection[ObservationKey], process: Process) -> None:
        self._tell("alive", places, process)

    def ended(self, places: Collection[ObservationKey], process: Process) -> None:
        self._tell("ended", places, process)

    def refused(self, places: Collection[ObservationKey]) -> None:
        self._tell("refused", places)

    def unclear(self, places: Collection[ObservationKey]) -> None:
        self._tell("unclear", places)


class Scene:
    """The intake over a machine, in simulated time."""

    def __init__(self, worker: Any = None) -> None:
        self.clock = Clock()
        self.jobs = Jobs(self.clock)
        self.machine = FakeMachine(self.clock)
        self.worker = worker or InlineWorker()
        self.watch = FakeWatch()
        self.listener = Listener()
        watch: Any = self.watch
        schedule: Any = self.jobs
        self.intake = ProcessIntake(
            machine=self.machine,
            here=Here(frozenset({"box"}), own_pid=999),
            worker=self.worker,
            watch=watch,
            schedule=schedule,
        )
        self.intake.listener = self.listener

    def registered(self, pid: int, *, ago: float = 10.0, **fields: Any) -> ProcessClaim:
        claim: dict[str, Any] = {"owner": OWNER, "written": self.clock.time() - ago, "folders": ("/p",)}
        return ProcessClaim(pid, **(claim | fields))

    def claim(self, agent_id: str, claim: ProcessClaim) -> None:
        self.intake.claim(place(agent_id), claim)

    async def told(self, seconds: float = 5.0) -> list[tuple[str, list[str], Process | None]]:
        """Let time pass, and return what was told meanwhile."""
        await self.jobs.pass_time(seconds)
        told, self.listener.told = self.listener.told, []
        return told


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    return at_simulated_time(Scene(), monkeypatch)


def at_simulated_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(schedule_module, "time", scene.clock.time)
    monkeypatch.setattr(schedule_module, "monotonic", scene.clock.monotonic)
    return scene


async def test_a_process_that_counts_is_told_of_and_then_its_end(scene: Scene) -> None:
    process = scene.machine.run(7)
    scene.claim("a", scene.registered(7))
    assert await scene.told() == [("alive", ["a"], process)]
    assert scene.intake.facts(process) == scene.machine.processes[7]
    scene.watch.end(process)
    assert await scene.told() == [("ended", ["a"], process)]
    assert scene.intake.phase(place("a")) == "ended"
    assert scene.intake.facts(process) is None


async def test_what_does_not_count_is_refused_with_a_reason(scene: Scene) -> None:
    scene.machine.run(7, uid=0)
    scene.claim("a", scene.registered(7))
    scene.claim("b", scene.registered(8))
    assert await scene.told() == [("refused", ["a", "b"], None)]
    assert scene.intake.refusal(place("a")) == "it runs as another user than the owner of the registration"
    assert scene.intake.refusal(place("b")) == "there is no such process"
    assert not scene.watch.watched


async def test_two_hundred_registrations_at_once_are_one_call(scene: Scene) -> None:
    for number in range(200):
        scene.machine.run(1000 + number)
        scene.claim(f"a{number}", scene.registered(1000 + number, proc_start=1 if number % 2 else 5))
    told = await scene.told()
    assert (scene.worker.calls, scene.machine.scans) == (1, 1)
    assert sum(what == "alive" for what, _, _ in told) == 100
    assert [len(places) for what, places, _ in told if what == "refused"] == [100]


async def test_twenty_ids_on_one_process_are_one_look_and_one_watch(scene: Scene) -> None:
    process = scene.machine.run(7)
    for number in range(20):
        scene.claim(f"a{number:02}", scene.registered(7))
    ids = [f"a{number:02}" for number in range(20)]
    assert await scene.told() == [("alive", ids, process)]
    assert scene.machine.looks == [7]
    assert len(scene.watch.watched[process]) == 1
    scene.intake.release(place("a00"))
    scene.watch.end(process)
    assert await scene.told() == [("ended", ids[1:], process)]


async def test_a_shell_that_registers_and_goes_never_counts(scene: Scene) -> None:
    scene.machine.run(7, age=0.2)
    scene.claim("a", scene.registered(7, ago=0.0))
    assert await scene.told(0.5) == []
    assert scene.intake.phase(place("a")) == "waiting"
    del scene.machine.processes[7]
    assert await scene.told() == [("refused", ["a"], None)]
    assert scene.intake.refusal(place("a")) == "it is gone a moment later"


async def test_one_that_lives_on_counts_after_a_second_and_not_before(scene: Scene) -> None:
    process = scene.machine.run(7, age=0.2)
    scene.claim("a", scene.registered(7, ago=0.0))
    assert await scene.told(0.99) == []
    assert await scene.told(0.2) == [("alive", ["a"], process)]


async def test_second_looks_that_are_due_at_the_same_time_are_one_call(scene: Scene) -> None:
    for number in range(50):
        scene.machine.run(1000 + number, age=0.2)
        scene.claim(f"a{number}", scene.registered(1000 + number, ago=0.0))
    assert len(await scene.told()) == 50
    assert scene.worker.calls == 2


async def test_a_pid_used_again_within_that_second_does_not_count(scene: Scene) -> None:
    scene.machine.run(7, age=0.2)
    scene.claim("a", scene.registered(7, ago=0.0))
    await scene.told(0.5)
    scene.machine.run(7, start=2, age=-1.5)
    assert await scene.told() == [("refused", ["a"], None)]


async def test_a_container_is_found_by_its_start_and_last_pid(scene: Scene) -> None:
    process = scene.machine.run(90210, start=555, inner_pid=7, inner=True, uid=100_000, cwd="/w")
    scene.machine.run(7, start=3)
    scene.claim("a", scene.registered(7, proc_start=555, hostname="f3a9"))
    assert await scene.told() == [("alive", ["a"], process)]


async def test_a_session_known_alive_is_only_watched(scene: Scene) -> None:
    process = Process(7, 3)
    scene.claim("s", ProcessClaim(7, process=process))
    scene.claim("a", scene.registered(8))
    assert await scene.told() == [("alive", ["s"], process), ("refused", ["a"], None)]
    assert scene.machine.looks == [8]
    scene.watch.end(process)
    assert await scene.told() == [("ended", ["s"], process)]


async def test_a_registration_of_a_sessions_process_is_judged_by_itself(scene: Scene) -> None:
    process = scene.machine.run(7, 3)
    scene.claim("s", ProcessClaim(7, process=process))
    scene.claim("a", scene.registered(7))
    scene.claim("b", scene.registered(7, owner=1))
    told = await scene.told()
    assert told == [("alive", ["s"], process), ("alive", ["a"], process), ("refused", ["b"], None)]
    scene.watch.end(process)
    assert await scene.told() == [("ended", ["a", "s"], process)]


async def test_the_same_claim_and_a_renewed_one_change_nothing_while_it_counts(scene: Scene) -> None:
    process = scene.machine.run(7)
    claim = scene.registered(7)
    scene.claim("a", claim)
    assert await scene.told() == [("alive", ["a"], process)]
    for age in (5.0, 1.0, 0.0):
        scene.claim("a", claim)
        scene.claim("a", replace(claim, written=scene.clock.time() - age))
    assert await scene.told() == []
    assert scene.machine.looks == [7]


async def test_a_refused_registration_that_is_written_again_is_looked_at_again(scene: Scene) -> None:
    scene.claim("a", scene.registered(7))
    await scene.told()
    process = scene.machine.run(7, age=2.0)
    scene.claim("a", scene.registered(7, ago=1.5))
    assert await scene.told() == [("alive", ["a"], process)]


async def test_a_registration_renewed_after_the_end_does_not_take_the_end_back(scene: Scene) -> None:
    process = scene.machine.run(7)
    scene.claim("a", scene.registered(7))
    await scene.told()
    del scene.machine.processes[7]
    scene.watch.end(process)
    await scene.told()
    scene.claim("a", scene.registered(7, ago=0.0))
    assert await scene.told() == []
    scene.machine.failing.add(7)
    scene.claim("a", scene.registered(7, ago=0.0))
    assert await scene.told() == []
    assert scene.intake.phase(place("a")) == "ended"


async def test_another_pid_at_a_place_replaces_the_first(scene: Scene) -> None:
    first, second = scene.machine.run(7), scene.machine.run(8)
    scene.claim("a", scene.registered(7))
    await scene.told()
    scene.claim("a", scene.registered(8))
    assert first not in scene.watch.watched
    assert await scene.told() == [("alive", ["a"], second)]
    scene.claim("a", scene.registered(9))
    assert await scene.told() == [("refused", ["a"], None)]
    assert not scene.watch.watched


@pytest.mark.parametrize("wait", [0.0, BATCH / 2, 0.5, 5.0])
async def test_what_is_released_is_not_told_of(scene: Scene, wait: float) -> None:
    scene.machine.run(7, age=0.1)
    scene.claim("a", scene.registered(7, ago=0.0))
    await scene.told(wait)
    scene.intake.release(place("a"))
    scene.intake.release(place("a"))
    assert await scene.told() == []
    assert not scene.watch.watched
    assert scene.intake.phase(place("a")) is None


async def test_what_is_claimed_anew_during_a_look_is_looked_at_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look is of the same pid; what it told is older than the claim."""
    process = scene.machine.run(7)
    look = scene.machine.look

    def look_and_claim(pid: int) -> ProcessFacts | None:
        monkeypatch.undo()
        at_simulated_time(scene, monkeypatch)
        scene.intake.release(place("a"))
        scene.claim("a", scene.registered(7))
        return look(pid)

    scene.claim("a", scene.registered(7, owner=1))
    monkeypatch.setattr(scene.machine, "look", look_and_claim)
    assert await scene.told() == [("alive", ["a"], process)]
    assert scene.machine.looks == [7, 7]


async def test_a_look_that_fails_says_nothing_and_is_made_again_at_the_next_check(scene: Scene) -> None:
    process = scene.machine.run(7)
    scene.machine.failing.add(7)
    scene.claim("a", scene.registered(7))
    assert await scene.told() == [("unclear", ["a"], None)]
    await scene.intake.check()
    assert await scene.told() == []  # it is known already
    scene.machine.failing.clear()
    assert await scene.told(600.0) == []
    await scene.intake.check()
    assert await scene.told() == [("alive", ["a"], process)]
    assert scene.watch.checks == 2


async def test_an_error_of_any_kind_says_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_about: object) -> Any:
        raise ZeroDivisionError

    scene.machine.run(7)
    for ask in ("look", "start_of", "find_contained"):
        monkeypatch.setattr(scene.machine, ask, broken)
    scene.claim("a", scene.registered(7, proc_start=1))
    assert await scene.told() == [("unclear", ["a"], None)]


async def test_nothing_is_told_after_the_end(scene: Scene) -> None:
    process = scene.machine.run(7)
    scene.claim("a", scene.registered(7))
    await scene.told()
    scene.claim("b", scene.registered(7))
    scene.intake.stop()
    scene.claim("c", scene.registered(7))
    assert await scene.told() == []
    scene.watch.end(process)
    assert await scene.told() == []


class HangingWorker:
    """A real thread, whose deadlines are short."""

    def __init__(self) -> None:
        self._worker = Worker("processes-test", replaceable=True)

    async def run(self, call: Callable[..., Any], *args: object, deadline: float) -> Any:
        assert deadline == process_probe.DEADLINE
        return await self._worker.run(call, *args, deadline=0.1)

    def close(self) -> None:
        self._worker.close()


@pytest.fixture
def threaded(monkeypatch: pytest.MonkeyPatch) -> Any:
    worker = HangingWorker()
    scene = at_simulated_time(Scene(worker), monkeypatch)
    monkeypatch.setattr(scene.jobs, "rest", lambda: rest(scene))
    yield scene
    for hanging in scene.machine.hanging.values():
        hanging.set()
    worker.close()


async def rest(scene: Scene) -> None:
    """Return when no job runs: what a thread does takes real time."""
    await asyncio.sleep(0)
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others, timeout=PATIENCE)


async def test_a_look_that_hangs_keeps_nothing_from_the_others(threaded: Scene) -> None:
    machine = threaded.machine
    for pid in (6, 7, 8):
        machine.run(pid)
        threaded.claim(f"a{pid}", threaded.registered(pid))
    machine.hanging[7] = threading.Event()
    assert await threaded.told() == [
        ("alive", ["a6"], Process(6, 1)),
        ("unclear", ["a7"], None),
        ("alive", ["a8"], Process(8, 1)),
    ]
    await threaded.intake.check()
    assert await threaded.told() == []
    assert machine.looks == [6, 7, 8]  # it is not looked at again while it hangs
    machine.hanging.pop(7).set()
    await until(lambda: not threaded.intake._prober.hangs(process_probe.Wanted(7, None)))
    await threaded.intake.check()
    assert await threaded.told() == [("alive", ["a7"], Process(7, 1))]
    assert machine.looks == [6, 7, 8, 7]


async def test_only_so_many_looks_hang_at_once(threaded: Scene) -> None:
    for pid in range(100, 100 + MOST_HANGING + 5):
        threaded.machine.run(pid)
        threaded.machine.hanging[pid] = threading.Event()
        threaded.claim(f"a{pid}", threaded.registered(pid))
    told = await threaded.told()
    assert {what for what, _, _ in told} == {"unclear"}
    assert sum(len(places) for _, places, _ in told) == MOST_HANGING + 5
    assert len(threaded.machine.looks) == MOST_HANGING


async def test_a_call_that_returns_as_its_deadline_passes_blames_nobody() -> None:
    class LateWorker(InlineWorker):
        async def run(self, call: Callable[..., Any], *args: object, deadline: float) -> Any:
            call(*args)
            raise DeadlineMissed("", asyncio.get_running_loop().create_future())

    clock = Clock()
    machine = FakeMachine(clock)
    machine.run(7)
    worker: Any = LateWorker()
    prober = process_probe.Prober(machine=machine, worker=worker)
    wanted = process_probe.Wanted(7, None)
    assert [answers async for answers in prober.look([wanted])] == [{wanted: machine.processes[7]}]
    assert not prober.hangs(wanted)
