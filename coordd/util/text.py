"""Values as words for a terminal: escaped, aligned, with units; unknown is ``-``, never 0.

Pure. Every string that came over the wire or out of a file goes through :func:`escape` before a terminal sees
it: ids, paths and messages are data from strangers. No dataclasses, typing, re or datetime at run time, for
``coordctl status`` uses this before it may cost anything.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

UNKNOWN = "-"

_STYLES = {"bold": "1", "red": "31", "green": "32", "yellow": "33", "dim": "2"}
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def escape(text: str) -> str:
    r"""The text with everything that is not plainly visible written as ``\n``, ``\x1b``, ``\u202e``.

    That is what :meth:`str.isprintable` refuses: control characters (C0, DEL, C1), format characters (bidi
    overrides, zero-width ones, tags), lone surrogates, line and paragraph separators, private use.
    """
    if text.isprintable():
        return text
    return "".join([c if c.isprintable() else _escaped(c) for c in text])


def escape_lines(text: str) -> str:
    """As :func:`escape`, but line breaks stay: for messages of several lines."""
    return "\n".join([escape(line) for line in text.split("\n")])


def shown(value: object) -> str:
    """A scalar from JSON as a word: text escaped, None as ``-``, booleans as yes and no."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.10g}"
    return escape(str(value))


def number(value: object) -> float | None:
    """A finite number out of JSON, None for anything else (booleans are no numbers)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if abs(result) < float("inf") else None


def count(value: object) -> str:
    """A count: ``12345``."""
    known = number(value)
    return UNKNOWN if known is None else f"{known:.0f}"


def percent(value: object) -> str:
    """``12.3 %``."""
    known = number(value)
    return UNKNOWN if known is None else f"{known:.1f} %"


def size(value: object) -> str:
    """Bytes with a binary unit: ``512 B``, ``1.5 GiB``."""
    known = number(value)
    if known is None:
        return UNKNOWN
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(known) < 1024 or unit == "TiB":
            break
        known /= 1024
    return f"{known:.0f} {unit}" if unit == "B" or abs(known) >= 100 else f"{known:.1f} {unit}"


def age(seconds: object) -> str:
    """How long ago, in the largest unit of which there are two: ``12 s``, ``3 min``, ``5 h``, ``2 d``."""
    known = number(seconds)
    if known is None:
        return UNKNOWN
    known = max(known, 0.0)
    for limit, length, unit in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if known < limit:
            return f"{int(known / length)} {unit}"
    return f"{int(known / 86400)} d"


def ago(seconds: object) -> str:
    """``12 s ago``; ``-`` when unknown."""
    words = age(seconds)
    return words if words == UNKNOWN else f"{words} ago"


def duration(seconds: object) -> str:
    """How long, in its two largest units: ``45 s``, ``3 min 20 s``, ``2 h 13 min``, ``5 d 4 h``."""
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
    """Epoch seconds of a timestamp in coordd's own form, ``2026-11-22T06:05:00.123Z``; None for any other.

    timestamps.parse_timestamp reads every form there is, and costs the import of datetime; this is for the
    few that the daemon itself wrote. Days are counted from 1 March, so that the leap day comes last.
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
    """The columns that a terminal gives to an escaped text."""
    if text.isascii():
        return len(text)
    from unicodedata import combining, east_asian_width

    return sum(0 if combining(c) else 2 if east_asian_width(c) in "WF" else 1 for c in text)


def clipped(text: str, columns: int) -> str:
    """An escaped text in at most so many columns; ``…`` stands for what was cut off its end."""
    if width(text) <= columns:
        return text
    while width(text) > columns - 1:
        text = text[: columns - 1] if len(text) >= columns else text[:-1]
    return text + "…"


def table(rows: Sequence[Sequence[str]], style: Callable[[int, int], str | None] | None = None) -> list[str]:
    """Rows of escaped cells as lines: columns aligned, two spaces between, no trailing blanks.

    ``style`` gives the style of a cell by row and column; it is applied after measuring, for colour codes
    take no columns.
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


def join_known(parts: Iterable[str]) -> str:
    """The parts that say something, two spaces between."""
    return "  ".join([part for part in parts if part])


def paint(text: str, style: str | None, *, colour: bool) -> str:
    """The text in an SGR style (ECMA-48): bold, dim, red, green or yellow; as it is without colour."""
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colour and style else text


def _escaped(char: str) -> str:
    code = ord(char)
    if char in _SHORT:
        return _SHORT[char]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
