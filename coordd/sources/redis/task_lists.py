"""Read the agents' task lists, ``agent:tasks:<id>``: many small ones at once, huge ones not at all."""

from __future__ import annotations

from collections.abc import Sequence

from coordd.redislink.session import CHUNK, RedisSession
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.keys import AGENT_TASKS
from coordd.sources.redis.parse import either, parse_tasks
from coordd.sources.redis.problems import Problems, refusal
from coordd.sources.redis.read_plan import KeyToRead
from coordd.sources.redis.requests import SLICE, PageSize, ReplyDeadline, Tally, ask, page

_FEW = 200  # members of a set that is read whole


class TaskListReader:
    """Read task lists into :class:`Agents`; a list with more than ``max_named`` members is only counted."""

    def __init__(self, *, agents: Agents, problems: Problems, max_named: int) -> None:
        self._agents = agents
        self._problems = problems
        self._max_named = max_named
        self._page_size = PageSize(SLICE)
        self._deadline = ReplyDeadline()

    async def read(self, session: RedisSession, items: Sequence[KeyToRead], tally: Tally) -> None:
        """Read the lists of these agents."""
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            number = self._agents.next_number()
            few: list[tuple[KeyToRead, int]] = []
            many: list[KeyToRead] = []
            counts = await ask(session, [(b"SCARD", item.key) for item in chunk])
            for item, count in zip(chunk, counts, strict=True):
                tally.count(AGENT_TASKS, count)
                if isinstance(count, ServerError):
                    self._failed(item, count, number)
                elif not isinstance(count, int) or count == 0:
                    self._agents.set_tasks(item.id, (), there=False, number=number)
                    self._problems.note(item.key, None)
                elif count > self._max_named:
                    self._agents.set_tasks(item.id, (), unnamed=count, number=number)
                    self._problems.note(item.key, None)
                elif count <= min(_FEW, self._page_size.count):
                    few.append((item, count))
                else:
                    many.append(item)
            while few:
                many += await self._read_few(session, _batch(few, self._page_size.count), number)
            for item in many:
                await self._read_many(session, item, number)

    async def _read_few(
        self, session: RedisSession, batch: Sequence[KeyToRead], number: int
    ) -> list[KeyToRead]:
        """Read small lists with one command each; return those that have grown meanwhile and need more.

        SMEMBERS is not used: a set may have grown to millions of members since it was counted.
        """
        grown = []
        replies = await ask(session, [(b"SSCAN", item.key, b"0", b"COUNT", 2 * _FEW) for item in batch])
        self._page_size.adapt([member for reply in replies for member in page(reply)[1]])
        for item, reply in zip(batch, replies, strict=True):
            if isinstance(reply, ServerError):
                self._failed(item, reply, number)
                continue
            cursor, members = page(reply)
            if cursor != b"0":
                grown.append(item)
                continue
            tasks, problem = parse_tasks(members)
            self._take(item, tasks, problem, number)
        return grown

    async def _read_many(self, session: RedisSession, item: KeyToRead, number: int) -> None:
        found: dict[str, None] = {}
        problem: str | None = None
        cursor, page_size = b"0", PageSize()
        self._deadline.begin()
        while len(found) <= 2 * self._max_named:
            reply = await self._deadline.ask(session, (b"SSCAN", item.key, cursor, b"COUNT", page_size.count))
            if isinstance(reply, ServerError):
                self._failed(item, reply, number)
                return
            cursor, members = page(reply)
            tasks, wrong = parse_tasks(members)
            found.update(dict.fromkeys(tasks))
            problem = either(problem, wrong)
            if cursor == b"0":
                break
            page_size.adapt(members)
        self._deadline.end()
        self._take(item, tuple(found), problem, number)

    def _take(self, item: KeyToRead, tasks: tuple[str, ...], problem: str | None, number: int) -> None:
        self._agents.set_tasks(item.id, tuple(sorted(tasks)), number=number)  # a set has no order of its own
        self._problems.note(item.key, problem)

    def _failed(self, item: KeyToRead, error: ServerError, number: int) -> None:
        self._agents.set_tasks(item.id, None, number=number)
        self._problems.note(item.key, refusal(error, "a set"))


def _batch(few: list[tuple[KeyToRead, int]], most: int) -> list[KeyToRead]:
    """Take lists off the end, with at most so many members together; always at least one list."""
    batch = [few[-1][0]]
    weight = few.pop()[1]
    while few and weight + few[-1][1] <= most:
        item, count = few.pop()
        batch.append(item)
        weight += count
    return batch
