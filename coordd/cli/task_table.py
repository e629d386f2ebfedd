"""Make the table of tasks for ``tasks``, ``agent`` and ``why``. Pure: tasks to lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordd.cli.agent_places import short_path
from coordd.cli.grid import Column, grid
from coordd.cli.tables import ID_COLUMNS
from coordd.util.text import UNKNOWN, age, ago, clipped, epoch_of, number, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordd.cli.view import View

_MESSAGE_COLUMNS = 60
_COLUMNS = (
    Column(least=8, most=ID_COLUMNS),
    Column(),
    Column(least=12, most=2 * ID_COLUMNS),
    Column(),
    Column(),
    Column(least=10, most=100),
    Column(least=8, leave=1, most=200, path=True),
)
_STYLE = {"orphaned": "red", "expired": "yellow", "held": "green"}


def task_lines(tasks: Sequence[dict[str, Any]], asked: object, view: View) -> list[str]:
    """Return a heading and one row for each task; times are relative to ``asked``, the answer's timestamp."""
    moment = epoch_of(asked)
    workspaces = {str(task.get("workspace")) for task in tasks}
    heading = ["TASK", "STATE", "HOLDER", "SINCE", "UNTIL", "PROGRESS"]
    if len(workspaces) > 1:
        heading.append("WORKSPACE")
    rows = [heading]
    for task in tasks:
        row = [
            clipped(shown(task.get("task_id")), ID_COLUMNS),
            shown(task.get("state")),
            _holder(task),
            _when(task.get("claimed_at"), moment),
            _when(task.get("expires_at"), moment),
            _progress(task, moment),
        ]
        if len(workspaces) > 1:
            row.append(_place(task, view.home))
        rows.append(row)

    def style(row: int, column: int) -> str | None:
        if row == 0:
            return "bold"
        return _STYLE.get(rows[row][1]) if column == 1 else None

    columns = _COLUMNS[: len(heading)]
    return grid(rows, columns, room=view.columns, style=style if view.colour else None, headed=True)


def _holder(task: dict[str, Any]) -> str:
    agent_id, status = task.get("agent_id"), task.get("holder_status")
    if agent_id is None:
        return "may not be read" if task.get("problem") is not None else UNKNOWN
    holder = clipped(shown(agent_id), ID_COLUMNS)
    if status == "active":
        return holder
    return f"{holder} ({'no trace of it' if status is None else shown(status)})"


def _place(task: dict[str, Any], home: str | None) -> str:
    path = task.get("workspace")
    return "Redis" if path is None else short_path(path, home)


def _when(timestamp: object, asked: float | None) -> str:
    """Return a time as ``5 min ago`` or ``in 5 min``."""
    then = epoch_of(timestamp)
    if then is None or asked is None:
        return shown(timestamp)
    return ago(asked - then) if then <= asked else f"in {age(then - asked)}"


def _progress(task: dict[str, Any], asked: float | None) -> str:
    percent, message = number(task.get("progress")), task.get("message")
    parts = [] if percent is None else [f"{percent:.0f} %"]
    if task.get("failed") is True:
        parts.append("failed")
    if isinstance(message, str) and message:
        parts.append(clipped(shown(message), _MESSAGE_COLUMNS))
    if not parts:
        return UNKNOWN
    if task.get("progress_at") is not None:
        parts.append(f"({_when(task['progress_at'], asked)})")
    return " ".join(parts)
