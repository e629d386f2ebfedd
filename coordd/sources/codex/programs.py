"""Find the running programs of Codex, which may hold rollouts."""

from __future__ import annotations

from coordd.host.newcomers import Newcomers
from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.host.processes import glance
from coordd.sources.codex.processes import is_bundled, is_named_so


class Programs:
    """Remember which programs of Codex run; a look costs one listing of pids, and a glance at new ones."""

    def __init__(self, newcomers: Newcomers | None = None) -> None:
        self._newcomers = newcomers or Newcomers()
        self._known: set[Process] = set()

    def look(self, *, anew: bool = False) -> list[ProcessFacts]:
        """Return those that run now; ``anew``: look at every process, for a pid may have been used again."""
        if anew:
            self._newcomers.forget()
        new = {one.process for one in self._newcomers.look() if is_named_so(one)}
        found = []
        for process in sorted(self._known | {one for one in new if not is_bundled(one.pid)}):
            try:
                seen = glance(process.pid)
            except ProbeFailed:
                continue
            if seen is not None and seen.process == process:
                found.append(seen)
        self._known = {one.process for one in found}
        return found
