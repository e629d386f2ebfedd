"""Reading ``claims/``, ``tasks/`` and ``status/`` of one workspace.

I/O by way of folder.py, meaning by way of claims.py. A folder that is not there holds nothing; one that is
there and cannot be read makes what it holds None, and is reported. Knows nothing of agents.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from coordd.coordination.claims import (
    CLAIM_SUFFIXES,
    PROGRESS_SUFFIX,
    claimed_task_of,
    merge_claims,
    parse_claim,
    parse_progress,
    progress_task_of,
    task_names_of,
)
from coordd.coordination.fields import Malformed, Parsed, jsonable
from coordd.coordination.folder import MAX_ENTRIES, Folder, Kind, list_names
from coordd.coordination.safefile import explain, open_folder
from coordd.traces import Claim, Progress

T = TypeVar("T")

WORK_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Work:
    """What the three folders hold: None is unknown."""

    available: tuple[str, ...] | None = ()
    claims: dict[str, Claim] | None = field(default_factory=dict)
    progress: dict[str, Progress] | None = field(default_factory=dict)


class WorkReader:
    """Reads the work of one coordination folder.

    Args:
        path: the coordination folder, for messages; it is reached by a descriptor.
        max_entries: directory entries beyond this are not looked at.
    """

    def __init__(self, *, path: str, max_entries: int = MAX_ENTRIES) -> None:
        self._path = path
        self._max_entries = max_entries
        self._claims: Folder[Claim] = Folder(
            path=f"{path}/claims", kind_of=_claim_kind, max_entries=max_entries
        )
        self._progress: Folder[Progress] = Folder(
            path=f"{path}/status", kind_of=_progress_kind, max_entries=max_entries
        )
        self._tasks_problems: dict[str, str] = {}
        self._unreadable: dict[str, str] = {}

    def scan(self, coordination: int, now: float) -> Work:
        """Read all three folders.

        Args:
            coordination: descriptor of the coordination folder.
            now: wall clock, epoch seconds.
        """
        self._unreadable = {}
        claims = self._claims_of(coordination, now)
        return Work(
            available=self._available(coordination, claims),
            claims=claims,
            progress=self._progress_of(coordination, now),
        )

    def problems(self) -> Iterator[tuple[str, str]]:
        """Path and reason of everything in the last scan that could not be used."""
        yield from self._unreadable.items()
        parts = (
            ("claims", self._claims.problems()),
            ("status", self._progress.problems()),
            ("tasks", self._tasks_problems.items()),
        )
        for folder, problems in parts:
            for name, reason in problems:
                yield f"{self._path}/{folder}/{jsonable(name)}".rstrip("/"), reason

    def _claims_of(self, coordination: int, now: float) -> dict[str, Claim] | None:
        if not self._scanned(self._claims, "claims", coordination, now):
            return None
        found = []
        for name in sorted(self._claims.entries):  # "x.claim" comes before "x.json"
            entry = self._claims.entries[name]
            task = claimed_task_of(name)
            if entry.counts and task is not None:
                found.append(entry.value or Claim(task))
        return merge_claims(found)

    def _progress_of(self, coordination: int, now: float) -> dict[str, Progress] | None:
        if not self._scanned(self._progress, "status", coordination, now):
            return None
        return {entry.value.task: entry.value for entry in self._progress.entries.values() if entry.value}

    def _available(self, coordination: int, claims: dict[str, Claim] | None) -> tuple[str, ...] | None:
        self._tasks_problems = {}
        try:
            fd = open_folder("tasks", coordination)
            if fd is None:
                return () if claims is not None else None
            try:
                names, problems, overfull = list_names(fd, self._max_entries)
            finally:
                os.close(fd)
        except (OSError, Malformed) as error:
            self._failed("tasks", error)
            return None
        if overfull:
            problems[""] = f"more than {self._max_entries} entries; the rest is not read"
        tasks = set()
        for name in names:
            try:
                both = task_names_of(name)
            except Malformed as error:
                problems[name] = str(error)
                continue
            if both is not None and claims is not None and not any(text in claims for text in both):
                tasks.add(both[0])
        self._tasks_problems = problems
        return None if claims is None else tuple(sorted(tasks))

    def _scanned(self, folder: Folder[T], name: str, coordination: int, now: float) -> bool:
        try:
            fd = open_folder(name, coordination)
            if fd is None:
                folder.clear()
                return True
            try:
                folder.scan(fd, now)
            finally:
                os.close(fd)
        except (OSError, Malformed) as error:
            self._failed(name, error)
            return False
        return True

    def _failed(self, name: str, error: OSError | Malformed) -> None:
        path = f"{self._path}/{name}"
        self._unreadable[path] = explain(error, path) if isinstance(error, OSError) else str(error)


def _claim(name: str, content: bytes, _: os.stat_result) -> Parsed[Claim]:
    return parse_claim(claimed_task_of(name) or name, content)


def _progress(name: str, content: bytes, _: os.stat_result) -> Parsed[Progress]:
    return parse_progress(progress_task_of(name) or name, content)


_CLAIM: Kind[Claim] = Kind(WORK_LIMIT, _claim)
_PROGRESS: Kind[Progress] = Kind(WORK_LIMIT, _progress)


def _claim_kind(name: str) -> Kind[Claim] | None:
    return _CLAIM if name.endswith(CLAIM_SUFFIXES) and claimed_task_of(name) is not None else None


def _progress_kind(name: str) -> Kind[Progress] | None:
    return _PROGRESS if name.endswith(PROGRESS_SUFFIX) and progress_task_of(name) is not None else None
