"""Define who is told which processes observations name."""

from __future__ import annotations

from typing import Protocol

from coordd.agents.observation import Observation, ObservationKey
from coordd.agents.source import SourceName


class ProcessClaims(Protocol):
    """Take note of what observations say of processes; each method returns at once."""

    def observed(self, old: Observation | None, new: Observation) -> Observation:
        """Take note of an observation that is about to be held; return it as it is to be held.

        ``old`` is the one before, None for a new one or while agents are restored.
        """
        ...

    def removed(self, place: ObservationKey) -> None:
        """Take note that an observation is held no longer."""
        ...

    def read(self, source: SourceName) -> None:
        """Take note that everything of a source was read."""
        ...


class NoClaims:
    """Look at no process."""

    def observed(self, _old: Observation | None, new: Observation) -> Observation:
        """Return the observation as it is."""
        return new

    def removed(self, place: ObservationKey) -> None:
        """Do nothing."""

    def read(self, source: SourceName) -> None:
        """Do nothing."""
