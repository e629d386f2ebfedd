"""Tell what a key of Redis means. Pure; keys are untrusted bytes, and most may belong to other programs.

A family is named after the beginning of its keys, or after the key itself if there is just one. Where several
share a Redis, a prefix stands before all of it (``coordination.redis_prefix``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from coordd.sources.bodies import MAX_ID
from coordd.util.fields import Malformed, jsonable

REGISTRY = "agents:registry"
HEARTBEAT = "heartbeat:"
AGENT_HEARTBEAT = "agent:heartbeat:"
AGENT_TASKS = "agent:tasks:"
AVAILABLE = "tasks:available"
WORK = "work:available:"
QUEUE = "tasks:priority_queue"
CLAIMED = "tasks:claimed:"
CLAIM = "task:claim:"
PROGRESS = "task:progress:"

Kind = Literal["string", "hash", "set", "sorted set", "list"]

KINDS: Mapping[str, Kind] = {
    REGISTRY: "hash",
    HEARTBEAT: "string",
    AGENT_HEARTBEAT: "string",
    AGENT_TASKS: "set",
    AVAILABLE: "set",
    WORK: "list",
    QUEUE: "sorted set",
    CLAIMED: "string",
    CLAIM: "string",
    PROGRESS: "string",
}
"""The type of each family's values; of ``tasks:claimed:`` it may be any, but only a string names a holder."""

FAMILIES = tuple(KINDS)

_PATTERN = "[ahtw][aego][aers][knr][:st][:abcp]*:*"

BEATS = (HEARTBEAT, AGENT_HEARTBEAT)
"""The families that hold heartbeats; an agent may use both."""
CLAIMS = (CLAIMED, CLAIM)
"""The families that hold claims; a task may have both."""

_LONGEST_NAME = 4 * MAX_ID  # bytes: UTF-8 takes up to four for a character
_SHOWN = 300  # bytes: a key may be 512 MB long


class RedisKey(NamedTuple):
    """A key's family, and what follows its prefix: an agent's id, a task's id, a priority, or nothing."""

    family: str
    name: bytes = b""


class Keyspace:
    """The keys of all families, each behind the same prefix.

    ``tracked`` are the beginnings for ``CLIENT TRACKING ON BCAST``; none begins with another, since Redis
    refuses that. They cover a few keys without meaning as well (``agents:registry2``). ``scan_pattern`` is
    for ``SCAN … MATCH``: it fits the keys of all families with several keys, letter by letter, and few
    others, so that the server itself skips the foreign keys of a shared database.
    """

    def __init__(self, prefix: str = "") -> None:
        self.prefix = prefix
        self.tracked = tuple(map(self.key, FAMILIES))
        self.scan_pattern = (glob_escaped(prefix) + _PATTERN).encode()
        self._length = len(prefix.encode())
        self._beat = self.key(HEARTBEAT)
        self._beat_length = len(self._beat)
        self._single = {self.key(family): family for family in FAMILIES if not family.endswith(":")}
        self._several = {self.key(family): family for family in FAMILIES if family.endswith(":")}

    def key(self, family: str, name: bytes = b"") -> bytes:
        """Return the key of this family with this name.

        >>> Keyspace("mine:").key("heartbeat:", b"a")
        b'mine:heartbeat:a'
        """
        return self.spelled(family).encode() + name

    def spelled(self, family: str) -> str:
        """Return the key, or the beginning of all keys, of this family as text."""
        return self.prefix + family

    def meaning(self, key: bytes) -> RedisKey | None:
        """Return what a key stands for; None if it is no trace.

        >>> Keyspace().meaning(b"heartbeat:a:b")
        RedisKey(family='heartbeat:', name=b'a:b')
        """
        if key.startswith(self._beat):
            return RedisKey(HEARTBEAT, key[self._beat_length :])
        end = key.find(b":", key.find(b":", self._length) + 1) + 1
        if end:
            family = self._several.get(key[:end])
            return None if family is None else RedisKey(family, key[end:])
        family = self._single.get(key)
        return None if family is None else RedisKey(family)

    def family_of(self, key: bytes) -> str:
        """Return the family of a key; empty if it is no trace."""
        known = self.meaning(key)
        return "" if known is None else known.family

    def pattern(self, family: str) -> str:
        """Return the glob-style pattern that fits all keys of a family and no others."""
        return glob_escaped(self.prefix) + family + ("*" if family.endswith(":") else "")


def glob_escaped(text: str) -> str:
    r"""Return a text as a pattern that fits nothing but itself, for ``SCAN`` and ``ACL SETUSER``.

    >>> glob_escaped("a[1]*")
    'a\\[1\\]\\*'
    """
    return _SPECIAL.sub(r"\\\g<0>", text)


_SPECIAL = re.compile(r"[][*?\\^]")


def id_of(name: bytes) -> str:
    r"""Decode an id from bytes, without the white space around it; bytes that are not UTF-8 become ``\xNN``.

    Raises:
        Malformed: it is empty or longer than 256 characters.
    """
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise Malformed(f"an id of no or more than {MAX_ID} characters")
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = jsonable(name.decode("utf-8", "surrogateescape"))
    text = text.strip()
    if not 1 <= len(text) <= MAX_ID:
        raise Malformed(f"an id of no or more than {MAX_ID} characters")
    return text


def location(key: bytes, member: bytes | None = None) -> str:
    """Return how ``malformed`` names a key, or a member of it; control characters are not escaped yet."""
    text = f"redis:{_shown(key)}"
    return text if member is None else f"{text} {_shown(member)}"


def _shown(name: bytes) -> str:
    text = jsonable(name[:_SHOWN].decode("utf-8", "surrogateescape"))
    return text if len(name) <= _SHOWN else f"{text}…"
