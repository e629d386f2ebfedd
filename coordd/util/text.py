"""Format values for a terminal: escaped, aligned, with units; unknown is ``-``, never 0.

Pure. Every string from a socket or a file goes through :func:`escape` before it is written to a terminal:
ids, paths and messages are untrusted. No dataclasses, typing, re or datetime at run time: ``coordctl status``
imports this module and has to start fast.
"""

from __future__ import annotations

TYPE_CHECKING = False  # type checkers take it for True; importing typing costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

UNKNOWN = "-"
CUT = "…"
"""What marks a text that was cut."""

_STYLES = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "dim": "2"}
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    r"""Return the text with every unprintable character escaped, as in ``\n``, ``\x1b``, ``\u202e``.

    Unprintable is what :meth:`str.isprintable` refuses: control characters (C0, DEL, C1), format characters
    (bidi overrides, zero-width ones, tags), lone surrogates, line and paragraph separators, private use.
    """
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else _escaped(c) for c in text])


def escape_lines(text: str) -> str:
    """Escape a text of several lines as :func:`escape` does, but keep its line breaks."""
    return "\n".join([escape(line) for line in text.split("\n")])


def shown(value: object) -> str:
    """Format a scalar from JSON: text escaped, None as ``-``, booleans as yes and no."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    return escape(str(value))


def number(value: object) -> float | None:
    """Return a finite number from JSON; None for anything else, booleans included."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if abs(result) < float("inf") else None


def count(value: object) -> str:
    """Format a count: ``12345``."""
    known = number(value)
    return UNKNOWN if known is None else f"{known:.0f}"


def percent(value: object) -> str:
    """Format a percentage: ``12.3 %``."""
    known = number(value)
    return UNKNOWN if known is None else f"{known:.1f} %"


def size(value: object) -> str:
    """Format bytes with a binary unit: ``512 B``, ``1.5 GiB``."""
    known = number(value)
    if known is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(known) < 1024 or unit == "TiB":
            break
        known /= 1024
    return f"{known:.0f} {unit}" if unit == "B" or abs(known) >= 100 else f"{known:.1f} {unit}"


def age(seconds: object) -> str:
    """Format seconds as an age in the largest unit that fits twice: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    known = number(seconds)
    if known is None:
        return UNKNOWN
    known = max(known, 0.0)
    for limit, length, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if known < limit:
            return f"{int(known / length)} {unit}"
    return f"{int(known / 86400)} d"


def ago(seconds: object) -> str:
    """Format an age as ``12 s ago``; ``-`` if unknown."""
    words = age(seconds)
    return words if words == UNKNOWN else f"{words} ago"


def duration(seconds: object) -> str:
    """Format seconds in their two largest units: ``45 s``, ``3 min 20 s``, ``2 h 13 min``, ``5 d 4 h``."""
    known = number(seconds)
    if known is None:
        return UNKNOWN
    rest = int(max(known, 0.0))
    parts: list[tuple[int, str]] = []
    for length, unit in ((86400, "d"), (3600, "h"), (60, "min"), (1, "s")):
        whole, rest = divmod(rest, length)
        if whole or parts:
            parts.append((whole, unit))
    if not parts:
        return "0 s"
    return " ".join([f"{whole} {unit}" for whole, unit in parts[:2] if whole])


def epoch_of(timestamp: object) -> float | None:
    """Return epoch seconds of a timestamp in coordd's own form, ``2026-11-22T06:05:00.123Z``; else None.

    timestamps.parse_timestamp reads every form, at the cost of importing datetime; this one reads only what
    the daemon itself wrote. Days are counted from 1 March, so that the leap day comes last.
    """
    if not isinstance(timestamp, str) or not 20 <= len(timestamp) <= 27 or not timestamp.isascii():
        return None
    date, mark, clock = timestamp[:10], timestamp[10], timestamp[11:19]
    fraction = timestamp[19:-1] or ".0"
    digits = date[:4] + date[5:7] + date[8:] + clock[:2] + clock[3:5] + clock[6:] + fraction[1:]
    if (
        mark != "T"
        or timestamp[-1] != "Z"
        or (date[4] + date[7] + clock[2] + clock[5] + fraction[0]) != "--::."
    ):
        return None
    if not digits.isdigit():
        return None
    year, month, day = int(date[:4]), int(date[5:7]), int(date[8:])
    hour, minute, second = int(clock[:2]), int(clock[3:5]), int(clock[6:])
    if not (year and 1 <= month <= 12 and 1 <= day <= 31 and hour < 24 and minute < 60 and second < 60):
        return None
    if month <= 2:
        year, month = year - 1, month + 12
    days = (
        365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - 719468
    )
    return days * 86400.0 + hour * 3600 + minute * 60 + second + float("0" + fraction)


def width(text: str) -> int:
    """Return how many columns of a terminal an escaped text takes."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def clipped(text: str, columns: int) -> str:
    """Cut an escaped text to at most ``columns`` columns; ``…`` marks the cut."""
    if width(text) <= columns:
        return text
    while width(text) > columns - 1:
        text = text[: columns - 1] if len(text) >= columns else text[:-1]
    return text + CUT


def middle(text: str, columns: int) -> str:
    """Leave out the middle of an escaped text of more than ``columns`` columns; ``…`` stands in its place.

    Of a path, the beginning says where it lies, and the end, of which twice as much is kept, tells most.
    """
    if width(text) <= columns:
        return text
    begin = clipped(text, max((columns - 1) // 3, 1) + 1)[:-1]
    return begin + clipped(text[::-1], max(columns - width(begin), 1))[::-1]


def with_short_words(text: str, columns: int) -> str:
    """Leave out the middle of each word of an escaped text, such as a path, of more than ``columns``."""
    return " ".join([middle(word, columns) for word in text.split(" ")])


def table(rows: Sequence[Sequence[str]], style: Callable[[int, int], str | None] | None = None) -> list[str]:
    """Format rows of escaped cells as lines: columns aligned, two spaces between, no trailing blanks.

    ``style`` maps row and column to the cell's style; it is applied after measuring, since colour codes take
    no columns.
    """
    if not rows:
        return []
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    lines = []
    for y, row in enumerate(rows):
        cells = []
        for x, cell in enumerate(row):
            painted = paint(cell, style(y, x), colour=True) if style is not None else cell
            cells.append(painted + " " * (widths[x] - width(cell)))
        lines.append("  ".join(cells).rstrip())
    return lines


def enumerated(names: Sequence[str]) -> str:
    """Return names as a sentence has them: ``a``, ``a and b``, ``a, b and c``."""
    *most, last = names or [""]
    return f"{', '.join(most)} and {last}" if most else last


def join_known(parts: Iterable[str]) -> str:
    """Join the parts that are not empty by two spaces."""
    return "  ".join([part for part in parts if part])


def paint(text: str, style: str | None, *, colour: bool) -> str:
    """Set a text in an SGR style (ECMA-48): bold, dim, red, green or yellow; unchanged without colour."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colour and style else text


def _escaped(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
