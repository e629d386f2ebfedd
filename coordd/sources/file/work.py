"""Read ``claims/``, ``tasks/`` and ``status/`` of one workspace.

trace_folder.py does the I/O, claims.py the parsing. A missing folder counts as empty; one that
cannot be read is None, and that is reported. Knows nothing of agents.

:meth:`WorkReader.scan` looks at every file and is authoritative; :meth:`WorkReader.read` looks only at files
hinted as changed, at a cost that does not depend on the number of files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from coordd.agents.traces import Claim, Progress, WorkChange
from coordd.sources.bodies import parse_claim, parse_progress
from coordd.sources.bounds import Bounds, TextQuota
from coordd.sources.file.claims import (
    CLAIM_SUFFIXES,
    PROGRESS_SUFFIX,
    claimed_task_of,
    merge_claims,
    progress_task_of,
)
from coordd.sources.file.hints import WorkFile
from coordd.sources.file.task_files import TaskFiles
from coordd.sources.file.trace_file import FileKind, latest_change
from coordd.sources.file.trace_folder import MAX_ENTRIES, TraceFolder
from coordd.util.fields import Denied, Malformed, Parsed, jsonable
from coordd.util.untrusted_folder import explain_unreadable_trace, open_folder

T = TypeVar("T")

WORK_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True)
class Work:
    """The contents of the three folders; None means unknown, also because there is too much to keep.

    ``over_limit`` says in words, by folder, that there is too much; ``unnamed`` is how many further tasks are
    available.
    """

    available: tuple[str, ...] | None = ()
    claims: dict[str, Claim] | None = field(default_factory=dict)
    progress: dict[str, Progress] | None = field(default_factory=dict)
    unnamed: int = 0
    over_limit: dict[str, str] = field(default_factory=dict)


class WorkReader:
    """Read the work of one coordination folder.

    Args:
        path: the coordination folder, for messages; it is reached by a descriptor.
        max_entries: directory entries beyond this are not looked at.
        bounds: how much may be kept, shared by all readers.
        keepalive: called now and then during a scan, to show that it goes on.
    """

    def __init__(
        self,
        *,
        path: str,
        max_entries: int = MAX_ENTRIES,
        bounds: Bounds | None = None,
        keepalive: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        bounds = bounds or Bounds()
        self._claims: TraceFolder[Claim] = TraceFolder(
            path=f"{path}/claims",
            kind_of=_claim_kind,
            max_entries=max_entries,
            files=bounds.claims,
            quota=TextQuota(bounds.text),
            keepalive=keepalive,
        )
        self._progress: TraceFolder[Progress] = TraceFolder(
            path=f"{path}/status",
            kind_of=_progress_kind,
            max_entries=max_entries,
            files=bounds.progress,
            quota=TextQuota(bounds.text),
            keepalive=keepalive,
        )
        self._tasks = TaskFiles(max_entries=max_entries, offered=bounds.offered)
        self._merged: dict[str, Claim] = {}
        self._unreadable: dict[str, str] = {}
        self._complete = False

    def scan(self, coordination: int, now: float) -> Work:
        """Read all three folders.

        Args:
            coordination: descriptor of the coordination folder.
            now: wall clock, epoch seconds.
        """
        self._unreadable = {}
        claims = self._claims_of(coordination, now)
        progress = self._progress_of(coordination, now)
        listed = self._list_tasks(coordination)
        self._complete = listed and claims is not None and progress is not None
        known = listed and claims is not None and not self._tasks.truncated
        return Work(
            available=self._tasks.available(claims) if known and claims is not None else None,
            claims=claims,
            progress=progress,
            unnamed=self._tasks.unnamed if known else 0,
            over_limit=dict(self._over_limits()),
        )

    def read(self, coordination: int, files: Collection[WorkFile]) -> WorkChange | None:
        """Look at these files alone; return None if only a scan can tell the present state.

        Args:
            coordination: descriptor of the coordination folder.
            files: names as inotify gives them; some may not be traces.
        """
        if not self._complete:
            return None
        names: dict[str, list[str]] = {}
        for file in files:
            names.setdefault(file.folder, []).append(file.name)
        try:
            claims = self._read_claims(coordination, names.get("claims", []))
            tasks = self._read_tasks(coordination, names.get("tasks", []))
            progress = self._read_progress(coordination, names.get("status", []))
        except (OSError, Malformed):
            self._complete = False  # half of it is applied and not reported: a scan reports it all
            return None
        tasks.update(*map(self._tasks.tasks_of_claim, claims))
        available = {task: self._tasks.is_available(task, self._merged) for task in tasks}
        return WorkChange(claims, progress, available)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Yield path and reason of everything in the last scan that could not be used."""
        yield from self._unreadable.items()
        parts = (
            ("claims", self._claims.problems()),
            ("status", self._progress.problems()),
            ("tasks", self._tasks.problems.items()),
        )
        for folder, problems in parts:
            for name, reason in problems:
                yield self._path_of(folder, name), reason

    def unnamed_problems(self) -> int:
        """Return how many more problems there are than :meth:`problems` yields."""
        return self._claims.bad_unnamed + self._progress.bad_unnamed + self._tasks.bad_unnamed

    def _over_limits(self) -> Iterator[tuple[str, str]]:
        for name, words in (
            ("claims", self._claims.over_limit),
            ("status", self._progress.over_limit),
            ("tasks", self._tasks.problems.get("")),
        ):
            if words is not None:
                yield name, words

    def problems_of(self, files: Collection[WorkFile]) -> Iterator[tuple[str, str]]:
        """Yield path and reason of those of these files that could not be used."""
        folders: dict[str, TraceFolder[Claim] | TraceFolder[Progress]] = {
            "claims": self._claims,
            "status": self._progress,
        }
        for file in files:
            folder = folders.get(file.folder)
            entry = folder.entries.get(file.name) if folder else None
            if entry is not None and entry.problem is not None:
                yield self._path_of(*file), entry.problem

    def _path_of(self, folder: str, name: str) -> str:
        return f"{self._path}/{folder}/{jsonable(name)}".rstrip("/")

    def _claims_of(self, coordination: int, now: float) -> dict[str, Claim] | None:
        if not self._scanned(self._claims, "claims", coordination, now):
            return None
        if self._claims.over_limit is not None:
            return None  # the claims not read could hold any task
        # "x.claim" comes before "x.json"
        found = (self._claim_in(name) for name in sorted(self._claims.entries))
        self._merged = merge_claims(claim for claim in found if claim is not None)
        return dict(self._merged)

    def _progress_of(self, coordination: int, now: float) -> dict[str, Progress] | None:
        if not self._scanned(self._progress, "status", coordination, now):
            return None
        if self._progress.over_limit is not None:
            return None
        return {entry.value.task: entry.value for entry in self._progress.entries.values() if entry.value}

    def _list_tasks(self, coordination: int) -> bool:
        try:
            fd = open_folder("tasks", coordination)
            if fd is None:
                self._tasks.clear()
                return True
            try:
                self._tasks.scan(fd)
            finally:
                os.close(fd)
        except (OSError, Malformed) as error:
            self._failed("tasks", error)
            return False
        return True

    def _read_claims(self, coordination: int, names: list[str]) -> dict[str, Claim | None]:
        """Read these claims; return those that changed, None for a claim that has vanished."""
        claims: dict[str, Claim | None] = {}
        for name in self._refreshed(self._claims, "claims", coordination, names):
            task = _task_or_none(claimed_task_of, name)
            if task is None or task in claims:
                continue
            stem = name[: name.rindex(".")]
            both = (self._claim_in(stem + suffix) for suffix in CLAIM_SUFFIXES)
            claim = merge_claims(one for one in both if one is not None).get(task)
            if claim != self._merged.get(task):
                claims[task] = claim
        for task, claim in claims.items():
            if claim is None:
                del self._merged[task]
            else:
                self._merged[task] = claim
        return claims

    def _read_tasks(self, coordination: int, names: list[str]) -> set[str]:
        if not names:
            return set()
        fd = _open("tasks", coordination)
        try:
            return self._tasks.refresh(fd, names)
        finally:
            os.close(fd)

    def _read_progress(self, coordination: int, names: list[str]) -> dict[str, Progress | None]:
        progress: dict[str, Progress | None] = {}
        for name in self._refreshed(self._progress, "status", coordination, names):
            task = _task_or_none(progress_task_of, name)
            if task is not None:
                entry = self._progress.entries.get(name)
                progress[task] = entry.value if entry else None
        return progress

    def _claim_in(self, name: str) -> Claim | None:
        entry = self._claims.entries.get(name)
        task = claimed_task_of(name) if entry is not None and entry.counts else None
        if entry is None or task is None:
            return None
        problem = entry.problem if isinstance(entry.problem, Denied) else None
        return entry.value or Claim(task, problem=problem)

    def _scanned(self, folder: TraceFolder[T], name: str, coordination: int, now: float) -> bool:
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

    @staticmethod
    def _refreshed(folder: TraceFolder[T], name: str, coordination: int, names: list[str]) -> list[str]:
        """Look at these files; return the names whose meaning changed."""
        if not names:
            return []
        fd = _open(name, coordination)
        try:
            return [one for one in names if folder.refresh(fd, one)]
        finally:
            os.close(fd)

    def _failed(self, name: str, error: OSError | Malformed) -> None:
        path = f"{self._path}/{name}"
        self._unreadable[path] = (
            explain_unreadable_trace(error, path) if isinstance(error, OSError) else str(error)
        )


def _open(name: str, coordination: int) -> int:
    fd = open_folder(name, coordination)
    if fd is None:
        raise Malformed("it was there and is gone")
    return fd


def _task_or_none(task_of: Callable[[str], str | None], name: str) -> str | None:
    try:
        return task_of(name)
    except Malformed:  # the scans count it
        return None


def _claim(name: str, content: bytes, state: os.stat_result) -> Parsed[Claim]:
    return parse_claim(claimed_task_of(name) or name, content, state.st_mtime, latest_change(state))


def _progress(name: str, content: bytes, state: os.stat_result) -> Parsed[Progress]:
    return parse_progress(progress_task_of(name) or name, content, state.st_mtime, latest_change(state))


_CLAIM: FileKind[Claim] = FileKind(WORK_LIMIT, _claim)
_PROGRESS: FileKind[Progress] = FileKind(WORK_LIMIT, _progress)


def _claim_kind(name: str) -> FileKind[Claim] | None:
    return _CLAIM if name.endswith(CLAIM_SUFFIXES) and claimed_task_of(name) is not None else None


def _progress_kind(name: str) -> FileKind[Progress] | None:
    return _PROGRESS if name.endswith(PROGRESS_SUFFIX) and progress_task_of(name) is not None else None
