"""Write the agents by project, a row each, for ``status``. Pure; imports little.

First come the projects and the agents that need a human.
"""

from __future__ import annotations

from coordd.cli.agent_places import place_of, short_path, worktree_of
from coordd.cli.agent_words import (
    LIVING,
    NEEDING,
    ORDER,
    STYLE,
    claims_by_holder,
    doing,
    ended,
    in_order,
    key_of,
    labels,
    rank_of,
    since,
    state_of,
    task_words,
    tokens,
)
from coordd.cli.grid import Column, grid
from coordd.util.text import UNKNOWN, age, count, middle, number, paint, percent, size, width
from coordd.util.untyped import as_dict

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from coordd.cli.agent_words import Agent
    from coordd.cli.look import Picture
    from coordd.cli.view import View

_INDENT = "  "
_AGENTS = (
    Column(least=8),
    Column(),
    Column(least=8),
    Column(right=True),
    Column(least=8, leave=4),
    Column(right=True, leave=3),
    Column(right=True, leave=2),
    Column(right=True, leave=1),
)


def agent_lines(picture: Picture, view: View, *, now: float | None, later: float | None) -> list[str]:
    """Return the agents by project, and lines for those that are not shown.

    The entries are ``later`` seconds old (None: nobody knows); ``now`` is epoch seconds.
    """
    present = [agent for agent in in_order(picture.agents) if not ended(agent)]
    chosen = _chosen(present, view.agents)
    names, claims = labels(present), claims_by_holder(picture.tasks)
    rows = [
        [
            names[key_of(agent)],
            state_of(agent),
            doing(agent, later=later),
            age(since(agent, now, later=later)),
            task_words(agent, claims.get(key_of(agent), [])),
            _context(agent),
            percent(agent.get("cpu_percent")),
            size(agent.get("rss")),
        ]
        for agent in chosen
    ]

    def style(row: int, column: int) -> str | None:
        return STYLE.get(rows[row][1]) if column == 1 else None

    drawn = grid(rows, _AGENTS, room=view.columns, style=style if view.paints else None, indent=_INDENT)
    lines: list[str] = []
    for place in dict.fromkeys(place_of(agent) for agent in chosen):
        lines.append(paint(_heading(place, present, view), "bold", colour=view.colour))
        lines += [line for agent, line in zip(chosen, drawn, strict=True) if place_of(agent) == place]
    return lines + _hidden(picture.document, len(present), chosen, view)


def _chosen(present: Sequence[Agent], most: int) -> list[Agent]:
    """Return the agents to show: who needs a human; silent and unknown ones leave half the rest to others."""
    needing = [agent for agent in present if rank_of(agent) < NEEDING][:most]
    quiet = [agent for agent in present if NEEDING <= rank_of(agent) < LIVING]
    busy = [agent for agent in present if rank_of(agent) >= LIVING]
    room = most - len(needing)
    quiet = quiet[: max(room - len(busy), room // 2)]
    return [*needing, *quiet, *busy[: room - len(quiet)]]


def _heading(place: str, agents: Sequence[Agent], view: View) -> str:
    trees = {worktree_of(agent) for agent in agents if place_of(agent) == place} - {None}
    more = f" (worktrees: {len(trees)})" if trees else ""
    return middle(short_path(place, view.home), view.line - width(more)) + more


def _context(agent: Agent) -> str:
    words = tokens(agent.get("context_tokens"))
    return words if words == UNKNOWN else f"ctx {words}"


def _hidden(document: dict[str, Any], known: int, chosen: Sequence[Agent], view: View) -> list[str]:
    counts = as_dict(document.get("agents"))
    total, gone, today = (number(counts.get(name)) for name in ("total", "ended", "ended_today"))
    more = max(int((total or 0) - (gone or 0)), known) - len(chosen)
    lines = []
    if more > 0:
        words = f"… and {more} more" if chosen else f"{more} {'agent' if more == 1 else 'agents'}"
        command = "" if view.old else ": coordctl agents"
        states = _states_of_hidden(counts, more, chosen)
        while states and width(_hidden_words(words, states, command)) > view.line:
            states = [*states[: len(states) - 1 - (states[-1] == "…")], "…"] if len(states) > 2 else []
        lines.append(_hidden_words(words, states, command))
    folded = max(today or 0, gone or 0)
    if folded > 0:
        words = f"{count(folded)} ended today" if today else f"{count(folded)} ended"
        command = "coordctl agents --all" if today else "coordctl agents"
        lines.append(words + ("" if view.old else f" ({command})"))
    return lines


def _hidden_words(words: str, states: Sequence[str], command: str) -> str:
    return words + (f" ({', '.join(states)})" if states else "") + command


def _states_of_hidden(counts: dict[str, Any], more: int, chosen: Sequence[Agent]) -> list[str]:
    """Return what the agents that are not shown do, ``2 stalled``, in the order of need.

    None of a daemon that does not count all states, or whose counts are not of the moment of its list.
    """
    does = as_dict(counts.get("activities"))
    known = {state: number(does.get(state)) for state in ("waiting", "stalled", "blocked", "working", "idle")}
    known |= {"active": number(does.get("unknown")), "unknown": number(counts.get("unknown"))}
    known |= {"killed": number(counts.get("killed"))}
    inactive, ended_ones = number(counts.get("inactive")), number(counts.get("ended"))
    if inactive is None or ended_ones is None or any(value is None for value in known.values()):
        return []
    hidden = {state: int(value or 0) for state, value in known.items()}
    hidden["silent"] = int(inactive - ended_ones) - hidden["killed"]
    for agent in chosen:
        state = state_of(agent)
        hidden["silent" if state == "inactive" else state] -= 1
    if min(hidden.values()) < 0 or sum(hidden.values()) != more:
        return []
    return [f"{hidden[state]} {state}" for state in ORDER if hidden.get(state)]
