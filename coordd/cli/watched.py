"""Say what is watched and what to do, for when there is no agent at all. Pure; imports little.

The status document may come from another version of the daemon or from a stranger's file.
"""

from __future__ import annotations

from coordd.cli.agent_places import short_path
from coordd.cli.status_facts import LISTED
from coordd.cli.workspace_words import entry_lines, none_named, why_so
from coordd.util.text import enumerated, middle, shown, width, with_short_words
from coordd.util.untyped import as_dict, dicts

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from typing import Any

    from coordd.cli.view import View


_BY_THEMSELVES = (("claude-code", "Claude Code"), ("codex", "Codex"), ("copilot", "Copilot"))


def watched_lines(document: dict[str, Any], view: View) -> list[str]:
    """Return what a status document says is watched, and what to do."""
    workspaces, every = dicts(document.get("workspaces")), dicts(document.get("sources"))
    sources = [one for one in every if not is_by_process(one)]
    patterns = [one for one in dicts(document.get("workspace_entries")) if one.get("pattern") is True]
    lines = [
        f"  {with_short_words(line, view.line - 2)}"
        for one in patterns[:LISTED]
        for line in entry_lines(one, view.home)
    ]
    lines += [_line("", one, _workspace(one), view) for one in workspaces[:LISTED]]
    lines += [_line(f"{shown(one.get('kind'))} ", one, home_words(one), view) for one in sources[:LISTED]]
    hidden = sum(max(len(some) - LISTED, 0) for some in (patterns, workspaces, sources))
    if hidden:
        lines.append(f"  … and {hidden} more")
    if as_dict(document.get("redis")).get("configured") is True:
        lines.append("  Redis")
    lines = ["Watched" if not view.old else "Watched then", *(lines or ["  nothing"])]
    if view.old:
        return lines
    kinds = [one.get("kind") for one in sources]
    seen = enumerated([name for kind, name in _BY_THEMSELVES if kind in kinds])
    if seen:
        lines.append(f"{seen} sessions appear here by themselves.")
    if len(sources) < len(every):
        lines.append("Other coding agents appear by their processes.")
    redis_alone = as_dict(document.get("daemon")).get("mode") == "redis"
    if not workspaces and not patterns and (redis_alone or not sources):
        lines.append(none_named(document))
    return [*lines, "If an agent runs and is not here, try: coordctl doctor"]


def _line(kind: str, one: dict[str, Any], state: str, view: View) -> str:
    room = view.line - width(f"  {kind}")
    path = middle(short_path(one.get("path"), view.home), max(room - width(state), room // 2))
    return f"  {kind}{path}{with_short_words(state, view.line)}"


def _workspace(one: dict[str, Any]) -> str:
    words = why_so(one) if one.get("state") in ("waiting", "unreadable") else ""
    return f": {words}" if words else ""


def is_by_process(one: dict[str, Any]) -> bool:
    """Return whether a source has no place: it tells of agents by their processes alone."""
    return one.get("kind") == "process"


def home_words(one: dict[str, Any]) -> str:
    """Return what ails a home of a coding agent, to be written after its path; nothing where nothing does."""
    if one.get("state") == "waiting":
        return ": not there yet, and awaited"
    return f": {why_so(one)}" if one.get("state") == "unreadable" else ""
