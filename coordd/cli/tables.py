"""Make the table of agents for ``status`` and ``agents``. Pure: entries of ``agents.list`` to lines."""

from __future__ import annotations

from coordd.util.text import ago, clipped, count, number, shown, table

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

NOT_ACTIVE_FIRST = ("inactive", "unknown", "active")
_RANK = {status: rank for rank, status in enumerate(NOT_ACTIVE_FIRST)}
ID_COLUMNS = 40
"""Columns of an id in a table, on a terminal and in a pipe; --json shows longer ids in full."""
STATUS_STYLE = {"inactive": "red", "unknown": "yellow", "active": "green"}


def not_active_first(agents: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sort agents: inactive, unknown, active, then by id and workspace; keep each (workspace, id) once."""
    unique: dict[tuple[str, str], dict[str, Any]] = {}
    for agent in agents:
        unique.setdefault((str(agent.get("workspace")), str(agent.get("agent_id"))), agent)
    return sorted(
        unique.values(),
        key=lambda a: (_RANK.get(str(a.get("status")), 1), str(a.get("agent_id")), str(a.get("workspace"))),
    )


def agent_lines(
    agents: Sequence[dict[str, Any]], *, colour: bool, snapshot_age: float | None = None, old: bool = False
) -> list[str]:
    """Return a heading and one row for each agent.

    With ``old`` the entries come from a snapshot, and the verdict's heading is WAS. They are ``snapshot_age``
    seconds old (None: unknown, or just now), which is added to the age of a beat.
    """
    workspaces = {str(agent.get("workspace")) for agent in agents}
    heading = ["AGENT", "WAS" if old else "STATUS", "REASON", "TASKS", "LAST BEAT"]
    if len(workspaces) > 1:
        heading.append("WORKSPACE")
    rows = [heading]
    for agent in agents:
        row = [
            clipped(shown(agent.get("agent_id")), ID_COLUMNS),
            shown(agent.get("status")),
            shown(agent.get("reason")),
            count(agent.get("active_tasks")),
            ago(_beat_age(agent, snapshot_age, old=old)),
        ]
        if len(workspaces) > 1:
            row.append(shown(agent.get("workspace")))
        rows.append(row)

    def style(row: int, column: int) -> str | None:
        if row == 0:
            return "bold"
        return STATUS_STYLE.get(rows[row][1]) if column == 1 and not old else None

    return table(rows, style if colour else None)


def _beat_age(agent: dict[str, Any], snapshot_age: float | None, *, old: bool) -> float | None:
    known = number(agent.get("last_heartbeat_age"))
    if known is None or (old and snapshot_age is None):
        return None
    return known + (snapshot_age or 0.0)
