"""Reading the agents' lists of tasks, ``agent:tasks:<id>``: small ones many at once, huge ones not at all."""

from __future__ import annotations

from collections.abc import Sequence

from coordd.redislink.session import CHUNK, RedisSession
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.asking import SLICE, Pace, Patience, Tally, ask, page
from coordd.sources.redis.keys import AGENT_TASKS
from coordd.sources.redis.parse import either, parse_tasks
from coordd.sources.redis.problems import Problems, refusal
from coordd.sources.redis.read_plan import KeyToRead

_FEW = 200  # members of a set that is read whole


class TaskLists:
    """The lists of all agents; one with more than ``max_named`` members is only counted."""

    def __init__(self, *, agents: Agents, problems: Problems, max_named: int) -> None:
        self._agents = agents
        self._problems = problems
        self._max_named = max_named
        self._pace = Pace(SLICE)
        self._patience = Patience()

    async def read(self, wire: RedisSession, items: Sequence[KeyToRead], tally: Tally) -> None:
        """Read the lists of these agents."""
        for start in range(0, len(items), CHUNK):
            chunk = items[start : start + CHUNK]
            asked = self._agents.ask_tasks()
            few: list[tuple[KeyToRead, int]] = []
            many: list[KeyToRead] = []
            counts = await ask(wire, [(b"SCARD", item.key) for item in chunk])
            for item, count in zip(chunk, counts, strict=True):
                tally.count(AGENT_TASKS, count)
                if isinstance(count, ServerError):
                    self._failed(item, count, asked)
                elif not isinstance(count, int) or count == 0:
                    self._agents.set_tasks(item.id, (), there=False, asked=asked)
                    self._problems.note(item.key, None)
                elif count > self._max_named:
                    self._agents.set_tasks(item.id, (), unnamed=count, asked=asked)
                    self._problems.note(item.key, None)
                elif count <= min(_FEW, self._pace.count):
                    few.append((item, count))
                else:
                    many.append(item)
            while few:
                many += await self._read_few(wire, _batch(few, self._pace.count), asked)
            for item in many:
                await self._read_many(wire, item, asked)

    async def _read_few(self, wire: RedisSession, batch: Sequence[KeyToRead], asked: int) -> list[KeyToRead]:
        """Read these with one command each; those that have grown meanwhile, and want more.

        Not SMEMBERS: a set may have got millions of members since it was counted.
        """
        grown = []
        replies = await ask(wire, [(b"SSCAN", item.key, b"0", b"COUNT", 2 * _FEW) for item in batch])
        self._pace.took([member for reply in replies for member in page(reply)[1]])
        for item, reply in zip(batch, replies, strict=True):
            if isinstance(reply, ServerError):
                self._failed(item, reply, asked)
                continue
            cursor, members = page(reply)
            if cursor != b"0":
                grown.append(item)
                continue
            tasks, problem = parse_tasks(members)
            self._take(item, tasks, problem, asked)
        return grown

    async def _read_many(self, wire: RedisSession, item: KeyToRead, asked: int) -> None:
        found: dict[str, None] = {}
        problem: str | None = None
        cursor, pace = b"0", Pace()
        self._patience.begin()
        while len(found) <= 2 * self._max_named:
            reply = await self._patience.ask(wire, (b"SSCAN", item.key, cursor, b"COUNT", pace.count))
            if isinstance(reply, ServerError):
                self._failed(item, reply, asked)
                return
            cursor, members = page(reply)
            tasks, wrong = parse_tasks(members)
            found.update(dict.fromkeys(tasks))
            problem = either(problem, wrong)
            if cursor == b"0":
                break
            pace.took(members)
        self._patience.end()
        self._take(item, tuple(found), problem, asked)

    def _take(self, item: KeyToRead, tasks: tuple[str, ...], problem: str | None, asked: int) -> None:
        self._agents.set_tasks(item.id, tuple(sorted(tasks)), asked=asked)  # a set has no order of its own
        self._problems.note(item.key, problem)

    def _failed(self, item: KeyToRead, error: ServerError, asked: int) -> None:
        self._agents.set_tasks(item.id, None, asked=asked)
        self._problems.note(item.key, refusal(error, "a set"))


def _batch(few: list[tuple[KeyToRead, int]], most: int) -> list[KeyToRead]:
    """Take some off the end that have no more members together than this; one at the least."""
    batch = [few[-1][0]]
    weight = few.pop()[1]
    while few and weight + few[-1][1] <= most:
        item, count = few.pop()
        batch.append(item)
        weight += count
    return batch
