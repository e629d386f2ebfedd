"""Find the homes of Claude Code, and keep one source for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordd.host.process_facts import ProcessFacts
from coordd.sources.claude_code.processes import KIND, is_named_so
from coordd.sources.sessions.home_finder import HomeFinder

if TYPE_CHECKING:
    from coordd.sources.claude_code.source import ClaudeCodeSource


class ClaudeCodeFinder(HomeFinder["ClaudeCodeSource"]):
    """Find homes of Claude Code; the arguments are those of :class:`HomeFinder`."""

    kind = KIND
    program = "Claude Code"
    section = "claude_code"
    home_variable = b"CLAUDE_CONFIG_DIR"

    def source_type(self) -> type[ClaudeCodeSource]:
        """Return what makes a source for a home."""
        from coordd.sources.claude_code.source import ClaudeCodeSource  # loaded by those who have such a home

        return ClaudeCodeSource

    def is_named_so(self, seen: ProcessFacts) -> bool:
        """Return whether a process has a name that Claude Code gives itself."""
        return is_named_so(seen)
