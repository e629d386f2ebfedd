"""Tell what a key of Redis means. Pure; keys are untrusted bytes, and most may belong to other programs.

A family is named after the prefix of its keys, or after the key itself if there is just one.
"""

from __future__ import annotations

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

BCAST_PREFIXES = tuple(family.encode() for family in FAMILIES)
"""Prefixes for ``CLIENT TRACKING ON BCAST``; none begins with another, since Redis refuses that. They cover a
few keys without meaning as well (``agents:registry2``)."""

SCAN_PATTERN = b"[ahtw][aego][aers][knr][:st][:abcp]*:*"
"""Pattern for ``SCAN … MATCH``: it fits the keys of all families with a prefix, letter by letter, and few
others, so that the server itself skips the foreign keys of a shared database."""

BEATS = (HEARTBEAT, AGENT_HEARTBEAT)
"""The families that hold heartbeats; an agent may use both."""
CLAIMS = (CLAIMED, CLAIM)
"""The families that hold claims; a task may have both."""

_SINGLE = {family.encode(): family for family in FAMILIES if not family.endswith(":")}
_PREFIXES = {
    family.encode(): family for family in FAMILIES if family.encode() not in _SINGLE and family != HEARTBEAT
}
_BEAT = HEARTBEAT.encode()
_BEAT_LENGTH = len(_BEAT)
_LONGEST_NAME = 4 * MAX_ID  # bytes: UTF-8 takes up to four for a character
_SHOWN = 300  # a key may be 512 MB long


class RedisKey(NamedTuple):
    """A key's family, and what follows its prefix: an agent's id, a task's id, a priority, or nothing."""

    family: str
    name: bytes = b""


def meaning(key: bytes) -> RedisKey | None:
    """Return what a key stands for; None if it is no trace.

    >>> meaning(b"heartbeat:a:b")
    RedisKey(family='heartbeat:', name=b'a:b')
    """
    if key.startswith(_BEAT):
        return RedisKey(HEARTBEAT, key[_BEAT_LENGTH:])
    end = key.find(b":", key.find(b":") + 1) + 1
    if end:
        family = _PREFIXES.get(key[:end])
        return None if family is None else RedisKey(family, key[end:])
    family = _SINGLE.get(key)
    return None if family is None else RedisKey(family)


def family_of(key: bytes) -> str:
    """Return the family of a key; empty if it is no trace."""
    known = meaning(key)
    return "" if known is None else known.family


def id_of(name: bytes) -> str:
    r"""Decode an id from bytes; those that are not UTF-8 become ``\xNN``.

    Raises:
        Malformed: it is empty or longer than 256 characters.
    """
    if not 1 <= len(name) <= _LONGEST_NAME:
        raise Malformed(f"an id of no or more than {MAX_ID} characters")
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = jsonable(name.decode("utf-8", "surrogateescape"))
    if len(text) > MAX_ID:
        raise Malformed(f"an id of no or more than {MAX_ID} characters")
    return text


def location(key: bytes, member: bytes | None = None) -> str:
    """Return how ``malformed`` names a key, or a member of it; control characters are not escaped yet."""
    text = f"redis:{_shown(key)}"
    return text if member is None else f"{text} {_shown(member)}"


def _shown(name: bytes) -> str:
    text = jsonable(name[:_SHOWN].decode("utf-8", "surrogateescape"))
    return text if len(name) <= _SHOWN else f"{text}…"
