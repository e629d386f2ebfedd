"""Say in words what is watched, how, and what the configuration stands for. Pure; quick to import.

The status document may come from another version of the daemon or from a stranger's file.
"""

from __future__ import annotations

from coordd.cli.agent_places import short_path
from coordd.util.text import count, number, shown
from coordd.util.untyped import as_dict, dicts

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

_HOW = {"inotify": "inotify", "poll": "polled", "waiting": "waiting", "unreadable": "unreadable"}
_LISTED = 5  # directories of one entry that cannot be looked into, named at most


def none_named(document: dict[str, Any]) -> str:
    """Return what to do where no workspace is watched and no entry of the configuration names one."""
    if as_dict(document.get("daemon")).get("mode") == "redis":
        return 'No project is watched: with coordination.mode = "redis" only Redis is read; "auto" reads all.'
    return "Name a project with 'coordd run --workspace DIR', or in the configuration."


def how_watched(one: dict[str, Any]) -> str:
    """Return how a workspace is watched, in a word."""
    return _HOW.get(str(one.get("state")), shown(one.get("state")))


def why_so(one: dict[str, Any]) -> str:
    """Return why a workspace is not simply watched; nothing where it is."""
    state, error = one.get("state"), one.get("error")
    if state == "waiting" and error:
        return f"{shown(error)} (it is awaited)"
    if state == "waiting":
        return "no heartbeats yet (.claude/coordination is awaited)"
    if state == "unreadable":
        return f"cannot be read ({shown(error)})" if error else "cannot be read"
    return f"polled: {shown(error)}" if state == "poll" and error else ""


def entry_lines(
    one: dict[str, Any], home: str | None, workspaces: Sequence[dict[str, Any]] = ()
) -> list[str]:
    """Return what an entry of the configuration stands for, and what of it cannot be looked into.

    ``workspaces`` are those of the same status, which tell whether a project exists.
    """
    named = [each for each in workspaces if each.get("entry") == one.get("entry") and one.get("entry")]
    words = _no_project(named) if one.get("pattern") is not True else None
    return [f"{short_path(one.get('entry'), home)}: {words or _stands_for(one)}", *closed_lines(one, home)]


def _no_project(named: Sequence[dict[str, Any]]) -> str | None:
    """Return why none of these workspaces can be read; None where one can, or may be once it is there."""
    troubled = [one for one in named if one.get("state") in ("waiting", "unreadable") and one.get("error")]
    return why_so(troubled[0]) if named and len(troubled) == len(named) else None


def closed_lines(one: dict[str, Any], home: str | None) -> list[str]:
    """Return a line for each directory of an entry that cannot be looked into, the first ones by name."""
    closed = dicts(one.get("unreadable"))
    named = [f"  cannot be looked into: {_reason(place, home)}" for place in closed[:_LISTED]]
    more = len(closed) - len(named) + int(number(one.get("unreadable_more")) or 0)
    return [*named, *([f"  … and {more} more"] if more > 0 else [])]


def _stands_for(one: dict[str, Any]) -> str:
    directories, workspaces = number(one.get("directories")), number(one.get("workspaces"))
    if one.get("pattern") is not True:
        return "one project"
    if not directories:
        return "no directory matches yet; new ones are noticed"
    if not workspaces:
        words = "1 directory, without" if directories == 1 else f"{count(directories)} directories, none with"
        return f"{words} .claude/coordination yet; it is awaited"
    found = f"{count(workspaces)} {'workspace' if workspaces == 1 else 'workspaces'}"
    return f"{count(directories)} {'directory' if directories == 1 else 'directories'}, {found}"


def _reason(place: dict[str, Any], home: str | None) -> str:
    reason, path = shown(place.get("reason")), place.get("path")
    return reason if isinstance(path, str) and path in reason else f"{short_path(path, home)}: {reason}"
