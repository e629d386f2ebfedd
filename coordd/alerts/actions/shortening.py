"""Shorten a text for where only so much is shown or taken: whole lines, and how many are left out."""

from __future__ import annotations

from coordd.util.text import CUT


def shortened(text: str, longest: int) -> str:
    """Return at most so many characters of a text."""
    if len(text) <= longest:
        return text
    lines = text.split("\n")
    room = longest - len(f"\n{CUT} and {len(lines)} lines more")
    kept: list[str] = []
    for line in lines:
        room -= len(line) + 1
        if room < 0:
            break
        kept.append(line)
    if not kept:
        return text[: longest - 1] + CUT
    left = len(lines) - len(kept)
    return "\n".join([*kept, f"{CUT} and {left} line{'' if left == 1 else 's'} more"])
