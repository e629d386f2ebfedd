"""Put coordd's hooks into the text of a settings file, and take them out of it. Pure.

Everything else in the text stays as it is, character by character: order, indentation, line ends, a byte
order mark, members that are named twice, hooks of others for the same events.
"""

from __future__ import annotations

from typing import Any

from coordd.cli.hooks.entries import first_place, found_groups, groups, settings
from coordd.cli.hooks.json_spans import (
    BadJson,
    member,
    parse,
    top,
    with_item,
    with_member,
    without,
)

BOM = "\ufeff"


def with_hooks(text: str, script: str) -> str:
    """Return the text with the hooks, each once; the same text where it has just these.

    Raises:
        BadJson: it is no JSON, or holds something else where hooks have to be.
    """
    bom, text = _split(text)
    if not text.strip():
        return bom + with_member("{}", top("{}"), "hooks", settings(script)["hooks"]) + "\n"
    document = parse(text)
    _check(document)
    wanted = groups(script)
    found = list(found_groups(document))
    if len(found) == len(wanted) and all(one in found for one in wanted):
        return bom + text
    text = _without_hooks(text)
    for event, group in wanted:
        text = _with_group(text, event, group)
    return bom + text


def without_hooks(text: str) -> str:
    """Return the text without hooks of coordd's, and without what they alone had filled.

    Raises:
        BadJson: it is no JSON.
    """
    bom, text = _split(text)
    return bom + (_without_hooks(text) if text.strip() else text)


def has_hooks(text: str) -> bool:
    """Return whether a text holds hooks of coordd's; False for one that is no JSON."""
    try:
        return bool(text.strip()) and any(found_groups(parse(_split(text)[1])))
    except BadJson:
        return False


def _split(text: str) -> tuple[str, str]:
    return (BOM, text[1:]) if text.startswith(BOM) else ("", text)


def _check(document: Any) -> None:
    """Check that hooks can be added; raises BadJson."""
    if not isinstance(document, dict):
        raise BadJson(f"holds {_kind(document)} where an object is expected")
    hooks = document.get("hooks", {})
    if not isinstance(hooks, dict):
        raise BadJson(f"holds {_kind(hooks)} under 'hooks' where an object is expected")
    for event, _ in groups(""):
        listed = hooks.get(event, [])
        if not isinstance(listed, list):
            raise BadJson(f"holds {_kind(listed)} under 'hooks.{event}' where a list is expected")


def _kind(value: object) -> str:
    if value is None:
        return "null"
    kinds = ((dict, "an object"), (list, "a list"), (str, "a text"), (bool, "true or false"))
    return next((words for kind, words in kinds if isinstance(value, kind)), "a number")


def _with_group(text: str, event: str, group: dict[str, Any]) -> str:
    whole = top(text)
    hooks = member(text, whole, "hooks")
    if hooks is None:
        return with_member(text, whole, "hooks", {event: [group]})
    listed = member(text, hooks.value, event)
    if listed is None:
        return with_member(text, hooks.value, event, [group])
    return with_item(text, listed.value, group)


def _without_hooks(text: str) -> str:
    while True:
        place = first_place(text, parse(text), top(text))
        if place is None:
            return text
        # the innermost level in which something else is left
        levels = place.levels
        chosen = next((one for one in reversed(levels) if len(one[1]) > 1), levels[0])
        text = without(text, *chosen)
