"""Find the homes of Copilot, and keep one source for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from coordd.host.process_facts import ProcessFacts
from coordd.sources.copilot.programs import home_of, is_program, running_programs
from coordd.sources.sessions.home_finder import HomeFinder

if TYPE_CHECKING:
    from coordd.sources.copilot.source import CopilotSource


class CopilotFinder(HomeFinder["CopilotSource"]):
    """Find homes of Copilot; the arguments are those of :class:`HomeFinder`."""

    kind = "copilot"
    program = "Copilot"
    section = "copilot"

    def __init__(
        self,
        *,
        running: Callable[[], Iterable[int]] = running_programs,
        home_of: Callable[[int], str | None] = home_of,
        **more: Any,
    ) -> None:
        super().__init__(running=running, home_of=home_of, **more)

    def source(self, path: str, *, named: bool) -> CopilotSource:
        """Return a source for a home by its canonical path."""
        from coordd.sources.copilot.source import CopilotSource  # memory, for those who have such a home

        return CopilotSource(
            path,
            named=named,
            worker=self.home_worker(),
            places=self.places,
            watch=self.watch,
            look=self.process,
            wanted=self.wanted,
            remote=self.remote,
        )

    def is_program(self, seen: ProcessFacts) -> bool:
        """Return whether a process is a program of Copilot of the own user."""
        return is_program(seen)
