"""Read ``agents:registry`` page by page, parsing only the fields whose bytes changed."""

from __future__ import annotations

from collections.abc import Callable

from coordd.redislink.session import RedisSession
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.keys import REGISTRY, Keyspace, id_of
from coordd.sources.redis.parse import MAX_VALUE
from coordd.sources.redis.problems import Problems, refusal
from coordd.sources.redis.requests import PageSize, ReplyDeadline, ask, page
from coordd.util.fields import Malformed


class RegistryReader:
    """Read the registry; ``trouble`` says why the last attempt failed, None if it did not.

    ``heavy``: it holds values that are too large to be entries. ``truncated``: it was not read to its end.
    """

    def __init__(self, *, agents: Agents, problems: Problems, keyspace: Keyspace, limit: int) -> None:
        self._key = keyspace.key(REGISTRY)
        self.trouble: str | None = None
        self.heavy = False
        self.truncated = False
        self._deadline = ReplyDeadline()
        self._limit = limit
        self._agents = agents
        self._problems = problems

    async def read(self, session: RedisSession, wall: Callable[[], float]) -> set[str]:
        """Read all of it; return the agents whose entry changed.

        ``wall`` returns the wall clock, epoch seconds.
        If it may not be read, the entries stay as they were; a key that is no hash registers no agent.
        """
        agents, problems, page_size = self._agents, self._problems, PageSize()
        agents.begin_registry()
        self._deadline.begin()
        self.heavy = False
        changed: set[str] = set()
        cursor, count = b"0", 0
        while True:
            reply = await self._deadline.ask(
                session, (b"HSCAN", self._key, cursor, b"COUNT", page_size.count)
            )
            if isinstance(reply, ServerError):
                wrong = reply.means.wrong_type
                self.trouble = None if wrong else str(reply)
                problems.note(self._key, refusal(reply, "a hash"))
                return changed | agents.end_registry() if wrong else changed
            cursor, found = page(reply)
            self.heavy = self.heavy or any(len(one) > MAX_VALUE for one in found)
            now = wall()
            for name, value in zip(found[::2], found[1::2], strict=False):
                if self._entry(name, value, now):
                    changed.add(id_of(name))
            count += len(found) // 2
            if cursor == b"0" or count >= self._limit:
                break
            page_size.adapt(found)
        self._deadline.end()
        self.trouble = None
        rest = None if cursor == b"0" else f"more than {self._limit} entries; the rest is not read"
        self.truncated = rest is not None
        problems.note(self._key, rest)
        # only a complete reading shows which agents have left
        return changed if self.truncated else changed | agents.end_registry()

    async def look_up(self, session: RedisSession, agent_ids: list[str], now: float) -> None:
        """Read the entries of these agents alone; at most half a chunk of them."""
        names = [self._agents.entry_name(agent_id) for agent_id in agent_ids]
        sizes = await ask(session, [(b"HSTRLEN", self._key, name) for name in names])
        small = [
            name
            for name, size in zip(names, sizes, strict=True)
            if isinstance(size, int) and size <= MAX_VALUE
        ]
        for name, value in zip(
            small, await ask(session, [(b"HGET", self._key, name) for name in small]), strict=True
        ):
            if isinstance(value, bytes):
                self._entry(name, value, now)
            elif value is None:
                self._agents.unregister(id_of(name))

    def _entry(self, name: bytes, value: bytes, now: float) -> bool:
        try:
            agent_id = id_of(name)
        except Malformed as error:
            self._problems.note(self._key, str(error), name)
            return False
        spelled = None if agent_id.encode() == name else name
        changed, problem = self._agents.register(agent_id, value, now, spelled)
        self._problems.note(self._key, problem, name)
        if spelled is not None:
            self._agents.keep_name(agent_id, spelled)
        return changed
