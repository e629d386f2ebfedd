"""Remember whose processes are, from pass to pass: which agent's, and of an ended one as well.

State without I/O, on the loop. A process belongs to the agent in whose tree it was seen, in a pass or when
it was new, whatever becomes of its parents (host/forest.py). Of one that was re-parented before anybody
looked, the first row that fits:

=====================================================  ====================================================
it says of which session it is, by the environment     that session's agent; where it names several, because
that it was started with, which is read once           one agent started the other, the one that began last
it says none, or may say a subagent's, and its         that agent (host/kinship.py)
session or group of processes is an agent's
any other                                              nobody knows
=====================================================  ====================================================

What is remembered of an agent that has ended lasts as long as any of its processes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import NamedTuple

from coordd.agents.join import Agent
from coordd.host.forest import MOST_REMEMBERED, NOTHING, Remembered, Survey
from coordd.host.process_facts import Process, ProcessFacts
from coordd.host.trees import ProcessUse
from coordd.intake.saying import SUBAGENTS_APART

MOST_ASKED = 500
"""Processes that are asked for their session after one pass."""
MOST_STARTS = 2000
"""Sessions of which it is remembered when their process started."""
Said = Mapping[str, str]
"""The sessions of which a process says that it is, by kind."""
_NOTHING: Said = MappingProxyType({})
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
    """A process that lives of an agent that does not.

    ``owner`` is None where only the session and the kind of its agent are known; ``certain`` is whether that
    is a session at all, and no subagent, in which no living agent may have been before coordd knew it.
    """

    use: ProcessUse
    owner: Owner | None
    session_id: str | None
    kind: str | None = None
    certain: bool = True


class Lineage:
    """Keep whose processes are.

    ``remembered`` is what the next pass is to be told.

    Args:
        own_pid: coordd's own, which is nobody's.
    """

    def __init__(self, *, own_pid: int) -> None:
        self.remembered: Remembered = NOTHING
        self._own = own_pid
        self._owners: dict[Process, dict[str | None, Owner]] = {}
        self._sessions: dict[str, Process] = {}
        self._starts: dict[str, int] = {}  # of the processes of sessions, living or not
        self._changed: dict[Process, set[str | None]] = {}  # by the kinds of their agents
        self._asked: dict[Process, Said] = {}
        self._living: Collection[Process] = ()

    def know(self, living: Mapping[Process, Collection[Agent]]) -> None:
        """Take in which agents live, by their processes."""
        self._sessions = {one: root for one, root in self._sessions.items() if root in living}
        self._changed = {one: kinds for one, kinds in self._changed.items() if one in living}
        self._living = living.keys()
        for process, agents in living.items():
            for agent in agents:
                owner = owner_of(agent)
                owners = self._owners.setdefault(process, {})
                owners.pop(owner.session_id, None)
                owners[owner.session_id] = owner
                ids = set(_session_ids(agent))
                if len(ids) != 1:  # one without a session may be in any
                    self._changed.setdefault(process, set()).add(owner.kind)
                for session_id in ids:
                    self._starts.pop(session_id, None)
                    self._starts[session_id] = process.start
                    self._sessions.setdefault(session_id, process)
        while len(self._starts) > MOST_STARTS:
            del self._starts[next(iter(self._starts))]

    def started(self, seen: Sequence[ProcessFacts]) -> None:
        """Take in processes that are new, with their parents: these may have ended before the next pass."""
        if not self._living:
            return
        roots, sessions = dict(self.remembered.roots), dict(self.remembered.kinship.sessions)
        known = {process.pid: (process, root) for process, root in roots.items()}
        known |= {process.pid: (process, process) for process in self._living}
        for one in sorted(seen, key=lambda one: one.process.start):
            process = one.process
            if known.get(process.pid, (process, None))[0] != process:
                del known[process.pid]  # it was used again
            parent, root = known.get(one.parent, (None, None))
            if parent is None or root is None or process.start < parent.start or process in roots:
                continue
            if len(roots) >= MOST_REMEMBERED:
                break
            roots[process] = root
            known.setdefault(process.pid, (process, root))
            if one.session == process.pid:
                sessions[process.pid] = root
        if len(roots) > len(self.remembered.roots):
            kinship = replace(self.remembered.kinship, sessions=sessions)
            self.remembered = replace(self.remembered, roots=roots, kinship=kinship)

    def take(self, survey: Survey) -> bool:
        """Take over what a pass has found; return whether more belongs to a living agent than it knew."""
        self._asked = {one: said for one, said in self._asked.items() if one in survey.alive}
        claimed = {
            process: root
            for use in _loose(survey)
            if (root := self._claimed_by(process := Process(use.pid, use.start), use, survey)) is not None
        }
        before = survey.remembered
        new = any(before.roots.get(process) != root for process, root in claimed.items())
        self.remembered = replace(before, roots={**before.roots, **claimed}) if claimed else before
        kept = {*self.remembered.roots.values(), *self._sessions.values()}
        self._owners = {root: owners for root, owners in self._owners.items() if root in kept}
        return new

    def unasked(self, survey: Survey) -> list[Process]:
        """Return the processes that are to be asked of which session they are."""
        found = (Process(use.pid, use.start) for use in _loose(survey) if use.pid != self._own)
        return [one for one in found if one not in self._asked][:MOST_ASKED]

    def told(self, answers: Mapping[Process, Said]) -> None:
        """Take over what processes said."""
        for process, said in answers.items():
            self._asked[process] = {kind: one for kind, one in said.items() if _SESSION.fullmatch(one)}

    def left(self, survey: Survey) -> Iterator[Left]:
        """Yield what lives of agents that do not, as a pass has found it.

        One that says that it is of a session of which no agent is remembered has no owner.
        """
        for root, uses in survey.left.items():
            for use in uses:
                if self._root_of(Process(use.pid, use.start)) is None:
                    owner = self._owner_of(Process(use.pid, use.start), root)
                    yield Left(use, owner, owner.session_id if owner else None, owner.kind if owner else None)
        for use in survey.strays:
            process = Process(use.pid, use.start)
            kind, session_id = self._said_by(process)
            if session_id is not None and session_id not in self._sessions:
                certain = self._is_session(kind, session_id) and not self._may_be_known(process, kind)
                for one in (use, *survey.below(use)):
                    yield Left(one, None, session_id, kind, certain)

    def _claimed_by(self, process: Process, use: ProcessUse, survey: Survey) -> Process | None:
        """Return whose a process is that no living agent is known to have, as far as that can be told."""
        root = self._root_of(process)
        said = self._asked.get(process, _NOTHING)
        if root is not None or any(self._is_session(kind, one) for kind, one in said.items()):
            return root
        if process in survey.remembered.roots or process.pid == self._own:
            return None
        root = survey.remembered.kinship.root_of(use)
        own = (None, survey.remembered.terminals.get(root)) if root is not None else ()
        return root if use.terminal in own else None

    def _is_session(self, kind: str | None, session_id: str) -> bool:
        """Return whether an id that a process says is a session's; a subagent may have one of its own."""
        return kind not in SUBAGENTS_APART or session_id in self._starts

    def _said_by(self, process: Process) -> tuple[str | None, str | None]:
        """Return the kind and the id of the session of which a process says that it is: the innermost one."""
        said = self._asked.get(process, _NOTHING)
        return max(said.items(), key=lambda one: self._starts.get(one[1], -1), default=(None, None))

    def _root_of(self, process: Process) -> Process | None:
        """Return the living agent of whose session a process says that it is."""
        _, session_id = self._said_by(process)
        return None if session_id is None else self._sessions.get(session_id)

    def _owner_of(self, process: Process, root: Process) -> Owner | None:
        """Return whose a process of an ended root was: the root may have had several sessions."""
        owners = self._owners.get(root, {})
        said = self._asked.get(process, _NOTHING).values()
        return next((owners[one] for one in said if one in owners), next(reversed(owners.values()), None))

    def _may_be_known(self, process: Process, kind: str | None) -> bool:
        """Return whether a living agent may have started it in a session that is not known."""
        return any(
            root.start <= process.start and not kinds.isdisjoint((kind, None))
            for root, kinds in self._changed.items()
        )


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
