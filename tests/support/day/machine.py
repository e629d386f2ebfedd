"""Simulate the processes of a machine, and what its kernel tells coordd, at once or once that runs again."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator
from dataclasses import dataclass

from played_claude import Written

from coordd.host.process_facts import Process, ProcessFacts
from coordd.host.trees import ProcessUse
from coordd.sources.sessions.watch import ONCE, Tell
from coordd.util import inotify as ino
from day.clock import Clock

TICKS = 100
FIRST_PID = 10_000_000
"""No process of the machine that simulates has a pid as high as this."""
OWNER = 1000


class Mailbox:
    """What was told to coordd; while it does not run, that waits."""

    def __init__(self) -> None:
        self.stopped = False
        self._held: list[Callable[[], None]] = []

    def post(self, tell: Callable[[], None]) -> None:
        """Tell something."""
        if self.stopped:
            self._held.append(tell)
        else:
            tell()

    def deliver(self) -> None:
        """Tell everything that has waited."""
        self.stopped = False
        held, self._held = self._held, []
        for tell in held:
            tell()


@dataclass(slots=True)
class _Running:
    process: Process
    parent: int
    busy: bool  # uses a tenth of a processor
    began: float


class Machine:
    """Processes; it answers all that coordd asks about them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[int, _Running] = {}
        self._next = FIRST_PID
        self.watch: EndWatch | None = None

    def spawn(self, *, parent: int = 1, busy: bool = False) -> Process:
        """Start a process."""
        self._next += 1
        process = Process(self._next, int(self._clock.uptime() * TICKS))
        self._running[process.pid] = _Running(process, parent, busy, self._clock.mono)
        return process

    def end(self, process: Process) -> None:
        """End a process, and with it all that it has started."""
        for one in [one for one in self._running.values() if one.parent == process.pid]:
            self.end(one.process)
        if self._running.pop(process.pid, None) is not None and self.watch is not None:
            self.watch.ended(process)

    def lives(self, process: Process) -> bool:
        """Return whether this very process lives."""
        one = self._running.get(process.pid)
        return one is not None and one.process == process

    # What coordd asks.

    def look(self, pid: int) -> ProcessFacts | None:
        """Return what one look at a process tells."""
        one = self._running.get(pid)
        if one is None:
            return None
        return ProcessFacts(
            one.process, one.parent, self._started(one), uid=OWNER, inner_pid=pid, name="sim", commanded=True
        )

    def glance(self, pid: int) -> ProcessFacts | None:
        """Return the process that a session's record names: its files are this program's, and so is it."""
        one = self._running.get(pid)
        if one is None:
            return None
        return ProcessFacts(one.process, one.parent, self._started(one), uid=os.geteuid(), name="claude")

    def start_of(self, pid: int) -> int | None:
        """Return the start of a process."""
        one = self._running.get(pid)
        return None if one is None else one.process.start

    def find_contained(self, _wanted: Collection[Process]) -> dict[Process, int]:
        """Return the pids of containers' processes: there are none."""
        return {}

    def uses(self) -> Iterator[ProcessUse]:
        """Yield what each process uses."""
        for one in self._running.values():
            cpu = 0.1 * (self._clock.mono - one.began) if one.busy else 0.0
            yield ProcessUse(one.process.pid, one.process.start, one.parent, cpu, 1_000_000)

    def start_at(self, epoch: float) -> int:
        """Return the start that a process would have that starts at this time."""
        return int((epoch - self._clock.time() + self._clock.uptime()) * TICKS)

    def _started(self, one: _Running) -> float:
        return self._clock.time() - self._clock.uptime() + one.process.start / TICKS


class EndWatch:
    """Tell coordd when a process has ended."""

    def __init__(self, machine: Machine, mail: Mailbox) -> None:
        self._machine = machine
        self._mail = mail
        self._watched: dict[Process, list[Callable[[Process], None]]] = defaultdict(list)

    def watch(self, process: Process, ended: Callable[[Process], None]) -> bool:
        """Call ``ended`` once it has; of one that is gone already with the next turn of the loop."""
        self._watched[process].append(ended)
        if lives := self._machine.lives(process):
            return lives
        asyncio.get_running_loop().call_soon(self._tell, process)
        return lives

    def unwatch(self, process: Process, ended: Callable[[Process], None]) -> None:
        """Take that back."""
        if ended in self._watched.get(process, ()):
            self._watched[process].remove(ended)

    async def check(self) -> None:
        """Look at what the kernel does not tell of: there is nothing."""

    def ended(self, process: Process) -> None:
        """Take in that a process has ended."""
        self._mail.post(lambda: self._tell(process))

    def _tell(self, process: Process) -> None:
        for ended in self._watched.pop(process, ()):
            ended(process)


_MASKS: dict[Written, tuple[int, ...]] = {
    "created": (ino.CREATE, 0x2, ino.CLOSE_WRITE),
    "changed": (0x2, ino.CLOSE_WRITE),
    "removed": (ino.DELETE,),
}


class FileWatch:
    """Tell coordd of files that were written, as inotify does; see coordd/sources/claude_code/watch.py."""

    reason: str | None = None

    def __init__(self, mail: Mailbox) -> None:
        self._mail = mail
        self._armed: dict[Hashable, dict[str, tuple[int, Tell]]] = {}

    def start(self, _loop: object) -> None:
        """Begin to listen."""

    def close(self) -> None:
        """Stop listening."""
        self._armed.clear()

    def arm(self, owner: Hashable, wanted: Iterable[tuple[str, int]], tell: Tell) -> Exception | None:
        """Watch these paths for an owner, and nothing else any more."""
        there = {path: (mask, tell) for path, mask in wanted if os.path.exists(path)}
        self._armed[owner] = there
        return None

    def forget(self, owner: Hashable) -> None:
        """Watch nothing for an owner any more."""
        self._armed.pop(owner, None)

    @property
    def owners(self) -> frozenset[Hashable]:
        """Who watches anything."""
        return frozenset(self._armed)

    def wrote(self, path: str, how: Written) -> None:
        """Take in that something was written."""
        folder, name = os.path.split(path)
        is_folder = ino.ISDIR if os.path.isdir(path) else 0
        for mask in _MASKS[how]:
            self._happened(path, mask, "")
            self._happened(folder, mask | is_folder, name)

    def _happened(self, watched: str, mask: int, name: str) -> None:
        for paths in self._armed.values():
            wanted, tell = paths.get(watched, (0, None))
            if tell is None or not wanted & mask:
                continue
            if wanted & ONCE:
                del paths[watched]
            self._mail.post(lambda tell=tell: tell(mask, name))  # type: ignore[misc]  # bound now
