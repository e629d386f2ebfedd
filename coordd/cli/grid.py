"""Lay out rows of cells in columns that fit a window. Pure; ``coordctl status`` imports it and starts fast.

A column in which no cell says anything is left out. Where the window is too narrow, flexible columns shrink
first, those with paths before others, each cut marked by an ellipsis, and then columns are left out in the
order of their ``leave``.
"""

from __future__ import annotations

from coordd.util.text import UNKNOWN, clipped, middle, paint, width

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MOST = 40
"""Columns of a flexible cell at most, however wide the window is; ``--json`` shows all of it."""
_GAP = 2


class Column:
    """Describe one column.

    ``least`` is the width to which it may shrink (0: its cells are never cut); ``right`` aligns it to the
    right. Columns with a ``leave`` above 0 are left out where room is short, the least one first. ``most``
    bounds a flexible cell. With ``path`` its cells lose their middle.
    """

    __slots__ = ("least", "leave", "most", "path", "right")

    def __init__(
        self,
        *,
        least: int = 0,
        right: bool = False,
        leave: int = 0,
        most: int = MOST,
        path: bool = False,
    ) -> None:
        self.least = least
        self.path = path
        self.right = right
        self.leave = leave
        self.most = most


def grid(
    rows: Sequence[Sequence[str]],
    columns: Sequence[Column],
    *,
    room: int | None = None,
    style: Callable[[int, int], str | None] | None = None,
    indent: str = "",
    headed: bool = False,
) -> list[str]:
    """Return the rows as lines, all with the same columns, and no blanks at their ends.

    Args:
        rows: escaped cells, as many in each row as there are ``columns``.
        columns: how each column behaves.
        room: the columns that the window has; None for as many as it takes.
        style: returns the style of a cell by row and column; it is applied after measuring.
        indent: what begins each line.
        headed: the first row is a heading, which alone makes no column worth showing.
    """
    if not rows:
        return []
    body = rows[1:] if headed else rows
    shown = [x for x in range(len(columns)) if x == 0 or any(_says(row[x]) for row in body)]
    natural = {x: _natural(rows, x, columns[x]) for x in shown}
    widths = _fitted(natural, columns, None if room is None else room - len(indent))
    lines = []
    for y, row in enumerate(rows):
        cells = []
        for x, most in widths.items():
            text = middle(row[x], most) if columns[x].path else clipped(row[x], most)
            painted = paint(text, style(y, x), colour=True) if style is not None and text else text
            blanks = " " * (most - width(text))
            cells.append(blanks + painted if columns[x].right else painted + blanks)
        lines.append((indent + (" " * _GAP).join(cells)).rstrip())
    return lines


def _says(cell: str) -> bool:
    return cell not in ("", UNKNOWN)


def _natural(rows: Sequence[Sequence[str]], x: int, column: Column) -> int:
    widest = max(width(row[x]) for row in rows)
    return min(widest, column.most) if column.least else widest


def _fitted(natural: dict[int, int], columns: Sequence[Column], room: int | None) -> dict[int, int]:
    """Return the widths of the columns that stay; more than fits only if nothing can give way any more."""
    widths = dict(natural)
    if room is None:
        return widths
    expendable = sorted((x for x in widths if columns[x].leave), key=lambda x: columns[x].leave)
    while expendable and _sum({x: _least(widths[x], columns[x]) for x in widths}) > room:
        del widths[expendable.pop(0)]
    while (over := _sum(widths) - room) > 0:
        flexible = [x for x in widths if widths[x] > _least(natural[x], columns[x])]
        flexible = [x for x in flexible if columns[x].path] or flexible
        if not flexible:
            return widths
        widest = max(flexible, key=lambda x: widths[x])
        others = [widths[x] for x in flexible if widths[x] < widths[widest]]
        step = widths[widest] - max([*others, _least(natural[widest], columns[widest])])
        widths[widest] -= max(1, min(over, step))
    return widths


def _least(natural: int, column: Column) -> int:
    return min(natural, column.least) if column.least else natural


def _sum(widths: dict[int, int]) -> int:
    return sum(widths.values()) + _GAP * max(len(widths) - 1, 0)
