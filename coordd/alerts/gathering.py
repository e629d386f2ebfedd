"""Decide for one rule when its next message comes, and what is in it.

::

    what is due                          comes
    the first thing                      after GATHER seconds, with all that is due within them; a crowd that
                                         still comes may hold it back for LONGEST seconds
    more, with `every`                   when that time has passed since the last message
    more, without                        at once, BURST times; then once its place in PER seconds is free
    ends of what was told                ENDS_APART seconds after the last ends, or with another
    what was told, ended and is back     APART seconds (or `every`) after it was told, or with another message
    anything, in quiet hours             when they end, as one digest
    anything that is muted               when the mute ends, if it still fires

State of one rule; time is passed in, waits are monotonic.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

from coordd.alerts.conditions import NOWHERE, OF_AGENTS, TOGETHER, Condition, Slot
from coordd.alerts.message import EntryState, MessageState
from coordd.alerts.moment import Moment
from coordd.alerts.mutes import Mutes
from coordd.alerts.phases import READY, UNTOLD, WAITING, Phase
from coordd.alerts.rules import Rule
from coordd.alerts.track import End, Track

GATHER = 1.0
LONGEST = 2.0
CALM = 0.5
"""Seconds without anything new after which a crowd has come."""
APART = 300.0
BURST = 30
PER = 300.0
ENDS_APART = 60.0
MOST = 10_000
"""Things that a rule follows at once; of more it only counts that they were."""
_EARLY = 0.005
"""Seconds by which a timer may ring before its time."""


@dataclass(frozen=True, slots=True)
class Told:
    """One thing in a message: how it stands, since when it fires (epoch seconds), and how often it did."""

    condition: Condition
    state: EntryState
    since: float
    times: int


@dataclass(frozen=True, slots=True)
class Draft:
    """What a rule tells at once; ``uncounted`` things more were there than are followed."""

    rule: Rule
    state: MessageState
    told: tuple[Told, ...]
    uncounted: int


class Gathering:
    """Gather what one rule tells."""

    def __init__(self, rule: Rule, *, mutes: Mutes) -> None:
        self.rule = rule
        self.tracks: dict[Slot, Track] = {}
        self.kept = False
        """Whether something waits for the end of quiet hours."""
        self.uncounted = 0
        self.messages: deque[float] = deque(maxlen=BURST)
        """When the last messages with anything new were made, monotonic."""
        self.last = -math.inf
        """When the last message was made, monotonic; minus infinity for never."""
        self.last_end = -math.inf
        """The same of the last one that told of an end."""
        self._mutes = mutes
        self._waiting: set[Slot] = set()
        self._newest = -math.inf

    def restore(self, tracks: Iterable[Track]) -> None:
        """Take over what was followed before."""
        for track in tracks:
            self.tracks[track.condition.slot] = track
            self._sort(track)

    def forget(self) -> None:
        """Forget all that is followed."""
        self.tracks.clear()
        self._waiting.clear()
        self.kept, self.uncounted = False, 0

    def change(self, rule: Rule) -> None:
        """Go on with a changed rule; forget what it no longer tells."""
        self.rule = rule
        for slot, track in list(self.tracks.items()):
            one = track.condition
            if not rule.wants(one.kind, one.workspace, one.project):
                del self.tracks[slot]
                self._waiting.discard(slot)

    def open(self, condition: Condition, now: Moment) -> None:
        """Note that something fires, or what is known of it by now."""
        slot = condition.slot
        track = self.tracks.get(slot)
        began = now.mono if condition.since is None else min(now.to_mono(condition.since), now.mono)
        if track is None:
            if len(self.tracks) >= MOST:
                self._forget_resting(now.mono)
            if len(self.tracks) >= MOST:
                self.uncounted += 1
                return
            track = self.tracks[slot] = Track(condition, Phase.PENDING, began, now.mono)
            track.told_at = self._told_with_others(condition)
            if track.told_at is not None:
                track.phase = Phase.TOLD
        else:
            known = track.fires and track.condition.id == condition.id
            if not known:
                track.hold(began, self.rule.hold)  # what was before has lasted until then
            track.begin(condition, began, now.mono)
            if known:
                return
        self._newest = now.mono
        self._sort(track)

    def _told_with_others(self, condition: Condition) -> float | None:
        """Return when a killed agent was told as one of those that fell together; None for never.

        Once somebody lives there again, the daemon lists each of those that fell for itself.
        """
        if condition.kind != "killed" or condition.since is None:
            return None
        workspace = condition.workspace or ""
        group = self.tracks.get(Slot("mass", workspace, workspace or NOWHERE))
        if group is None or group.condition.since is None or group.phase in UNTOLD:
            return None
        apart = condition.since - group.condition.since
        return group.told_at if 0 <= apart <= TOGETHER else None

    def close(self, slot: Slot, how: End, now: Moment, at: float) -> None:
        """Note that something ended at a monotonic time."""
        track = self.tracks.get(slot)
        if track is None or not track.fires:
            return
        track.hold(at, self.rule.hold)
        track.end(how, at)
        if self._mutes.until(self.rule.name, track.condition) is not None:
            track.drop()
        self._sort(track)
        if track.phase is Phase.RESTING and track.told_at is None:
            del self.tracks[slot]
        self._newest = now.mono

    def happen(self, condition: Condition, now: Moment) -> None:
        """Note something that has no duration."""
        self.open(condition, now)
        track = self.tracks.get(condition.slot)
        if track is not None:
            track.hold(math.inf, 0.0)
            self.close(condition.slot, "left", now, now.mono)

    def muted(self) -> None:
        """Note that something may be muted now: what is over and untold stays so."""
        for slot in list(self._waiting):
            track = self.tracks[slot]
            if self._mutes.until(self.rule.name, track.condition) is not None:
                track.drop()
                self._sort(track)

    def poll(self, now: Moment) -> tuple[Draft | None, float]:
        """Return the message that is due now, if one is, and when to look again (monotonic)."""
        when = self._due_at(now)
        if when > now.mono + _EARLY:
            return None, when
        draft = self._tell(now)
        return draft, self._due_at(now)

    def _due_at(self, now: Moment) -> float:
        """Return when the next message is due, or when to look whether it is; infinite for never."""
        news, ends, later = math.inf, math.inf, math.inf
        crowd = 0
        for slot in self._waiting:
            track = self.tracks[slot]
            track.hold(now.mono, self.rule.hold)
            at = track.ready_at(self.rule.hold, self._apart)
            muted = self._mutes.until(self.rule.name, track.condition)
            if muted is not None:
                later = min(later, max(now.to_mono(muted), at, now.mono + 1.0))
            elif track.phase is Phase.ENDING:
                ends = min(ends, max(at, self._death_told_at(track.condition)))
            else:
                news = min(news, at)
            crowd += muted is None and at <= now.mono + GATHER
        quiet = self._quiet_until(now, min(news, ends))
        return min(
            max(self._window(news, crowd), self._gate_of_news(), quiet),
            max(self._window(ends, crowd), self._gate_of_ends(), quiet),
            later,
        )

    def _death_told_at(self, condition: Condition) -> float:
        """Return when the end of an agent is told of which something else has ended by that.

        A message that the agent waits no longer, alone and before that of its death, would sound well.
        """
        workspace = condition.workspace or ""
        deaths = (
            Slot("killed", workspace, condition.subject),
            Slot("mass", workspace, workspace or NOWHERE),
        )
        for slot in deaths if condition.kind in OF_AGENTS else ():
            death = self.tracks.get(slot)
            if death is not None and slot in self._waiting and death.fires:
                return death.ready_at(self.rule.hold, self._apart)
        return -math.inf

    def _window(self, ready: float, crowd: int) -> float:
        """Return when what comes together has come, by when the first of it was ready."""
        if self.kept:
            return ready
        calm = self._newest + CALM if crowd > 1 else ready
        return min(max(ready + GATHER, calm), ready + LONGEST)

    def _gate_of_news(self) -> float:
        """Return the time before which nothing new is told."""
        if self.rule.every is not None:
            return self.last + self.rule.every
        return self.messages[0] + PER if len(self.messages) == BURST else -math.inf

    def _gate_of_ends(self) -> float:
        """Return the time before which no message comes for the end of something alone."""
        return self.last_end + ENDS_APART if self.rule.every is None else self.last + self.rule.every

    def _quiet_until(self, now: Moment, ready: float) -> float:
        """Return when the quiet hours end in which it is now; note that something waits for that."""
        end = None if self.rule.quiet is None else self.rule.quiet.until(now.wall)
        if end is None:
            return -math.inf
        self.kept = self.kept or ready <= now.mono + _EARLY
        return now.to_mono(end)

    @property
    def _apart(self) -> float:
        return APART if self.rule.every is None else self.rule.every

    def _tell(self, now: Moment) -> Draft | None:
        told: list[Told] = []
        for slot in sorted(self._waiting):
            track = self.tracks[slot]
            track.hold(now.mono + (GATHER if self.rule.hold >= GATHER else 0.0), self.rule.hold)
            if track.phase not in READY or self._mutes.until(self.rule.name, track.condition) is not None:
                continue
            times = track.times
            state = track.tell(now.mono)
            told.append(Told(track.condition, state, now.to_wall(track.began), times))
            self._sort(track)
        if not told:
            return None
        if any(one.times for one in told):  # more than ends of what was told
            self.messages.append(now.mono)
        if not all(one.times for one in told):
            self.last_end = now.mono
        self.last = now.mono
        firing = any(one.state != "resolved" for one in told)
        state_of_all: MessageState = "digest" if self.kept else "firing" if firing else "resolved"
        self.kept = False
        uncounted, self.uncounted = self.uncounted, 0
        self._forget_resting(now.mono)
        return Draft(self.rule, state_of_all, tuple(told), uncounted)

    def _sort(self, track: Track) -> None:
        """Keep the set of those that wait; looking at all at each change would cost with their number."""
        if track.phase in WAITING:
            self._waiting.add(track.condition.slot)
        else:
            self._waiting.discard(track.condition.slot)

    def _forget_resting(self, mono: float) -> None:
        """Forget what is told, and long enough ago that it is no flood when it comes back."""
        old = [
            slot
            for slot, track in self.tracks.items()
            if track.phase is Phase.RESTING and (track.told_at is None or track.told_at + self._apart <= mono)
        ]
        for slot in old:
            del self.tracks[slot]

    def firing(self) -> list[Track]:
        """Return what fires now, and what is over without that having been said."""
        return [track for track in self.tracks.values() if track.phase is not Phase.RESTING]
