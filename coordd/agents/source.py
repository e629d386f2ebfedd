"""Describe one source as it is shown: how it is followed and what cannot be read of it.

A value that changes; it knows no files and no Redis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from coordd.agents.key import NO_WORKSPACE
from coordd.agents.limits import ToldLimit
from coordd.runtime.clocks import ObservedClock
from coordd.util.fields import Denied


class SourceName(NamedTuple):
    """The name of one source: its kind as records have it (``file``, ``redis``, …), and where it lies.

    ``path`` is that of the workspace or home that is read; "" where there is one source of the kind.
    """

    kind: str
    path: str = ""


def with_remedy(why: str, kind: str) -> str:
    """Return why a trace may not be read, and what to do about it, in words; ``kind`` is its source's."""
    if kind == "redis":
        return (
            f"{why}; give its user the keys: ACL SETUSER USER %R~heartbeat:* and so on, as the README has it"
        )
    return f"{why}; 'coordctl doctor' has the command that gives it"


@dataclass(slots=True, eq=False)
class SourceState:
    """One source: how it is followed, what fails right now, and the clock on which silence counts.

    ``workspace`` is the workspace that its observations belong to unless they name another; NO_WORKSPACE
    where it knows of none, or names one for each agent (``names_workspaces``). ``rank`` orders sources: what
    one of a lower rank says of an agent counts first. ``holds_tasks`` is true where tasks and claims are read
    beside agents; a workspace has one such source. ``project`` is the main work tree of that workspace,
    ``aliases`` are other paths that lead to it, ``entry`` is what of the configuration names it, None where
    nothing does. ``told_elsewhere`` is true where something else says what
    keeps the source from being read.

    ``state`` is ``inotify``, ``poll`` or ``read`` while the source is read, ``waiting`` while there is
    nothing to read yet, ``unreadable`` with ``error``. ``standstill`` says why agents cannot beat although
    the source can be read, None while they can. ``malformed`` maps traces that cannot be used to the reason;
    ``malformed_unnamed`` is the number of further ones. ``over_limit`` maps each kind of trace of which more
    exist than are read to a sentence that says so. ``unrecognised`` names what programs write that coordd
    does not know: ``program``, ``version`` and ``what`` of each. ``limits`` is what a provider has told of
    the account that is used there.
    """

    name: SourceName
    clock: ObservedClock
    workspace: str = NO_WORKSPACE
    rank: int = 0
    holds_tasks: bool = False
    told_elsewhere: bool = False
    names_workspaces: bool = False
    project: str | None = None
    aliases: tuple[str, ...] = ()
    entry: str | None = None
    state: str = "waiting"
    error: str | None = None
    standstill: str | None = None
    malformed: dict[str, str] = field(default_factory=dict)
    malformed_unnamed: int = 0
    over_limit: Mapping[str, str] = field(default_factory=dict)
    unrecognised: Sequence[Mapping[str, str]] = ()
    limits: Sequence[ToldLimit] = ()

    @property
    def denied(self) -> list[tuple[str, str]]:
        """The traces that may not be read, with the reason: somebody has to give a right."""
        return [one for one in self.malformed.items() if isinstance(one[1], Denied)]
