"""Read the agents and tasks of one Redis as a source, over the connection that redislink/ makes and mends.

How Redis is followed (``mode``), and what moves between the phases:

===========  =================================  ==========================================================
``mode``     what is read                       ends
===========  =================================  ==========================================================
None         nothing, or the first full         ``push`` or ``poll`` with the first full reading, by whether
             reading is under way               the server announces changes
``poll``     everything, again and again        ``push`` once the server announces changes
``push``     the keys announced                 None when the connection is lost
===========  =================================  ==========================================================

A lost connection ends ``poll`` as well. Beside that, agents may be unable to write although Redis can be
read: then the state has a ``standstill``.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

from coordd.agents.observation import Observation
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import AgentsChange, SourceTraces
from coordd.redislink.facts import RedisFacts
from coordd.redislink.server_info import ASKED, ServerInfo
from coordd.redislink.session import RedisLost, RedisSession
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import now
from coordd.sources.base import POLL, RESCAN, UNREADABLE, Following, SourceListener, SourceLost
from coordd.sources.redis.change_listener import ChangeListener
from coordd.sources.redis.departures import MAX_SILENT, Departures
from coordd.sources.redis.reader import RedisReader
from coordd.sources.redis.standstill import standstill

log = logging.getLogger(__name__)

NAME = SourceName("redis")
MENDED = 4.0
"""Seconds between two full readings while a part of Redis cannot be read."""
PATIENCE = 1.5
"""Seconds that the start waits for the first reading of Redis, which may not answer."""
_SILENT = f"more than {MAX_SILENT} without any key left; further ones leave the list at once"


class RedisSource:
    """One Redis.

    ``mode`` is how it is followed (table above).

    Args:
        url: of the Redis that the listening connection goes to.
        reader: reads it.
        broken: takes the failure of a connection, which then is given up.
        flushed: is called when whole databases may have been emptied.
    """

    patience = PATIENCE

    def __init__(
        self,
        *,
        url: str,
        reader: RedisReader,
        broken: Callable[[RedisLost], None],
        flushed: Callable[[], None],
        rank: int = 1,
    ) -> None:
        self.state = SourceState(
            name=NAME,
            clock=ObservedClock(blind_since=now().mono),
            rank=rank,
            holds_tasks=True,
            told_elsewhere=True,
        )
        self.mode: str | None = None
        self._reader = reader
        self._broken = broken
        self._flushed = flushed
        self._changes = ChangeListener(url=url, tracked=reader.tracked, on_change=self._changed)
        self._listener: SourceListener | None = None
        self._departures = Departures(known={})
        self._session: RedisSession | None = None
        self._run_id: str | None = None
        self._listening: asyncio.Future[None] | None = None
        self._pinging: asyncio.Future[None] | None = None
        self._read_once = False

    @property
    def troubles(self) -> dict[str, str]:
        """What cannot be read although Redis answers: kind of key to reason."""
        if self._session is None:
            return {}
        state = self.state
        unreadable = {"everything": state.error} if state.state == "unreadable" and state.error else {}
        return dict(self._reader.troubles) or unreadable

    # What the connection tells.

    def up(self, session: RedisSession, facts: RedisFacts) -> None:
        """Begin to follow Redis over a new connection."""
        self._session = session
        self._run_id = facts.run_id
        self._departures.connected(facts.run_id)
        if self._listener is not None:
            self._listener.readable()

    def down(self, trouble: str) -> None:
        """Note that the connection is lost: what only Redis knows is unknown until the next one.

        ``trouble`` says why; while there is no connection, a further call only replaces the reason.
        """
        self._session = None
        self.state.standstill = None
        self._end_listening()
        if self._listener is not None:
            self._listener.lost(trouble)

    def exchanged(self, server: ServerInfo) -> None:
        """Note what the server told of itself, and find out whether announcements still arrive."""
        self._judge_writers(server)
        if self.mode == "push" and self._session is not None:
            self._pinging = asyncio.ensure_future(self._ping(self._session))

    # The source.

    def start(self, listener: SourceListener, known: Mapping[str, Observation]) -> None:
        """Begin to tell of changes, once there is a connection."""
        self._listener = listener
        self._departures = Departures(known=known)
        if self._session is not None:
            self._departures.connected(self._run_id)
            listener.readable()

    async def follow(self) -> Following:
        """Ask the server to announce changes; where it refuses, ask again now and then."""
        async with self._over_session() as session:
            if self.mode != "push" and await self._changes.begin_if_due(session):
                self._listening = asyncio.ensure_future(self._listen(session))
                self.mode = "push"
        self.mode = self.mode or "poll"
        return Following("push" if self.mode == "push" else "poll", "read")

    async def read_all(self) -> SourceTraces:
        """Read everything."""
        async with self._over_session() as session:
            traces = await self._reader.scan(session, now().wall)
            if traces.state == "unreadable":
                raise SourceLost(traces.error or "cannot be read")
            await asyncio.sleep(0)  # each of these steps takes long with many agents
            found = self._departures.of_all(traces.agents, first=not self._read_once)
            self._read_once = True
        over_limit = dict(traces.over_limit)
        if self._departures.full:
            over_limit["silent agents"] = _SILENT
        agents = {agent_id: one for agent_id, one in found.items() if one is not None}
        return replace(traces, agents=agents, over_limit=over_limit)

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read the keys that the hints are, and those whose reading was put off until now."""
        async with self._over_session() as session:
            return self._completed(
                await self._reader.read(session, cast(Collection[bytes], hints), now().wall)
            )

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read the heartbeats of these agents."""
        async with self._over_session() as session:
            await self._check_writers(session)
            return self._completed(await self._reader.reread(session, agent_ids, now().wall))

    def lost(self, _trouble: str) -> None:
        """Take the next full reading for the first one; listening goes on while the connection lives."""
        self._read_once = False

    async def stop(self) -> None:
        """End."""
        self._session = self._listener = None
        self._end_listening()
        await self._changes.end()

    @property
    def interval(self) -> float:
        """Seconds until the next full reading; infinite without a connection, for the next one causes it."""
        if self._session is None:
            return math.inf
        if self.mode != "push" or self.state.state == "unreadable":
            return POLL
        if self._reader.troubles:
            return MENDED
        return UNREADABLE if self.state.denied else RESCAN

    @property
    def due(self) -> float | None:
        """When keys that change all the time, and are therefore read seldom, are to be read."""
        return self._reader.due

    def _end_listening(self) -> None:
        self.mode = None
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()

    def _changed(self, keys: Collection[bytes] | None) -> None:
        if keys is None:
            self._flushed()
        if self._listener is not None:
            self._listener.changed(keys)

    async def _listen(self, session: RedisSession) -> None:
        """Report changes until the subscription ends; its failure ends the connection that it belongs to."""
        try:
            await self._changes.listen()
        except RedisLost as lost:
            self._give_up(session, lost)
        except Exception as error:  # a bug must not end the following unseen; it is logged with its traceback
            log.exception("following Redis failed")
            self._give_up(session, RedisLost(f"cannot be followed: {type(error).__name__}"))

    def _give_up(self, session: RedisSession, lost: RedisLost) -> None:
        if session is self._session:
            self._broken(lost)

    @asynccontextmanager
    async def _over_session(self) -> AsyncIterator[RedisSession]:
        """Give the present connection; its failure gives it up, and is a SourceLost."""
        session = self._session
        if session is None:
            raise SourceLost("there is no connection")
        try:
            yield session
        except RedisLost as lost:
            self._give_up(session, lost)
            raise SourceLost(str(lost)) from lost
        if session is not self._session:
            raise SourceLost("the connection was lost meanwhile")

    async def _ping(self, session: RedisSession) -> None:
        try:
            await self._changes.ping()
        except RedisLost as lost:
            self._give_up(session, lost)

    async def _check_writers(self, session: RedisSession) -> None:
        """Find out whether agents can write; while they cannot, their silence does not count."""
        server = ServerInfo.of(await session.call(*ASKED))
        if session is self._session:
            self._judge_writers(server)

    def _judge_writers(self, server: ServerInfo) -> None:
        words = standstill(server)
        turned = (words is None) != (self.state.standstill is None)
        self.state.standstill = words
        if turned and self._listener is not None:
            self._listener.standstill_changed()

    def _completed(self, change: AgentsChange) -> AgentsChange:
        """Return the change with what it proves of agents that were not found."""
        return replace(change, agents=self._departures.of_some(change.agents))
