"""Look at processes where there is no procfs: by psutil, on macOS.

The results are those of processes.py, which calls this; psutil is imported with the first look. Only a
process's own user and root may see much of it there. There are no pid namespaces: a container runs in a
virtual machine and is not seen at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, TypeVar

from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.host.trees import ProcessUse

if TYPE_CHECKING:
    from collections.abc import Callable

    import psutil

T = TypeVar("T")


def start_of(pid: int) -> int | None:
    """Return the start of a process in microseconds since the epoch; None where there is none that runs.

    Raises:
        ProbeFailed: it may not be looked at.
    """
    return _asked(pid, _start)


def look(pid: int) -> ProcessFacts | None:
    """Return what one look at a process tells; None where there is none that runs.

    Raises:
        ProbeFailed: it may not be looked at.
    """
    return _asked(pid, _facts)


def glance(pid: int) -> ProcessFacts | None:
    """Return what :func:`look` returns: no process makes anybody wait here."""
    return look(pid)


def words(process: Process, most: int) -> tuple[bytes, ...] | None:
    """Return the words of a process's command line; None: there is none to see."""

    def command(one: psutil.Process) -> list[str] | None:
        return _allowed(one.cmdline) if _start(one) == process.start else None

    try:
        found = _asked(process.pid, command)
    except ProbeFailed:
        return None
    cut = "\0".join(found or ()).encode("utf-8", "surrogateescape")[:most]
    return tuple(cut.split(b"\0")) if cut else None


def image_of(_pid: int) -> int | None:
    """Return None: nothing here tells cheaply that a process runs another program than before."""
    return None


def find_contained(_wanted: Collection[Process]) -> dict[Process, int]:
    """Return nothing: no process of a container can be seen."""
    return {}


def pids() -> list[int]:
    """Return the pids of all processes that may be seen."""
    import psutil

    return psutil.pids()


def start_at(wall: float) -> int:
    """Return a moment in epoch seconds as microseconds."""
    return round(wall * 1e6)


def uses() -> Iterator[ProcessUse]:
    """Yield what every process uses, as far as it may be seen."""
    import psutil

    for process in psutil.process_iter():
        try:
            times, memory = _allowed(process.cpu_times), _allowed(process.memory_info)
            yield ProcessUse(
                pid=process.pid,
                start=_start(process),
                parent=process.ppid(),
                terminal=_allowed(process.terminal),
                cpu=0.0 if times is None else times.user + times.system,
                rss=0 if memory is None else memory.rss,
                ended=process.status() == psutil.STATUS_ZOMBIE,
                name=_allowed(process.name) or "",
            )
        except psutil.Error:  # it has ended meanwhile
            continue


def _asked(pid: int, ask: Callable[[psutil.Process], T]) -> T | None:
    """Return an answer about a process; None where there is none that runs.

    Raises:
        ProbeFailed: it may not be looked at.
    """
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else ask(process)
    except psutil.NoSuchProcess:  # a zombie is of this class as well
        return None
    except (psutil.Error, OSError, ValueError, OverflowError) as error:
        raise ProbeFailed(f"process {pid} cannot be looked at: {type(error).__name__}") from error


def _facts(process: psutil.Process) -> ProcessFacts:
    command = _allowed(process.cmdline)
    uids = _allowed(process.uids)
    return ProcessFacts(
        process=Process(process.pid, _start(process)),
        parent=_allowed(process.ppid) or 0,
        started=process.create_time(),
        uid=None if uids is None else uids.effective,
        inner_pid=process.pid,
        name=_allowed(process.name),
        commanded=None if command is None else bool(command),
        cwd=_allowed(process.cwd) or None,
        tty=_terminal(_allowed(process.terminal)),
    )


def _start(process: psutil.Process) -> int:
    return round(process.create_time() * 1e6)


def _allowed(ask: Callable[[], T]) -> T | None:
    """Return an answer, None where it is refused."""
    import psutil

    try:
        return ask()
    except psutil.AccessDenied:
        return None


def _terminal(path: str | None) -> str | None:
    return path.removeprefix("/dev/") if path else None
