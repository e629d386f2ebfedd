"""Reading ``agents:registry``: page by page, and parsing only the fields whose bytes changed."""

from __future__ import annotations

from coordd.redislink.session import RedisSession
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.asking import Pace, Patience, ask, page
from coordd.sources.redis.keys import REGISTRY, id_of
from coordd.sources.redis.parse import MAX_VALUE
from coordd.sources.redis.problems import Problems, refusal
from coordd.util.fields import Malformed

_KEY = REGISTRY.encode()


class Registry:
    """The registry; ``trouble`` says why it could not be read at the last try.

    ``heavy``: values in it were too large to be of use; ``overfull``: it was not read to its end.
    """

    def __init__(self, *, agents: Agents, problems: Problems, limit: int) -> None:
        self.trouble: str | None = None
        self.heavy = False
        self.overfull = False
        self._patience = Patience()
        self._limit = limit
        self._agents = agents
        self._problems = problems

    async def read(self, wire: RedisSession) -> set[str]:
        """Read all of it; the agents of which it says another thing than before.

        What may not be read is as it was; what is no hash registers nobody.
        """
        agents, problems, pace = self._agents, self._problems, Pace()
        agents.begin_registry()
        self._patience.begin()
        self.heavy = False
        changed: set[str] = set()
        cursor, count = b"0", 0
        while True:
            reply = await self._patience.ask(wire, (b"HSCAN", _KEY, cursor, b"COUNT", pace.count))
            if isinstance(reply, ServerError):
                wrong = reply.code == "WRONGTYPE"
                self.trouble = None if wrong else str(reply)
                problems.note(_KEY, refusal(reply, "a hash"))
                return changed | agents.end_registry() if wrong else changed
            cursor, found = page(reply)
            self.heavy = self.heavy or any(len(one) > MAX_VALUE for one in found)
            for name, value in zip(found[::2], found[1::2], strict=False):
                if self._entry(name, value):
                    changed.add(id_of(name))
            count += len(found) // 2
            if cursor == b"0" or count >= self._limit:
                break
            pace.took(found)
        self._patience.end()
        self.trouble = None
        rest = None if cursor == b"0" else f"more than {self._limit} entries; the rest is not read"
        self.overfull = rest is not None
        problems.note(_KEY, rest)
        # of a registry that was read in part nobody can tell who has left it
        return changed if self.overfull else changed | agents.end_registry()

    async def look_up(self, wire: RedisSession, agent_ids: list[str]) -> None:
        """Read what it has of these agents alone, up to half a chunk of them."""
        names = [self._agents.name_of(agent_id) for agent_id in agent_ids]
        sizes = await ask(wire, [(b"HSTRLEN", _KEY, name) for name in names])
        small = [
            name
            for name, size in zip(names, sizes, strict=True)
            if isinstance(size, int) and size <= MAX_VALUE
        ]
        for name, value in zip(
            small, await ask(wire, [(b"HGET", _KEY, name) for name in small]), strict=True
        ):
            if isinstance(value, bytes):
                self._entry(name, value)
            elif value is None:
                self._agents.unregister(id_of(name))

    def _entry(self, name: bytes, value: bytes) -> bool:
        try:
            agent_id = id_of(name)
        except Malformed as error:
            self._problems.note(_KEY, str(error), name)
            return False
        changed, problem = self._agents.register(agent_id, value)
        self._problems.note(_KEY, problem, name)
        if not name.isascii() and agent_id.encode() != name:
            self._agents.keeps_name(agent_id, name)
        return changed
