"""Explain a verdict and an activity row by row: what each row looked at, and what would change its answer.

Pure. Each function below that begins with an underscore explains the row that stands at its place in a table;
the tables themselves (liveness.py, activity.py) decide, and nothing here decides again. The only
text of strangers in the words is the name of a tool, which is escaped by whoever shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from coordd.agents import activity, liveness
from coordd.agents.activity import REFUSED_AFTER, ActivityEvidence, deciding_activity_row
from coordd.agents.liveness import Evidence, deciding_row
from coordd.util.text import duration

Explanation = dict[str, object]
"""``row``, ``when``, ``verdict``, ``fits``, ``decides``; ``value``, ``age``, ``threshold``, ``change``.

``value`` is what the row looked at, in words; ``age`` and ``threshold`` are seconds; ``change`` is what would
change the row's answer, in words. The last four are None where there is nothing to say.
"""


class _Seen(NamedTuple):
    value: str | None
    change: str | None
    age: float | None = None
    threshold: float | None = None


def explain_verdict(evidence: Evidence) -> list[Explanation]:
    """Return one entry for each row of the verdict table, in its order."""
    decides = deciding_row(evidence).number
    return [
        _entry(
            (row.number, row.when, f"{row.verdict.status} / {row.verdict.reason}"),
            explain(evidence),
            fits=row.fits(evidence),
            decides=row.number == decides,
        )
        for row, explain in zip(liveness.TABLE, _VERDICT_ROWS, strict=True)
    ]


def explain_activity(evidence: ActivityEvidence, *, tool: str | None = None) -> list[Explanation]:
    """Return one entry for each row of the table of activities, in its order.

    The last row, which is there for what no other fits, counts as fitting only where it decides.

    Args:
        evidence: as for activity.judge_activity.
        tool: the name of the open call, None where it is unknown.
    """
    decides = deciding_activity_row(evidence).number
    return [
        _entry(
            (row.number, row.when, row.activity),
            explain(evidence, tool or "a call"),
            fits=row.number == decides if row is activity.TABLE[-1] else row.fits(evidence),
            decides=row.number == decides,
        )
        for row, explain in zip(activity.TABLE, _ACTIVITY_ROWS, strict=True)
    ]


def _entry(row: tuple[int, str, str], seen: _Seen, *, fits: bool, decides: bool) -> Explanation:
    number, when, verdict = row
    return {
        "row": number,
        "when": when,
        "verdict": verdict,
        "fits": fits,
        "decides": decides,
        "value": seen.value,
        "age": None if seen.age is None else round(seen.age, 3),
        "threshold": seen.threshold,
        "change": seen.change,
    }


def _ended(e: Evidence) -> _Seen:
    if e.end_age is None:
        return _Seen("no orderly end", "that it deregisters, or ends its session")
    if e.ended:
        return _Seen("ended in order", "a later beat, or a live process of it", e.end_age)
    return _Seen("ended in order, and a beat came after that", "another orderly end", e.end_age)


def _killed(e: Evidence) -> _Seen:
    if e.process == "killed":
        return _Seen("gone without an orderly end", "a live process of it")
    if e.process == "alive":
        return _Seen("its process lives", "that its process is killed")
    return _Seen("no process is known", "a process of it that is seen alive, and is killed")


def _lives(e: Evidence) -> _Seen:
    value = _killed(e).value
    return _Seen(value, "the end of its process" if e.process == "alive" else "a live process of it")


def _beats(e: Evidence) -> _Seen:
    if e.silence is None and e.doubtful:
        return _Seen("its last beat may be an old one", "its next beat", threshold=e.timeout)
    if e.silence is None:
        return _Seen("no beat was ever seen", "its first beat", threshold=e.timeout)
    left = e.timeout - e.silence
    change = f"another {duration(left)} without a beat" if left > 0 else "a beat"
    return _Seen("its last beat", change, e.silence, e.timeout)


def _unreachable(e: Evidence) -> _Seen:
    if e.readable:
        return _Seen("readable", "that its source cannot be read")
    return _Seen("unreadable", "that its source can be read again")


def _quiet(e: Evidence) -> _Seen:
    if e.quiet:
        return _Seen("a quiet hook was its last word", "any other sign of it", e.last_beat)
    return _Seen("no such hook was its last word", "such a hook")


def _silent(e: Evidence) -> _Seen:
    value, change, age, threshold = _beats(e)
    return _Seen(value, "a beat, and silence after it" if age is None else change, age, threshold)


def _unheard(e: Evidence) -> _Seen:
    if e.doubtful:
        value = "the time in its heartbeat and that of the file contradict each other"
        return _Seen(value, f"its next beat, or {duration(e.timeout)} without one", threshold=e.timeout)
    return _Seen("no beat was ever seen" if e.silence is None else "beats were seen", "its first beat")


_VERDICT_ROWS: tuple[Callable[[Evidence], _Seen], ...] = (
    _ended,
    _killed,
    _lives,
    _beats,
    _unreachable,
    _quiet,
    _silent,
    _unheard,
)


def _waiting(e: ActivityEvidence, tool: str) -> _Seen:
    words = {
        "it says that it waits": e.declares_waiting,
        f"{tool} asks a human": e.call_asks,
        "a hook said that it asks": e.hook_asks,
    }
    said = ", ".join(word for word, holds in words.items() if holds)
    if not said:
        return _Seen("nothing says so", "its word that it waits")
    return _Seen(f"{said}: {e.waiting_for}" if e.waiting_for else said, "an answer to it")


def _blocked(e: ActivityEvidence, _: str) -> _Seen:
    if e.refused is None:
        return _Seen("it is not refused", f"refusals for {duration(REFUSED_AFTER)}", threshold=REFUSED_AFTER)
    left = REFUSED_AFTER - e.refused
    change = f"another {duration(left)} of refusals" if left > 0 else "an answer of its provider"
    return _Seen("it is refused", change, e.refused, REFUSED_AFTER)


def _call(e: ActivityEvidence, tool: str) -> str:
    if e.call_age is None:
        return "no call is open"
    does = {True: "its processes work", False: "its processes do nothing"}
    unseen = "what its processes do cannot be seen"
    return f"{tool} is open, {unseen if e.call_progress is None else does[e.call_progress]}"


def _call_works(e: ActivityEvidence, tool: str) -> _Seen:
    if e.call_age is None:
        change = "a tool call"
    elif e.call_progress is True:
        change = f"the end of the call, or {duration(e.stall_after)} in which its processes do nothing"
    elif e.call_is_young:
        change = f"the end of the call, or another {duration(e.call_stall_after - e.call_age)}"
    else:
        change = "that its processes are seen to work"
    return _Seen(_call(e, tool), change, e.call_age, e.call_stall_after)


def _call_stalls(e: ActivityEvidence, tool: str) -> _Seen:
    if e.call_age is None:
        change = f"a call that is open for {duration(e.call_stall_after)} while its processes do nothing"
    elif e.call_is_young:
        change = f"another {duration(e.call_stall_after - e.call_age)} while its processes do nothing"
    elif e.call_progress is False:
        change = "the end of the call, or work of its processes"
    else:
        change = "that its processes are seen to do nothing"
    return _Seen(_call(e, tool), change, e.call_age, e.call_stall_after)


def _work(e: ActivityEvidence) -> str:
    if e.in_turn is True:
        return "it is in a turn"
    turn = "its turn is over" if e.in_turn is False else "nothing tells of a turn"
    holds = {True: "it holds a task", False: "it holds nothing"}
    return f"{turn}, {'what it holds cannot be read' if e.holds_task is None else holds[e.holds_task]}"


def _progress(e: ActivityEvidence, _: str) -> _Seen:
    if not e.at_work:
        change = "a turn" if e.tells_turns else "a turn, or a task that it holds"
    elif e.progress is not None and e.progresses:
        change = f"another {duration(e.stall_after - e.progress)} without progress"
    else:
        change = "progress"
    return _Seen(_work(e), change, e.progress, e.stall_after)


def _background(e: ActivityEvidence, _: str) -> _Seen:
    if e.subagent:
        return _Seen("a subagent is open", "the end of its subagent")
    if e.shell_age is None:
        return _Seen("no work in the background", "a subagent, or a background shell")
    change = "a subagent, or another background shell"
    if e.shell_is_young:
        change = f"the end of the shell, or another {duration(e.call_stall_after - e.shell_age)}"
    return _Seen("a background shell is open", change, e.shell_age, e.call_stall_after)


def _stalls(e: ActivityEvidence, tool: str) -> _Seen:
    value, change, age, threshold = _progress(e, tool)
    if e.at_work and e.call_age is not None:
        change = "the end of the open call"
    elif e.at_work and not e.progress_is_visible:
        value, change = f"{value}; its progress cannot be seen", "progress that can be seen, and its end"
    return _Seen(value, change, age, threshold)


def _idle(e: ActivityEvidence, _: str) -> _Seen:
    says = ", and it says that it is idle" if e.says_idle else ""
    change = "a turn" if e.in_turn is False else "the end of its turn, or its word that it is idle"
    return _Seen(f"{_work(e)}{says}", change)


def _nothing(_: ActivityEvidence, __: str) -> _Seen:
    return _Seen(None, "word of a turn, of a call or of a task")


_ACTIVITY_ROWS: tuple[Callable[[ActivityEvidence, str], _Seen], ...] = (
    _waiting,
    _blocked,
    _call_works,
    _call_stalls,
    _progress,
    _background,
    _stalls,
    _idle,
    _nothing,
)
