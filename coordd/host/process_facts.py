"""Define what is known of a process of this machine: its identity, and what a look at it tells. Values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class ProbeFailed(Exception):
    """Internal: a process could not be looked at, which says nothing about it; whoever probes handles it."""


class Process(NamedTuple):
    """One process of this boot: a pid is used again, a pid with its start is not.

    ``start`` is when it started, in clock ticks since boot: field 22 of ``/proc/<pid>/stat``, see proc(5). On
    macOS it is the start in microseconds since the epoch.
    """

    pid: int
    start: int


@dataclass(frozen=True, slots=True)
class ProcessFacts:
    """What one look at a living process tells; None is what may not be seen.

    ``started`` is when it started in epoch seconds, by this machine's clock now. ``uid`` is its effective
    user. ``inner_pid`` is its pid in the innermost pid namespace, which for a container's process is the one
    that programs inside know it by. ``cwd`` is its working directory, ``commanded`` whether it has a command
    line (a kernel thread and a zombie have none), ``tty`` its terminal, ``pts/3``. ``inner`` is whether it
    lives in a pid namespace below coordd's: a container's. ``session`` is the number of its session, the pid
    of the process that began it. ``image`` tells the program that it runs from one that it ran before, see
    execve(2).
    """

    process: Process
    parent: int
    started: float
    uid: int | None = None
    inner_pid: int | None = None
    name: str | None = None
    commanded: bool | None = None
    cwd: str | None = None
    tty: str | None = None
    inner: bool = False
    session: int | None = None
    image: int | None = None
