"""Reading which tasks are available: a set, a sorted set, lists. Named up to a limit, beyond it counted."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from coordd.redislink.session import CHUNK, RedisSession
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.asking import Pace, Patience, ask, elements, page
from coordd.sources.redis.keys import AVAILABLE, QUEUE
from coordd.sources.redis.parse import MAX_VALUE, either, parse_tasks
from coordd.sources.redis.problems import Problems, refusal
from coordd.sources.redis.work import Available
from coordd.util.fields import Parsed

MAX_SOURCES = 1000
"""Lists of work beyond this are not looked at."""

_SET, _QUEUE = AVAILABLE.encode(), QUEUE.encode()
FIXED = (_SET, _QUEUE)


class Offers:
    """The sources of available tasks; ``troubles`` maps those that may not be read to the reason.

    ``heavy``: there were members too large to be of use at the last reading. ``overfull``: there are more
    lists than are looked at, so that nobody can tell what is available.
    """

    def __init__(self, *, available: Available, problems: Problems, max_named: int) -> None:
        self.troubles: dict[bytes, str] = {}
        self._available = available
        self._problems = problems
        self._max_named = max_named
        self._patience = Patience()
        self.heavy = False
        self.overfull = False

    async def read_all(self, wire: RedisSession, lists: Collection[bytes]) -> set[str]:
        """Read the fixed keys and these lists, and know of no other; the tasks that are affected."""
        self.overfull = len(set(lists) - set(FIXED)) > MAX_SOURCES
        keys = [*FIXED, *sorted(set(lists) - set(FIXED))[:MAX_SOURCES]]
        self.troubles = {key: words for key, words in self.troubles.items() if key in keys}
        return self._available.keep(keys) | await self.read(wire, keys)

    async def read(self, wire: RedisSession, keys: Sequence[bytes]) -> set[str]:
        """Read these sources; the tasks that are offered no longer, or were not before."""
        touched: set[str] = set()
        self._patience.begin()
        self.heavy = False
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            counts = await ask(wire, [(_COUNT.get(key, b"LLEN"), key) for key in chunk])
            for key, count in zip(chunk, counts, strict=True):
                self.troubles.pop(key, None)
                if key not in FIXED and self._available.crowded(key, MAX_SOURCES + len(FIXED)):
                    self.overfull = True
                    continue
                if isinstance(count, int):
                    touched |= await self._source(wire, key, count)
                elif isinstance(count, ServerError):
                    touched |= self._failed(key, count)
        self._patience.end()
        return touched

    async def _source(self, wire: RedisSession, key: bytes, count: int) -> set[str]:
        room = max(0, self._max_named - self._available.named + self._available.named_by(key))
        if key != _SET:
            known = min(count, room)
            found = await self._sequence(wire, key, known)
        elif count <= room:
            known = count
            found = await self._set(wire, key)
        else:  # which of its members would be named is anybody's guess
            known, found = 0, Parsed(())
        if isinstance(found, ServerError):
            return self._failed(key, found)
        self._problems.note(key, found.problem)
        return self._available.put(key, found.value[:room], count - known)

    async def _set(self, wire: RedisSession, key: bytes) -> Parsed[tuple[str, ...]] | ServerError:
        named: dict[str, None] = {}
        problem: str | None = None
        cursor, pace = b"0", Pace()
        while len(named) <= 2 * self._max_named:
            reply = await self._patience.ask(wire, (b"SSCAN", key, cursor, b"COUNT", pace.count))
            if isinstance(reply, ServerError):
                return reply
            cursor, members = page(reply)
            self.heavy = self.heavy or any(len(one) > MAX_VALUE for one in members)
            tasks, wrong = parse_tasks(members)
            named.update(dict.fromkeys(tasks))
            problem = either(problem, wrong)
            if cursor == b"0":
                break
            pace.took(members)
        return Parsed(tuple(named), problem)

    async def _sequence(
        self, wire: RedisSession, key: bytes, count: int
    ) -> Parsed[tuple[str, ...]] | ServerError:
        named: dict[str, None] = {}
        problem: str | None = None
        start, pace = 0, Pace()
        command, fields = (b"ZRANGE", ("id", "task_id")) if key == _QUEUE else (b"LRANGE", ("task_id", "id"))
        while start < count:
            last = min(count, start + pace.count) - 1
            reply = await self._patience.ask(wire, (command, key, start, last))
            if isinstance(reply, ServerError):
                return reply
            members = elements(reply)
            if not members:  # it has become shorter meanwhile
                break
            start += len(members)
            self.heavy = self.heavy or any(len(one) > MAX_VALUE for one in members)
            tasks, wrong = parse_tasks(members, fields)
            named.update(dict.fromkeys(tasks))
            problem = either(problem, wrong)
            pace.took(members)
        return Parsed(tuple(named), problem)

    def _failed(self, key: bytes, error: ServerError) -> set[str]:
        self._problems.note(key, refusal(error, _KIND.get(key, "a list")))
        if error.code == "WRONGTYPE":
            return self._available.put(key, (), 0)
        self.troubles[key] = str(error)
        return set()


_COUNT = {_SET: b"SCARD", _QUEUE: b"ZCARD"}
_KIND = {_SET: "a set", _QUEUE: "a sorted set"}
