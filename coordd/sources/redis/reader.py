"""Reading the coordination traces in one Redis, and remembering them so that a change costs only itself.

The state grows answer by answer; a full reading only adds which of it is no more. So
:meth:`RedisReader.read` and :meth:`RedisReader.reread` may be called while a :meth:`RedisReader.scan` is
under way: they need not wait, and what they find is in the result of the scan too. Two scans, or two readings
of what changed, follow one another. Nothing is ever written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

from coordd.agents.traces import AgentsChange, WorkChange, WorkspaceTraces
from coordd.redislink.session import CHUNK, Command, RedisSession
from coordd.redislink.trouble import ServerError
from coordd.sources.bounds import MAX_NAMED, Bounds
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.asking import LONGEST_KEY, SLICE, Tally, Unusable, ask, page
from coordd.sources.redis.beats import Beats
from coordd.sources.redis.holds import Holds
from coordd.sources.redis.keys import (
    AGENT_TASKS,
    BEATS,
    CLAIMS,
    PROGRESS,
    REGISTRY,
    SCAN_PATTERN,
    family_of,
)
from coordd.sources.redis.lists import TaskLists
from coordd.sources.redis.offers import MAX_SOURCES, Offers
from coordd.sources.redis.problems import Problems
from coordd.sources.redis.read_plan import ReadPlan
from coordd.sources.redis.registry import Registry
from coordd.sources.redis.slow import Slow
from coordd.sources.redis.work import Available, Claims, ProgressTold

MAX_ENTRIES = 100_000
"""Agents, claims, progress and registrations beyond so many of each are passed over."""
_SCAN_COUNT = b"1000"  # keys that the server looks at in one step: a fraction of a millisecond
_REGISTRY_KEY = REGISTRY.encode()


class RedisReader:
    """Reads one Redis over whatever connection it is given.

    Args:
        mono: the monotonic clock, in seconds.
        max_entries: agents (claims, progress, registrations) beyond this are passed over.
        max_named: tasks of one list beyond this are counted, not named.
        bounds: what of all may be kept.
    """

    workspace = ""

    def __init__(
        self,
        *,
        mono: Callable[[], float],
        max_entries: int = MAX_ENTRIES,
        max_named: int = MAX_NAMED,
        bounds: Bounds | None = None,
    ) -> None:
        bounds = bounds or Bounds()
        self.troubles: Mapping[str, str] = {}
        self._mono = mono
        self._max_entries = max_entries
        self._problems = Problems()
        self._agents = Agents(limit=max_entries, bounds=bounds)
        self._claims = Claims(limit=max_entries, text=bounds.text)
        self._progress = ProgressTold(limit=max_entries, text=bounds.text)
        self._available = Available()
        self._beats = Beats(agents=self._agents, problems=self._problems)
        self._holds = Holds(claims=self._claims, progress=self._progress, problems=self._problems)
        self._lists = TaskLists(agents=self._agents, problems=self._problems, max_named=max_named)
        self._registry = Registry(agents=self._agents, problems=self._problems, limit=max_entries)
        self._offers = Offers(available=self._available, problems=self._problems, max_named=max_named)
        self._slow_registry: Slow[bytes] = Slow()
        self._slow_offers: Slow[bytes] = Slow()
        self._wire: RedisSession | None = None
        self._scanning = False
        self._whole = False
        self._unknown: frozenset[str] = frozenset()
        self._refused: frozenset[str] = frozenset()

    @property
    def due(self) -> float | None:
        """Monotonic time at which :meth:`read` is to be called even without a change; None: never."""
        times = (self._slow_registry.due, self._slow_offers.due)
        return min((time for time in times if time is not None), default=None)

    async def scan(self, wire: RedisSession, now: float) -> WorkspaceTraces:
        """Read everything: the truth.

        Args:
            wire: the connection; another one than before means that changes may have gone unnoticed.
            now: wall clock, epoch seconds.

        Raises:
            RedisLost: the connection failed; what was known stays known.
        """
        self._agents.begin(connected=wire is not self._wire)
        self._claims.begin()
        self._progress.begin()
        self._problems.begin()
        self._wire = wire
        self._scanning, self._whole = True, False
        tally, lists, wall = Tally(), set[bytes](), self._wall(now)
        try:
            refused = await self._sweep(wire, now, wall, tally, lists)
            await self._read_registry(wire)
            await self._read_offers(wire, lists if refused is None else {*lists, *self._available.sources()})
            if refused is not None:
                await self._probe(wire, now, wall, tally)
        except Unusable as error:
            return self._unreadable(str(error))
        finally:
            self._scanning = False
        return self._answer(tally, refused)

    async def read(
        self, wire: RedisSession, keys: Collection[bytes], now: float, *, pushed: bool = True
    ) -> AgentsChange:
        """Read what these keys mean, and nothing else but what is due.

        Args:
            wire: the connection of the last scan.
            keys: announced as changed; there may be foreign ones among them.
            now: wall clock, epoch seconds.
            pushed: whether the keys were announced, so that a heartbeat among them is a beat in any case.

        Raises:
            RedisLost: the connection failed.
        """
        if wire is not self._wire or not (self._whole or self._scanning):
            return AgentsChange(self.workspace, {}, rescan_needed=True)
        todo = ReadPlan()
        rest = iter(keys)
        while slice_ := list(islice(rest, SLICE)):
            todo.add(slice_, self._problems)
            if len(slice_) == SLICE:
                await asyncio.sleep(0)
        if todo.registry:
            self._slow_registry.wanted.add(_REGISTRY_KEY)
        self._slow_offers.wanted |= todo.offers
        try:
            return await self._read_some(wire, todo, now, pushed=pushed)
        except Unusable:
            self._whole = False
            return AgentsChange(self.workspace, {}, rescan_needed=True)

    async def reread(self, wire: RedisSession, agent_ids: Collection[str], now: float) -> AgentsChange:
        """Read the heartbeats and registrations of these agents; equal content is no beat.

        Raises:
            RedisLost: the connection failed.
        """
        if wire is not self._wire or not (self._whole or self._scanning):
            return AgentsChange(self.workspace, {}, rescan_needed=True)
        ids, tally = list(agent_ids), Tally()
        try:
            for start in range(0, len(ids), CHUNK // 2):
                some = ids[start : start + CHUNK // 2]
                await self._beats.read(wire, self._beats.keys_of(some), now, tally, pushed=False)
                await self._registry.look_up(wire, some)
        except Unusable:
            self._whole = False
            return AgentsChange(self.workspace, {}, rescan_needed=True)
        return AgentsChange(
            self.workspace,
            {one: self._agents.traces.get(one) for one in ids},
            self._problems.take_news(),
            rescan_needed=self._is_refused_more(tally),
        )

    async def _read_some(
        self, wire: RedisSession, todo: ReadPlan, now: float, *, pushed: bool
    ) -> AgentsChange:
        unnamed, tally = self._available.unnamed, Tally()
        claims, progress = await self._read_todo(wire, todo, now, self._wall(now), tally, pushed=pushed)
        affected = set(claims)
        agent_ids = {one.id for one in (*todo.beats, *todo.tasks)}
        if self._slow_registry.may(self._mono()):
            agent_ids |= await self._read_registry(wire)
        if "available" in self._unknown:
            self._slow_offers.take()
        elif self._slow_offers.may(self._mono()):
            affected |= await self._read_offers(wire)
        # Everything as it is now: what was read first may have been read again meanwhile, by a scan.
        work = WorkChange(
            {task: self._claims.merged.get(task) for task in claims},
            {task: self._progress.told.get(task) for task in progress},
            self._availability(affected),
            None if self._available.unnamed == unnamed else self._available.unnamed,
        )
        traces = {agent_id: self._agents.traces.get(agent_id) for agent_id in agent_ids}
        return AgentsChange(
            self.workspace, traces, self._problems.take_news(), self._is_refused_more(tally), work
        )

    async def _read_todo(
        self,
        wire: RedisSession,
        todo: ReadPlan,
        now: float,
        wall: Callable[[], float],
        tally: Tally,
        *,
        pushed: bool,
    ) -> tuple[set[str], set[str]]:
        """Read what concerns single agents and tasks; the tasks whose claim, or progress, is another."""
        await self._beats.read(wire, todo.beats, now, tally, pushed=pushed)
        await self._lists.read(wire, todo.tasks, tally)
        for agent_id, name in todo.names.items():
            self._agents.keeps_name(agent_id, name)
        claims: set[str] = set()
        progress: set[str] = set()
        if self._scanning or "claims" not in self._unknown:
            claims = await self._holds.read_claims(wire, todo.claims, wall, tally)
        if self._scanning or "progress" not in self._unknown:
            progress = await self._holds.read_progress(wire, todo.progress, tally)
        return claims, progress

    def _availability(self, tasks: Iterable[str]) -> dict[str, bool]:
        if "available" in self._unknown:
            return {}
        offered = self._available.offered
        return {task: offered(task) and self._claims.frees(task) for task in tasks}

    def _wall(self, now: float) -> Callable[[], float]:
        """The wall clock, going by the monotonic one from a moment that is passed in."""
        began = self._mono()
        return lambda: now + self._mono() - began

    async def _sweep(
        self, wire: RedisSession, now: float, wall: Callable[[], float], tally: Tally, lists: set[bytes]
    ) -> str | None:
        """Find and read all keys; why they cannot be found, in words, where they cannot."""
        cursor, todo = b"0", ReadPlan()
        while True:
            commands: list[Command] = [(b"SCAN", cursor, b"MATCH", SCAN_PATTERN, b"COUNT", _SCAN_COUNT)]
            reply = (await ask(wire, commands, largest=LONGEST_KEY + 1))[0]
            if isinstance(reply, ServerError):
                return str(reply)
            cursor, keys = page(reply)
            todo.add(keys, self._problems)
            if len(todo) >= CHUNK or cursor == b"0":
                await self._read_todo(wire, todo, now, wall, tally, pushed=False)
                if len(lists) <= 2 * MAX_SOURCES:  # more are not looked at, and nobody can tell then
                    lists |= todo.offers
                todo = ReadPlan()
            if cursor == b"0":
                return None

    async def _probe(self, wire: RedisSession, now: float, wall: Callable[[], float], tally: Tally) -> None:
        """Look for the keys that can be guessed, where the server names none."""
        todo, ids = ReadPlan(), [self._agents.name_of(agent_id) for agent_id in self._agents]
        for start in range(0, len(ids), SLICE):
            families = (*BEATS, AGENT_TASKS)
            guessed = (family.encode() + one for one in ids[start : start + SLICE] for family in families)
            todo.add(guessed, self._problems)
            await asyncio.sleep(0)
        tasks = {*self._claims.merged, *self._progress.told, *self._available.free(self._claims)}
        families = (*CLAIMS, PROGRESS)
        todo.add((family.encode() + task.encode() for task in tasks for family in families), self._problems)
        await self._read_todo(wire, todo, now, wall, tally, pushed=False)

    async def _read_registry(self, wire: RedisSession) -> set[str]:
        slow = self._slow_registry
        async with slow.lock:
            slow.take()
            began = self._mono()
            changed = await self._registry.read(wire)
            slow.was_read(began, self._mono(), heavy=self._registry.heavy)
        return changed

    async def _read_offers(self, wire: RedisSession, lists: Collection[bytes] | None = None) -> set[str]:
        """Read all sources, or (None) those that changed; the tasks that are affected."""
        slow = self._slow_offers
        async with slow.lock:
            wanted = slow.take()
            began = self._mono()
            if lists is None:
                touched = await self._offers.read(wire, sorted(wanted))
            else:
                touched = await self._offers.read_all(wire, lists)
            slow.was_read(began, self._mono(), heavy=self._offers.heavy)
        return touched

    def _answer(self, tally: Tally, refused: str | None) -> WorkspaceTraces:
        self._agents.end()
        self._claims.end()
        self._progress.end()
        self.troubles = self._find_troubles(tally, refused)
        self._refused = self._refusals(tally)
        unreadable = tally.all_refused(*BEATS)
        if unreadable is not None:
            return self._unreadable(f"{unreadable}: no heartbeat can be read")
        self._unknown = self._find_unknown(tally)
        self._whole = True
        claims = None if "claims" in self._unknown else dict(self._claims.merged)
        return WorkspaceTraces(
            self.workspace,
            "read",
            agents=dict(self._agents.traces),
            malformed=self._malformed(),
            tasks_available=None if "available" in self._unknown else self._available.free(self._claims),
            claims=claims,
            progress=None if "progress" in self._unknown else dict(self._progress.told),
            available_unnamed=0 if "available" in self._unknown else self._available.unnamed,
            malformed_unnamed=self._problems.unnamed,
            crowded=self._crowded(),
        )

    def _unreadable(self, error: str) -> WorkspaceTraces:
        return WorkspaceTraces(
            self.workspace, "unreadable", error, tasks_available=None, claims=None, progress=None
        )

    def _refusals(self, tally: Tally) -> frozenset[str]:
        """The families of which something may not be read."""
        registry = {REGISTRY} if self._registry.trouble else set[str]()
        return frozenset({*tally.refused, *registry, *map(family_of, self._offers.troubles)})

    def _is_refused_more(self, tally: Tally) -> bool:
        """Whether rights are gone since the last full reading: only another one can tell what that means."""
        return self._whole and not self._refusals(tally) <= self._refused

    def _find_unknown(self, tally: Tally) -> frozenset[str]:
        unknown = set()
        if tally.all_refused(*CLAIMS) or self._claims.overfull:
            unknown |= {"claims", "available"}  # who knows what is claimed
        if tally.all_refused(PROGRESS) or self._progress.overfull:
            unknown.add("progress")
        if self._offers.troubles or self._offers.overfull:
            unknown.add("available")
        return frozenset(unknown)

    def _find_troubles(self, tally: Tally, refused: str | None) -> dict[str, str]:
        troubles = {}
        if refused is not None:
            troubles["SCAN"] = f"{refused}: found is only what {REGISTRY} names, and what changes"
        if self._registry.trouble:
            troubles[REGISTRY] = self._registry.trouble
        for family in (*BEATS, AGENT_TASKS, *CLAIMS, PROGRESS):
            words = tally.all_refused(family)
            if words is not None:
                troubles[family] = words
        for key, words in self._offers.troubles.items():
            troubles.setdefault(family_of(key), words)
        return troubles

    def _malformed(self) -> dict[str, str]:
        found = {f"redis: {what}": words for what, words in self._crowded().items()}
        return self._problems.end() | found

    def _crowded(self) -> dict[str, str]:
        parts = (
            ("agents", self._agents.overfull or self._registry.overfull, self._max_entries),
            ("claims", self._claims.overfull, self._max_entries),
            ("progress", self._progress.overfull, self._max_entries),
            ("lists of work", self._offers.overfull, MAX_SOURCES),
        )
        words = "more than {}, or than there is room for; the rest is not read"
        return {what: words.format(most) for what, overfull, most in parts if overfull}
