"""Find the one source of agents that are known by their processes alone, and tell it of new processes."""

from __future__ import annotations

from collections.abc import Sequence

from coordd.host.process_facts import ProcessFacts
from coordd.sources.base import OneSource
from coordd.sources.process.source import ProcessSource


class ProcessFinder(OneSource):
    """Find the source; None: such agents are not looked for."""

    def __init__(self, source: ProcessSource | None) -> None:
        super().__init__(source)
        self._source = source

    def started(self, seen: Sequence[ProcessFacts]) -> None:
        """Note that these processes have started."""
        if self._source is not None:
            self._source.started(seen)

    def resolve_again(self) -> None:
        """Have the places of all agents resolved anew: the paths that lead to workspaces have changed."""
        if self._source is not None:
            self._source.resolve_again()
