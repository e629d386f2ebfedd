"""Follow all sources: find them, let each be read, and let go of those that are there no longer."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress

from coordd.agents.remembered import RememberedAgent
from coordd.agents.source import SourceName
from coordd.intake.source import BATCH, SLACK, SourceIntake, Stores
from coordd.runtime.pace import PAUSE, Pace
from coordd.runtime.schedule import now
from coordd.sources.base import SourceFinder

AT_ONCE = 2.0
"""Seconds of searching that may follow on each other after a quiet time: a project comes in several steps."""


class Intake:
    """Follow every source that the finders find, each through a SourceIntake of its own.

    Args:
        finders: one for each kind of source.
        stores: where readings go; the deadline timer reads agents again through this intake.
    """

    def __init__(self, *, finders: Sequence[SourceFinder], stores: Stores) -> None:
        self._finders = finders
        self._stores = stores
        self._sources: dict[SourceName, SourceIntake] = {}
        self._found: list[set[SourceName]] = [set() for _ in finders]
        self._finding = asyncio.Lock()
        self._pace = Pace((0.0, PAUSE[1]), burst=AT_ONCE)
        self._removals: set[asyncio.Future[None]] = set()
        self._ended = False
        stores.deadline_timer.reread = self.reread

    async def start(self, remembered: Iterable[RememberedAgent]) -> None:
        """Find the sources, show the agents that the last run knew, and begin to read.

        Args:
            remembered: the agents, from the records.
        """
        stores, agents = self._stores, list(remembered)
        for finder in self._finders:
            finder.start(self.find_soon)
        added = await self._find()
        shown = [one for one in agents if not one.dormant]
        stores.tasks.starting(one.key for one in shown if one.verdict.status != "inactive")
        await stores.agents.restore(agents, now())
        for one in added:
            one.start()
        self._find_in_time()

    async def first_readings(self) -> None:
        """Return when every source was read once, or has kept waiting for as long as its patience allows."""

        async def first_of(one: SourceIntake) -> None:
            patience = one.source.patience
            with suppress(TimeoutError):
                async with asyncio.timeout(None if patience == math.inf else patience):
                    await one.first.wait()

        await asyncio.gather(*(first_of(one) for one in self._sources.values()))

    def find_soon(self) -> None:
        """Look for sources soon: some may have come or gone; may be called thousands of times a second."""
        if not self._ended and self._stores.schedule.waiting("sources.find-soon") is None:
            delay = max(BATCH, self._pace.after - now().mono)
            self._stores.schedule.once("sources.find-soon", delay, self.find)

    async def find(self) -> None:
        """Look for sources; follow those that are new, and let go of those that are there no longer."""
        began = now().mono
        try:
            for one in await self._find():
                one.start()
        finally:
            self._pace.ended(began, now().mono)
            self._find_in_time()

    def scan_soon(self) -> None:
        """Look for sources, and read each in full, now rather than in its time."""
        self.find_soon()
        for one in self._sources.values():
            one.scan_soon()

    def skip(self, seconds: float) -> None:
        """Take time in which coordd did not run out of every clock."""
        for one in self._sources.values():
            one.state.clock.skip(seconds)

    def gap(self, seconds: float) -> None:
        """Take a long time in which coordd did not run out of every clock, and read everything again."""
        self.skip(seconds)
        self.interrupted()
        self._stores.store.rejudge_all(now().mono)
        self.scan_soon()

    def interrupted(self) -> None:
        """Note that nothing was observed for a while that ends now and that no clock of a source counts."""
        for one in self._sources.values():
            one.interrupted()

    async def reread(self, source: SourceName, agent_ids: Collection[str]) -> None:
        """Read these agents of a source again, before they are judged."""
        one = self._sources.get(source)
        if one is not None:
            await one.reread(agent_ids)

    async def stop(self) -> None:
        """Stop reading and publishing, after the readings under way have ended."""
        self._ended = True
        async with self._finding:
            sources, self._sources = self._sources, {}
            await asyncio.gather(*(one.stop() for one in sources.values()))
        await asyncio.gather(*self._removals)
        for finder in self._finders:
            finder.stop()

    def _find_in_time(self) -> None:
        """Look for sources again after the shortest interval of the finders, unless one tells before."""
        interval = min((finder.interval for finder in self._finders), default=math.inf)
        if interval == math.inf or self._ended:
            self._stores.schedule.cancel("sources.find")
        else:
            interval = self._pace.at_least(interval)
            self._stores.schedule.once("sources.find", interval, self.find, slack=SLACK * interval)

    async def _find(self) -> list[SourceIntake]:
        """Bring the sources up to date with what the finders find; return the new ones, not started yet."""
        added = []
        async with self._finding:
            if self._ended:
                return []
            for finder, names in zip(self._finders, self._found, strict=True):
                found = await finder.find()
                if found is None:
                    continue
                for name in names - found.keys():
                    await self._remove(name)
                for name, source in found.items():
                    if name not in self._sources:
                        self._stores.agents.add_source(source.state)
                        one = SourceIntake(source, self._stores, drop=self._drop)
                        self._sources[name] = one
                        added.append(one)
                names.clear()
                names.update(found)
        return added

    def _drop(self, one: SourceIntake) -> None:
        """Remove a source that says itself that it is gone; its lock is held, so that has to wait."""
        removal = asyncio.ensure_future(self._remove_gone(one))
        self._removals.add(removal)
        removal.add_done_callback(self._removals.discard)

    async def _remove_gone(self, one: SourceIntake) -> None:
        # Not while sources are looked for: one of the same name may be there again by now.
        async with self._finding:
            if self._sources.get(one.state.name) is one:
                await self._remove(one.state.name)
        self.find_soon()

    async def _remove(self, name: SourceName) -> None:
        one = self._sources.pop(name, None)
        if one is not None:
            await one.remove()
