"""Say in the lock file who holds it, and read there who holds it now, or held it before.

Who ends in order says so. Where the last holder did not, it crashed. The next one is told of that, if the
file names this machine and its own folder, so that it did not come with a clone. Nothing else is trusted.
"""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass

from coordd.errors import InstanceRunning
from coordd.host.boot import boot_id
from coordd.protocol.origin import origin_of, origin_problem
from coordd.util.local_times import local_stamp
from coordd.util.timestamps import parse_timestamp
from coordd.util.untyped import as_dict

_READ_LIMIT = 4096
_ABOUT = {"pid", "version", "started_at"}
_MORE = {"boot", "origin", "ended"}
_TEXT_LIMIT = 64


@dataclass(frozen=True, slots=True)
class LastHolder:
    """The coordd that held the lock before, and ended without saying so.

    ``same_boot`` is false where the machine was restarted since, None where the system does not tell.
    """

    pid: int | None
    version: str | None
    started_at: str | None
    same_boot: bool | None


def about(version: str, started_at: str, *, folder: int | None, ended: bool) -> bytes:
    """Return what the file is to say of this process; ``folder`` is a descriptor of its directory."""
    said = {
        "pid": os.getpid(),
        "version": version,
        "started_at": started_at,
        "boot": boot_id(),
        "origin": None if folder is None else origin_of(folder),
        "ended": ended,
    }
    return json.dumps(said).encode() + b"\n"


def may_be_written(descriptor: int, state: os.stat_result) -> bool:
    """Return whether writing loses nothing: others use that name too, and it may be a hard link of theirs."""
    content = os.pread(descriptor, _READ_LIMIT + 1, 0)
    if not content.strip(b"\0"):  # a power loss leaves NUL bytes
        return state.st_size <= _READ_LIMIT and state.st_nlink == 1
    try:
        said = json.loads(content)
    except (ValueError, RecursionError):
        return False
    known = isinstance(said, dict) and said.keys() >= _ABOUT and not said.keys() - _ABOUT - _MORE
    return state.st_size <= _READ_LIMIT and known


def crashed_holder(descriptor: int, directory: int) -> LastHolder | None:
    """Return who held a lock before and did not end in order; None where the file does not tell."""
    said = as_dict(_said(descriptor))
    if said.get("ended") is not False:
        return None
    if origin_problem(said.get("origin"), directory, owner=os.fstat(descriptor).st_uid) is not None:
        return None
    boot, now = said.get("boot"), boot_id()
    return LastHolder(
        pid=_pid(said.get("pid")),
        version=_text(said.get("version")),
        started_at=_text(said.get("started_at")),
        same_boot=None if not isinstance(boot, str) or now is None else boot == now,
    )


def holder_of(path: str, descriptor: int) -> InstanceRunning:
    """Return the error that names the holder, as far as the file does, which may be torn or a stranger's."""
    said = as_dict(_said(descriptor))
    return InstanceRunning(
        path,
        pid=_pid(said.get("pid")),
        version=_text(said.get("version")),
        started_at=_local(_text(said.get("started_at"))),
    )


def _local(started_at: str | None) -> str | None:
    """Return when it started as the reader's clock shows it; a text that is no time as it is."""
    if started_at is None:
        return None
    try:
        return local_stamp(parse_timestamp(started_at))
    except ValueError:
        return started_at


def _said(descriptor: int) -> object:
    """Return what the file says; None where it is torn, or no JSON."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return json.loads(os.pread(descriptor, _READ_LIMIT, 0))
    return None


def _pid(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**31 else None


def _text(value: object) -> str | None:
    usable = isinstance(value, str) and 0 < len(value) <= _TEXT_LIMIT and value.isprintable()
    return value if usable and isinstance(value, str) else None
