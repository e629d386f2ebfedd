"""Say the verdict on an agent in three sentences: what it does, whether it lives, what would change that.

Pure: answers of ``agents.get``, which may come from another version of the daemon.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordd.cli.agent_words import name_of, no_beat, seconds_since, since, state_of
from coordd.cli.evidence_words import value_words
from coordd.util.text import UNKNOWN, age, ago, duration, epoch_of, number, shown
from coordd.util.untyped import dicts

if TYPE_CHECKING:
    from collections.abc import Callable

    Agent = dict[str, Any]


def sentences(agent: Agent) -> list[str]:
    """Return the sentences; the last is missing where the daemon does not tell what would change it."""
    state = state_of(agent)
    does = _DOES.get(state, _is)(agent)
    lives = _LIVES.get(str(agent.get("reason")), _counts_as)(agent)
    changes = [_decided(agent, table).get("change") for table in ("activity_rows", "verdict_rows")]
    known = list(dict.fromkeys(shown(change) for change in changes if isinstance(change, str) and change))
    told = [f"{name_of(agent)} {does}.", f"{lives}."]
    return [*told, f"What would change that: {'; or '.join(known)}."] if known else told


def _decided(agent: Agent, table: str) -> dict[str, Any]:
    """Return the row of a table that decided; empty where the daemon does not tell."""
    return next((row for row in dicts(agent.get(table)) if row.get("decides") is True), {})


def _for(agent: Agent) -> str:
    lasted = since(agent, epoch_of(agent.get("timestamp")), later=0.0)
    return "" if lasted is None else f", for {age(lasted)}"


def _ended(agent: Agent) -> str:
    fell = seconds_since(agent.get("inactive_since"), epoch_of(agent.get("timestamp")))
    return "" if fell is None else f" {ago(fell)}"


def _about(agent: Agent) -> str:
    """Return what the row that decided its activity looked at, as the end of a sentence."""
    value = _decided(agent, "activity_rows").get("value")
    return f": {shown(value)}" if isinstance(value, str) and value else ""


def _waits(agent: Agent) -> str:
    what = agent.get("waiting_for")
    return "waits for you" + (f": {shown(what)}" if isinstance(what, str) and what else "") + _for(agent)


def _works(agent: Agent) -> str:
    tool = agent.get("tool")
    return "works" + (f": {shown(tool)} is open" if isinstance(tool, str) and tool else "") + _for(agent)


def _blocked(agent: Agent) -> str:
    refusals = [one for one in dicts(agent.get("evidence")) if one.get("signal") == "refusal"]
    why = value_words(refusals[0], utc=True, zone="") if refusals else UNKNOWN
    known = why not in (UNKNOWN, "other")
    return "is refused by its provider" + (f" ({why})" if known else "") + _for(agent)


def _is(agent: Agent) -> str:
    return f"is {shown(agent.get('status'))}{_for(agent)}"


_DOES: dict[str, Callable[[Agent], str]] = {
    "waiting": _waits,
    "working": _works,
    "blocked": _blocked,
    "stalled": lambda agent: f"is stalled{_for(agent)}{_about(agent)}",
    "idle": lambda agent: f"is idle{_for(agent)}{_about(agent)}",
    "active": lambda agent: f"is active{_for(agent)}, and nothing tells what it does",
    "killed": lambda agent: f"was killed{_ended(agent)}",
    "silent": lambda agent: f"fell silent{_ended(agent)}",
    "ended": lambda agent: f"ended in order{_ended(agent)}",
}
"""What an agent does, by its state."""


def _process(agent: Agent) -> str:
    pid = agent.get("pid")
    return "its process" if pid is None else f"its process (pid {shown(pid)})"


def _silence(agent: Agent) -> tuple[str, str]:
    """Return its silence and what is allowed, both in words."""
    row = _decided(agent, "verdict_rows")
    return duration(row.get("age")), duration(row.get("threshold"))


def _killed(agent: Agent) -> str:
    return f"It is gone: {_process(agent)}, which coordd saw alive, is gone without an orderly end"


def _beats(agent: Agent) -> str:
    silence, allowed = _silence(agent)
    if UNKNOWN in (silence, allowed):
        return "It lives: its last sign is young enough"
    return f"It lives: it has been silent for {silence}, less than the {allowed} of agents.timeout"


def _silent(agent: Agent) -> str:
    silence, allowed = _silence(agent)
    if UNKNOWN in (silence, allowed):
        return "It counts as gone: its last sign is too old"
    return f"It counts as gone: it has been silent for {silence}, more than the {allowed} of agents.timeout"


def _counts_as(agent: Agent) -> str:
    row = _decided(agent, "verdict_rows") or agent.get("verdict")
    when = row.get("when") if isinstance(row, dict) else None
    because = shown(when if isinstance(when, str) and when else agent.get("reason"))
    return f"It counts as {shown(agent.get('status'))}: {because}"


_CANNOT_TELL = "Whether it lives cannot be told: "


def _unreachable(agent: Agent) -> str:
    denied = [one for one in dicts(agent.get("evidence")) if one.get("signal") == "denied"]
    if not denied:
        return f"{_CANNOT_TELL}the source that knows it cannot be read"
    return f"{_CANNOT_TELL}its heartbeat may not be read. {shown(denied[0].get('value'))}"


_NO_BEAT = {
    "contradiction": "by one of its times it beat a moment ago, by the other long before; a beat decides",
    "unchanged": "what Redis holds of it has not changed since coordd first saw it, nor says since when",
    "unreadable": "no beat of it that can be read and no process of it were ever seen",
}
_LIVES: dict[str, Callable[[Agent], str]] = {
    "process": lambda agent: f"It lives: {_process(agent)} is there",
    "heartbeat": _beats,
    "killed": _killed,
    "ended": lambda _: "It is gone: it deregistered, or its process ended in order",
    "silent": _silent,
    "unreachable": _unreachable,
    "quiet": lambda _: f"{_CANNOT_TELL}after its last hook none is due, however long it takes",
    "no-heartbeat": lambda agent: f"{_CANNOT_TELL}{_NO_BEAT[no_beat(agent)]}",
}
"""Whether an agent lives, by the reason of the verdict."""


def looked_at(row: dict[str, Any]) -> str:
    """Return what a row of a table looked at: value, age, threshold and source, as far as they are known."""
    parts = [shown(row.get("value"))] if row.get("value") is not None else []
    known = [name for name in ("age", "threshold") if number(row.get(name)) is not None]
    parts += [f"{name} {age(row.get(name))}" for name in known]
    if row.get("source") is not None:
        parts.append(f"source {shown(row.get('source'))}")
    return ", ".join(parts)
