"""Break text into lines that fit a window, and lose nothing of it. Pure; imports little."""

from __future__ import annotations

from coordd.util.text import width

_LEAST = 16
"""Columns for the text at least, however narrow the window: below that nobody could read it."""


def wrapped(text: str, room: int | None, *, first: str = "", rest: str = "") -> list[str]:
    """Return an escaped text as lines of at most ``room`` columns (None: one line), broken between words.

    ``first`` begins the first line, ``rest`` each further one. A word that is longer than a line is broken.
    """
    if room is None or width(first) + width(text) <= room:
        return [first + text]
    lines: list[str] = []
    begin, line = first, ""
    for word in text.split(" "):
        candidate = f"{line} {word}" if line else word
        if line and width(candidate) > _left(begin, room):
            lines.append(begin + line)
            begin, candidate = rest, word
        while width(candidate) > _left(begin, room):
            head = _fitting(candidate, _left(begin, room))
            lines.append(begin + head)
            begin, candidate = rest, candidate[len(head) :]
        line = candidate
    return [*lines, begin + line]


def _left(begin: str, room: int) -> int:
    return max(room - width(begin), _LEAST)


def _fitting(text: str, columns: int) -> str:
    """Return the longest beginning of a text that fits."""
    end = min(len(text), columns)
    while width(text[:end]) > columns:
        end -= 1
    return text[:end]
