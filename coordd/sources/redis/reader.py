"""Read the traces in one Redis, and remember them so that a change only costs its own reading.

Each reply updates the state; the end of a full reading also removes what it did not find. So
:meth:`RedisReader.read` and :meth:`RedisReader.reread` may be called during a :meth:`RedisReader.scan`,
without waiting for it, and its result includes what they find. Two scans must not overlap, nor two calls of
``read`` or ``reread``. Nothing is ever written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from itertools import islice

from coordd.agents.traces import AgentsChange, SourceTraces, WorkChange
from coordd.redislink.session import CHUNK, Command, RedisSession
from coordd.redislink.trouble import ServerError
from coordd.sources.bounds import MAX_NAMED, Bounds
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.available import MAX_SOURCES, AvailableReader
from coordd.sources.redis.claims import ClaimReader
from coordd.sources.redis.heartbeats import HeartbeatReader
from coordd.sources.redis.keys import (
    AGENT_TASKS,
    BEATS,
    CLAIMS,
    PROGRESS,
    REGISTRY,
    Keyspace,
)
from coordd.sources.redis.problems import Problems
from coordd.sources.redis.read_plan import ReadPlan
from coordd.sources.redis.registry import RegistryReader
from coordd.sources.redis.requests import LONGEST_KEY, SLICE, Tally, Unusable, ask, page
from coordd.sources.redis.task_lists import TaskListReader
from coordd.sources.redis.throttle import ReadThrottle
from coordd.sources.redis.work import Available, Claims, TaskProgress
from coordd.sources.redis.zones import Zones

MAX_ENTRIES = 100_000
"""Agents, claims, progress and registrations that are kept, of each so many; more are left out."""
MAX_ZONES = 20_000
"""Claims and progress without zones in their times of which is remembered when they were written."""
_SCAN_COUNT = b"1000"  # keys that the server looks at in one step, in a fraction of a millisecond


class RedisReader:
    """Read one Redis, over whatever connection it is given.

    ``tracked`` are the beginnings of all keys that are read.

    Args:
        mono: returns the monotonic clock, in seconds.
        max_entries: agents (claims, progress, registrations) that are kept; more are left out.
        max_named: task ids that are kept of one list; more are counted.
        bounds: budgets shared by all readers.
        keyspace: names the keys.
    """

    workspace = ""

    def __init__(
        self,
        *,
        mono: Callable[[], float],
        max_entries: int = MAX_ENTRIES,
        max_named: int = MAX_NAMED,
        bounds: Bounds | None = None,
        keyspace: Keyspace | None = None,
    ) -> None:
        bounds = bounds or Bounds()
        keyspace = keyspace or Keyspace()
        self.troubles: Mapping[str, str] = {}
        self.tracked = keyspace.tracked
        self._keyspace = keyspace
        self._mono = mono
        self._max_entries = max_entries
        self._problems = Problems()
        self._agents = Agents(limit=max_entries, bounds=bounds)
        self._claims = Claims(limit=max_entries, text=bounds.text)
        self._progress = TaskProgress(limit=max_entries, text=bounds.text)
        self._available = Available()
        self._beats = HeartbeatReader(agents=self._agents, problems=self._problems, keyspace=keyspace)
        self._zones = Zones(limit=min(MAX_ZONES, max_entries))
        self._holds = ClaimReader(
            claims=self._claims, progress=self._progress, problems=self._problems, zones=self._zones
        )
        self._lists = TaskListReader(agents=self._agents, problems=self._problems, max_named=max_named)
        self._registry = RegistryReader(
            agents=self._agents, problems=self._problems, keyspace=keyspace, limit=max_entries
        )
        self._offers = AvailableReader(
            available=self._available, problems=self._problems, keyspace=keyspace, max_named=max_named
        )
        self._slow_registry: ReadThrottle[bytes] = ReadThrottle()
        self._slow_offers: ReadThrottle[bytes] = ReadThrottle()
        self._session: RedisSession | None = None
        self._scanning = False
        self._complete = False
        self._unknown: frozenset[str] = frozenset()
        self._refused: frozenset[str] = frozenset()

    @property
    def due(self) -> float | None:
        """Monotonic time at which :meth:`read` has to be called even without a change; None: never."""
        times = (self._slow_registry.due, self._slow_offers.due)
        return min((time for time in times if time is not None), default=None)

    async def scan(self, session: RedisSession, now: float) -> SourceTraces:
        """Read everything; the result replaces what was known.

        Args:
            session: the connection; if it differs from the last one, changes may have gone unnoticed.
            now: wall clock, epoch seconds.

        Raises:
            RedisLost: the connection failed; what was known stays known.
        """
        if session is not self._session:
            self._zones.connected()
        self._agents.begin(connected=session is not self._session)
        self._claims.begin()
        self._progress.begin()
        self._problems.begin()
        self._session = session
        self._scanning, self._complete = True, False
        tally, lists, wall = Tally(), set[bytes](), self._wall(now)
        try:
            refused = await self._scan_keys(session, now, wall, tally, lists)
            await self._read_registry(session, wall)
            await self._read_offers(
                session, lists if refused is None else {*lists, *self._available.sources()}
            )
            if refused is not None:
                await self._read_guessed_keys(session, now, wall, tally)
        except Unusable as error:
            return self._unreadable(str(error))
        finally:
            self._scanning = False
        return self._answer(tally, refused)

    async def read(
        self, session: RedisSession, keys: Collection[bytes], now: float, *, pushed: bool = True
    ) -> AgentsChange:
        """Read what these keys mean, and what else is due.

        Args:
            session: the connection of the last scan.
            keys: announced as changed; some may be foreign.
            now: wall clock, epoch seconds.
            pushed: whether the keys were announced, so that each heartbeat among them is a beat.

        Raises:
            RedisLost: the connection failed.
        """
        if session is not self._session or not (self._complete or self._scanning):
            return AgentsChange(self.workspace, {}, rescan_needed=True)
        plan = ReadPlan(self._keyspace)
        rest = iter(keys)
        while slice_ := list(islice(rest, SLICE)):
            plan.add(slice_, self._problems)
            if len(slice_) == SLICE:
                await asyncio.sleep(0)
        if plan.registry:
            self._slow_registry.wanted.add(self._keyspace.key(REGISTRY))
        self._slow_offers.wanted |= plan.offers
        try:
            return await self._read_some(session, plan, now, pushed=pushed)
        except Unusable:
            self._complete = False
            return AgentsChange(self.workspace, {}, rescan_needed=True)

    async def reread(self, session: RedisSession, agent_ids: Collection[str], now: float) -> AgentsChange:
        """Read the heartbeats and registrations of these agents; equal content is no beat.

        Raises:
            RedisLost: the connection failed.
        """
        if session is not self._session or not (self._complete or self._scanning):
            return AgentsChange(self.workspace, {}, rescan_needed=True)
        ids, tally = list(agent_ids), Tally()
        try:
            for start in range(0, len(ids), CHUNK // 2):
                some = ids[start : start + CHUNK // 2]
                await self._beats.read(session, self._beats.keys_of(some), now, tally, pushed=False)
                await self._registry.look_up(session, some, now)
        except Unusable:
            self._complete = False
            return AgentsChange(self.workspace, {}, rescan_needed=True)
        return AgentsChange(
            self.workspace,
            {one: self._agents.traces.get(one) for one in ids},
            self._problems.take_new(),
            rescan_needed=self._is_refused_more(tally),
        )

    async def _read_some(
        self, session: RedisSession, plan: ReadPlan, now: float, *, pushed: bool
    ) -> AgentsChange:
        unnamed, tally = self._available.unnamed, Tally()
        claims, progress = await self._read_plan(session, plan, now, self._wall(now), tally, pushed=pushed)
        affected = set(claims)
        agent_ids = {one.id for one in (*plan.beats, *plan.tasks)}
        if self._slow_registry.ready(self._mono()):
            agent_ids |= await self._read_registry(session, self._wall(now))
        if "available" in self._unknown:
            self._slow_offers.take()
        elif self._slow_offers.ready(self._mono()):
            affected |= await self._read_offers(session)
        # the state of this moment: a scan may have read some of it again meanwhile
        work = WorkChange(
            {task: self._claims.merged.get(task) for task in claims},
            {task: self._progress.by_task.get(task) for task in progress},
            self._availability(affected),
            None if self._available.unnamed == unnamed else self._available.unnamed,
        )
        traces = {agent_id: self._agents.traces.get(agent_id) for agent_id in agent_ids}
        return AgentsChange(
            self.workspace, traces, self._problems.take_new(), self._is_refused_more(tally), work
        )

    async def _read_plan(
        self,
        session: RedisSession,
        plan: ReadPlan,
        now: float,
        wall: Callable[[], float],
        tally: Tally,
        *,
        pushed: bool,
    ) -> tuple[set[str], set[str]]:
        """Read the keys of agents and tasks; return the tasks whose claim, and whose progress, changed."""
        await self._beats.read(session, plan.beats, now, tally, pushed=pushed)
        await self._lists.read(session, plan.tasks, tally)
        for agent_id, name in plan.names.items():
            self._agents.keep_name(agent_id, name)
        claims: set[str] = set()
        progress: set[str] = set()
        if self._scanning or "claims" not in self._unknown:
            claims = await self._holds.read_claims(session, plan.claims, wall, tally, pushed=pushed)
        if self._scanning or "progress" not in self._unknown:
            progress = await self._holds.read_progress(session, plan.progress, now, tally, pushed=pushed)
        return claims, progress

    def _availability(self, tasks: Iterable[str]) -> dict[str, bool]:
        if "available" in self._unknown:
            return {}
        offered = self._available.offered
        return {task: offered(task) and self._claims.leaves_free(task) for task in tasks}

    def _wall(self, now: float) -> Callable[[], float]:
        """Return the wall clock as a function: ``now``, plus the monotonic time passed since."""
        began = self._mono()
        return lambda: now + self._mono() - began

    async def _scan_keys(
        self, session: RedisSession, now: float, wall: Callable[[], float], tally: Tally, lists: set[bytes]
    ) -> str | None:
        """Find and read all keys; return in words why they cannot be listed, None if they can."""
        cursor, plan, pattern = b"0", ReadPlan(self._keyspace), self._keyspace.scan_pattern
        while True:
            commands: list[Command] = [(b"SCAN", cursor, b"MATCH", pattern, b"COUNT", _SCAN_COUNT)]
            reply = (await ask(session, commands, largest=LONGEST_KEY + 1))[0]
            if isinstance(reply, ServerError):
                return str(reply)
            cursor, keys = page(reply)
            plan.add(keys, self._problems)
            if len(plan) >= CHUNK or cursor == b"0":
                await self._read_plan(session, plan, now, wall, tally, pushed=False)
                if len(lists) <= 2 * MAX_SOURCES:  # more are not looked at
                    lists |= plan.offers
                plan = ReadPlan(self._keyspace)
            if cursor == b"0":
                return None

    async def _read_guessed_keys(
        self, session: RedisSession, now: float, wall: Callable[[], float], tally: Tally
    ) -> None:
        """Read the keys whose names can be guessed, when the server does not list them."""
        plan, key = ReadPlan(self._keyspace), self._keyspace.key
        ids = [self._agents.name_of(agent_id) for agent_id in self._agents]
        for start in range(0, len(ids), SLICE):
            families = (*BEATS, AGENT_TASKS)
            guessed = (key(family, one) for one in ids[start : start + SLICE] for family in families)
            plan.add(guessed, self._problems)
            await asyncio.sleep(0)
        tasks = {*self._claims.merged, *self._progress.by_task, *self._available.free(self._claims)}
        families = (*CLAIMS, PROGRESS)
        plan.add((key(family, task.encode()) for task in tasks for family in families), self._problems)
        await self._read_plan(session, plan, now, wall, tally, pushed=False)

    async def _read_registry(self, session: RedisSession, wall: Callable[[], float]) -> set[str]:
        slow = self._slow_registry
        async with slow.lock:
            slow.take()
            began = self._mono()
            changed = await self._registry.read(session, wall)
            slow.ended(began, self._mono(), heavy=self._registry.heavy)
        return changed

    async def _read_offers(self, session: RedisSession, lists: Collection[bytes] | None = None) -> set[str]:
        """Read these sources, or (None) those that changed; return the tasks affected."""
        slow = self._slow_offers
        async with slow.lock:
            wanted = slow.take()
            began = self._mono()
            if lists is None:
                touched = await self._offers.read(session, sorted(wanted))
            else:
                touched = await self._offers.read_all(session, lists)
            slow.ended(began, self._mono(), heavy=self._offers.heavy)
        return touched

    def _answer(self, tally: Tally, refused: str | None) -> SourceTraces:
        self._agents.end()
        self._zones.complete()
        self._claims.end()
        self._progress.end()
        self.troubles = self._find_troubles(tally, refused)
        self._refused = self._refusals(tally)
        unreadable = tally.all_refused(*BEATS)
        if unreadable is not None:
            return self._unreadable(f"{unreadable}: no heartbeat can be read")
        self._unknown = self._find_unknown(tally)
        self._complete = True
        claims = None if "claims" in self._unknown else dict(self._claims.merged)
        return SourceTraces(
            self.workspace,
            "read",
            agents=dict(self._agents.traces),
            malformed=self._malformed(),
            tasks_available=None if "available" in self._unknown else self._available.free(self._claims),
            claims=claims,
            progress=None if "progress" in self._unknown else dict(self._progress.by_task),
            available_unnamed=0 if "available" in self._unknown else self._available.unnamed,
            malformed_unnamed=self._problems.unnamed,
            over_limit=self._over_limits(),
        )

    def _unreadable(self, error: str) -> SourceTraces:
        return SourceTraces(
            self.workspace, "unreadable", error, tasks_available=None, claims=None, progress=None
        )

    def _refusals(self, tally: Tally) -> frozenset[str]:
        """Return the families of which something may not be read."""
        registry = {REGISTRY} if self._registry.trouble else set[str]()
        return frozenset({*tally.refused, *registry, *map(self._keyspace.family_of, self._offers.troubles)})

    def _is_refused_more(self, tally: Tally) -> bool:
        """Return whether permissions were lost since the last full reading; then another one is needed."""
        return self._complete and not self._refusals(tally) <= self._refused

    def _find_unknown(self, tally: Tally) -> frozenset[str]:
        unknown = set()
        if tally.all_refused(*CLAIMS) or self._claims.truncated:
            unknown |= {"claims", "available"}  # any task may be claimed
        if tally.all_refused(PROGRESS) or self._progress.truncated:
            unknown.add("progress")
        if self._offers.troubles or self._offers.truncated:
            unknown.add("available")
        return frozenset(unknown)

    def _find_troubles(self, tally: Tally, refused: str | None) -> dict[str, str]:
        troubles, spelled = {}, self._keyspace.spelled
        if refused is not None:
            troubles["SCAN"] = f"{refused}: found is only what {spelled(REGISTRY)} names, and what changes"
        if self._registry.trouble:
            troubles[spelled(REGISTRY)] = self._registry.trouble
        for family in (*BEATS, AGENT_TASKS, *CLAIMS, PROGRESS):
            words = tally.all_refused(family)
            if words is not None:
                troubles[spelled(family)] = words
        for key, words in self._offers.troubles.items():
            troubles.setdefault(spelled(self._keyspace.family_of(key)), words)
        return troubles

    def _malformed(self) -> dict[str, str]:
        found = {f"redis: {what}": words for what, words in self._over_limits().items()}
        return self._problems.end() | found

    def _over_limits(self) -> dict[str, str]:
        parts = (
            ("agents", self._agents.truncated or self._registry.truncated, self._max_entries),
            ("claims", self._claims.truncated, self._max_entries),
            ("progress", self._progress.truncated, self._max_entries),
            ("lists of work", self._offers.truncated, MAX_SOURCES),
        )
        words = "more than {}, or than there is room for; the rest is not read"
        return {what: words.format(most) for what, truncated, most in parts if truncated}
