"""Parse one session record of Claude Code, ``sessions/<pid>.json``: a pure function of its bytes.

A process writes its record at transitions only, in place, so that half of one may be read; its age proves
nothing. What is written in it says what the session does, as far as it says so at all:

=========  ========================  =====================================================================
status     declared                  written while
=========  ========================  =====================================================================
waiting    waiting                   a dialog owns the input; ``waitingFor`` says which
busy       working                   a turn goes on, or a subagent in the background
shell      idle, with ``shell``      it is idle and a background shell works
idle       idle                      nothing of these
absent     none                      always, in ``claude -p`` and SDK sessions
another    none, ``undeclarable``    by versions that coordd does not know
=========  ========================  =====================================================================
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from coordd.agents.session import DeclaredActivity
from coordd.sources.sessions.moments import EARLIEST, plausible
from coordd.sources.sessions.words import status_word, version_of
from coordd.util.fields import Fields, Parsed

MAX_RECORD = 64 * 1024
"""Bytes of a session record; a larger one is malformed."""

RECORD_NAME = re.compile(r"([1-9][0-9]{0,9})\.json", re.ASCII)
"""The name of a session record; older builds left other names, which mean nothing."""
SESSION_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._@+:-]{0,239}", re.ASCII)
"""What may be a session id: it becomes part of a file's name, and of nothing else."""

_STATUSES: dict[str, DeclaredActivity] = {
    "waiting": "waiting",
    "busy": "working",
    "idle": "idle",
    "shell": "idle",
}
_PHRASES = {
    "permission prompt": "permission prompt",
    "sandbox request": "permission prompt",
    "worker request": "permission prompt",
    "question": "question",
    "plan approval": "plan approval",
}
_LATEST = 253_402_300_799.0  # the end of the year 9999
_NAMED_BY = ("user", "derived")
"""Who gave a session its name: its user, or the program, which takes the folder's; "auto" is a model."""


class Declared(NamedTuple):
    """What the session gives as its activity; the fields as in :class:`~coordd.agents.session.Session`."""

    activity: DeclaredActivity | None = None
    at: float | None = None
    undeclarable: str | None = None
    waiting_for: str | None = None
    shell: bool = False


_UNDECLARED = Declared()


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """One session record; a field is None where it is absent or cannot be used.

    ``proc_start`` is the start of the process as it wrote it down. ``parked`` is whether the record is that
    of a front end that has handed its session over, and stays as it was. Times are epoch seconds.
    """

    pid: int
    session_id: str
    cwd: str | None = None
    proc_start: str | None = None
    name: str | None = None
    version: str | None = None
    started_at: float | None = None
    declared: Declared = _UNDECLARED
    parked: bool = False


def parse_session(pid: int, content: bytes, wall: float) -> Parsed[SessionRecord | None]:
    """Return the record in the file of the process ``pid``, and in words what of it cannot be used.

    ``wall`` is the time now in epoch seconds: what is more than a day ahead of it is no time.

    The value is None where no session can be told from it. An empty file is no problem: its writer has cut
    it off and is about to write it anew.
    """
    fields = Fields(content)
    session_id = fields.identifier("sessionId")
    if session_id is None:
        return Parsed(None, fields.problem or ("no sessionId" if content.strip() else None))
    if not SESSION_ID.fullmatch(session_id):
        return Parsed(None, "sessionId: not an id")
    if (written := fields.integer("pid", 1, 2**31)) not in (None, pid):
        return Parsed(None, "pid: not that of the file's name")
    record = SessionRecord(
        pid=written or pid,
        session_id=session_id,
        cwd=_directory(fields.prose("cwd", 4096)),
        proc_start=fields.identifier("procStart"),
        name=_name(fields),
        version=version_of(fields.text("version")),
        started_at=_moment(fields, "startedAt", wall),
        declared=_declared(fields, wall),
        parked=fields.identifier("parkedJobId") is not None,
    )
    return Parsed(record, fields.problem)


def phrase_of(waiting_for: str | None) -> str:
    """Return the known phrase for what a session says that it waits for; free text is never passed on."""
    text = (waiting_for or "").strip().lower()
    return "permission prompt" if text.startswith("approve") else _PHRASES.get(text, "input")


def _name(fields: Fields) -> str | None:
    """Return the session's name; one that a model made of what was said is left out, as all that is said."""
    given = fields.prose("nameSource", 64) in _NAMED_BY
    return (fields.prose("name", 256) or None) if given else None


def _declared(fields: Fields, wall: float) -> Declared:
    status = fields.text("status")
    if status is None:
        return _UNDECLARED
    at = _moment(fields, "statusUpdatedAt", wall) or _moment(fields, "updatedAt", wall)
    activity = _STATUSES.get(status)
    return Declared(
        activity=activity,
        at=at,
        undeclarable=status_word(status) if activity is None else None,
        waiting_for=phrase_of(fields.prose("waitingFor", 256)) if activity == "waiting" else None,
        shell=status == "shell",
    )


def _moment(fields: Fields, name: str, wall: float) -> float | None:
    millis = fields.number(name, 1000 * EARLIEST, 1000 * _LATEST)
    at = None if millis is None else plausible(millis / 1000, wall)
    if millis is not None and at is None:
        fields.refuse(name, "more than a day ahead")
    return at


def _directory(path: str | None) -> str | None:
    return path if path is not None and path.startswith("/") and "\0" not in path else None
