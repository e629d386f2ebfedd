"""Say which hooks coordd has in a settings file of Claude Code. Pure.

The script is called as ``[ -x P ] && P EVENT; true``: where it is gone the call does nothing, and whatever it
answers, Claude Code gets a 0. What is called while an agent waits for it is what has to keep its order; the
rest runs beside the agent (``async``).
"""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING, Any, NamedTuple

from coordd.cli.hooks.json_spans import Span, items, member, members

if TYPE_CHECKING:
    from collections.abc import Iterator

SCRIPT = "coordd/hook"
"""The end of the path of the script."""
TIMEOUT = 5
"""Seconds after which Claude Code gives a hook up: its folder may lie on a file system that hangs."""

LONG_TOOLS = "^(Bash|PowerShell|Agent|Task|TaskOutput|Monitor|Workflow|WebFetch|WebSearch|mcp__.*)$"
ASKING_TOOLS = "AskUserQuestion|ExitPlanMode"


class Entry(NamedTuple):
    """One hook: Claude Code's event, of which matches (None: of all), and the word for it in the call."""

    event: str
    matcher: str | None
    word: str
    beside: bool = False


ENTRIES = (
    Entry("SessionStart", "startup|resume|clear", "SessionStart", beside=True),
    Entry("PreToolUse", LONG_TOOLS, "PreToolUse"),
    Entry("PreToolUse", ASKING_TOOLS, "Question"),
    # Claude Code asks for permission for its own questions as well
    Entry("PermissionRequest", "^(?!(AskUserQuestion|ExitPlanMode)$)", "PermissionRequest"),
    Entry("PostToolUse", None, "PostToolUse", beside=True),
    Entry("PostToolUseFailure", None, "PostToolUse", beside=True),
    # of calls side by side one may last when another has ended: only this says that none is open
    Entry("PostToolBatch", None, "PostToolBatch", beside=True),
    Entry("Stop", None, "Stop"),
    Entry("StopFailure", None, "StopFailure"),
    Entry("SessionEnd", None, "SessionEnd"),
)

_CALL = re.compile(r"\[ -x (?P<path>.+) \] && (?P=path) [A-Za-z]+; true", re.DOTALL)


def groups(script: str) -> list[tuple[str, dict[str, Any]]]:
    """Return for each hook Claude Code's event, and the group that stands under it in the settings."""
    return [(one.event, _group(one, script)) for one in ENTRIES]


def settings(script: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return settings that hold these hooks and nothing else."""
    hooks: dict[str, list[dict[str, Any]]] = {}
    for event, group in groups(script):
        hooks.setdefault(event, []).append(group)
    return {"hooks": hooks}


def is_ours(hook: object) -> bool:
    """Return whether one hook of a settings file is coordd's, of whatever version and path."""
    command = hook.get("command") if isinstance(hook, dict) else None
    call = _CALL.fullmatch(command) if isinstance(command, str) else None
    if call is None:
        return False
    try:
        words = shlex.split(call["path"])
    except ValueError:
        return False
    return len(words) == 1 and words[0].endswith("/" + SCRIPT)


class Place(NamedTuple):
    """One hook of coordd's: the spans of what it stands in, from the outside, and its index in each."""

    levels: tuple[tuple[Span, list[Span], int], ...]


def found_groups(document: object) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the hooks of coordd that settings hold, as :func:`groups` has them."""
    hooks = document.get("hooks") if isinstance(document, dict) else None
    for event, listed in hooks.items() if isinstance(hooks, dict) else ():
        for group in listed if isinstance(listed, list) else ():
            inner = group.get("hooks") if isinstance(group, dict) else None
            for hook in inner if isinstance(inner, list) else ():
                if is_ours(hook):
                    yield str(event), {**group, "hooks": [hook]}


def first_place(text: str, document: Any, top: Span) -> Place | None:
    """Return where the first hook of coordd stands in settings, None where none does."""
    outer = member(text, top, "hooks") if isinstance(document, dict) else None
    if outer is None or not isinstance(document["hooks"], dict):
        return None
    parents = members(text, top)
    events = members(text, outer.value)
    for number, event in enumerate(events):
        listed = document["hooks"][event.name]
        if not isinstance(listed, list) or event != member(text, outer.value, event.name):
            continue
        for index, (group, span) in enumerate(zip(listed, items(text, event.value), strict=True)):
            inner = group.get("hooks") if isinstance(group, dict) else None
            where = member(text, span, "hooks") if isinstance(inner, list) else None
            if where is None or not isinstance(inner, list):
                continue
            for place, hook in enumerate(inner):
                if is_ours(hook):
                    return Place(
                        (
                            (top, _spans(parents), parents.index(outer)),
                            (outer.value, _spans(events), number),
                            (event.value, items(text, event.value), index),
                            (where.value, items(text, where.value), place),
                        )
                    )
    return None


def _group(one: Entry, script: str) -> dict[str, Any]:
    quoted = shlex.quote(script)
    hook: dict[str, Any] = {
        "type": "command",
        "command": f"[ -x {quoted} ] && {quoted} {one.word}; true",
        "timeout": TIMEOUT,
    }
    if one.beside:
        hook["async"] = True
    return {"hooks": [hook]} if one.matcher is None else {"matcher": one.matcher, "hooks": [hook]}


def _spans(of: list[Any]) -> list[Span]:
    return [Span(one.start, one.value.end) for one in of]
