"""Play the lives of agents: what each does, one thing after the other, with what is true of it meanwhile.

A life is a generator of the seconds until the agent does something again. It may be cut off at any of them.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import count

from played_claude import PlayedSession

from coordd.agents.traces import AgentTraces, Heartbeat, Registration
from coordd.host.process_facts import Process
from day.clock import Clock
from day.machine import OWNER, FileWatch, Machine
from day.truth import Truth

MINUTE, HOUR = 60.0, 3600.0
BEAT = 30.0


class World:
    """What agents change: processes, the files of a home, and what lies in workspaces.

    ``left`` is called with (workspace, id, traces) when traces of an agent change, None when they go.
    """

    def __init__(self, clock: Clock, machine: Machine, home: str, chance: random.Random) -> None:
        self.clock = clock
        self.machine = machine
        self.home = home
        self.chance = chance
        self.files: FileWatch | None = None
        self.traces: dict[str, dict[str, AgentTraces]] = {}
        self.told = self._nobody
        self.numbers = count(1)

    @property
    def now(self) -> float:
        """The monotonic time."""
        return self.clock.mono

    def put(self, workspace: str, traces: AgentTraces) -> None:
        """Let an agent leave traces in a workspace."""
        self.traces[workspace][traces.agent_id] = traces
        self.told(workspace, traces.agent_id, traces)

    def remove(self, workspace: str, agent_id: str) -> None:
        """Let an agent take its traces away."""
        self.traces[workspace].pop(agent_id, None)
        self.told(workspace, agent_id, None)

    def wrote(self, path: str, how: str) -> None:
        """Tell of a file in the home."""
        if self.files is not None:
            self.files.wrote(path, how)  # type: ignore[arg-type]  # the words are those of the player

    @staticmethod
    def _nobody(_workspace: str, _agent_id: str, _traces: AgentTraces | None) -> None:
        """Tell nobody."""


class Life(ABC):
    """One agent; ``truth`` is what is true of it."""

    truth: Truth

    def __init__(self, world: World) -> None:
        self.world = world
        self.chance = world.chance

    @abstractmethod
    def live(self) -> Iterator[float]:
        """Yield the seconds until the next thing that it does; return when it has ended in its own way."""

    @abstractmethod
    def cut_off(self) -> None:
        """End at once, as if killed."""

    def _between(self, least: float, most: float) -> float:
        return self.chance.uniform(least, most)


class Session(Life):
    """A session of Claude Code; ``prints``: ``claude -p``, which has one turn."""

    def __init__(self, world: World, workspace: str, *, prints: bool) -> None:
        super().__init__(world)
        self.prints = prints
        self.process: Process = world.machine.spawn()
        session_id = f"session-{next(world.numbers)}"
        self.played = PlayedSession(
            world.home,
            self.process,
            session_id,
            workspace,
            prints=prints,
            wall=world.clock.time,
            wrote=world.wrote,
        )
        self.truth = Truth((workspace, session_id), "session", "", world.now)
        self._shell: float | None = None
        self._is("unknown" if prints else "idle")
        self.played.begin()

    def live(self) -> Iterator[float]:
        yield self._between(1, 60)
        if self.prints:
            yield from self._turn()
        else:
            for _ in range(self.chance.randrange(1, 40)):
                yield from self._turn()
                yield self._between(2, 300) if self.chance.random() < 0.8 else self._between(600, 3 * HOUR)
                if self.chance.random() < 0.05 and self.truth.shown:  # else it is known by its second id
                    self.played.clear(f"session-{next(self.world.numbers)}")
                    yield self._between(2, 20)
        self.played.remove_record()
        self._is("leaving")
        yield self._between(0.0, 0.3)
        self._end("ended")

    def cut_off(self) -> None:
        self._end("killed")

    def _end(self, how: str) -> None:
        self.truth.end, self.truth.ended_at = how, self.world.now  # type: ignore[assignment]  # two of the words
        self.world.machine.end(self.process)

    def _is(self, what: str, at: float | None = None) -> None:
        self.truth.does(what, self.world.now, at, self._shell)  # type: ignore[arg-type]  # one of the words

    def _turn(self) -> Iterator[float]:
        self.played.prompt()
        self._is("turn")
        for _ in range(self.chance.randrange(1, 25)):
            yield self._between(2, 40) if self.chance.random() < 0.95 else self._between(300, 800)
            kind = self.chance.random()
            if kind < 0.4:
                self.played.say()
                self._is("turn")
            elif kind < 0.80:
                yield from self._call(self._between(0.2, 60))
            elif kind < 0.90 and not self.prints:
                yield from self._asks()
            elif kind < 0.93:
                yield from self._is_refused()
            elif kind < 0.96:
                yield from self._call(20 * MINUTE, busy=self.chance.random() < 0.5)
            elif kind < 0.965:
                yield from self._call(self._between(1.9, 3.0) * HOUR, busy=self.chance.random() < 0.5)
            elif kind < 0.97:
                yield self._between(20, 80) * MINUTE  # it hangs
                self.played.say()
                self._is("turn")
            elif not self.prints and self._shell is None:
                call = self.played.call()
                self._is("call")
                yield self._between(0.2, 2)
                self.played.result(call, backgroundTaskId="shell")
                self._shell = self.world.now
                self._is("turn")
        yield self._between(1, 20)
        if self._shell is None:
            self.played.finish()
            self._is("idle")
        else:
            yield from self._works_in_the_background(self._shell)

    def _works_in_the_background(self, since: float) -> Iterator[float]:
        self.played.finish(then="shell")
        self._is("shell", since)
        yield self._between(1, 200) * MINUTE
        self._shell = None
        self.played.notified("shell")
        self._is("turn")
        yield self._between(2, 20)
        self.played.finish()
        self._is("idle")

    def _call(self, length: float, *, busy: bool = False) -> Iterator[float]:
        call = self.played.call()
        child = self.world.machine.spawn(parent=self.process.pid, busy=busy)
        self._is("working-call" if busy else "call")
        yield length
        self.world.machine.end(child)
        self.played.result(call)
        self._is("turn")

    def _asks(self) -> Iterator[float]:
        asks = self.chance.random() < 0.3
        call = self.played.call("AskUserQuestion" if asks else "Bash")
        self._is("call")
        yield self._between(0.0, 0.1)
        self.played.status("waiting", "permission prompt")
        self._is("waiting")
        yield self._between(1, 60) if self.chance.random() < 0.7 else self._between(60, 4000)
        self.played.status("busy")
        self._is("turn" if asks else "call")
        yield self._between(0.5, 30)
        self.played.result(call)
        self._is("turn")

    def _is_refused(self) -> Iterator[float]:
        since = self.world.now
        for _ in range(self.chance.randrange(1, 12)):
            self.played.refused(self.chance.choice((429, 529)))
            self._is("refused", since)
            yield self._between(1, 60)
        self.played.say()
        self._is("turn")


class Beating(Life):
    """An agent that beats into its workspace, with tasks or without."""

    def __init__(self, world: World, workspace: str) -> None:
        super().__init__(world)
        self.workspace = workspace
        self.agent_id = f"agent-{next(world.numbers)}"
        self.truth = Truth((workspace, self.agent_id), "beats", workspace, world.now)
        self._tasks: tuple[str, ...] = ()
        self._registration: Registration | None = None
        self.truth.does("unknown", world.now)
        self.beat()

    def live(self) -> Iterator[float]:
        holds = self.chance.random() < 0.6
        until = self.world.now + self._between(0.2, 8) * HOUR
        moves = self.world.now + self._between(10, 60)
        while self.world.now < until:
            yield self._between(BEAT - 1, BEAT + 1)
            if holds and self.world.now >= moves:
                task = f"task-{next(self.world.numbers)}"
                moves = self.world.now + self._between(2, 12) * MINUTE
                if self.chance.random() < 0.1:
                    moves = self.world.now + self._between(20, 60) * MINUTE  # it is wedged, and beats on
                self.holds(task)
            else:
                self.beat()
        self.world.remove(self.workspace, self.agent_id)
        self.truth.end, self.truth.ended_at = "left", self.world.now

    def cut_off(self) -> None:
        self.truth.end, self.truth.ended_at = "silent", self.world.now

    def holds(self, *tasks: str) -> None:
        """Beat, and have these tasks from now on."""
        self._tasks = tasks
        self.truth.does("task", self.world.now)
        self.beat()

    def beat(self) -> None:
        """Beat."""
        self.truth.last_beat, wall = self.world.now, self.world.clock.time()
        self._put(Heartbeat(wall, wall, (wall,)))

    def _put(self, heartbeat: Heartbeat) -> None:
        self.world.put(
            self.workspace,
            AgentTraces(self.agent_id, heartbeat, registration=self._registration, tasks=self._tasks),
        )


class Registered(Beating):
    """An agent that registers its process, and beats between long calls only."""

    def __init__(self, world: World, workspace: str) -> None:
        self.process: Process = world.machine.spawn()
        super().__init__(world, workspace)
        self.truth.kind = "registered"
        self.register("active")

    def live(self) -> Iterator[float]:
        for _ in range(self.chance.randrange(3, 60)):
            yield self._between(BEAT - 1, BEAT + 1) if self.chance.random() < 0.8 else 20 * MINUTE
            self.beat()
        self.register("completed")
        yield self._between(0.0, 0.5)
        self._end("ended")

    def cut_off(self) -> None:
        self._end("killed")

    def register(self, status: str) -> None:
        """Write the registration, with this status, and beat."""
        wall = self.world.clock.time()
        started = self._registration.started_at if self._registration else wall
        self._registration = Registration(
            started_at=started,
            status=status,
            pid=self.process.pid,
            proc_start=float(self.process.start),
            owner=OWNER,
            written=wall,
        )
        self.beat()

    def _end(self, how: str) -> None:
        self.truth.end, self.truth.ended_at = how, self.world.now  # type: ignore[assignment]  # two of the words
        self.world.machine.end(self.process)
