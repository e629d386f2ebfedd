"""Find the homes of Copilot, and keep one source for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from coordd.host.process_facts import ProcessFacts
from coordd.sources.copilot.locks import KIND
from coordd.sources.copilot.programs import is_named_so
from coordd.sources.sessions.home_finder import HomeFinder

if TYPE_CHECKING:
    from coordd.sources.copilot.source import CopilotSource


class CopilotFinder(HomeFinder["CopilotSource"]):
    """Find homes of Copilot; the arguments are those of :class:`HomeFinder`."""

    kind = KIND
    program = "Copilot"
    section = "copilot"
    home_variable = b"COPILOT_HOME"

    def source_type(self) -> type[CopilotSource]:
        """Return what makes a source for a home."""
        from coordd.sources.copilot.source import CopilotSource  # loaded by those who have such a home

        return CopilotSource

    def is_named_so(self, seen: ProcessFacts) -> bool:
        """Return whether a process is a program of Copilot; it waits for nothing."""
        return is_named_so(seen)
