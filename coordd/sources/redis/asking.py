"""Asking Redis: in chunks whose answers are taken over before anything else happens, and never for too much.

One exchange at a time goes over a connection, and whoever waited for it goes on at once: so two readings that
take turns see the same state grow in the order in which Redis answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from coordd.redislink.session import CHUNK, COMMAND_DEADLINE, LARGEST, Command, RedisLost, RedisSession, Reply
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.parse import MAX_VALUE
from coordd.sources.redis.read_plan import KeyToRead

END = str(MAX_VALUE).encode()
"""The last byte of a value to ask for: one more than counts, to tell a larger one."""
SLICE = 1000
"""Elements of replies taken over at once: some milliseconds of work."""

_FOR_ALL = frozenset({"NOAUTH", "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN"})


class Unusable(Exception):
    """Redis answers everything with an error; the text says of "Redis" what is wrong."""


LONGEST_KEY = 2048
"""Bytes of a key's name; none of ours is longer (an id has 256 characters). Of others the beginning comes."""


LARGE_DEADLINE = 10.0
"""Seconds in which the reply to a command for something large has to begin."""


async def ask(
    wire: RedisSession,
    commands: Sequence[Command],
    *,
    largest: int = LARGEST,
    deadline: float = COMMAND_DEADLINE,
) -> list[Reply]:
    """Send up to one chunk of commands; the error of a single one is its reply.

    Args:
        largest: bytes that are kept of each string in the replies.
        deadline: as in :meth:`RedisSession.call`.

    Raises:
        RedisLost: the connection failed.
        Unusable: the error of one is that of all.
    """
    replies = await wire.call(*commands, largest=largest, deadline=deadline)
    for reply in replies:
        if reply.__class__ is ServerError and reply.code in _FOR_ALL:
            raise Unusable(str(reply))
    return replies


class Patience:
    """Wait for what may be large: a server that has to copy half a gigabyte says nothing meanwhile.

    It waits as long as for anything else until that was too short, then longer until all is quick again.
    """

    def __init__(self) -> None:
        self._seconds = COMMAND_DEADLINE
        self._slowest = 0.0

    def begin(self) -> None:
        """A reading begins."""
        self._slowest = 0.0

    def end(self) -> None:
        """It came to its end."""
        if self._slowest < COMMAND_DEADLINE / 2:
            self._seconds = COMMAND_DEADLINE

    async def ask(self, wire: RedisSession, command: Command) -> Reply:
        """Send one command, and return its reply.

        Raises:
            RedisLost: the connection failed; from then on a reply has more time.
            Unusable: it is an error, and that of all commands.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return (await ask(wire, [command], deadline=self._seconds))[0]
        except RedisLost:
            self._seconds = LARGE_DEADLINE
            raise
        finally:
            self._slowest = max(self._slowest, clock() - began)


async def read_strings(
    wire: RedisSession, items: Sequence[KeyToRead], take: Callable[[KeyToRead, Reply], None]
) -> None:
    """Read the value of each key; ``take`` is told the bytes, None where it is absent, or an error.

    Never ``GET``, for a value may have 512 MB. A value of no bytes is what an absent key has, too: for those
    alone it is asked which of both it is.
    """
    for start in range(0, len(items), CHUNK):
        chunk = items[start : start + CHUNK]
        replies = await ask(wire, [(b"GETRANGE", item.key, b"0", END) for item in chunk])
        empty = []
        for item, reply in zip(chunk, replies, strict=True):
            if reply == b"":
                empty.append(item)
            else:
                take(item, reply)
        for begin in range(0, len(empty), CHUNK // 2):
            doubtful = empty[begin : begin + CHUNK // 2]
            commands: list[Command] = []
            for item in doubtful:
                commands += [(b"EXISTS", item.key), (b"GETRANGE", item.key, b"0", END)]
            replies = await ask(wire, commands)
            for item, there, value in zip(doubtful, replies[::2], replies[1::2], strict=True):
                take(item, value if value != b"" or there else None)


class Pace:
    """How many elements to ask for at once: few at first, for each may have a megabyte; fewer if they do."""

    def __init__(self, most: int = 200) -> None:
        self.count = 10
        self._most = most

    def took(self, elements: Sequence[bytes]) -> None:
        """So much came."""
        size = sum(map(len, elements))
        if size > 512 * 1024:
            self.count = max(1, self.count * 256 * 1024 // size)
        elif size < 128 * 1024:
            self.count = min(self._most, self.count * 2)


@dataclass(slots=True)
class Tally:
    """How many keys of a family were asked for, and how many of them this user may not read."""

    asked: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def count(self, family: str, reply: Reply) -> None:
        """One was asked for."""
        self.asked[family] = self.asked.get(family, 0) + 1
        if isinstance(reply, ServerError) and reply.code not in ("WRONGTYPE",):
            self.refused[family] = self.refused.get(family, 0) + 1
            self.words[family] = str(reply)

    def all_refused(self, *families: str) -> str | None:
        """In words why none of these families' keys can be read; None where one can, or there is none."""
        asked = sum(self.asked.get(family, 0) for family in families)
        refused = sum(self.refused.get(family, 0) for family in families)
        words = [self.words[family] for family in families if family in self.words]
        return words[0] if asked and asked == refused else None


def elements(reply: Reply) -> list[bytes]:
    """The bytes in a reply that lists some."""
    return [one for one in reply if isinstance(one, bytes)] if isinstance(reply, list) else []


def page(reply: Reply) -> tuple[bytes, list[bytes]]:
    """The cursor and the elements of a reply to SCAN, SSCAN or HSCAN."""
    if isinstance(reply, list) and len(reply) == 2 and isinstance(reply[0], bytes):
        return reply[0], elements(reply[1])
    return b"0", []
