"""Change single values of a JSON text, and leave every other character as it is.

Pure. A text is parsed whole first, so that nothing is ever changed in one that is no JSON. Places in it are
*spans*: the index of a value's first character, and the one after its last.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

_SPACE = " \t\n\r"


class BadJson(ValueError):
    """Raised for a text that is no JSON; its words complete "it "."""


class Span(NamedTuple):
    """A value: where it stands."""

    start: int
    end: int


class Member(NamedTuple):
    """A member of an object: its name, where that begins, and its value."""

    name: str
    start: int
    value: Span


def parse(text: str) -> Any:
    """Return what a text holds; raises BadJson, which says where it is no JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        raise BadJson(f"is no JSON: line {error.lineno}, column {error.colno}: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # NaN; a number of 5,000 digits; 1,000 brackets
        raise BadJson(f"is no JSON that can be read: {error}") from error


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is no value")


def top(text: str) -> Span:
    """Return the span of the value that a text holds."""
    start = _after_space(text, 0)
    return Span(start, _end_of(text, start))


def members(text: str, span: Span) -> list[Member]:
    """Return the members of an object, in their order; a name may stand there twice."""
    found = []
    at = _after_space(text, span.start + 1)
    while text[at] != "}":
        start = at
        name, at = json.decoder.scanstring(text, start + 1)  # type: ignore[attr-defined]  # typeshed lacks it
        at = _after_space(text, _after_space(text, at) + 1)  # past the colon
        value = Span(at, _end_of(text, at))
        found.append(Member(name, start, value))
        at = _next(text, value.end)
    return found


def items(text: str, span: Span) -> list[Span]:
    """Return the items of an array, in their order."""
    found = []
    at = _after_space(text, span.start + 1)
    while text[at] != "]":
        found.append(Span(at, _end_of(text, at)))
        at = _next(text, found[-1].end)
    return found


def member(text: str, span: Span, name: str) -> Member | None:
    """Return the member that counts under a name: of several the last one."""
    return next((one for one in reversed(members(text, span)) if one.name == name), None)


def with_member(text: str, span: Span, name: str, value: object) -> str:
    """Return the text with a further member at the end of an object."""
    children = [Span(one.start, one.value.end) for one in members(text, span)]
    return _with_child(text, span, children, value, prefix=json.dumps(name, ensure_ascii=False) + ": ")


def with_item(text: str, span: Span, value: object) -> str:
    """Return the text with a further item at the end of an array."""
    return _with_child(text, span, items(text, span), value)


def without(text: str, span: Span, children: list[Span], index: int) -> str:
    """Return the text without one of the children of an array or object, and its comma."""
    child = children[index]
    if len(children) == 1:
        return text[: span.start + 1] + text[span.end - 1 :]
    if index == 0:
        return text[: child.start] + text[children[1].start :]
    return text[: children[index - 1].end] + text[child.end :]


def _with_child(text: str, span: Span, children: list[Span], value: object, prefix: str = "") -> str:
    unit = _unit(text)
    if unit is None:
        written = prefix + json.dumps(value, ensure_ascii=False)
        if children:
            return f"{text[: children[-1].end]}, {written}{text[children[-1].end :]}"
        return text[: span.start + 1] + written + text[span.end - 1 :]
    newline = "\r\n" if "\r\n" in text else "\n"
    around = _indent_at(text, span.start)
    inner = _indent_at(text, children[-1].start) if children else around + unit
    if children and inner == around:  # they stand on the line of their parent
        inner = around + unit
    written = json.dumps(value, ensure_ascii=False, indent=unit).replace("\n", newline + inner)
    if children:
        return f"{text[: children[-1].end]},{newline}{inner}{prefix}{written}{text[children[-1].end :]}"
    child = f"{newline}{inner}{prefix}{written}{newline}{around}"
    return text[: span.start + 1] + child + text[span.end - 1 :]


def _unit(text: str) -> str | None:
    """Return by what a text indents one level; None for one that stands on a single line."""
    span = top(text)
    inside = text[span.start + 1 : span.end - 1]
    first = _after_space(text, span.start + 1)
    if first == span.end - 1:
        return "  "
    if "\n" not in inside:
        return None
    indent = _indent_at(text, first)[len(_indent_at(text, span.start)) :]
    return indent or "  "


def _indent_at(text: str, at: int) -> str:
    """Return the white space with which the line of a place begins."""
    line = text.rfind("\n", 0, at) + 1
    end = line
    while end < at and text[end] in " \t":
        end += 1
    return text[line:end]


def _after_space(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def _next(text: str, at: int) -> int:
    """Return where the next child begins, or the bracket that closes its parent."""
    at = _after_space(text, at)
    return _after_space(text, at + 1) if text[at] == "," else at


def _end_of(text: str, start: int) -> int:
    return json.JSONDecoder().raw_decode(text, start)[1]
