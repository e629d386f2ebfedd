"""Tell which sessions and groups of processes belong to one agent: what is in them was started by it. Pure.

A session, see setsid(2), can only be inherited. So where a process of an agent's tree is in another one than
the agent itself, or the agent leads one, all that is in it descends from the agent. A group, see setpgid(2),
is entered by what its session's processes put there, and so tells the same, less surely. They outlive their
leaders: a shell that has ended names whose the server is that it has started. Nothing is concluded from what
two agents share, nor from what the agent shares with whoever started it. A number is used again once nothing
is left of its session or group.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from coordd.host.process_facts import Process
from coordd.host.trees import ProcessUse


@dataclass(frozen=True, slots=True)
class Kinship:
    """Whose a session is, by its number, and whose a group is: the root of the tree, which may have ended."""

    sessions: Mapping[int, Process] = field(default_factory=dict)
    groups: Mapping[int, Process] = field(default_factory=dict)

    def root_of(self, use: ProcessUse) -> Process | None:
        """Return whose a process is; None where that cannot be told."""
        root = self.sessions.get(use.session) or self.groups.get(use.group)
        return root if root is not None and root.start <= use.start else None


NO_KINSHIP = Kinship()


def kinship(
    by_pid: Mapping[int, ProcessUse],
    tops: Mapping[Process, ProcessUse],
    members: Mapping[Process, Process],
    below: Mapping[Process, list[ProcessUse]],
    before: Kinship,
) -> Kinship:
    """Return what one pass tells.

    Args:
        by_pid: all processes.
        tops: the roots that live.
        members: the processes that belong to a root, ended or not, each with its root.
        below: the same, by root.
        before: what passes before have told.
    """
    sessions, groups = _Numbers(), _Numbers()
    for root, top in tops.items():
        if top.session == root.pid:
            sessions.are(top.session, root)
        else:
            sessions.shared.add(top.session)
        if top.group == root.pid:
            groups.are(top.group, root)
        else:
            groups.shared.add(top.group)
    for root, uses in below.items():
        own = tops.get(root)
        session, group = (None, None) if own is None else (own.session, own.group)
        for use in uses:
            if use.session != session and (own is not None or use.session == use.pid):
                sessions.are(use.session, root)
            if use.group != group and (own is not None or use.group == use.pid):
                groups.are(use.group, root)
    sessions.keep(before.sessions, (use.session for use in by_pid.values()), by_pid, members)
    groups.keep(before.groups, (use.group for use in by_pid.values()), by_pid, members)
    return Kinship(sessions.known, groups.known)


class _Numbers:
    """The numbers of sessions, or of groups, and whose each is."""

    def __init__(self) -> None:
        self.shared: set[int] = set()
        self._found: dict[int, Process] = {}

    def are(self, number: int, root: Process) -> None:
        if number and self._found.setdefault(number, root) != root:
            self.shared.add(number)

    def keep(
        self,
        before: Mapping[int, Process],
        there: Iterable[int],
        by_pid: Mapping[int, ProcessUse],
        members: Mapping[Process, Process],
    ) -> None:
        """Keep what was known, as long as anything is left of it, and nothing else has its number."""
        if not before:
            return
        left = set(there)
        for number, root in before.items():
            leader = by_pid.get(number)
            process = Process(leader.pid, leader.start) if leader is not None else root
            if number in left and (process == root or members.get(process) == root):
                self.are(number, root)

    @property
    def known(self) -> dict[int, Process]:
        return {number: root for number, root in self._found.items() if number not in self.shared}
