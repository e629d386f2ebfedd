"""Say which of the processes of one kind are agents: a parent and its child are one. Pure.

Many programs begin as a script that starts the real one, and wait for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from coordd.host.process_facts import Process
from coordd.sources.process.programs import Program


@dataclass(frozen=True, slots=True)
class SeenProgram:
    """A living process of a coding agent: what is shown of it; None is what may not be seen.

    ``parent`` is the pid of its parent, ``started`` when it started in epoch seconds, ``user`` the name of
    the user whose it is, ``cwd`` its working directory, ``image`` as :class:`ProcessFacts` has it.
    """

    program: Program
    process: Process
    parent: int
    started: float
    user: str | None = None
    cwd: str | None = None
    tty: str | None = None
    image: int | None = None

    @property
    def agent_id(self) -> str:
        """The id of its agent, which is the same whenever coordd looks at the same process."""
        return f"{self.program.kind}-{self.process.pid}"


def agents_among(seen: Iterable[SeenProgram]) -> list[SeenProgram]:
    """Return those that are agents: of a parent and its child of one kind, the one that the table says."""
    every = list(seen)
    by_pid = {one.process.pid: one for one in every}
    parents: set[Process] = set()
    children: set[Process] = set()
    for one in every:
        parent = by_pid.get(one.parent)
        if parent is None or parent is one or parent.program is not one.program:
            continue
        if parent.process.start <= one.process.start:  # else its pid has been used again
            parents.add(parent.process)
            children.add(one.process)
    return [one for one in every if one.process not in (parents if one.program.child else children)]
