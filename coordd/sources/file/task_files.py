"""Know which tasks are available: the file names in ``tasks/`` without those that are claimed.

No file is opened. A file may be named after its task, with or without an extension (claims.py), and a claim
may use either name.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from itertools import islice

from coordd.agents.traces import Claim
from coordd.sources.bounds import Budget
from coordd.sources.file.claims import task_names_of
from coordd.sources.file.trace_folder import MAX_MALFORMED, list_names
from coordd.tasks.claim_state import is_released
from coordd.util.fields import Malformed


class TaskFiles:
    """Keep the files of one ``tasks/`` folder; ``problems`` maps unusable names to the reason.

    ``unnamed`` is how many further tasks did not fit; ``truncated`` means that the folder has more entries
    than are looked at, so the number of tasks is unknown.

    Args:
        max_entries: directory entries beyond this are not looked at.
        offered: budget of task ids, shared with other folders.
    """

    def __init__(self, *, max_entries: int, offered: Budget) -> None:
        self._max_entries = max_entries
        self._offered = offered
        self.unnamed = 0
        self.bad_unnamed = 0
        self.truncated = False
        self._tasks: dict[str, tuple[str, str]] = {}
        self._files: dict[str, dict[str, str]] = {}
        self.problems: dict[str, str] = {}

    def clear(self) -> None:
        """Forget everything, since the folder does not exist."""
        self._offered.give(len(self._tasks))
        self._tasks, self._files, self.problems = {}, {}, {}
        self.unnamed = self.bad_unnamed = 0
        self.truncated = False

    def scan(self, fd: int) -> None:
        """List the folder again.

        Raises:
            OSError: it cannot be listed; nothing is changed.
        """
        names, problems, truncated = list_names(fd, self._max_entries)
        self.clear()
        self.truncated = truncated
        self.problems = dict(islice(problems.items(), MAX_MALFORMED))
        self.bad_unnamed = len(problems) - len(self.problems)
        if truncated:
            self.problems[""] = f"more than {self._max_entries} entries; the rest is not read"
        for name in names:
            self._add(name)
        if self.unnamed and not truncated:
            self.problems[""] = f"{self.unnamed} tasks more than are named; they are counted"

    def refresh(self, fd: int, names: Iterable[str]) -> set[str]:
        """Look at some names again; return the tasks that appeared or vanished.

        Raises:
            OSError: stat(2) failed for another reason than a missing file.
        """
        touched = set()
        for name in names:
            there = _is_file(fd, name)
            known = self._tasks.get(name)
            if there and known is None:
                if self._offered.left:  # otherwise it may already be counted as unnamed; a scan tells
                    self._add(name)
                known = self._tasks.get(name)
            elif not there and known is not None:
                self._drop(name)
            else:
                continue
            if known is not None:
                touched.add(known[0])
        return touched

    def tasks_of_claim(self, claimed: str) -> set[str]:
        """Return the tasks that a claim of this name may mean."""
        found = {claimed} if claimed in self._files else set()
        try:
            both = task_names_of(claimed)
        except Malformed:
            both = None
        if both is not None and claimed in self._files.get(both[0], {}).values():
            found.add(both[0])
        return found

    def available(self, claims: Mapping[str, Claim]) -> tuple[str, ...]:
        """Return all available tasks, sorted."""
        taken = {task for task, claim in claims.items() if not is_released(claim.status)}
        return tuple(sorted(task for task in self._files if self._is_free(task, taken)))

    def is_available(self, task: str, claims: Mapping[str, Claim]) -> bool:
        """Return whether there is such a task and no claim on it."""
        names = (task, *self._files.get(task, {}).values())
        taken = {name for name in names if name in claims and not is_released(claims[name].status)}
        return task in self._files and self._is_free(task, taken)

    def _is_free(self, task: str, taken: set[str]) -> bool:
        return task not in taken and not any(whole in taken for whole in self._files[task].values())

    def _add(self, name: str) -> None:
        try:
            both = task_names_of(name)
        except Malformed as error:
            if len(self.problems) < MAX_MALFORMED:
                self.problems[name] = str(error)
            else:
                self.bad_unnamed += 1
            return
        if both is not None:
            if not self._offered.take(1):
                self.unnamed += 1
                return
            self._tasks[name] = both
            self._files.setdefault(both[0], {})[name] = both[1]

    def _drop(self, name: str) -> None:
        task, _ = self._tasks.pop(name)
        self._offered.give(1)
        files = self._files[task]
        del files[name]
        if not files:
            del self._files[task]


def _is_file(fd: int, name: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False
