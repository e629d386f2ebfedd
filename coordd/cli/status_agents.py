"""Write what needs a human, and the agents by project, for ``status``. Pure; imports little.

| block | has |
|---|---|
| needs you | the ``attention`` of the status document, in its order |
| agents | a row each under its project: first the projects and the agents that need a human |
"""

from __future__ import annotations

from coordd.cli.agent_places import place_of, short_path
from coordd.cli.agent_words import (
    LIVING,
    NEEDING,
    STYLE,
    claims_by_holder,
    doing,
    ended,
    in_order,
    key_of,
    labels,
    rank_of,
    seconds_since,
    since,
    state_of,
    task_words,
    tokens,
)
from coordd.cli.grid import Column, grid
from coordd.cli.look import ROWS
from coordd.util.text import UNKNOWN, age, count, number, paint, percent, shown, size, width
from coordd.util.untyped import as_dict, dicts

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from coordd.cli.agent_words import Agent, Key
    from coordd.cli.look import Picture
    from coordd.cli.view import View

_NEEDS = (
    Column(least=8),
    Column(least=16, most=70),
    Column(right=True),
    Column(least=8, leave=1, most=200, path=True),
)
_COMMAND = Column()
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


def needs_lines(picture: Picture, view: View, *, now: float | None) -> list[str]:
    """Return the block of what needs a human, a line if nobody does, none where the daemon does not tell."""
    attention = picture.document.get("attention")
    if not isinstance(attention, list):
        return []
    entries = dicts(attention)
    if not entries:
        return ["Nobody needed you then." if view.old else "Nobody needs you."]
    names = labels(picture.agents)
    rows = [
        [
            _subject(entry, names, view),
            shown(entry.get("text")),
            age(seconds_since(entry.get("since"), now)),
            short_path(entry.get("workspace"), view.home) if entry.get("workspace") else "",
        ]
        for entry in entries[:ROWS]
    ]
    # A command asks a daemon that answers.
    commands = [_command(entry) for entry in entries[:ROWS]] if not view.old else []
    kinds = [STYLE.get(str(entry.get("kind")), "yellow") for entry in entries]

    def style(row: int, column: int) -> str | None:
        return kinds[row] if column == 0 else None

    lines = [paint("Needed you then" if view.old else "Needs you", "bold", colour=view.colour)]
    lines += _with_commands(rows, commands, view, style if view.paints else None)
    if len(entries) > ROWS:
        lines.append(f"  … and {len(entries) - ROWS} more" + ("" if view.old else ": coordctl rpc status"))
    return lines


def _with_commands(
    rows: list[list[str]], commands: list[str], view: View, style: Callable[[int, int], str | None] | None
) -> list[str]:
    """Return the rows with what to type for each at its end; where that is too wide, below it."""
    if any(commands):
        full = [[*row, command] for row, command in zip(rows, commands, strict=True)]
        lines = grid(full, (*_NEEDS, _COMMAND), style=style, indent=_INDENT)
        plain = grid(full, (*_NEEDS, _COMMAND), indent=_INDENT)
        if view.columns is None or max(map(width, plain)) <= view.columns:
            return lines
    lines = grid(rows, _NEEDS, room=view.columns, style=style, indent=_INDENT)
    if not any(commands):
        return lines
    below = [[line, f"{_INDENT * 2}{command}"] for line, command in zip(lines, commands, strict=True)]
    return [line for pair in below for line in pair if line.strip()]


def _command(entry: dict[str, Any]) -> str:
    command = entry.get("command")
    return shown(command) if isinstance(command, str) else ""


def agent_lines(picture: Picture, view: View, *, now: float | None, later: float | None) -> list[str]:
    """Return the agents by project, and lines for those that are not shown.

    The entries are ``later`` seconds old (None: nobody knows); ``now`` is epoch seconds.
    """
    present = [agent for agent in in_order(picture.agents) if not ended(agent)]
    chosen = _chosen(present)
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
    return lines + _hidden(picture.document, len(present), len(chosen), view)


def _chosen(present: Sequence[Agent]) -> list[Agent]:
    """Return the agents to show: who needs a human; silent and unknown ones leave half the rest to others."""
    needing = [agent for agent in present if rank_of(agent) < NEEDING][:ROWS]
    quiet = [agent for agent in present if NEEDING <= rank_of(agent) < LIVING]
    busy = [agent for agent in present if rank_of(agent) >= LIVING]
    room = ROWS - len(needing)
    quiet = quiet[: max(room - len(busy), room // 2)]
    return [*needing, *quiet, *busy[: room - len(quiet)]]


def _subject(entry: dict[str, Any], names: dict[Key, str], view: View) -> str:
    subject, workspace = entry.get("subject"), entry.get("workspace")
    key = (workspace if isinstance(workspace, str) else "", str(subject))
    if key in names and entry.get("kind") not in ("orphaned", "split", "mass"):
        return names[key]
    return short_path(subject, view.home)


def _heading(place: str, agents: Sequence[Agent], view: View) -> str:
    trees = {key_of(agent)[0] for agent in agents if place_of(agent) == place}
    words = short_path(place, view.home)
    return words if len(trees) < 2 else f"{words} (worktrees: {len(trees)})"


def _context(agent: Agent) -> str:
    words = tokens(agent.get("context_tokens"))
    return words if words == UNKNOWN else f"ctx {words}"


def _hidden(document: dict[str, Any], known: int, shown_ones: int, view: View) -> list[str]:
    counts = as_dict(document.get("agents"))
    total, gone, today = (number(counts.get(name)) for name in ("total", "ended", "ended_today"))
    more = max(int((total or 0) - (gone or 0)), known) - shown_ones
    lines = []
    if more > 0:
        lines.append(f"… and {more} more" + ("" if view.old else ": coordctl agents"))
    folded = max(today or 0, gone or 0)
    if folded > 0:
        words = f"{count(folded)} ended today" if today else f"{count(folded)} ended"
        command = "coordctl agents --all" if today else "coordctl agents"
        lines.append(words + ("" if view.old else f" ({command})"))
    return lines
