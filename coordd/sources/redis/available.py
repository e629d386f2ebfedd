"""Read which tasks are available, from a set, a sorted set and lists: named up to a limit, then counted."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from coordd.redislink.session import CHUNK, RedisSession
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.keys import AVAILABLE, QUEUE, Keyspace
from coordd.sources.redis.parse import MAX_VALUE, either, parse_tasks
from coordd.sources.redis.problems import Problems, refusal
from coordd.sources.redis.requests import PageSize, ReplyDeadline, ask, elements, page
from coordd.sources.redis.work import Available
from coordd.util.fields import Parsed

MAX_SOURCES = 1000
"""Number of lists of work that are looked at."""


class AvailableReader:
    """Read the sources of available tasks; ``troubles`` maps those that may not be read to the reason.

    ``heavy``: the last reading met members that are too large to be ids. ``truncated``: there are more lists
    than are looked at, so it is unknown what is available.
    """

    def __init__(
        self, *, available: Available, problems: Problems, keyspace: Keyspace, max_named: int
    ) -> None:
        self._set_key, self._queue_key = keyspace.key(AVAILABLE), keyspace.key(QUEUE)
        self._fixed = (self._set_key, self._queue_key)
        self._count = {self._set_key: b"SCARD", self._queue_key: b"ZCARD"}
        self._kind = {self._set_key: "a set", self._queue_key: "a sorted set"}
        self.troubles: dict[bytes, str] = {}
        self._available = available
        self._problems = problems
        self._max_named = max_named
        self._deadline = ReplyDeadline()
        self.heavy = False
        self.truncated = False

    async def read_all(self, session: RedisSession, lists: Collection[bytes]) -> set[str]:
        """Read the fixed keys and these lists, and forget other lists; return the tasks affected."""
        self.truncated = len(set(lists) - set(self._fixed)) > MAX_SOURCES
        keys = [*self._fixed, *sorted(set(lists) - set(self._fixed))[:MAX_SOURCES]]
        self.troubles = {key: words for key, words in self.troubles.items() if key in keys}
        return self._available.keep(keys) | await self.read(session, keys)

    async def read(self, session: RedisSession, keys: Sequence[bytes]) -> set[str]:
        """Read these sources; return the tasks that became available or ceased to be."""
        touched: set[str] = set()
        self._deadline.begin()
        self.heavy = False
        for start in range(0, len(keys), CHUNK):
            chunk = keys[start : start + CHUNK]
            counts = await ask(session, [(self._count.get(key, b"LLEN"), key) for key in chunk])
            for key, count in zip(chunk, counts, strict=True):
                self.troubles.pop(key, None)
                if key not in self._fixed and self._available.is_full(key, MAX_SOURCES + len(self._fixed)):
                    self.truncated = True
                    continue
                if isinstance(count, int):
                    touched |= await self._source(session, key, count)
                elif isinstance(count, ServerError):
                    touched |= self._failed(key, count)
        self._deadline.end()
        return touched

    async def _source(self, session: RedisSession, key: bytes, count: int) -> set[str]:
        room = max(0, self._max_named - self._available.named + self._available.named_by(key))
        if key != self._set_key:
            known = min(count, room)
            found = await self._sequence(session, key, known)
        elif count <= room:
            known = count
            found = await self._set(session, key)
        else:  # a set has no order, so a part of its members would be arbitrary
            known, found = 0, Parsed(())
        if isinstance(found, ServerError):
            return self._failed(key, found)
        self._problems.note(key, found.problem)
        return self._available.put(key, found.value[:room], count - known)

    async def _set(self, session: RedisSession, key: bytes) -> Parsed[tuple[str, ...]] | ServerError:
        named: dict[str, None] = {}
        problem: str | None = None
        cursor, page_size = b"0", PageSize()
        while len(named) <= 2 * self._max_named:
            reply = await self._deadline.ask(session, (b"SSCAN", key, cursor, b"COUNT", page_size.count))
            if isinstance(reply, ServerError):
                return reply
            cursor, members = page(reply)
            self.heavy = self.heavy or any(len(one) > MAX_VALUE for one in members)
            tasks, wrong = parse_tasks(members)
            named.update(dict.fromkeys(tasks))
            problem = either(problem, wrong)
            if cursor == b"0":
                break
            page_size.adapt(members)
        return Parsed(tuple(named), problem)

    async def _sequence(
        self, session: RedisSession, key: bytes, count: int
    ) -> Parsed[tuple[str, ...]] | ServerError:
        named: dict[str, None] = {}
        problem: str | None = None
        start, page_size = 0, PageSize()
        command, fields = (
            (b"ZRANGE", ("id", "task_id")) if key == self._queue_key else (b"LRANGE", ("task_id", "id"))
        )
        while start < count:
            last = min(count, start + page_size.count) - 1
            reply = await self._deadline.ask(session, (command, key, start, last))
            if isinstance(reply, ServerError):
                return reply
            members = elements(reply)
            if not members:  # the list has become shorter meanwhile
                break
            start += len(members)
            self.heavy = self.heavy or any(len(one) > MAX_VALUE for one in members)
            tasks, wrong = parse_tasks(members, fields)
            named.update(dict.fromkeys(tasks))
            problem = either(problem, wrong)
            page_size.adapt(members)
        return Parsed(tuple(named), problem)

    def _failed(self, key: bytes, error: ServerError) -> set[str]:
        self._problems.note(key, refusal(error, self._kind.get(key, "a list")))
        if error.means.wrong_type:
            return self._available.put(key, (), 0)
        self.troubles[key] = str(error)
        return set()
