"""Write what the alerts know as a document, and read it back: what fires, is muted, waits to be told.

Monotonic times mean nothing to the next process: they are wall times in the document. A document that another
version wrote, or somebody edited, is read as far as it makes sense. Pure.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from coordd.alerts.conditions import Condition
from coordd.alerts.engine import Engine
from coordd.alerts.gathering import BURST, Gathering
from coordd.alerts.moment import Moment
from coordd.alerts.mutes import Mute
from coordd.alerts.outbox import Outbox
from coordd.alerts.phases import Phase
from coordd.alerts.track import Track
from coordd.alerts.turns import Turns
from coordd.util.text import number
from coordd.util.untyped import as_dict, as_list, dicts

SCHEMA = 1


@dataclass(slots=True)
class Heard:
    """How far the daemon was heard: the place ``RUN:SEQ`` of its last notification, and that one's time.

    ``at`` is in the daemon's own form, for it is given back to it. ``stopped``: it said that it would end.
    ``records`` is the directory of its records, by which one daemon is told from another wherever its socket
    is.
    """

    place: str | None = None
    at: str | None = None
    stopped: bool = False
    records: str | None = None


@dataclass(slots=True)
class Memory:
    """All that outlives the process; ``serial`` numbers messages."""

    engine: Engine
    outbox: Outbox = field(default_factory=Outbox)
    turns: Turns = field(default_factory=Turns)
    heard: Heard = field(default_factory=Heard)
    serial: int = 0


def to_document(memory: Memory, now: Moment) -> dict[str, object]:
    """Return the document of what is known at a moment."""
    engine = memory.engine
    return {
        "schema": SCHEMA,
        "written_at": now.wall,
        "serial": memory.serial,
        "heard": asdict(memory.heard),
        "fires": [asdict(one) for one in engine.fires.values()],
        "rules": {one.rule.name: _of_gathering(one, now) for one in engine.gatherings},
        "mutes": [asdict(one) for one in engine.mutes],
        "turns": memory.turns.to_document(),
        "outbox": memory.outbox.to_document(),
    }


def from_document(document: Mapping[str, Any], engine: Engine, now: Moment) -> Memory:
    """Return what a document holds, in an engine that has its rules already."""
    for one in dicts(document.get("fires")):
        condition = _condition(one)
        if condition is not None:
            engine.fires[condition.slot] = condition
    for one in dicts(document.get("mutes")):
        until = number(one.get("until"))
        if until is not None and until > now.wall:
            engine.mutes.add(Mute(until, _text(one.get("rule")), _text(one.get("agent"))))
    for name, whole in as_dict(document.get("rules")).items():
        told = as_dict(whole)
        tracks = (_track(one, now) for one in dicts(told.get("tracks")))
        gathering = engine.restore(name, [one for one in tracks if one is not None])
        if gathering is not None:
            times = [number(one) for one in as_list(told.get("messages"))]
            known = [min(now.to_mono(one), now.mono) for one in times if one is not None]
            gathering.messages = deque(known, maxlen=BURST)
            gathering.last = _time(told.get("last"), now)
            gathering.last_end = _time(told.get("last_end"), now)
            gathering.kept = told.get("kept") is True
            gathering.uncounted = int(number(told.get("uncounted")) or 0)
    heard = as_dict(document.get("heard"))
    return Memory(
        engine=engine,
        outbox=Outbox.from_document(document.get("outbox")),
        turns=Turns.from_document(document.get("turns")),
        heard=Heard(
            _text(heard.get("place")),
            _text(heard.get("at")),
            heard.get("stopped") is True,
            _text(heard.get("records")),
        ),
        serial=int(number(document.get("serial")) or 0),
    )


def _time(value: object, now: Moment) -> float:
    wall = number(value)
    return -math.inf if wall is None else min(now.to_mono(wall), now.mono)


def _of_gathering(one: Gathering, now: Moment) -> dict[str, object]:
    return {
        "messages": [now.to_wall(at) for at in one.messages],
        "last": None if one.last == -math.inf else now.to_wall(one.last),
        "last_end": None if one.last_end == -math.inf else now.to_wall(one.last_end),
        "kept": one.kept,
        "uncounted": one.uncounted,
        "tracks": [_of_track(track, now) for track in one.tracks.values()],
    }


def _of_track(track: Track, now: Moment) -> dict[str, object]:
    def wall(mono: float | None) -> float | None:
        return None if mono is None else now.to_wall(mono)

    return {
        "condition": asdict(track.condition),
        "phase": track.phase.value,
        "began": now.to_wall(track.began),
        "seen": now.to_wall(track.seen),
        "ended": wall(track.ended),
        "due_at": wall(track.due_at),
        "told_at": wall(track.told_at),
        "times": track.times,
        "unsaid": track.unsaid,
    }


def _track(document: dict[str, Any], now: Moment) -> Track | None:
    condition = _condition(as_dict(document.get("condition")))
    began = number(document.get("began"))
    try:
        phase = Phase(str(document.get("phase")))
    except ValueError:
        return None
    if condition is None or began is None:
        return None

    def mono(field: str) -> float | None:
        known = number(document.get(field))
        return None if known is None else min(now.to_mono(known), now.mono)

    return Track(
        condition=condition,
        phase=phase,
        began=min(now.to_mono(began), now.mono),
        seen=mono("seen") or now.mono,
        ended=mono("ended"),
        due_at=mono("due_at"),
        told_at=mono("told_at"),
        times=int(number(document.get("times")) or 1),
        unsaid=document.get("unsaid") is True,
    )


def _condition(document: dict[str, Any]) -> Condition | None:
    try:
        one = Condition(**document)
    except TypeError:
        return None
    texts = (one.kind, one.subject, one.id, one.text)
    optional = (one.workspace, one.command, one.name, one.project)
    sound = all(isinstance(text, str) for text in texts)
    sound = sound and all(text is None or isinstance(text, str) for text in optional)
    sound = sound and (one.since is None or number(one.since) is not None)
    return one if sound else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
