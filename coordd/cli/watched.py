"""Say what is watched and what to do, for when there is no agent at all. Pure; imports little.

The status document may come from another version of the daemon or from a stranger's file.
"""

from __future__ import annotations

from coordd.cli.agent_places import short_path
from coordd.cli.status_facts import LISTED
from coordd.util.text import middle, shown, width, with_short_words
from coordd.util.untyped import as_dict, dicts

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from typing import Any

    from coordd.cli.view import View


def watched_lines(document: dict[str, Any], view: View) -> list[str]:
    """Return what a status document says is watched, and what to do."""
    workspaces, sources = dicts(document.get("workspaces")), dicts(document.get("sources"))
    lines = [_line("", one, _workspace(one), view) for one in workspaces[:LISTED]]
    lines += [_line(f"{shown(one.get('kind'))} ", one, _home(one), view) for one in sources[:LISTED]]
    hidden = max(len(workspaces) - LISTED, 0) + max(len(sources) - LISTED, 0)
    if hidden:
        lines.append(f"  … and {hidden} more")
    if as_dict(document.get("redis")).get("configured") is True:
        lines.append("  Redis")
    lines = ["Watched" if not view.old else "Watched then", *(lines or ["  nothing"])]
    if view.old:
        return lines
    if any(one.get("kind") == "claude-code" for one in sources):
        lines.append("Claude Code sessions appear here by themselves.")
    if not workspaces and not sources:
        lines.append("Name a project with 'coordd run --workspace DIR', or in the configuration.")
    return [*lines, "If an agent runs and is not here, try: coordctl doctor"]


def _line(kind: str, one: dict[str, Any], state: str, view: View) -> str:
    room = view.line - width(f"  {kind}")
    path = middle(short_path(one.get("path"), view.home), max(room - width(state), room // 2))
    return f"  {kind}{path}{with_short_words(state, view.line)}"


def _workspace(one: dict[str, Any]) -> str:
    if one.get("state") == "waiting":
        return ": no heartbeats yet (.claude/coordination is awaited)"
    return _unreadable(one)


def _home(one: dict[str, Any]) -> str:
    return ": not there yet, and awaited" if one.get("state") == "waiting" else _unreadable(one)


def _unreadable(one: dict[str, Any]) -> str:
    if one.get("state") != "unreadable":
        return ""
    error = one.get("error")
    return f": cannot be read ({shown(error)})" if error else ": cannot be read"
