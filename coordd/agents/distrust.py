"""Learn from ends that were none whether the pids in a workspace's registrations can be trusted. Pure.

Scripts register the pid of a shell that is gone a moment later, or of one that runs a single command. So a
beat after the end of its process proves that the process was not the agent's, and the next one may not be
either. The states of a workspace:

===========  ======================================  ==================================================
state        what holds                              ends
===========  ======================================  ==================================================
trusted      a registration's process counts         with a beat of an agent whose process has ended
distrusted   none counts                             when one process has lived through
                                                     :data:`PROVING_BEATS` beats of its agent since then
===========  ======================================  ==================================================

Processes of sessions are not of concern here: their programs write the pid themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from coordd.host.process_facts import Process

PROVING_BEATS = 3
"""Beats that a process has to live through to restore trust."""
ON_ITS_WAY = 2.0
"""Seconds for which a beat may be on its way: one that comes so soon after an end may be older than that."""
MOST = 20_000
"""The number of agents that are remembered; beyond it the longest known are forgotten."""

Learned = Literal["disproved", "restored"]


@dataclass(slots=True)
class _Known:
    """One agent's process: when it ended, None while it lives, and the beats that it lived through."""

    process: Process
    ended_at: float | None = None
    beats: int = 0


@dataclass(slots=True)
class _Workspace:
    trusted: bool = True
    agents: dict[str, _Known] = field(default_factory=dict)


class Distrust:
    """Keep, for each workspace, whether its registrations name processes of agents.

    All times are of one clock, in seconds.
    """

    def __init__(self, *, most: int = MOST) -> None:
        self._most = most
        self._workspaces: dict[str, _Workspace] = {}
        self._count = 0

    def trusted(self, workspace: str) -> bool:
        """Return whether processes of the workspace's registrations count."""
        found = self._workspaces.get(workspace)
        return found is None or found.trusted

    def alive(self, workspace: str, agent: str, process: Process) -> None:
        """Note that an agent's registration names a process that lives; its former one is done with."""
        agents = self._workspaces.setdefault(workspace, _Workspace()).agents
        known = agents.get(agent)
        if known is None:
            self._count += 1
        elif known.process == process and known.ended_at is None:
            return
        agents[agent] = _Known(process)
        self._shrink()

    def ended(self, workspace: str, agent: str, process: Process, at: float) -> None:
        """Note that the process which an agent's registration names has ended."""
        known = self._known(workspace, agent)
        if known is not None and known.process == process and known.ended_at is None:
            known.ended_at = at

    def beat(self, workspace: str, agent: str, at: float) -> Learned | None:
        """Note a beat of an agent, and return what it tells.

        ``disproved``: the process that ended was not this agent's, and the workspace is distrusted from now
        on. ``restored``: the workspace is trusted again.

        Args:
            workspace: that of the registration.
            agent: the agent's id.
            at: when it was beaten, as well as that is known: a file's mtime rather than when it was read.
        """
        known = self._known(workspace, agent)
        if known is None:
            return None
        found = self._workspaces[workspace]
        if known.ended_at is None:
            known.beats += 1
            if found.trusted or known.beats < PROVING_BEATS:
                return None
            found.trusted = True
            return "restored"
        if at <= known.ended_at + ON_ITS_WAY:
            return None
        found.trusted = False
        self._drop(workspace, agent)
        for other in found.agents.values():
            other.beats = 0
        return "disproved"

    def forget(self, workspace: str, agent: str) -> None:
        """Forget an agent's process: its registration names another or none, or the agent is gone."""
        if self._known(workspace, agent) is not None:
            self._drop(workspace, agent)

    def forget_workspace(self, workspace: str) -> None:
        """Forget a workspace that is no longer watched."""
        found = self._workspaces.pop(workspace, None)
        if found is not None:
            self._count -= len(found.agents)

    def _known(self, workspace: str, agent: str) -> _Known | None:
        found = self._workspaces.get(workspace)
        return None if found is None else found.agents.get(agent)

    def _drop(self, workspace: str, agent: str) -> None:
        found = self._workspaces[workspace]
        del found.agents[agent]
        self._count -= 1
        if not found.agents and found.trusted:
            del self._workspaces[workspace]

    def _shrink(self) -> None:
        """Forget the longest known: first whole workspaces that only distrust is known of, then agents."""
        while self._count > self._most or len(self._workspaces) > self._most:
            workspace, found = next(iter(self._workspaces.items()))
            if found.agents:
                self._drop(workspace, next(iter(found.agents)))
            if not found.agents:
                self._workspaces.pop(workspace, None)
