"""Parse what agents write, wherever it lies: heartbeats, registrations, claims, progress, ids. Pure.

One reader for all sources; only the names of files and keys differ between them. All input is untrusted. What
cannot be used is left out and reported; whatever the bytes are, the only exception is
:class:`~coordd.util.fields.Malformed`.

Every parser takes ``anchor``, the time of the file or of the push (None if unknown), and ``now``, a moment
after which the bytes were not written, both in epoch seconds: see util/written_times.py.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from coordd.agents.traces import Claim, Progress, Registration, Rival
from coordd.tasks.claim_state import is_over
from coordd.util.fields import MAX_TEXT, STARTED, UPDATED, Fields, Malformed, Parsed, jsonable, utf8
from coordd.util.written_times import AHEAD, LATEST, read_time, zone_of

MAX_ID = MAX_TEXT
MAX_PID = 2**31 - 1  # pid_t
LONGEST_TTL = 1e9
_NOBODY = ("null", "true", "false")
"""JSON that names nobody, where an id may stand alone."""
"""Seconds: 31 years."""

NO_ID = f"not an id of 1 to {MAX_ID} characters"
_NO_TIME = "not a timestamp"
_LONGEST_TIME = 64
TOLD = ("timestamp", "time", "ts")
"""Names that a heartbeat uses for its time, beside those of a registration."""


def parse_heartbeat(content: bytes, anchor: float | None = None, now: float | None = None) -> float | None:
    """Return the time in a heartbeat, alone or in a JSON object, as epoch seconds; None if it is empty.

    Raises:
        Malformed: it holds no time.
    """
    if content[:4].isdigit() and len(content) < _LONGEST_TIME and content.isascii():
        return heartbeat_time(content.decode(), anchor, now)  # as nearly all of them are, and often
    text = utf8(content).strip()
    if text[:1] in ("{", "["):
        fields = Fields(text.encode(), anchor=anchor, now=now)
        time = fields.latest(*UPDATED, *TOLD)
        if time is None:
            time = fields.moment(*STARTED)
        if time is None:
            raise Malformed(fields.problem or "JSON without a time")
        return time
    return heartbeat_time(text, anchor, now)


def heartbeat_time(text: str, anchor: float | None, now: float | None) -> float | None:
    """Return the time that stands alone in a heartbeat, maybe in quotes; None if it is empty.

    Raises:
        Malformed: it is no time.
    """
    if text[:1] == '"':
        text = _unquoted(text)
    if not text or text.isspace():
        return None
    try:
        written = read_time(text)
    except ValueError:
        raise Malformed(_NO_TIME) from None
    time = written.epoch
    if written.zoneless:
        time = written.in_zone(zone_of((written,), () if anchor is None else (anchor,)), anchor)
    if now is not None and time > now + AHEAD:
        raise Malformed(_NO_TIME)
    return time


def parse_registration(
    content: bytes, anchor: float | None = None, now: float | None = None
) -> Parsed[Registration]:
    """Parse a registration: a JSON object, each field by itself."""
    fields = Fields(content, anchor=anchor, now=now)
    registration = Registration(
        started_at=fields.moment(*STARTED),
        status=fields.text("status"),
        hostname=fields.text("hostname"),
        pid=fields.integer("pid", 1, MAX_PID, text=True),
        proc_start=fields.number("proc_start", 0, 2.0**63, text=True),
        updated_at=fields.latest(*UPDATED),
    )
    return Parsed(registration, fields.problem)


def parse_claim(
    task: str, content: bytes, anchor: float | None = None, now: float | None = None
) -> Parsed[Claim]:
    """Parse a claim: JSON, the plain id of its holder, or nothing.

    The fields of JSON are ``agent_id``, ``claimed_at``, ``ttl``, ``expires_at``, ``status`` and
    ``description``.
    """
    if not content.strip():
        return Parsed(Claim(task))
    try:
        text = utf8(content).strip()
        if text in _NOBODY:
            return Parsed(Claim(task))
        if text[:1] not in ("{", "["):
            return Parsed(Claim(task, agent_id=plain_id(text)))
    except Malformed as error:
        if content.lstrip()[:1] not in (b"{", b"["):
            return Parsed(Claim(task), str(error))
    fields = Fields(content, anchor=anchor, now=now)
    claimed_at = fields.moment("claimed_at")
    expires_at = fields.moment("expires_at", ahead=True)
    ttl = fields.duration("ttl", LONGEST_TTL)
    if expires_at is None and claimed_at is not None and ttl is not None and claimed_at + ttl <= LATEST:
        expires_at = claimed_at + ttl
    claim = Claim(
        task=task,
        agent_id=fields.identifier("agent_id"),
        claimed_at=claimed_at,
        expires_at=expires_at,
        status=fields.text("status"),
        description=fields.prose("description"),
    )
    return Parsed(claim, fields.problem)


def parse_progress(
    task: str, content: bytes, anchor: float | None = None, now: float | None = None
) -> Parsed[Progress]:
    """Parse the progress of a task: JSON with ``progress``, ``message``, ``timestamp``.

    A ``progress`` below 0 says that the task failed.
    """
    fields = Fields(content, anchor=anchor, now=now)
    percent = fields.number("progress", -math.inf, 100, text=True)
    failed = percent is not None and percent < 0
    progress = Progress(
        task=task,
        percent=None if failed else percent,
        message=fields.prose("message"),
        timestamp=fields.moment("timestamp", *UPDATED),
        failed=failed,
    )
    return Parsed(progress, fields.problem)


def with_rivals(claim: Claim, others: Iterable[Claim]) -> Claim:
    """Return a claim with those of ``others`` as rivals that go on and name another holder."""
    rivals = {
        other.agent_id: Rival(other.agent_id, other.claimed_at, other.expires_at)
        for other in others
        if other.agent_id is not None and other.agent_id != claim.agent_id and not is_over(other.status)
    }
    return replace(claim, rivals=tuple(sorted(rivals.values()))) if rivals else claim


def plain_id(text: str) -> str:
    """Return the id that stands alone in a text, maybe in quotes, without the white space around it.

    Raises:
        Malformed: it is empty, too long, or more than one line.
    """
    text = jsonable(_unquoted(text.strip()).strip())
    if not 1 <= len(text) <= MAX_ID or text in _NOBODY:
        raise Malformed(NO_ID)
    if "\n" in text:
        raise Malformed("more than one line, so not an id")
    return text


def _unquoted(text: str) -> str:
    """Return the text in a JSON string, any other text as it is."""
    if len(text) > 1 and text[0] == text[-1] == '"':
        with suppress(ValueError, RecursionError):
            return str(json.loads(text))
    return text
