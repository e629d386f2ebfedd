"""Hold what the keys of one agent in Redis said last, and choose the later of its two heartbeats.

Values with pure decisions: agents.py changes them, and draws the states of a heartbeat key.
"""

from __future__ import annotations

from coordd.agents.beats import FUTURE
from coordd.agents.traces import Heartbeat, Registration


class HeartbeatKey:
    """One heartbeat key that exists.

    ``content_id`` is its content, or the hash of a long one; None if it may not be read. ``written`` is the
    time in it and ``changed`` when its last change was observed, both epoch seconds, None if unknown;
    ``local`` is the written time in local time, where nothing tells the zone, and ``problem`` what is wrong
    with the content.
    ``connection`` and ``seen`` number the connection and the full reading that read it last. ``name`` is the
    agent's id as the key spells it, None if that is the same.
    """

    __slots__ = ("changed", "connection", "content_id", "local", "name", "problem", "seen", "written")

    def __init__(self, name: bytes | None = None) -> None:
        self.name = name
        self.content_id: str | int | None = None
        self.written: float | None = None
        self.local: float | None = None
        self.problem: str | None = None
        self.changed: float | None = None
        self.connection = 0
        self.seen = 0

    def time(self, now: float | None) -> float:
        """Return the written time unless it lies in the future, else that of the change; -1 if unknown."""
        if self.written is not None and (now is None or self.written <= now + FUTURE):
            return self.written
        return -1.0 if self.changed is None else self.changed


class AgentKeys:
    """All keys of one agent.

    ``first`` and ``second`` are its two heartbeat keys, None if absent. ``heartbeat`` is the later of both,
    ``changed`` and ``token`` belong to its last beat. ``entry_digest`` is the hash of its registry entry,
    None without one, ``entry_name`` its name if that is not the id, ``entry_connection`` and
    ``registry_reading`` the connection and the reading that found it, ``registration`` its meaning and
    ``problem`` what is wrong with it. ``tasks`` is None if the list may not be read; ``unnamed`` counts
    further tasks. ``refusal`` says why a heartbeat key may not be read. ``tasks_seen`` is the full reading
    that found the list (None: there is none), ``tasks_number`` orders readings of it.
    """

    __slots__ = (
        "changed",
        "entry_connection",
        "entry_digest",
        "entry_name",
        "first",
        "heartbeat",
        "problem",
        "refusal",
        "registration",
        "registry_reading",
        "second",
        "tasks",
        "tasks_number",
        "tasks_seen",
        "token",
        "unnamed",
    )

    def __init__(self) -> None:
        self.first: HeartbeatKey | None = None
        self.second: HeartbeatKey | None = None
        self.heartbeat: Heartbeat | None = None
        self.changed: float | None = None
        self.token: tuple[object, ...] = ()
        self.registry_reading = 0
        self.entry_digest: int | None = None
        self.entry_name: bytes | None = None
        self.entry_connection = 0
        self.registration: Registration | None = None
        self.problem: str | None = None
        self.refusal: str | None = None
        self.tasks: tuple[str, ...] | None = ()
        self.unnamed = 0
        self.tasks_seen: int | None = None
        self.tasks_number = 0

    @property
    def is_gone(self) -> bool:
        """Whether none of its keys exists any more."""
        return self.entry_digest is None and self.tasks_seen is None and self.first is self.second is None

    @property
    def hidden(self) -> str | None:
        """Why none of its heartbeat keys, of which there is one, may be read; None where one may."""
        return self.refusal if self.heartbeat is None and not self.first is self.second is None else None

    def latest_heartbeat(self, now: float | None) -> Heartbeat | None:
        """Return the later of both heartbeats, None if neither can be read.

        Args:
            now: wall clock, epoch seconds; None: times in the future count as well.
        """
        first, second = self.first, self.second
        if first is None or first.content_id is None:
            first, second = second, None
        if first is None or first.content_id is None:
            return None
        later = second is not None and second.content_id is not None and second.time(now) > first.time(now)
        beat = second if second is not None and later else first
        return Heartbeat(beat.written, self.changed, self.token, beat.local)
