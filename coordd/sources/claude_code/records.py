"""Read the record of one process in ``sessions/``, and tell whether it is its own. A call may block."""

from __future__ import annotations

from coordd.host.process_facts import Process, ProcessFacts
from coordd.sources.claude_code.processes import fits, is_named_so
from coordd.sources.claude_code.session_file import MAX_RECORD, SessionRecord, parse_session
from coordd.util.fields import Malformed, Parsed
from coordd.util.untrusted_folder import read_regular


def record_of(folder: int, seen: ProcessFacts, wall: float) -> Parsed[SessionRecord | None]:
    """Return the record of a living process, and what is wrong with it.

    The record is None where there is none that is the process's own and can be used.

    Args:
        folder: descriptor of ``sessions/``.
        seen: the process.
        wall: the time now in epoch seconds.
    """
    pid = seen.process.pid
    try:
        content, state = read_regular(folder, f"{pid}.json", MAX_RECORD)
    except FileNotFoundError:
        return Parsed(None)
    except Malformed as wrong:
        return Parsed(None, str(wrong))
    except OSError as error:
        return Parsed(None, error.strerror or str(error))
    record, problem = parse_session(pid, content, wall)
    if record is None:
        return Parsed(None, problem)
    if record.proc_start is not None:
        own = fits(record.proc_start, seen)
    else:  # of an older build
        own = is_named_so(seen) and seen.started <= state.st_mtime + 1
    if own and seen.uid is not None and seen.uid != state.st_uid:
        return Parsed(None, "it names a process of another user than its own")
    return Parsed(record if own else None, problem)


def lies_there(folder: int, process: Process, wall: float) -> tuple[bool, SessionRecord | None]:
    """Return whether there is a record that can be that of a process, whole or not; and the record."""
    try:
        content, _ = read_regular(folder, f"{process.pid}.json", MAX_RECORD)
    except (OSError, Malformed):
        return False, None
    record = parse_session(process.pid, content, wall).value
    if record is None or record.proc_start is None:
        return True, None
    if record.proc_start.isdecimal() and int(record.proc_start) != process.start:
        return False, None
    return True, record
