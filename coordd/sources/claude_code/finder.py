"""Find the homes of Claude Code, and keep one source for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from coordd.host.process_facts import ProcessFacts
from coordd.sources.claude_code.processes import KIND, is_named_so
from coordd.sources.claude_code.programs import home_of, is_program, running_programs
from coordd.sources.sessions.home_finder import HomeFinder

if TYPE_CHECKING:
    from coordd.sources.claude_code.source import ClaudeCodeSource


class ClaudeCodeFinder(HomeFinder["ClaudeCodeSource"]):
    """Find homes of Claude Code; the arguments are those of :class:`HomeFinder`."""

    kind = KIND
    program = "Claude Code"
    section = "claude_code"

    def __init__(
        self,
        *,
        running: Callable[[], Iterable[int]] | None = None,
        home_of: Callable[[int], str | None] = home_of,
        **more: Any,
    ) -> None:
        super().__init__(running=running or self._running, home_of=home_of, **more)

    def source_type(self) -> type[ClaudeCodeSource]:
        """Return what makes a source for a home."""
        from coordd.sources.claude_code.source import ClaudeCodeSource  # loaded by those who have such a home

        return ClaudeCodeSource

    def is_program(self, seen: ProcessFacts) -> bool:
        """Return whether a process is a program of Claude Code, of a user whose homes are looked for."""
        return is_named_so(seen) if self.homes.users is not None else is_program(seen)

    def _running(self) -> Iterable[int]:
        return running_programs(everybodys=self.homes.users is not None)
