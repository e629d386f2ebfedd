"""Put one agent or two on a simulated machine, and script what happens: for tests of single faults."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

from coordd.agents.traces import AgentTraces
from coordd.model import AgentSample
from day.clock import Clock, in_force, rest
from day.coordd import Coordd, HomeSource, Records, WorkspaceSource
from day.lives import Beating, Life, Registered, Session, World
from day.machine import FileWatch, Machine, Mailbox

Shown = tuple[str, str, str | None]


class Scene:
    """A machine with one workspace, one home, and a coordd; ``recorded`` are its samples."""

    def __init__(self, directory: Path) -> None:
        for name in ("home/sessions", "home/projects", "records"):
            (directory / name).mkdir(parents=True)
        self.clock = Clock()
        self.machine = Machine(self.clock)
        self.mail = Mailbox()
        self.workspace = str(directory / "work")
        self.world = World(self.clock, self.machine, str(directory / "home"), random.Random(1))
        self.world.traces = {self.workspace: {}}
        self.recorded: list[AgentSample] = []
        self.broken: set[str] = set()
        self._records = Records(directory / "records", self.recorded.append)
        self._coordd: Coordd | None = None

    @property
    def coordd(self) -> Coordd:
        """The coordd that runs."""
        assert self._coordd is not None
        return self._coordd

    def session(self, *, prints: bool = False) -> Session:
        """Start a session."""
        return Session(self.world, self.workspace, prints=prints)

    def registered(self) -> Registered:
        """Start an agent that registers its process, and beats once."""
        return Registered(self.world, self.workspace)

    def beating(self, *tasks: str) -> Beating:
        """Start an agent that beats once, with these tasks."""
        agent = Beating(self.world, self.workspace)
        agent.holds(*tasks)
        return agent

    async def passes(self, seconds: float) -> None:
        """Let time pass."""
        if self._coordd is None:
            self.clock.mono += seconds
            return
        await rest()
        await self.coordd.timers.pass_until(self.clock.mono + seconds)

    async def stands_still(self, seconds: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Stop coordd for a while, as SIGSTOP does; something happens at the beginning."""
        self.mail.stopped = True
        meanwhile()
        self.clock.mono += seconds
        await self.coordd.timers.ring()
        self.mail.deliver()
        await self.passes(1.0)

    async def sleeps(self, seconds: float) -> None:
        """Let the machine sleep."""
        self.clock.asleep += seconds
        await self.coordd.timers.tell_of_sleep()

    async def starts(self) -> None:
        """Start coordd, with what the last one left."""
        remembered = self._records.remembered(self.clock.time()) if self._records.snapshot else []
        self._records.forget()
        watch = FileWatch(self.mail)
        self.world.files = watch
        home = HomeSource(self.world.home, watch=watch, machine=self.machine)
        files = WorkspaceSource(self.workspace, self.mail, self.world.traces[self.workspace])
        self.world.told = self._told
        self._coordd = Coordd(
            clock=self.clock,
            machine=self.machine,
            mail=self.mail,
            records=self._records,
            workspaces=[files],
            home=home,
        )
        for one in self.broken:
            self.breaks(one)
        await self._coordd.start(remembered)
        await self.passes(1.0)

    async def ends(self) -> None:
        """End coordd in order."""
        await self.coordd.stop()
        self._coordd = self.world.files = self.machine.watch = None

    def breaks(self, what: str) -> None:
        """Let the ``home`` or the ``workspace`` be unreadable."""
        self.broken.add(what)
        if what == "home":
            self.coordd.home.break_()
            self.coordd.home.look_again()
        else:
            self.coordd.workspaces[self.workspace].break_("it is broken")

    async def is_mended(self, what: str, *, settles: float = 40.0) -> None:
        """Let it be readable again, and be read: a home at the next attempt, which may be 33 s away."""
        self.broken.discard(what)
        (self.coordd.home if what == "home" else self.coordd.workspaces[self.workspace]).mend()
        await self.passes(settles)

    def shown(self, agent: Life) -> Shown | None:
        """Return how an agent is shown; None where it is not."""
        found = {(one.agent.key.workspace, one.agent.key.agent_id): one for one in self.coordd.shown()}
        one = found.get(agent.truth.key)
        return None if one is None else (one.verdict.status, one.verdict.reason, one.doing.activity)

    def verdicts(self, agent: Life) -> list[Shown]:
        """Return what was recorded of an agent so far, without repetitions."""
        found: list[Shown] = []
        for sample in self.recorded:
            one = (sample.status, sample.reason, sample.activity)
            if sample.agent_id == agent.truth.key[1] and one not in found[-1:]:
                found.append(one)
        return found

    def _told(self, workspace: str, agent_id: str, traces: AgentTraces | None) -> None:
        if self._coordd is None:
            return
        source = self.coordd.workspaces[workspace]
        if traces is None:
            source.remove(agent_id)
        else:
            source.put(traces)


def play(directory: Path, story: Callable[[Scene], Awaitable[None]]) -> None:
    """Play a story on a machine whose coordd runs."""

    async def played() -> None:
        scene = Scene(directory)
        with in_force(scene.clock):
            await scene.starts()
            await story(scene)
            if scene._coordd is not None:
                await scene.ends()
        scene._records.forget()

    asyncio.run(played())
