"""Let a day pass on a simulated machine, and compare all that coordd shows and records with what is true.

What goes wrong meanwhile, at random moments: coordd is stopped (SIGSTOP) or starved for seconds to minutes,
ends in order or is killed and starts again, the whole machine stops or sleeps, and each source cannot be read
for a while. Everything follows from the seed.
"""

from __future__ import annotations

import asyncio
import heapq
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from coordd.agents.traces import AgentTraces
from coordd.model import AgentSample
from day.clock import Clock, in_force, rest
from day.coordd import Coordd, HomeSource, Records, WorkspaceSource
from day.lives import HOUR, MINUTE, Beating, Life, Registered, Session, World
from day.machine import FileWatch, Machine, Mailbox
from day.observed import Interval, Observed
from day.truth import GONE, Oracle, Shown, Truth

WORKSPACES = 4
DETAILED = 20


@dataclass
class Outcome:
    """What came of a day: how many verdicts were compared, how many were false, and the first in words."""

    compared: int = 0
    recorded: int = 0
    false: int = 0
    details: list[str] = field(default_factory=list)
    shown: Counter[str] = field(default_factory=Counter)
    happened: Counter[str] = field(default_factory=Counter)


class Day:
    """One day of a machine.

    Args:
        agents: how many live at a time.
        hours: how long it lasts.
        seed: from which everything follows.
        directory: for the files of the home and of records; empty.
        disturbed: whether anything goes wrong beside the agents.
    """

    def __init__(
        self, *, agents: int, hours: float, seed: int, directory: Path, disturbed: bool = True
    ) -> None:
        self.outcome = Outcome()
        self._count, self._length, self._disturbed = agents, hours * HOUR, disturbed
        self._chance = random.Random(seed)
        self._directory = directory
        self._clock = Clock()
        self._machine = Machine(self._clock)
        self._mail = Mailbox()
        home = directory / "home"
        for path in (home / "sessions", home / "projects", directory / "records"):
            path.mkdir(parents=True)
        self._world = World(self._clock, self._machine, str(home), self._chance)
        self._places = [str(directory / f"work{number}") for number in range(WORKSPACES)]
        self._world.traces = {place: {} for place in self._places}
        self._observed = Observed()
        self._oracle = Oracle(self._observed)
        self._truths: dict[tuple[str, str], Truth] = {}
        self._records = Records(directory / "records", self._recorded)
        self._coordd: Coordd | None = None
        self._events: list[tuple[float, int, Callable[[], Awaitable[None]]]] = []
        self._numbers = count()
        self._paused = 0.0  # seconds for which the whole machine stopped: no time of the agents
        self._stopped_at = self._stopped_since = 0.0
        self._false_now: set[tuple[str, str]] = set()

    async def run(self) -> Outcome:
        """Let it pass."""
        with in_force(self._clock):
            await self._start_coordd([])
            for _ in range(self._count):
                self._is_born()
            self._at(MINUTE, self._look_round)
            if self._disturbed:
                self._follow(self._disturb())
                for source in ["", *self._places]:
                    self._follow(self._blind(source))
            end = self._clock.mono + self._length
            while self._events and self._events[0][0] + self._paused <= end:
                at, _, happen = heapq.heappop(self._events)
                await self._pass_until(at + self._paused)
                await happen()
                if not self._mail.stopped:
                    await rest()
            if self._coordd is not None:
                await self._coordd.stop()
        self._records.forget()
        return self.outcome

    # Time.

    def _at(self, delay: float, happen: Callable[[], Awaitable[None]]) -> None:
        due = self._clock.mono - self._paused + delay
        heapq.heappush(self._events, (due, next(self._numbers), happen))

    async def _pass_until(self, mono: float) -> None:
        if self._coordd is None or self._mail.stopped:
            self._clock.mono = max(self._clock.mono, mono)
        else:
            await self._coordd.timers.pass_until(mono)
            self._note_sources()

    def _follow(self, story: AsyncIterator[float]) -> None:
        """Go on with a story each time that its seconds have passed."""

        async def go_on() -> None:
            async for delay in story:
                self._at(delay, go_on)
                return

        self._at(0.0, go_on)

    def _note_sources(self) -> None:
        if self._coordd is not None:
            for source in ["", *self._places]:
                self._observed.note(source, self._coordd.unreadable_since(source), self._clock.mono)

    # Agents.

    def _is_born(self) -> None:
        kind, place = self._chance.random(), self._chance.choice(self._places)
        life: Life
        if kind < 0.55:
            life = Session(self._world, place, prints=kind < 0.1)
        elif kind < 0.7:
            life = Registered(self._world, place)
        else:
            life = Beating(self._world, place)
        self._truths[life.truth.key] = life.truth
        doomed = self._chance.random() < 0.4
        doom = self._clock.mono - self._paused + self._chance.uniform(0.02, 6) * HOUR
        steps = life.live()

        async def go_on() -> None:
            delay = next(steps, None)
            own_time = self._clock.mono - self._paused
            if delay is None:
                self._at(self._chance.uniform(1, 600), born)
            elif doomed and own_time + delay >= doom:
                self._at(max(0.0, doom - own_time), cut_off)
            else:
                self._at(delay, go_on)

        async def cut_off() -> None:
            life.cut_off()
            self._at(self._chance.uniform(1, 600), born)

        async def born() -> None:
            self._is_born()

        self._at(self._chance.uniform(0, 1), go_on)

    # coordd.

    async def _start_coordd(self, remembered: list[object]) -> None:
        watch = FileWatch(self._mail)
        self._world.files = watch
        home = HomeSource(self._world.home, watch=watch, machine=self._machine)
        workspaces = [WorkspaceSource(p, self._mail, self._world.traces[p]) for p in self._places]
        for one in workspaces:
            if one.state.workspace in self._observed.broken:
                one.break_("it is broken")
        if "" in self._observed.broken:
            home.break_()
        self._world.told = self._told
        self._observed.started = self._clock.mono
        self._coordd = Coordd(
            clock=self._clock,
            machine=self._machine,
            mail=self._mail,
            records=self._records,
            workspaces=workspaces,
            home=home,
        )
        await self._coordd.start(remembered)
        self._note_sources()

    def _told(self, workspace: str, agent_id: str, traces: AgentTraces | None) -> None:
        if self._coordd is None:
            return
        source = self._coordd.workspaces[workspace]
        if traces is None:
            source.remove(agent_id)
        else:
            source.put(traces)

    # What goes wrong.

    async def _disturb(self) -> AsyncIterator[float]:
        wrongs = [self._is_stopped, self._restarts, self._sleeps, self._pauses, self._stutters]
        while True:
            yield self._chance.uniform(3, 45) * MINUTE
            wrong = self._chance.choice(wrongs)
            self.outcome.happened[wrong.__name__.strip("_")] += 1
            async for delay in wrong():
                yield delay
            await self._look_round_now()
            yield 2 * MINUTE

    async def _is_stopped(self) -> AsyncIterator[float]:
        self._stop()
        yield self._chance.choice((2.5, 20.0, 130.0, 600.0, 1500.0)) * self._chance.uniform(0.8, 1.2)
        await self._go_on()

    async def _stutters(self) -> AsyncIterator[float]:
        for _ in range(20):
            self._stop()
            yield self._chance.uniform(0.05, 1.9)
            await self._go_on()
            yield self._chance.uniform(0.05, 1.0)

    def _stop(self) -> None:
        assert self._coordd is not None
        self._stopped_at = self._clock.mono
        self._stopped_since = max(self._clock.mono, min(self._coordd.timers.due, self._clock.mono + HOUR))
        self._mail.stopped = True

    async def _go_on(self) -> None:
        assert self._coordd is not None
        self._observed.stops.append(Interval(self._stopped_at, self._clock.mono))
        if self._clock.mono > self._stopped_since:
            self._observed.gaps.append(Interval(self._stopped_since, self._clock.mono))
        if self._chance.random() < 0.5:
            self._compare_all()  # somebody asks before anything else is done
        if self._chance.random() < 0.5:
            self._mail.deliver()
            if self._chance.random() < 0.5:
                self._compare_all()
        if self._coordd.timers.due <= self._clock.mono:
            self._mail.stopped = False
            await self._coordd.timers.ring()
        self._mail.deliver()
        await self._coordd.timers.pass_until(self._clock.mono)
        self._note_sources()

    async def _restarts(self) -> AsyncIterator[float]:
        assert self._coordd is not None
        down = self._clock.mono
        if self._chance.random() < 0.5:
            await self._coordd.stop()
        else:
            self._coordd.write_snapshot()
            yield self._chance.uniform(0.1, 60)
            down = self._clock.mono
            self._coordd.crash()
        self._note_nothing()
        yield self._chance.choice((0.3, 5.0, 100.0, 1000.0)) * self._chance.uniform(0.8, 1.2)
        self._observed.downs.append(Interval(down, self._clock.mono))
        remembered = self._records.remembered(self._clock.time())
        self._records.forget()
        await self._start_coordd(remembered)
        self._compare_all()

    def _note_nothing(self) -> None:
        """Note that coordd does not run."""
        self._coordd = self._machine.watch = self._world.files = None
        for source in ["", *self._places]:
            self._observed.note(source, None, self._clock.mono)

    async def _sleeps(self) -> AsyncIterator[float]:
        assert self._coordd is not None
        length = self._chance.choice((60.0, HOUR, 8 * HOUR)) * self._chance.uniform(0.5, 1.0)
        self._clock.asleep += length
        self._observed.sleeps.append((self._clock.mono, length))
        if self._chance.random() < 0.5:
            self._compare_all()
        await self._coordd.timers.tell_of_sleep()
        self._compare_all()
        yield 1.0

    async def _pauses(self) -> AsyncIterator[float]:
        """Let the whole machine stop: its agents do nothing either."""
        self._stop()
        length = self._chance.choice((5.0, 100.0, 900.0)) * self._chance.uniform(0.8, 1.2)
        self._paused += length
        self._clock.mono += length
        await self._go_on()
        yield 1.0

    async def _blind(self, source: str) -> AsyncIterator[float]:
        """Let a source be unreadable now and then."""
        while True:
            yield self._chance.uniform(0.2, 6) * HOUR
            self.outcome.happened["unreadable"] += 1
            self._observed.broken.add(source)
            if self._coordd is not None:
                self._break(self._coordd, source)
            yield self._chance.choice((5.0, 100.0, 500.0, 2000.0)) * self._chance.uniform(0.8, 1.2)
            self._observed.broken.discard(source)
            if self._coordd is not None:
                self._mend(self._coordd, source)
            yield 60.0

    def _break(self, coordd: Coordd, source: str) -> None:
        if source:
            self._mail.post(lambda: coordd.workspaces[source].break_("it is broken"))
        else:
            coordd.home.break_()

    def _mend(self, coordd: Coordd, source: str) -> None:
        if source:
            self._mail.post(coordd.workspaces[source].mend)
        else:
            coordd.home.mend()

    # Comparing.

    async def _look_round(self) -> None:
        await self._look_round_now()
        self._at(MINUTE, self._look_round)

    async def _look_round_now(self) -> None:
        if self._coordd is not None and not self._mail.stopped:
            self._compare_all()

    def _compare_all(self) -> None:
        """Compare all that is shown at this moment."""
        assert self._coordd is not None
        now = self._clock.mono
        shown = {
            (one.agent.key.workspace, one.agent.key.agent_id): (
                one.verdict.status,
                str(one.verdict.reason),
                one.doing.activity,
            )
            for one in self._coordd.shown()
        }
        for key in shown.keys() - self._truths.keys():
            self._is_false(f"{key} is shown, and never was")
        for key, truth in list(self._truths.items()):
            self._compare(truth, shown.get(key, GONE), now, "shown")
            if key not in shown and truth.ended_at < now - 3 * HOUR and truth.end in ("left", "ended"):
                del self._truths[key]

    def _recorded(self, sample: AgentSample) -> None:
        """Compare one sample that is recorded."""
        self._note_sources()
        self.outcome.recorded += 1
        key = (sample.workspace or "", sample.agent_id)
        truth = self._truths.get(key)
        if truth is None:
            self._is_false(f"{key} is recorded, and never was")
        elif sample.cause == "removed":
            self._compare(truth, GONE, self._clock.mono, "recorded")
        else:
            one = (sample.status, str(sample.reason), sample.activity)
            self._compare(truth, one, self._clock.mono, "recorded")

    def _compare(self, truth: Truth, shown: Shown, now: float, how: str) -> None:
        self.outcome.compared += 1
        allowed = self._oracle.allowed(truth, now)
        self.outcome.shown[f"{shown[1] or shown[0]} {shown[2] or ''}".strip()] += 1
        if shown != GONE:
            truth.shown = True
        if shown in allowed:
            self._false_now.discard(truth.key)
            return
        self.outcome.false += 1
        if truth.key not in self._false_now:
            self._false_now.add(truth.key)
            phases = " ".join(
                f"{p.what}@{p.since - now:+.1f}({p.at - now:+.1f})" for p in list(truth.phases)[-4:]
            )
            self._is_false(
                f"{truth.key[1]} ({truth.kind}) is {how} as {shown}, allowed {sorted(map(str, allowed))}; "
                f"end {truth.end} at {truth.ended_at - now:+.1f}; "
                f"beat {truth.last_beat - now:+.1f}; {phases}",
                count=False,
            )

    def _is_false(self, words: str, *, count: bool = True) -> None:
        self.outcome.false += count
        observed = self._observed
        if len(self.outcome.details) < DETAILED:
            now = self._clock.mono
            blind = {
                k or "home": [f"{b - now:.0f}..{e - now:.0f}" for b, e in v[-2:]]
                for k, v in observed.blind.items()
                if v
            }
            self.outcome.details.append(
                f"t={self._clock.mono:.2f} {words}; started {observed.started - now:+.0f}; "
                f"gaps {[f'{b - now:.1f}..{e - now:.1f}' for b, e in observed.gaps[-2:]]}; blind {blind}"
            )


def simulate(*, agents: int, hours: float, seed: int, directory: Path, disturbed: bool = True) -> Outcome:
    """Let a day pass, and return what came of it."""
    day = Day(agents=agents, hours=hours, seed=seed, directory=directory, disturbed=disturbed)
    return asyncio.run(day.run())
