"""Ask Redis in chunks, and take over each chunk's replies before anything else happens.

A connection carries one exchange at a time, and its caller continues as soon as it has the reply: two
readings that take turns therefore update the state in the order in which Redis answered. No command asks for
a value of unbounded size.
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
"""Index of the last byte of a value to ask for: one more than the limit, to recognise a larger value."""
SLICE = 1000
"""Elements of replies handled without a pause: some milliseconds of work."""


class Unusable(Exception):
    """Raised internally when Redis answers every command with an error, which the text describes."""


LONGEST_KEY = 2048
"""Bytes of a key's name; keys of agents are shorter (an id has 256 characters), foreign ones are cut."""


LARGE_DEADLINE = 10.0
"""Seconds within which the reply to a command for a large value has to begin."""


async def ask(
    session: RedisSession,
    commands: Sequence[Command],
    *,
    largest: int = LARGEST,
    deadline: float = COMMAND_DEADLINE,
) -> list[Reply]:
    """Send up to one chunk of commands, and return their replies; the error of one command is its reply.

    Args:
        largest: bytes that are kept of each string in the replies.
        deadline: as in :meth:`RedisSession.call`.

    Raises:
        RedisLost: the connection failed.
        Unusable: the server would answer every command with this error.
    """
    replies = await session.call(*commands, largest=largest, deadline=deadline)
    for reply in replies:
        if reply.__class__ is ServerError and reply.means.unusable:
            raise Unusable(str(reply))
    return replies


class ReplyDeadline:
    """Choose how long to wait for a reply that may be large.

    A server that copies half a gigabyte is silent meanwhile. The usual deadline holds until it was too short
    once, then a longer one until all replies are quick again.
    """

    def __init__(self) -> None:
        self._seconds = COMMAND_DEADLINE
        self._slowest = 0.0

    def begin(self) -> None:
        """Begin a reading."""
        self._slowest = 0.0

    def end(self) -> None:
        """End a reading: return to the short deadline if all replies came quickly."""
        if self._slowest < COMMAND_DEADLINE / 2:
            self._seconds = COMMAND_DEADLINE

    async def ask(self, session: RedisSession, command: Command) -> Reply:
        """Send one command, and return its reply.

        Raises:
            RedisLost: the connection failed; later replies get more time.
            Unusable: the server would answer every command with this error.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            return (await ask(session, [command], deadline=self._seconds))[0]
        except RedisLost:
            self._seconds = LARGE_DEADLINE
            raise
        finally:
            self._slowest = max(self._slowest, clock() - began)


async def read_strings(
    session: RedisSession, items: Sequence[KeyToRead], take: Callable[[KeyToRead, Reply], None]
) -> None:
    """Read the value of each key; call ``take`` with its bytes, None if it does not exist, or an error.

    ``GET`` is not used, since a value may have 512 MB. ``GETRANGE`` answers alike for an empty value and for
    a missing key, so ``EXISTS`` decides those cases.
    """
    for start in range(0, len(items), CHUNK):
        chunk = items[start : start + CHUNK]
        replies = await ask(session, [(b"GETRANGE", item.key, b"0", END) for item in chunk])
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
            replies = await ask(session, commands)
            for item, there, value in zip(doubtful, replies[::2], replies[1::2], strict=True):
                take(item, value if value != b"" or there else None)


class PageSize:
    """Choose how many elements to ask for at once: few at first, since each may have a megabyte."""

    def __init__(self, most: int = 200) -> None:
        self.count = 10
        self._most = most

    def adapt(self, elements: Sequence[bytes]) -> None:
        """Adapt the count to the size of the elements that came."""
        size = sum(map(len, elements))
        if size > 512 * 1024:
            self.count = max(1, self.count * 256 * 1024 // size)
        elif size < 128 * 1024:
            self.count = min(self._most, self.count * 2)


@dataclass(slots=True)
class Tally:
    """Count the keys of each family that were read, and those that this user may not read."""

    asked: dict[str, int] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def count(self, family: str, reply: Reply) -> None:
        """Count one key by its reply."""
        self.asked[family] = self.asked.get(family, 0) + 1
        if isinstance(reply, ServerError) and not reply.means.wrong_type:
            self.refused[family] = self.refused.get(family, 0) + 1
            self.words[family] = str(reply)

    def all_refused(self, *families: str) -> str | None:
        """Return in words why none of these families' keys can be read; None if one can or none was read."""
        asked = sum(self.asked.get(family, 0) for family in families)
        refused = sum(self.refused.get(family, 0) for family in families)
        words = [self.words[family] for family in families if family in self.words]
        return words[0] if asked and asked == refused else None


def elements(reply: Reply) -> list[bytes]:
    """Return the elements of a reply that are bytes; empty if it is not a list."""
    return [one for one in reply if isinstance(one, bytes)] if isinstance(reply, list) else []


def page(reply: Reply) -> tuple[bytes, list[bytes]]:
    """Return the cursor and the elements of a reply to SCAN, SSCAN or HSCAN."""
    if isinstance(reply, list) and len(reply) == 2 and isinstance(reply[0], bytes):
        return reply[0], elements(reply[1])
    return b"0", []
