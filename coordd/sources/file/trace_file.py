"""Describe one trace file: how it is read, and what the last reading found.

Values only: trace_folder.py opens the files and decides when to read them again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Generic, TypeVar

from coordd.util.fields import Parsed

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileKind(Generic[T]):
    """How files of one kind are read: up to ``limit`` bytes, then ``parse``, which may raise Malformed."""

    limit: int
    parse: Callable[[str, bytes, os.stat_result], Parsed[T]]


def latest_change(state: os.stat_result) -> float:
    """Return a moment (epoch seconds) after which the file was not written; the kernel sets its ctime."""
    return max(state.st_mtime, state.st_ctime)


class Entry(Generic[T]):
    """One file as it was last read.

    ``counts`` is False if the file cannot be a trace at all (a FIFO, a link, a huge file): its name then
    stands for no agent or task. ``value`` is None if the file could not be parsed; ``problem`` says why. Of
    the file's state (stat) a hash is kept: its numbers would take five times as much memory.
    """

    __slots__ = ("_state", "counts", "kind", "problem", "released", "settled", "value")

    def __init__(
        self,
        kind: FileKind[T],
        state: os.stat_result,
        value: T | None,
        problem: str | None,
        *,
        counts: bool,
        settled: bool,
    ) -> None:
        self.kind = kind
        self._state = _hashed(state)
        self.value = value
        self.problem = problem
        self.counts = counts
        self.settled = settled
        self.released = False

    def matches(self, state: os.stat_result) -> bool:
        """Return whether the file still has the state (stat) in which it was read."""
        return self._state == _hashed(state)

    def refused(self, problem: str) -> Entry[T]:
        """Return this entry without its value, with the reason why the file cannot be read now."""
        other = copy(self)
        other.value, other.problem, other.settled, other.released = None, problem, False, False
        return other

    def or_earlier(self, earlier: Entry[T] | None) -> Entry[T]:
        """Return the earlier reading, brought up to date, if it means the same; else this one.

        Others hold the earlier value already, and two equal ones would take twice the memory.
        """
        if earlier is None or not self._means_the_same_as(earlier):
            return self
        earlier._state, earlier.settled, earlier.released = self._state, self.settled, self.released
        return earlier

    def _means_the_same_as(self, other: Entry[T]) -> bool:
        return self.value == other.value and self.counts == other.counts and self.problem == other.problem


def _hashed(state: os.stat_result) -> int:
    return hash((state.st_mtime_ns, state.st_ctime_ns, state.st_ino, state.st_size))
