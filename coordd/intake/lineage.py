"""Remember whose processes are, from pass to pass: which agent's, and of an ended one as well.

State without I/O, on the loop. A process belongs to the agent in whose tree it was seen, whatever becomes of
its parents (host/forest.py). One that was re-parented before anybody looked says itself of which session it
is, by the environment that it was started with: that is read once, and this keeps the answer. What is
remembered of an agent that has ended lasts as long as any of its processes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from coordd.agents.join import Agent
from coordd.host.forest import NOTHING, Remembered, Survey
from coordd.host.process_facts import Process
from coordd.host.trees import ProcessUse

MOST_ASKED = 500
"""Processes that are asked for their session after one pass."""
_SESSION = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Owner:
    """The agent whose processes they are, as it was last seen alive; None is unknown."""

    agent_id: str | None
    workspace: str | None = None
    project: str | None = None
    name: str | None = None
    kind: str | None = None
    session_id: str | None = None


class Left(NamedTuple):
    """A process that lives of an agent that does not: its owner, None where only a session id is known."""

    use: ProcessUse
    owner: Owner | None
    session_id: str | None


class Lineage:
    """Keep whose processes are.

    ``remembered`` is what the next pass is to be told.

    Args:
        own_pid: coordd's own, which is nobody's.
    """

    def __init__(self, *, own_pid: int) -> None:
        self.remembered: Remembered = NOTHING
        self._own = own_pid
        self._owners: dict[Process, Owner] = {}
        self._sessions: dict[str, Process] = {}
        self._changed: set[Process] = set()
        self._asked: dict[Process, str | None] = {}

    def know(self, living: Mapping[Process, Collection[Agent]]) -> None:
        """Take in which agents live, by their processes."""
        self._sessions = {one: root for one, root in self._sessions.items() if root in living}
        self._changed &= living.keys()
        for process, agents in living.items():
            for agent in agents:
                self._owners[process] = owner_of(agent)
                ids = set(_session_ids(agent))
                if len(ids) > 1:
                    self._changed.add(process)
                for session_id in ids:
                    self._sessions.setdefault(session_id, process)

    def take(self, survey: Survey) -> bool:
        """Take over what a pass has found; return whether more belongs to a living agent than it knew."""
        self._asked = {one: said for one, said in self._asked.items() if one in survey.alive}
        claimed = {
            process: root
            for use in _loose(survey)
            if (root := self._root_of(process := Process(use.pid, use.start))) is not None
        }
        before = survey.remembered
        new = any(before.roots.get(process) != root for process, root in claimed.items())
        self.remembered = replace(before, roots={**before.roots, **claimed}) if claimed else before
        kept = {*self.remembered.roots.values(), *self._sessions.values()}
        self._owners = {root: owner for root, owner in self._owners.items() if root in kept}
        return new

    def unasked(self, survey: Survey) -> list[Process]:
        """Return the processes that are to be asked of which session they are."""
        found = (Process(use.pid, use.start) for use in _loose(survey) if use.pid != self._own)
        return [one for one in found if one not in self._asked][:MOST_ASKED]

    def told(self, answers: Mapping[Process, str | None]) -> None:
        """Take over what processes said."""
        for process, said in answers.items():
            self._asked[process] = said if said is not None and _SESSION.fullmatch(said) else None

    def left(self, survey: Survey) -> Iterator[Left]:
        """Yield what lives of agents that do not, as a pass has found it.

        One that says that it is of a session of which no agent is remembered has no owner; it is left out
        where a living agent may have been in that session before coordd knew it.
        """
        for root, uses in survey.left.items():
            for use in uses:
                if self._root_of(Process(use.pid, use.start)) is None:
                    owner = self._owners.get(root)
                    yield Left(use, owner, owner.session_id if owner else None)
        for use in survey.strays:
            process = Process(use.pid, use.start)
            session_id = self._asked.get(process)
            if (
                session_id is not None
                and session_id not in self._sessions
                and not self._may_be_known(process)
            ):
                yield Left(use, None, session_id)

    def _root_of(self, process: Process) -> Process | None:
        """Return the living agent of whose session a process says that it is."""
        session_id = self._asked.get(process)
        return None if session_id is None else self._sessions.get(session_id)

    def _may_be_known(self, process: Process) -> bool:
        return any(root.start <= process.start for root in self._changed)


def owner_of(agent: Agent) -> Owner:
    """Return an agent as the owner of its processes."""
    session = agent.session
    return Owner(
        agent_id=agent.key.agent_id,
        workspace=agent.key.recorded_workspace,
        project=(session.project if session else None) or agent.key.recorded_workspace,
        name=session.name if session else None,
        kind=session.kind if session else None,
        session_id=session.session_id if session else None,
    )


def _session_ids(agent: Agent) -> Iterator[str]:
    """Yield the sessions in which the agent's process is known to have been."""
    for one in agent.observations:
        session = one.session
        if session is not None and session.session_id is not None:
            yield session.session_id
            if session.kind == "claude-code":
                yield one.agent_id.partition("~")[0]


def _loose(survey: Survey) -> Iterable[ProcessUse]:
    """Return the processes that no living agent is known to have."""
    yield from survey.strays
    for uses in survey.left.values():
        yield from uses
