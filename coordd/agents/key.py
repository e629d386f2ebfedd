"""Name an agent: the workspace that it works in, and its id there. Pure value."""

from __future__ import annotations

from typing import NamedTuple

NO_WORKSPACE = ""
"""The workspace of an agent that only Redis names: it says of none."""


class AgentKey(NamedTuple):
    """The key of an agent; keys are ordered by workspace, then id, those of Redis alone first.

    ``workspace`` is the canonical path of a project, or :data:`NO_WORKSPACE`. Only records and answers write
    None in its place (:attr:`recorded_workspace`).
    """

    workspace: str
    agent_id: str

    @property
    def recorded_workspace(self) -> str | None:
        """The workspace as records and answers have it: None for an agent of Redis alone."""
        return self.workspace or None

    @property
    def place_words(self) -> str:
        """Where its agent works, as a sentence goes on: ``in /home/ann/src/app``, ``in Redis``."""
        return f"in {self.workspace or 'Redis'}"
