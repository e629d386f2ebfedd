"""Look at processes by what procfs shows of them, on Linux; the results are those of processes.py.

Reading ``cmdline`` waits for the memory of the process, which one that hangs in a dead file system may hold
for ever; nothing else read here waits for anything.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from contextlib import suppress

from coordd.host.boot import boot_time
from coordd.host.proc_files import Stat, image_by, parse_stat, parse_status, terminal_name
from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.host.trees import ProcessUse
from coordd.util.fields import jsonable

PROC = "/proc"
MOST = 100_000
"""The number of processes that one pass over the machine looks at."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LONGEST = 16384
"""Bytes read of a file; a name can take 64, and a status some 1500."""


def look(pid: int, *, proc: str = PROC) -> ProcessFacts | None:
    """Return what one look at a process tells; None where there is none that runs.

    Args:
        pid: its pid as coordd's own pid namespace has it.
        proc: where procfs is mounted.

    Raises:
        ProbeFailed: it may not be looked at, or looking fails.
    """
    return _tried(pid, proc, whole=True)


def glance(pid: int, *, proc: str = PROC) -> ProcessFacts | None:
    """Return what is seen of a process without waiting for it; arguments and errors as in :func:`look`."""
    return _tried(pid, proc, whole=False)


def words(process: Process, most: int, *, proc: str = PROC) -> tuple[bytes, ...] | None:
    """Return the words of a process's command line; it waits for the process. None: there is none to see."""
    try:
        folder = os.open(f"{proc}/{process.pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        stat = parse_stat(_read("stat", folder))
        if stat.ended or stat.start != process.start:
            return None
        return tuple(_read("cmdline", folder, most).removesuffix(b"\0").split(b"\0"))
    except (OSError, ValueError):
        return None
    finally:
        os.close(folder)


def start_of(pid: int, *, proc: str = PROC) -> int | None:
    """Return the start of a process, as :class:`Process` has it; None where there is none that runs.

    Raises:
        ProbeFailed: it may not be looked at, or looking fails.
    """
    try:
        stat = parse_stat(_read(f"{proc}/{pid}/stat"))
    except (FileNotFoundError, ProcessLookupError):
        _not_seen(pid)
        return None
    except (OSError, ValueError) as error:
        raise _failed(pid, error) from error
    return None if stat.ended else stat.start


def image_of(pid: int, *, proc: str = PROC) -> int | None:
    """Return a number that changes when a process begins to run another program; None if unreadable."""
    try:
        return image_by(parse_stat(_read(f"{proc}/{pid}/stat")))
    except (OSError, ValueError):
        return None


def find_contained(wanted: Collection[Process], *, proc: str = PROC) -> dict[Process, int]:
    """Find processes of containers by what programs inside know of them; return their pids for coordd.

    A pid of a container is the last ``NSpid`` of ``status``, and the start is the same on either side. What
    two processes fit, in two containers, is left out. One pass over all processes, for all that are wanted.

    Args:
        wanted: pids as they are inside, with the starts.
        proc: where procfs is mounted.
    """
    starts = {process.start for process in wanted}
    found: dict[Process, list[int]] = {process: [] for process in wanted}
    for stat in stats(proc=proc) if wanted else ():
        if stat.start not in starts or stat.ended:
            continue
        with suppress(OSError, ValueError):  # it has ended meanwhile
            pids = parse_status(_read(f"{proc}/{stat.pid}/status")).pids
            if len(pids) > 1 and (matches := found.get(Process(pids[-1], stat.start))) is not None:
                matches.append(stat.pid)
    return {process: pids[0] for process, pids in found.items() if len(pids) == 1}


def stats(*, proc: str = PROC) -> Iterator[Stat]:
    """Yield ``stat`` of every process that may be seen, at most :data:`MOST`; none without procfs."""
    for pid in pids(proc=proc):
        with suppress(OSError, ValueError):  # it has ended meanwhile, or may not be seen
            yield parse_stat(_read(f"{proc}/{pid}/stat"))


def pids(*, proc: str = PROC) -> list[int]:
    """Return the pids of processes that may be seen, at most :data:`MOST`; none without procfs."""
    try:
        return [int(name) for name in os.listdir(proc) if name.isdecimal()][:MOST]
    except OSError:
        return []


def start_at(wall: float) -> int:
    """Return a moment in epoch seconds as clock ticks since boot, at least 0."""
    return max(0, round((wall - boot_time()) * _TICKS))


def uses(*, proc: str = PROC) -> Iterator[ProcessUse]:
    """Yield what every process uses that may be seen; processor time is with that of children waited for."""
    for stat in stats(proc=proc):
        yield ProcessUse(
            pid=stat.pid,
            start=stat.start,
            parent=stat.parent,
            terminal=stat.terminal or None,
            cpu=(stat.own + stat.waited) / _TICKS,
            rss=stat.rss * _PAGE,
            ended=stat.ended,
            name=stat.name,
            session=stat.session,
            group=stat.group,
        )


def _tried(pid: int, proc: str, *, whole: bool) -> ProcessFacts | None:
    try:
        return _looked(pid, proc, whole=whole)
    except (FileNotFoundError, ProcessLookupError):
        _not_seen(pid)
        return None
    except (OSError, ValueError) as error:
        raise _failed(pid, error) from error


def _looked(pid: int, proc: str, *, whole: bool) -> ProcessFacts | None:
    # What is opened below the folder stays that of one process, whatever takes its pid meanwhile.
    folder = os.open(f"{proc}/{pid}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        stat = parse_stat(_read("stat", folder))
        if stat.ended:
            return None
        ids = parse_status(_read("status", folder))
        if not ids.leads:
            return None
        commanded = cwd = None
        if whole:
            with suppress(PermissionError):
                commanded = bool(_read("cmdline", folder, 1))
            with suppress(PermissionError, FileNotFoundError):  # without its first thread it shows none
                cwd = os.readlink("cwd", dir_fd=folder)
    finally:
        os.close(folder)
    return ProcessFacts(
        process=Process(pid, stat.start),
        parent=stat.parent,
        started=boot_time() + stat.start / _TICKS,
        uid=ids.uid,
        inner_pid=ids.pids[-1] if ids.pids else None,
        name=jsonable(stat.name),
        commanded=commanded,
        cwd=cwd,
        tty=terminal_name(stat.terminal),
        session=stat.session,
        inner=len(ids.pids) > 1,
        image=image_by(stat),
    )


def _not_seen(pid: int) -> None:
    """Return if there is no such process.

    Raises:
        ProbeFailed: it is there, but procfs hides it (``hidepid=``) or is missing.
    """
    if pid < 1:  # kill(2) means a group by it
        return
    try:
        os.kill(pid, 0)  # signal 0 reaches nobody: it asks whether there is such a process, see kill(2)
    except ProcessLookupError:
        return
    except PermissionError:
        pass
    except (OSError, OverflowError) as error:
        raise _failed(pid, error) from error
    # It may have become a zombie between the two looks; the next look will tell.
    raise ProbeFailed(f"process {pid} is there, and {PROC} does not show it")


def _failed(pid: int, error: Exception) -> ProbeFailed:
    reason = error.strerror if isinstance(error, OSError) else None
    return ProbeFailed(f"process {pid} cannot be looked at: {reason or type(error).__name__}")


def _read(path: str, folder: int | None = None, most: int = _LONGEST) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    try:
        return os.read(file, most)
    finally:
        os.close(file)
