"""Write what ``coordctl alerts`` shows: rules, what fires since when, what was told and how it went. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordd.cli.times import moment_words, zone_of
from coordd.util.text import clipped, paint, shown, table
from coordd.util.units import format_duration
from coordd.util.untyped import as_dict, as_list, dicts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from coordd.cli.view import View

TOLD = 10
"""Messages that are shown; ``--json`` has a hundred."""
FIRING = 30
_TEXT = 60
_WHO = 40


def alerts_text(document: dict[str, Any], view: View) -> Iterator[str]:
    """Yield the lines that show the document of coordd-alert."""
    zone = zone_of(document.get("timestamp"), utc=view.utc)

    def when(stamp: object) -> str:
        return moment_words(stamp, utc=view.utc, zone=zone)

    yield from _head(document, view, zone)
    rules = dicts(document.get("rules"))
    yield ""
    rows = [["RULE", "TELLS", "FOR", "BY"], *(_rule(one) for one in rules)]
    yield from table(rows, _bold_head(view))
    for rule in rules:
        if rule.get("quiet_until") is not None:
            hours = f"{shown(rule.get('name'))} ({shown(rule.get('quiet'))})"
            yield f"Quiet hours of {hours} end {when(rule['quiet_until'])}."
        for action in dicts(rule.get("actions")):
            if action.get("problem"):
                words = (
                    f"{shown(rule.get('name'))}, {shown(action.get('action'))}: {shown(action['problem'])}"
                )
                yield paint(f"It cannot work: {words}", "red", colour=view.paints)
    for mute in dicts(document.get("mutes")):
        yield f"Muted until {when(mute.get('until'))}: {_whom(mute)}"
    yield ""
    yield from _firing(document, view, when)
    yield ""
    yield from _told(document, view, when)


def _head(document: dict[str, Any], view: View, zone: str) -> Iterator[str]:
    daemon = as_dict(document.get("daemon"))
    if daemon.get("connected"):
        yield f"coordd-alert follows {shown(daemon.get('socket'))}; times are {zone or 'UTC'}"
    else:
        words = f"coordd-alert follows no coordd: {shown(daemon.get('error'))}"
        yield paint(words, "red", colour=view.paints)
    for problem in as_list(document.get("problems")):
        yield paint(f"Problem: {shown(problem)}", "red", colour=view.paints)
    where = (
        "no [[alert]] in it: the built-in rule counts"
        if document.get("built_in")
        else "the rules are from it"
    )
    yield f"{shown(document.get('config_file'))}: {where}"


def _rule(rule: dict[str, Any]) -> list[str]:
    extra = [f"every {format_duration(rule['every'])}"] if isinstance(rule.get("every"), (int, float)) else []
    extra += [f"quiet {shown(rule['quiet'])}"] if rule.get("quiet") else []
    extra += [f"in {shown(one)}" for one in as_list(rule.get("workspaces"))]
    tells = ", ".join([shown(one) for one in as_list(rule.get("on"))] + extra)
    held = rule.get("for")
    by = ", ".join(shown(one.get("action")) for one in dicts(rule.get("actions"))) or "nothing"
    return [
        shown(rule.get("name")),
        tells,
        format_duration(held) if isinstance(held, (int, float)) and held >= 0 else "-",
        by,
    ]


def _firing(document: dict[str, Any], view: View, when: Any) -> Iterator[str]:
    firing = dicts(document.get("firing"))
    if not firing:
        yield "Nothing fires."
        return
    rows = [["FIRES SINCE", "RULE", "WHAT", "WHO", "IN WORDS", "TOLD"]]
    for one in firing[:FIRING]:
        phase = str(one.get("phase"))
        before = (
            one.get("told_at") and phase not in _NOT_YET
        )  # that an earlier one of its kind was told is no news
        told = when(one["told_at"]) if before else _NOT_YET.get(phase, "not yet")
        if one.get("muted_until"):
            told = f"muted until {when(one['muted_until'])}"
        rows.append(
            [
                when(one.get("since")),
                shown(one.get("rule")),
                shown(one.get("kind")),
                clipped(shown(one.get("name") or one.get("subject")), _WHO),
                clipped(shown(one.get("text")), _TEXT),
                told,
            ]
        )
    yield from table(rows, _bold_head(view))
    total = document.get("firing_total")
    if isinstance(total, int) and total > FIRING:
        yield f"… and {total - FIRING} more: coordctl alerts --json"


_NOT_YET = {
    "pending": "not yet",
    "renewed": "not yet",
    "due": "with the next message",
    "over": "over, not yet told",
}


def _told(document: dict[str, Any], view: View, when: Any) -> Iterator[str]:
    told = dicts(document.get("told"))
    if not told:
        yield "Nothing was told yet."
        return
    rows = [["TOLD", "RULE", "MESSAGE", "HOW IT WENT"]]
    rows += [
        [
            when(one.get("at")),
            shown(one.get("rule")),
            clipped(shown(one.get("title")), _TEXT),
            "; ".join(_outcome(outcome) for outcome in dicts(one.get("outcomes"))) or "is being told",
        ]
        for one in told[:TOLD]
    ]
    yield from table(rows, _bold_head(view))


def _outcome(outcome: dict[str, Any]) -> str:
    again = ", perhaps twice" if outcome.get("again") else ""
    error = outcome.get("error")
    went = "told" if error is None else f"failed: {shown(error)}"
    return f"{shown(outcome.get('action'))}: {went}{again}"


def _whom(mute: dict[str, Any]) -> str:
    rule, agent = mute.get("rule"), mute.get("agent")
    words = [f"rule {shown(rule)}"] if rule else []
    words += [f"agent {shown(agent)}"] if agent else []
    return " of ".join(words[:1]) + (f", {words[1]}" if len(words) > 1 else "") or "everything"


def _bold_head(view: View) -> Any:
    return lambda row, _column: "bold" if row == 0 and view.colour else None
