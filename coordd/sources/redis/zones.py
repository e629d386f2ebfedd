"""Give the times of one value in Redis the same zone at each reading. Pure state; no clock is read.

A time without a zone is UTC or local, whichever agrees with when it was written. A key has no time of its
own: when it was written is known if it was announced, or if it changed between two readings; of a value that
was there before, nothing tells, but that it was not written ahead of now::

    the value                                   when it was written
    announced, and another one than before      now
    new or another one, and everything was      now
    read before over the same connection
    first seen, ahead of now if in UTC alone    so that it is not ahead: its times are local
    first seen                                  unknown: its times are UTC
    the same as before, announced or not        as before
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from coordd.agents.beats import FUTURE
from coordd.util.fields import Malformed, Parsed, as_utf8

T = TypeVar("T")

_ZONELESS = re.compile(rb"(?<![\d.])\d{4}(?:-[\dW]|W\d|\d{4}(?!\d))[^\"Zz+]*(?:\"|\s*$)")


def may_lack_zone(content: bytes) -> bool:
    """Return whether a time without a zone may stand in there; False is certain.

    >>> may_lack_zone(b'{"claimed_at": "2026-11-22T06:05:00Z", "ttl": 300}')
    False
    """
    with suppress(Malformed):  # its reader says so
        content = as_utf8(content)
    return _ZONELESS.search(content) is not None


class Zones:
    """Remember when values with times that may lack a zone were written, of ``limit`` keys at most.

    Of further keys it counts as unknown at each reading.
    """

    def __init__(self, *, limit: int) -> None:
        self._limit = limit
        self._known: dict[bytes, tuple[int, float | None]] = {}
        self._followed = False

    def connected(self) -> None:
        """Note that the connection is another one, so that changes may have gone unseen."""
        self._followed = False

    def complete(self) -> None:
        """Note that everything was read, so that what differs from now on has changed."""
        self._followed = True

    def forget(self, key: bytes) -> None:
        """Note that a key is gone."""
        if self._known:
            self._known.pop(key, None)

    def parse(
        self,
        key: bytes,
        content: bytes,
        parser: Callable[[float | None], Parsed[T]],
        time_of: Callable[[T], float | None],
        *,
        pushed: bool,
        now: float,
    ) -> Parsed[T]:
        """Return what the parser makes of a value.

        Args:
            key: holds the value.
            content: the value.
            parser: takes when it was written, epoch seconds, None if unknown.
            time_of: returns a time in the parsed value that had passed when it was written, None without one.
            pushed: the key was announced as changed.
            now: wall clock, epoch seconds.
        """
        if not may_lack_zone(content):
            self.forget(key)
            return parser(None)
        digest = hash(content)
        known = self._known.get(key)
        if known is not None and known[0] == digest:
            return parser(known[1])
        if known is None and len(self._known) >= self._limit:
            return parser(None)
        written = now if pushed or self._followed else None
        parsed = parser(written)
        if written is None and _is_ahead(time_of(parsed.value), now):
            other = parser(now)
            if not _is_ahead(time_of(other.value), now):
                written, parsed = now, other
        self._known[key] = (digest, written)
        return parsed


def _is_ahead(time: float | None, now: float) -> bool:
    return time is not None and time > now + FUTURE
