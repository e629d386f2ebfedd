"""Write what needs a human, for ``status``: ``attention``, in its order. Pure; imports little."""

from __future__ import annotations

from coordd.cli.agent_places import project_words, short_path
from coordd.cli.agent_words import STYLE, key_of, labels, seconds_since
from coordd.cli.grid import MOST, Column, grid
from coordd.cli.wrapping import wrapped
from coordd.util.text import age, middle, paint, shown, width
from coordd.util.untyped import dicts

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from coordd.cli.agent_words import Agent
    from coordd.cli.look import Picture
    from coordd.cli.view import View

    Entry = dict[str, Any]
    Style = Callable[[int, int], str | None]

_INDENT = "  "
_LEAST_TEXT = 16
_LEAST_PLACE = 8
_PLACE = Column(least=_LEAST_PLACE, leave=1, most=200, path=True)
_TEXT = 1
_OF_CLAIMS = ("orphaned", "split", "mass")
"""The kinds whose subject is no agent."""


def needs_lines(picture: Picture, view: View, *, now: float | None) -> list[str]:
    """Return the block of what needs a human, a line if nobody does, none where the daemon does not tell."""
    attention = picture.document.get("attention")
    if not isinstance(attention, list):
        return []
    entries = dicts(attention)
    if not entries:
        return ["Nobody needed you then." if view.old else "Nobody needs you."]
    rows = need_rows(entries[: view.needs], picture.agents, view, now)
    # A command asks a daemon that answers.
    commands = ["" if view.old else _command(entry) for entry in entries[: view.needs]]
    kinds = [STYLE.get(str(entry.get("kind")), "yellow") for entry in entries]

    def style(row: int, column: int) -> str | None:
        return kinds[row] if column == 0 else None

    lines = [paint("Needed you then" if view.old else "Needs you", "bold", colour=view.colour)]
    lines += _laid_out(rows, commands, view, style if view.paints else None)
    if len(entries) > view.needs:
        lines.append(
            f"  … and {len(entries) - view.needs} more" + ("" if view.old else ": coordctl rpc status")
        )
    return lines


def need_rows(
    entries: Sequence[Entry], agents: Sequence[Agent], view: View, now: float | None
) -> list[list[str]]:
    """Return of each entry its name, its text, its age and its place."""
    names, known = labels(agents), {key_of(agent): agent for agent in agents}
    places = {key_of(agent)[0]: project_words(agent, view.home) for agent in agents}
    rows = []
    for entry in entries:
        subject, workspace = entry.get("subject"), entry.get("workspace")
        at = workspace if isinstance(workspace, str) else ""
        key = (at, str(subject))
        named = key in known and entry.get("kind") not in _OF_CLAIMS
        place = places.get(at, short_path(at, view.home)) if at else ""
        if subject == workspace:  # of agents that fell together: one place is enough
            name, place = place or shown(subject), ""
        else:
            name = names[key] if named else short_path(subject, view.home)
        if not named:
            name = middle(name, MOST)
        rows.append([name, shown(entry.get("text")), age(seconds_since(entry.get("since"), now)), place])
    return rows


def _command(entry: Entry) -> str:
    command = entry.get("command")
    return shown(command) if isinstance(command, str) else ""


def _laid_out(rows: list[list[str]], commands: list[str], view: View, style: Style | None) -> list[str]:
    """Return the rows with what to type for each at its end; where that is too wide, below it.

    A text that is too wide even then goes on below: where an agent waits stands at its end. The place gives
    way first, and then the text; the name does where nothing else can.
    """
    full = [[*row, command] for row, command in zip(rows, commands, strict=True)]
    columns = (Column(least=_LEAST_TEXT), Column(), Column(right=True), _PLACE, Column())
    if view.columns is None or max(map(width, grid(full, columns, indent=_INDENT))) <= view.columns:
        return grid(full, columns, style=style, indent=_INDENT)
    name, room = _rooms(rows, view.columns)
    texts = [_broken(row[_TEXT], room) for row in rows]
    short = [[*row[:_TEXT], head, *row[_TEXT + 1 :]] for row, (head, _) in zip(rows, texts, strict=True)]
    cut = (Column(least=name, most=name), Column(), Column(right=True), _PLACE)
    lines = grid(short, cut, room=view.columns, style=style, indent=_INDENT)
    below = _INDENT * 2
    found: list[str] = []
    for line, (_, rest), command in zip(lines, texts, commands, strict=True):
        together = f"{rest}{_INDENT}{command}" if rest and command else rest or command
        fits = width(below + together) <= view.columns
        found.append(line)
        for words in [together] if fits else [rest, command]:
            found += wrapped(words, view.columns, first=below, rest=below) if words else []
    return found


def _rooms(rows: Sequence[Sequence[str]], columns: int) -> tuple[int, int]:
    """Return the columns for the name and for the text of all rows.

    A place has a fourth of what is left to it and the text, or less where it needs less.
    """
    name, _, since, place = (max(width(row[x]) for row in rows) for x in range(4))
    left = columns - len(_INDENT) * 3 - since
    name = min(name, MOST, max(left - _LEAST_TEXT, _LEAST_PLACE))
    left -= name
    if place:
        place = len(_INDENT) + min(place, max(left // 4, _LEAST_PLACE))
    return name, max(left - place if left - place >= _LEAST_TEXT else left, _LEAST_TEXT)


def _broken(text: str, room: int) -> tuple[str, str]:
    """Return the beginning of a text that fits, up to its last comma unless that is early, and the rest."""
    head = wrapped(text, room)[0]
    comma = head.rfind(", ") + 1
    if len(head) < len(text) and comma >= _LEAST_TEXT:
        head = head[:comma]
    return head, text[len(head) :].lstrip(" ")
