"""List the values that writers were met with, and what each of them means: a line a case, for every source.

``<form age>`` in a value stands for the moment so many seconds ago, in one of the forms of :data:`FORMS`;
``local`` is the time of the machine that coordd runs on, without a zone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

CHANGED = -1.0
"""In place of an age: no time is written that can be used, so the time of the change counts."""


def _iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _there(moment: float) -> str:
    return datetime.fromtimestamp(moment, timezone(timedelta(hours=-3))).isoformat()


FORMS: Mapping[str, Callable[[float], str]] = {
    "iso": _iso,
    "naive": lambda moment: _iso(moment)[:-1],
    "there": _there,
    "s": lambda moment: f"{moment:.0f}",
    "s.": lambda moment: f"{moment:.3f}",
    "ms": lambda moment: f"{moment * 1e3:.0f}",
    "us": lambda moment: f"{moment * 1e6:.0f}",
    "ns": lambda moment: f"{round(moment * 1e6) * 1000}",
}


def written(raw: str, now: float, offset: float) -> str:
    """Return a value as an agent writes it now.

    Args:
        raw: a value of one of the tables here.
        now: epoch seconds.
        offset: seconds by which local time is ahead of UTC.
    """

    def form(match: re.Match[str]) -> str:
        moment = now - float(match[2])
        return FORMS["naive"](moment + offset) if match[1] == "local" else FORMS[match[1]](moment)

    return re.sub(r"<([a-z.]+) (-?\d+)>", form, raw)


BEATS: tuple[tuple[str, float], ...] = (
    # (what is written as a heartbeat, age of the beat)
    ("<iso 40>", 40),
    ("<iso 40>\n", 40),
    ("\ufeff<iso 40>\r\n", 40),
    ("<there 40>", 40),
    ("<naive 40>", 40),
    ("<local 40>", 40),
    ("<s 40>", 40),
    (" <s. 40> ", 40),
    ("<ms 40>", 40),
    ("<us 40>", 40),
    ("<ns 40>", 40),
    ('"<iso 40>"', 40),
    ('{"last_heartbeat": "<iso 40>"}', 40),
    ('{"last_seen": <s 40>, "status": "busy"}', 40),
    ('{"last_update": "<ms 40>"}', 40),
    ('{"updated_at": "<local 40>"}', 40),
    ('{"heartbeat_at": "<naive 40>"}', 40),
    ('{"lastHeartbeat": <ms 40>}', 40),
    ('{"lastSeen": "<there 40>", "startedAt": "<iso 900>"}', 40),
    ('{"timestamp": <s 40>}', 40),
    ("", CHANGED),
    ("1", CHANGED),
    ("4711", CHANGED),
    ("2147483646", CHANGED),
    ("0", CHANGED),
    ("alive", CHANGED),
    ("<s 10000>", CHANGED),  # its clock is wrong by hours, and it beats now
    ("<s -10000>", CHANGED),
    ("<iso -172800>", CHANGED),
    ("{}", CHANGED),
    ('{"status": "busy"}', CHANGED),
    ("{", CHANGED),
    ("\x00\x00\x00\x00", CHANGED),
)


class Registered(NamedTuple):
    """A registration: what is written, the age of the beat that it is, and the uptime that follows."""

    raw: str
    beat: float
    uptime: float


REGISTRATIONS: tuple[Registered, ...] = (
    Registered('{"started_at": "<iso 3600>", "last_update": "<iso 40>"}', 40, 3600),
    Registered('{"registered_at": <s 3600>, "last_seen": <s 40>}', 40, 3600),
    Registered('{"created_at": "<ms 3600>", "last_heartbeat": "<ms 40>"}', 40, 3600),
    Registered('{"startedAt": <ms 3600>, "lastHeartbeat": <ms 40>}', 40, 3600),
    Registered('{"registeredAt": "<iso 3600>", "updatedAt": "<iso 40>"}', 40, 3600),
    Registered('{"createdAt": "<us 3600>", "heartbeatAt": "<ns 40>"}', 40, 3600),
    Registered('{"started_at": "<local 3600>", "last_seen": "<local 40>"}', 40, 3600),
    Registered('{"started_at": "<naive 3600>", "last_seen": "<naive 40>"}', 40, 3600),
    Registered('{"started_at": "<iso 3600>", "lastSeen": "<there 40>"}', 40, 3600),
    Registered('{"started_at": "<iso 3600>", "updated_at": "<iso 90>", "last_seen": "<iso 40>"}', 40, 3600),
    Registered('{"started_at": "<iso 3600>", "status": "busy"}', CHANGED, 3600),
    Registered('{"started_at": 1, "pid": 7, "last_update": "<iso 40>"}', 40, 40),
    Registered('{"started_at": "soon", "last_seen": "<iso 40>"}', 40, 40),
)


class Claimed(NamedTuple):
    """A claim: what is written, its holder, when it was made (age), and when it ends (seconds from now)."""

    raw: str
    holder: str | None
    age: float | None = None
    ends: float | None = None


CLAIMS: tuple[Claimed, ...] = (
    Claimed('{"agent_id": "w", "claimed_at": "<iso 40>", "ttl": 300}', "w", 40, 260),
    Claimed('{"agent_id": "w", "claimed_at": <s 40>, "ttl": "300"}', "w", 40, 260),
    Claimed('{"agent_id": "w", "claimed_at": <ms 40>, "ttl": "5m"}', "w", 40, 260),
    Claimed('{"agentId": "w", "claimedAt": "<ms 40>", "ttl": "300s"}', "w", 40, 260),
    Claimed('{"agent_id": "w", "claimed_at": "<local 40>", "ttl": 300}', "w", 40, 260),
    Claimed('{"agent_id": "w", "claimed_at": "<naive 40>", "ttl": 300}', "w", 40, 260),
    Claimed('{"agent_id": "w", "claimed_at": "<iso 40>", "expires_at": "<iso -260>"}', "w", 40, 260),
    Claimed('{"agent_id": "w", "claimed_at": "<local 40>", "expires_at": "<local -260>"}', "w", 40, 260),
    Claimed('{"agent_id": "w", "expires_at": "<local -260>", "ttl": 300}', "w", None, 260),
    Claimed('{"agent_id": "w", "claimed_at": <ms 40>, "expires_at": <ms -700000>}', "w", 40, 700000),
    Claimed('{"agent_id": " w\\n", "claimed_at": 1, "ttl": 300}', "w"),
    Claimed('{"agent_id": 7, "claimed_at": "<iso 40>"}', "7", 40),
    Claimed('{"agent_id": "w", "claimed_at": "<iso 40>", "ttl": "soon"}', "w", 40),
    Claimed("w", "w"),
    Claimed(" w\n", "w"),
    Claimed('"w"', "w"),
    Claimed("7", "7"),
    Claimed("", None),
    Claimed("{", None),
    Claimed("one\ntwo", None),
    *(Claimed(nobody, None) for nobody in ("null", "true", " false\n", '{"agent_id": null}')),
)

PROGRESS: tuple[tuple[str, float | None, bool], ...] = (
    # (what is written, percent, whether it failed)
    ('{"progress": 40, "timestamp": "<iso 5>"}', 40, False),
    ('{"progress": "40", "timestamp": <ms 5>}', 40, False),
    ('{"progress": 0}', 0, False),
    ('{"progress": 100.0}', 100, False),
    ('{"progress": -1, "message": "broken"}', None, True),
    ('{"progress": 101}', None, False),
    ('{"progress": null}', None, False),
    ("{", None, False),
)

IDS: tuple[tuple[bytes, tuple[str, ...]], ...] = (
    # (a list of ids, the ids in it)
    (b"t1\nt2\n", ("t1", "t2")),
    (b"\xef\xbb\xbft1\r\n\r\n t2 \r\n", ("t1", "t2")),
    ("t1\nt2\n".encode("utf-16"), ("t1", "t2")),
    (b"\tt1\n17\nt1\n", ("t1", "17")),
    ("zoë\n".encode(), ("zoë",)),
)

LITTER = (
    ".t", "#t", ".#t", "#t#", "t~", "t#", "t.tmp", "t.bak", "t.swp", "t.orig", "t.rej", "tmp.t",
    "README", "README.md", "Thumbs.db", "desktop.ini",
)  # fmt: skip
"""Names in ``tasks/`` that are no tasks."""


def ages(agent: Mapping[str, Any], now: float, *names: str) -> tuple[float | None, ...]:
    """Return how long ago the times in these fields of a document were."""
    found = []
    for name in names:
        value = agent[name]
        found.append(None if value is None else now - datetime.fromisoformat(value).timestamp())
    return tuple(found)
