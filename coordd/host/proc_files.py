"""Parse what the files of ``/proc/<pid>/`` say of one process, see proc(5). Pure: no file is opened here.

The kernel writes them, but a program chooses its name and so may put spaces, parentheses and line breaks into
the second field of ``stat``: whatever follows the last parenthesis has fixed places.
"""

from __future__ import annotations

import os
from typing import NamedTuple

_DEAD_STATES = b"ZXx"
_KERNEL_THREAD = 0x0020_0000
_PTY_MAJORS = range(136, 144)
"""The major numbers of pseudo-terminals; see the kernel's admin-guide/devices.txt."""
_CONSOLE_MAJOR = 4
_CONSOLES = 64
"""The number of consoles; the minor numbers above are serial lines."""


class Stat(NamedTuple):
    """The fields of ``stat`` that coordd uses; times are in clock ticks, ``rss`` in pages.

    ``ended`` is whether the process is over: a zombie has only its exit status left. One whose first thread
    ended while others go on runs. ``start`` is counted since boot. ``own`` is the processor time that the
    process used itself, ``waited`` that of its children that ended and were waited for. ``stack`` is where
    its stack begins, which is chosen anew for another program; 0 where that may not be seen. ``kernel`` is
    whether it is a thread of the kernel, which changes its name all the time.
    """

    pid: int
    name: str
    ended: bool
    parent: int
    group: int
    session: int
    terminal: int
    own: int
    waited: int
    start: int
    rss: int
    stack: int = 0
    kernel: bool = False


class Ids(NamedTuple):
    """What ``status`` says of who a process is: its effective user, and its pids from outside inwards.

    ``leads`` is false for a thread that is not the first of its process: its number is no pid.
    """

    uid: int | None
    pids: tuple[int, ...]
    leads: bool


def parse_stat(content: bytes) -> Stat:
    """Parse ``/proc/<pid>/stat``.

    Raises:
        ValueError: it is no such file, or it is cut off.
    """
    head, found, rest = content.rpartition(b")")
    pid, opened, name = head.partition(b" (")
    fields = rest.split()
    if not (found and opened) or len(fields) < 22:
        raise ValueError("not the stat file of a process")
    threads = int(fields[17])
    return Stat(
        pid=int(pid),
        name=name.decode("utf-8", "replace"),
        ended=fields[0] in _DEAD_STATES and threads <= 1,
        parent=int(fields[1]),
        group=int(fields[2]),
        session=int(fields[3]),
        terminal=int(fields[4]) & 0xFFFFFFFF,
        own=int(fields[11]) + int(fields[12]),
        waited=int(fields[13]) + int(fields[14]),
        start=int(fields[19]),
        rss=int(fields[21]),
        stack=int(fields[25]) if len(fields) > 25 else 0,
        kernel=bool(int(fields[6]) & _KERNEL_THREAD),
    )


def image_by(stat: Stat) -> int:
    """Return a number that changes when a process begins to run another program."""
    # the stack of another user's process may not be seen: then the name has to tell
    return hash((stat.start, stat.stack, "" if stat.kernel else stat.name))


def parse_status(content: bytes) -> Ids:
    """Parse ``/proc/<pid>/status``; a line that is absent says nothing.

    Raises:
        ValueError: a line that is there is not as the kernel writes it.
    """
    uid: int | None = None
    pids: tuple[int, ...] = ()
    numbers: dict[bytes, int] = {}
    for line in content.split(b"\n"):  # the kernel escapes a line break in a name here
        label, _, value = line.partition(b":")
        if label == b"Uid":
            uid = int(value.split()[1])
        elif label == b"NSpid":
            pids = tuple(int(pid) for pid in value.split())
        elif label in (b"Tgid", b"Pid"):
            numbers[label] = int(value)
    return Ids(uid, pids, numbers.get(b"Tgid") == numbers.get(b"Pid"))


def terminal_name(terminal: int) -> str | None:
    """Return the name below ``/dev`` of a terminal's device number, ``pts/3``; None for other devices."""
    major, minor = os.major(terminal), os.minor(terminal)
    if major in _PTY_MAJORS:
        return f"pts/{(major - _PTY_MAJORS.start) * 256 + minor}"
    if major == _CONSOLE_MAJOR:
        return f"tty{minor}" if minor < _CONSOLES else f"ttyS{minor - _CONSOLES}"
    return None
