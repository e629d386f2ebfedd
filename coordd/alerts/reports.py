"""Write the document of ``coordctl alerts --json``: rules, what fires, what was told and how it went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from coordd.alerts.actions.base import Action
from coordd.alerts.gathering import Gathering
from coordd.alerts.memory import Memory
from coordd.alerts.moment import Moment
from coordd.alerts.rules import Rule
from coordd.alerts.track import Track
from coordd.util.timestamps import format_utc, within_calendar

SCHEMA = 1
FIRING = 1000
"""Things that are listed at most; ``firing_total`` counts all."""

UNCHECKED = "it was not looked at in time: a file system does not answer, or the machine is slow"

Actions = Mapping[str, Mapping[str, Action]]
Checks = Mapping[str, Mapping[str, str | None]]


def report(
    memory: Memory,
    *,
    now: Moment,
    daemon: Mapping[str, object],
    process: Mapping[str, object],
    problems: Sequence[str],
    checks: Checks,
) -> dict[str, object]:
    """Return the document as of a moment; ``checks`` says which actions cannot work here."""
    engine = memory.engine
    listed = [
        (one, track)
        for one in engine.gatherings
        for track in sorted(one.firing(), key=lambda track: track.began)
    ]
    return {
        "schema": SCHEMA,
        "timestamp": _stamp(now.wall),
        **process,
        "daemon": dict(daemon),
        "problems": list(problems),
        "rules": [_rule(one, checks.get(one.rule.name, {}), now) for one in engine.gatherings],
        "firing": [_track(one.rule, track, now, memory) for one, track in listed[:FIRING]],
        "firing_total": len(listed),
        "told": [asdict(one) for one in reversed(memory.outbox.told)],
        "waiting": len(memory.outbox.parcels),
        "mutes": [{**asdict(one), "until": _stamp(one.until)} for one in engine.mutes],
    }


def checks_of(actions: Actions) -> Checks:
    """Return why each action cannot work here, by rule and label; None if it can. Blocking."""
    return {
        name: {label: action.check() for label, action in theirs.items()} for name, theirs in actions.items()
    }


def unchecked(actions: Actions) -> Checks:
    """Return the same where the look has not ended in time."""
    return {name: dict.fromkeys(theirs, UNCHECKED) for name, theirs in actions.items()}


def trouble_of(actions: Actions) -> list[str]:
    """Return which actions cannot work here, a sentence each. Blocking: looks at files."""
    return [
        f"rule {name}, {label}: {trouble}"
        for name, theirs in checks_of(actions).items()
        for label, trouble in theirs.items()
        if trouble is not None
    ]


def _rule(one: Gathering, checks: Mapping[str, str | None], now: Moment) -> dict[str, object]:
    rule = one.rule
    until = None if rule.quiet is None else rule.quiet.until(now.wall)
    return {
        "name": rule.name,
        "on": sorted(rule.kinds),
        "for": rule.hold,
        "workspaces": list(rule.workspaces),
        "quiet": None if rule.quiet is None else rule.quiet.words(),
        "quiet_until": None if until is None else _stamp(until),
        "every": rule.every,
        "finished_after": rule.finished_after,
        "actions": [{"action": label, "problem": why} for label, why in checks.items()],
    }


def _track(rule: Rule, track: Track, now: Moment, memory: Memory) -> dict[str, object]:
    one = track.condition
    muted = memory.engine.mutes.until(rule.name, one)
    told = None if track.told_at is None else _stamp(now.to_wall(track.told_at))
    return {
        "rule": rule.name,
        "kind": one.kind,
        "workspace": one.workspace,
        "project": one.project,
        "subject": one.subject,
        "name": one.name,
        "since": _stamp(now.to_wall(track.began) if one.since is None else one.since),
        "text": one.text,
        "command": one.command,
        "phase": track.phase.value,
        "times": track.times,
        "told_at": told,
        "muted_until": None if muted is None else _stamp(muted),
    }


def _stamp(epoch: float) -> str:
    return format_utc(within_calendar(epoch))
