"""Decide what is told and when: conditions and time in, drafts of messages out.

The rule: what holds for the `for` of a rule is told by it once, and its end once, if it is over; nothing else
is. What is known of the world is in ``fires``, whatever rules there are; each rule has a
:class:`~coordd.alerts.gathering.Gathering`. Pure state: it is a function of what it is told, with time passed
in, so that what was missed can be told to it later, with the times that it had.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from coordd.alerts.conditions import Condition, Slot
from coordd.alerts.gathering import Draft, Gathering
from coordd.alerts.moment import Moment
from coordd.alerts.mutes import Mute, Mutes
from coordd.alerts.rules import Rule, Threshold
from coordd.alerts.track import End, Track

MOST = 20_000
"""Conditions that are known to fire at most."""


class Engine:
    """Decide for all rules.

    ``mutes`` is what is muted; :meth:`mute` and :meth:`unmute` change it. ``fires`` holds what fires by its
    slot.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.mutes = Mutes()
        self.fires: dict[Slot, Condition] = {}
        self._gatherings: dict[str, Gathering] = {
            rule.name: Gathering(rule, mutes=self.mutes) for rule in rules
        }

    @property
    def rules(self) -> list[Rule]:
        """Return the rules."""
        return [one.rule for one in self._gatherings.values()]

    @property
    def gatherings(self) -> list[Gathering]:
        """Return what each rule gathers."""
        return list(self._gatherings.values())

    @property
    def kinds(self) -> frozenset[str]:
        """Return the kinds that any rule tells."""
        return frozenset().union(*(rule.kinds for rule in self.rules))

    @property
    def thresholds(self) -> list[Threshold]:
        """Return the thresholds of all rules, each once."""
        return list({one.word: one for rule in self.rules for one in rule.thresholds}.values())

    def replace_rules(self, rules: Sequence[Rule], now: Moment) -> None:
        """Go on with other rules; one of the same name goes on where it is.

        A rule that is new, or tells more than before, is told what fires already.
        """
        before, self._gatherings = self._gatherings, {}
        for rule in rules:
            one = before.get(rule.name)
            if one is None:
                one = Gathering(rule, mutes=self.mutes)
            else:
                one.change(rule)
            self._gatherings[rule.name] = one
            for condition in self.fires.values():
                if _wants(rule, condition):
                    one.open(condition, now)

    def open(self, condition: Condition, now: Moment) -> None:
        """Note that something fires, since its ``since``; or what is known of it by now."""
        known = self.fires.get(condition.slot)
        if known is not None and known.id == condition.id:  # what is known of its agent stays known
            condition = replace(
                condition,
                name=condition.name or known.name,
                project=condition.project or known.project,
                since=known.since if condition.since is None or not condition.id else condition.since,
            )
        elif known is None and len(self.fires) >= MOST:
            return
        self.fires[condition.slot] = condition
        for one in self._gatherings.values():
            if _wants(one.rule, condition):
                one.open(condition, now)

    def close(self, slot: Slot, how: End, now: Moment, at: float | None = None) -> None:
        """Note that something ended, at a wall time or now."""
        self.fires.pop(slot, None)
        mono = now.mono if at is None else min(now.to_mono(at), now.mono)
        for one in self._gatherings.values():
            one.close(slot, how, now, mono)

    def happen(self, condition: Condition, now: Moment, rules: Collection[str] | None = None) -> None:
        """Note something that has no duration; ``rules`` are those that it is told to, None for all."""
        for one in self._gatherings.values():
            if _wants(one.rule, condition) and (rules is None or one.rule.name in rules):
                one.happen(condition, now)

    def forget(self) -> None:
        """Forget what fires and what was told of it: it is another daemon that tells now."""
        self.fires.clear()
        for one in self._gatherings.values():
            one.forget()

    def missing(self, kinds: Collection[str], present: Iterable[Slot]) -> list[Condition]:
        """Return what fires of these kinds as far as is known, and is not among what is there."""
        there = set(present)
        return [one for slot, one in self.fires.items() if one.kind in kinds and slot not in there]

    def describe(self, slot: Slot, name: str | None, project: str | None, now: Moment) -> None:
        """Note the name and the project of what something is about.

        ``workspaces`` of a rule chooses by the project, too, so a rule may come to tell it only now.
        """
        known = self.fires.get(slot)
        if known is None or (known.name, known.project) == (name, project):
            return
        self.fires[slot] = condition = replace(known, name=name, project=project)
        for one in self._gatherings.values():
            if _wants(one.rule, condition):
                one.open(condition, now)

    def mute(self, mute: Mute) -> None:
        """Tell nothing of what this mutes until its time; raises ValueError where there are too many."""
        self.mutes.add(mute)
        for one in self._gatherings.values():
            one.muted()

    def unmute(self, rule: str | None, agent: str | None) -> int:
        """End the mutes of a rule and an agent, all where both are None; return how many."""
        return self.mutes.remove(rule, agent)

    def poll(self, now: Moment) -> tuple[list[Draft], float]:
        """Return the messages that are due now, and when to look again (monotonic; infinite for never)."""
        self.mutes.forget_past(now.wall)
        drafts: list[Draft] = []
        later = math.inf
        for one in self._gatherings.values():
            draft, when = one.poll(now)
            if draft is not None:
                drafts.append(draft)
            later = min(later, when)
        return drafts, later

    def restore(self, rule: str, tracks: Iterable[Track]) -> Gathering | None:
        """Take over what a rule followed before; None where there is no such rule any more."""
        one = self._gatherings.get(rule)
        if one is not None:
            one.restore(track for track in tracks if _wants(one.rule, track.condition))
        return one


def _wants(rule: Rule, condition: Condition) -> bool:
    return rule.wants(condition.kind, condition.workspace, condition.project)
