"""Make the table of ``coordctl orphans``. Pure: entries of ``orphans.list`` to lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordd.cli.agent_places import short_path
from coordd.cli.grid import Column, grid
from coordd.cli.tables import ID_COLUMNS
from coordd.util.text import UNKNOWN, age, clipped, percent, shown, size
from coordd.util.untyped import as_list

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordd.cli.view import View

_HEADING = ["PID", "NAME", "LEFT BY", "PROJECT", "AGE", "CPU", "MEM", "PORTS"]
_COLUMNS = (
    Column(right=True),
    Column(least=8, most=16),
    Column(least=16, most=ID_COLUMNS),
    Column(least=12, most=200, leave=2, path=True),
    Column(right=True),
    Column(right=True),
    Column(right=True),
    Column(least=5, leave=1, most=40),
)


def orphan_lines(orphans: Sequence[dict[str, Any]], view: View) -> list[str]:
    """Return a heading, one row for each process, and what a person may type."""
    rows = [list(_HEADING)]
    rows += [
        [
            shown(one.get("pid")),
            shown(one.get("name")),
            _owner(one),
            short_path(one.get("project") or one.get("workspace"), view.home),
            age(one.get("age")),
            percent(one.get("cpu_percent")),
            size(one.get("rss")),
            ", ".join(shown(port) for port in as_list(one.get("ports"))) or UNKNOWN,
        ]
        for one in orphans
    ]

    def style(row: int, _column: int) -> str | None:
        return "bold" if row == 0 else None

    lines = grid(rows, _COLUMNS, room=view.columns, style=style if view.colour else None, headed=True)
    return [*lines, "", f"coordd ends none of them; 'kill {shown(orphans[0].get('pid'))}' ends the first."]


def _owner(one: dict[str, Any]) -> str:
    """Return the agent whose process it was, by its name and kind; or the session of which alone is known."""
    named = one.get("agent_name") or one.get("agent_id")
    kind = one.get("kind")
    if named is None:
        session = one.get("session_id")
        named = UNKNOWN if session is None else f"session {session}"
    words = clipped(shown(named), ID_COLUMNS)
    return words if kind is None or str(named).startswith(f"{kind}-") else f"{words} ({shown(kind)})"
