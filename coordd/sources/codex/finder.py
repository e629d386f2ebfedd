"""Find the homes of Codex, and keep one source for each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from coordd.host.process_facts import ProcessFacts
from coordd.sources.codex.processes import KIND, is_named_so
from coordd.sources.sessions.home_finder import HomeFinder

if TYPE_CHECKING:
    from coordd.sources.codex.source import CodexSource


class CodexFinder(HomeFinder["CodexSource"]):
    """Find homes of Codex; the arguments are those of :class:`HomeFinder`."""

    kind = KIND
    program = "Codex"
    section = "codex"
    home_variable = b"CODEX_HOME"

    def started(self, seen: Sequence[ProcessFacts]) -> None:
        """Have homes looked for, and rollouts, if one of these processes is a new Codex."""
        super().started(seen)
        if any(map(is_named_so, seen)):
            for source in self.sources.values():
                source.program_started()

    def source_type(self) -> type[CodexSource]:
        """Return what makes a source for a home."""
        from coordd.sources.codex.source import CodexSource  # loaded by those who have such a home

        return CodexSource

    def is_named_so(self, seen: ProcessFacts) -> bool:
        """Return whether a process has a name that Codex gives itself."""
        return is_named_so(seen)
