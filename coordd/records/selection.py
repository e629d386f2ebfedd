"""Choose the records of one agent or of one project, whole ones and what a kill left of one. Pure.

==========================  ============================================================================
a record                    is about
==========================  ============================================================================
of agents                   the agent with its ``agent_id``, and its ``workspace`` and ``project``
an event ``agent.*``        the agent that is its ``subject``, in the ``workspace`` of its detail
any other event             the agents that its detail names, and the workspace of subject or detail
of coordd itself            no agent: its subjects are Redis, files, the clock (:data:`_OF_COORDD`)
the torn beginning of one   whoever it may be about: it names them, or breaks off within their name
==========================  ============================================================================

A project has its worktrees with it: workspaces whose records name it as their project
(:meth:`RecordSelection.learn`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

MAX_PLACES = 10_000
"""Worktrees of a project that are learned."""
_OF_COORDD = frozenset(
    ("clock", "config", "daemon", "housekeeping", "machine", "mode", "records", "redis", "sink", "socket")
)
_UNENDED = re.compile(rb'(?:[^"]|"(?:[^"\\]|\\.)*")*"((?:[^"\\]|\\.)*)\\?', re.DOTALL)
"""A text that breaks off within a string of JSON; what there is of the string."""


class RecordSelection:
    """The records of one agent, of one place (a workspace or project), or of an agent in a place.

    Args:
        agent_id: the agent's id; None: of any agent.
        place: the canonical path of a workspace or project; None: in any place.

    Raises:
        ValueError: neither is given.
    """

    __slots__ = ("_agent", "_places", "agent_id", "place")

    def __init__(self, *, agent_id: str | None = None, place: str | None = None) -> None:
        if agent_id is None and place is None:
            raise ValueError("name an agent or a project")
        self.agent_id = agent_id
        self.place = place
        self._agent = None if agent_id is None else _quoted(agent_id)
        self._places: dict[str, bytes] = {} if place is None else {place: _quoted(place)}

    @property
    def places(self) -> list[str]:
        """The place and those of its worktrees that were learned."""
        return list(self._places)

    def learn(self, record: Mapping[str, Any]) -> None:
        """Note the workspace of an agent's record that names the place as its project."""
        workspace = record.get("workspace")
        if self.place is None or record.get("project") != self.place or not isinstance(workspace, str):
            return
        if workspace not in self._places and len(self._places) < MAX_PLACES:
            self._places[workspace] = _quoted(workspace)

    def may_fit(self, lines: bytes) -> bool:
        """Return whether any of these lines may fit: only those have to be decoded."""
        return b"\\" in lines or any(name in lines for name in self._names())

    def fits(self, series: str, record: Mapping[str, Any]) -> bool:
        """Return whether a record of a series, ``agent`` or ``event``, is one of these."""
        if series == "agent":
            is_agents = self.agent_id is None or record.get("agent_id") == self.agent_id
            return is_agents and self._is_here(record.get("workspace"), record.get("project"))
        subject, detail = record.get("subject"), record.get("detail")
        kind = str(record.get("kind")).partition(".")[0]
        if kind in _OF_COORDD:
            return False
        if self.agent_id is not None:
            named = [subject] if kind == "agent" else _texts(detail)
            if self.agent_id not in named:
                return False
        inside = detail if isinstance(detail, dict) else {}
        return self._is_here(subject, inside.get("workspace"), inside.get("project"))

    def fits_torn(self, line: bytes) -> bool:
        """Return whether what is left of a record may be of one of these."""
        if any(name in line for name in self._names()):
            return True
        broken = _UNENDED.fullmatch(line)
        return broken is not None and any(
            broken[1] and name[1:].startswith(broken[1]) for name in self._names()
        )

    def _is_here(self, *places: object) -> bool:
        return self.place is None or any(isinstance(one, str) and one in self._places for one in places)

    def _names(self) -> list[bytes]:
        return [self._agent] if self._agent is not None else list(self._places.values())


def _quoted(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode("utf-8", "surrogatepass")


def _texts(value: object) -> Iterator[object]:
    """Yield every text in a value of JSON, however deep."""
    if isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)
    else:
        yield value
