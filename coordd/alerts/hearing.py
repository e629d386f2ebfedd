"""Take in what the daemon tells: each notification, with the time that it had, changes the memory.

::

    attention      opened and changed entries fire, closed ones have ended
    event          of Redis, of sinks, of the daemon's own end
    system         thresholds
    agent          turns that have ended

That a killed agent, or a group that fell, is off the list says nothing of whether it is back: whoever calls
asks the daemon, by what :meth:`Hearing.take` returns. State is the memory's; no I/O.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from coordd.alerts import conditions
from coordd.alerts.conditions import ATTENTION, Condition, Slot
from coordd.alerts.memory import Memory
from coordd.alerts.moment import Moment
from coordd.util.text import epoch_of
from coordd.util.untyped import as_dict, dicts

_ASKED = frozenset({"killed", "mass"})
"""The kinds of which the end on the list does not say that they are over."""


@dataclass(frozen=True, slots=True)
class Unsure:
    """Something that is off the list since a time, and may be over or not."""

    condition: Condition
    at: float


class Hearing:
    """Take in notifications and documents of the daemon."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def take(self, topic: str, params: Mapping[str, Any], now: Moment) -> list[Unsure]:
        """Take in one notification; return what ended, and the daemon has to be asked how."""
        at = epoch_of(params.get("timestamp"))
        moment = now.wall if at is None else min(at, now.wall)
        unsure: list[Unsure] = []
        if topic == "attention":
            unsure = self._attention(params, now, moment)
        elif topic == "event":
            self.event(params, now, moment)
        elif topic == "system":
            self.sample(params, now, moment)
        elif topic == "agent":
            self.agent(params, now)
        return unsure

    def snapshot(self, status: Mapping[str, Any], now: Moment) -> list[Unsure]:
        """Take in a whole status; return what fired and is not in it, of which how it ended is not known."""
        engine = self._memory.engine
        entries = conditions.of_entries(status.get("attention"))
        for one in entries:
            engine.open(one, now)
        redis = conditions.of_redis(status, now.wall)
        own = [*conditions.of_sinks(status, now.wall), *([redis] if redis is not None else [])]
        for one in own:
            engine.open(one, now)
        for one in engine.missing({"redis", "sink"}, (one.slot for one in own)):
            engine.close(one.slot, "over", now)
        system = status.get("system")
        if isinstance(system, dict):
            self.sample(system, now, now.wall)
        gone = engine.missing(ATTENTION, (one.slot for one in entries))
        return self._ended(((one, False) for one in gone), now, now.wall)

    def event(self, event: Mapping[str, Any], now: Moment, at: float) -> None:
        """Take in an event, with the time that it had."""
        engine, kind, subject = self._memory.engine, event.get("kind"), str(event.get("subject"))
        if kind == "redis.down":
            error = as_dict(event.get("detail")).get("error")
            engine.open(conditions.redis_down(f"does not answer: {error or subject}", at), now)
        elif kind == "redis.up":
            for one in engine.missing({"redis"}, ()):
                engine.close(one.slot, "over", now, at)
        elif kind == "sink.failed":
            error = as_dict(event.get("detail")).get("error")
            engine.open(conditions.sink_failing(subject, f"cannot record: {error or 'it fails'}", at), now)
        elif kind == "sink.recovered":
            engine.close(Slot("sink", "", subject), "over", now, at)
        elif kind in ("daemon.started", "daemon.stopped"):
            self._memory.heard.stopped = kind == "daemon.stopped"

    def sample(self, sample: Mapping[str, Any], now: Moment, at: float) -> None:
        """Take in a sample of the host."""
        engine = self._memory.engine
        for slot, one in conditions.of_sample(sample, engine.thresholds).items():
            if one is not None:
                engine.open(one, now)
            elif slot in engine.fires:
                engine.close(slot, "over", now, at)

    def agent(self, sample: Mapping[str, Any], now: Moment) -> None:
        """Take in a sample of an agent: only the ends of turns count."""
        turn = self._memory.turns.take(sample)
        if turn is None:
            return
        rules = [rule.name for rule in self._memory.engine.rules if turn.took >= rule.finished_after]
        self._memory.engine.happen(turn.condition, now, rules)

    def _attention(self, change: Mapping[str, Any], now: Moment, at: float) -> list[Unsure]:
        engine = self._memory.engine
        closed = [
            (one, entry.get("why") == "acknowledged")
            for entry in dicts(change.get("closed"))
            if (one := conditions.of_entry(entry)) is not None
        ]
        opened = [
            *conditions.of_entries(change.get("opened")),
            *conditions.of_entries(change.get("changed")),
        ]
        slots = {one.slot for one in opened}  # in the same slot something else fires now: it has not ended
        unsure = self._ended((one for one in closed if one[0].slot not in slots), now, at)
        for one in opened:
            engine.open(one, now)
        return unsure

    def _ended(self, ended: Iterable[tuple[Condition, bool]], now: Moment, at: float) -> list[Unsure]:
        engine = self._memory.engine
        unsure: list[Unsure] = []
        for one, acknowledged in ended:
            known = engine.fires.get(one.slot)
            if known is None:
                continue
            if acknowledged:
                engine.close(one.slot, "left", now, at)
            elif one.kind in _ASKED:
                unsure.append(Unsure(known, at))
            else:
                engine.close(one.slot, "over", now, at)
        return unsure
