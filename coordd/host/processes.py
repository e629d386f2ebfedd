"""Look at processes of this machine: what each is, whether it is there, and what all of them use.

A look has one of three results, and they are never mixed up:

=======================  ==============================================================================
result                   meaning
=======================  ==============================================================================
:class:`ProcessFacts`    it lives, and this is what may be seen of it
None                     there is no such process: a zombie is none, nor is a thread
:class:`ProbeFailed`     the look failed, or is not allowed: it says nothing about the process
=======================  ==============================================================================

:func:`look`, :func:`words`, :func:`find_contained` and :func:`uses` belong in a thread, for they may hang or
take long; :func:`glance`, :func:`start_of`, :func:`lives` and :func:`image_of` wait for nothing. It knows
nothing of agents.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator

from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.host.trees import ProcessUse

if sys.platform == "darwin":
    from coordd.host import mac_processes as system
else:
    from coordd.host import procfs as system


def look(pid: int) -> ProcessFacts | None:
    """Return what one look at a process tells; None where there is none that runs.

    Raises:
        ProbeFailed: it may not be looked at, or looking fails.
    """
    return system.look(pid)


def glance(pid: int) -> ProcessFacts | None:
    """Return what is seen of a process without waiting for it: not its command line, nor its directory.

    Raises:
        ProbeFailed: it may not be looked at, or looking fails.
    """
    return system.glance(pid)


def words(process: Process, most: int) -> tuple[bytes, ...] | None:
    """Return the words of a process's command line, as far as ``most`` bytes of it go.

    It waits for the process, which may hang. None: it has ended, or may not be looked at.
    """
    return system.words(process, most)


def start_of(pid: int) -> int | None:
    """Return the start of a process, as :class:`Process` has it; None where there is none that runs.

    Raises:
        ProbeFailed: it may not be looked at, or looking fails.
    """
    return system.start_of(pid)


def lives(process: Process) -> bool | None:
    """Return whether this very process lives; None where a look says nothing."""
    try:
        return start_of(process.pid) == process.start
    except ProbeFailed:
        return None


def find_contained(wanted: Collection[Process]) -> dict[Process, int]:
    """Find processes of containers by what programs inside know of them; return their pids for coordd.

    A pid of a container is the last ``NSpid`` of ``/proc/<pid>/status``, and the start is the same on either
    side. What two processes fit, in two containers, is left out. One pass over all processes serves all that
    are wanted, so it is to be called seldom.

    Args:
        wanted: pids as they are inside, with the starts.
    """
    return system.find_contained(wanted)


def uses() -> Iterator[ProcessUse]:
    """Yield what every process uses, as far as it may be seen, for trees.py: one pass over the machine."""
    return system.uses()


def start_at(wall: float) -> int:
    """Return a moment in epoch seconds as :class:`Process` has its start: which processes are younger."""
    return system.start_at(wall)


def image_of(pid: int) -> int | None:
    """Return a number that changes when a process begins to run another program; None if unreadable."""
    return system.image_of(pid)


def pids() -> list[int]:
    """Return the pids of all processes that may be seen; none where the system does not tell."""
    return system.pids()
