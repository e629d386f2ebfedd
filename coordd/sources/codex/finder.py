"""Find the homes of Codex, and keep one source for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from coordd.host.process_facts import ProcessFacts
from coordd.sources.codex.processes import KIND, is_named_so
from coordd.sources.codex.programs import home_of, is_program, running_programs
from coordd.sources.sessions.home_finder import HomeFinder

if TYPE_CHECKING:
    from coordd.sources.codex.source import CodexSource


class CodexFinder(HomeFinder["CodexSource"]):
    """Find homes of Codex; the arguments are those of :class:`HomeFinder`."""

    kind = KIND
    program = "Codex"
    section = "codex"

    def __init__(
        self,
        *,
        running: Callable[[], Iterable[int]] = running_programs,
        home_of: Callable[[int], str | None] = home_of,
        **more: Any,
    ) -> None:
        super().__init__(running=running, home_of=home_of, **more)

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

    def is_program(self, seen: ProcessFacts) -> bool:
        """Return whether a process is a program of Codex of the own user."""
        return is_program(seen)
