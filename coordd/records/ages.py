"""Order record files by when they were begun, because a wrong clock may have given them false names.

A file is named after the day on the clock. Where the clock ran ahead and came back, that day is still to
come, and by its name alone such a file would be the newest for ever. The manifest has the order of writing::

    the date in a file's name            the day that the file counts for
    is still to come                     the day during which the file was begun
    is before that of a file that was    the same: the clock was wrong (it started in 1970)
    begun earlier
    any other                            the date in its name

Files that a person gave to coordd count by their names, and so do all while the manifest lists none of them.
Pure: names in, ages out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from coordd.records.manifest import ManifestClaims, plain_name
from coordd.records.names import Part


@dataclass(frozen=True, slots=True, order=True)
class Age:
    """The sort key of a file, oldest first: the day it counts for (or ""), then its place within the day.

    ``named`` says that the file has the name of that day: it may still be written, and so comes last.
    """

    date: str
    named: bool
    turn: int
    number: int


def ages_of(parts: Iterable[tuple[str, Part]], claims: ManifestClaims, today: str) -> dict[str, Age]:
    """Return the age of each file.

    Args:
        parts: names of files of one series (plain or gzipped), and what they stand for.
        claims: what the manifest beside them says.
        today: the UTC date by the clock.
    """
    listed: dict[str, tuple[int, str, list[str], int]] = {}
    ages: dict[str, Age] = {}
    unlisted: list[tuple[str, Part]] = []
    for name, part in parts:
        plain = plain_name(name)
        turn = claims.order.get(plain)
        if turn is None or plain in claims.adopted:
            unlisted.append((name, part))
        elif plain in listed:  # its other form, gzipped or plain
            listed[plain][2].append(name)
        else:
            listed[plain] = (turn, part.date, [name], part.number)
    newest = ""
    early: list[tuple[int, str, list[str], int]] = []
    for entry in sorted(listed.values()):
        turn, date, names, number = entry
        if date <= today:
            newest = max(newest, date)
        if not newest:
            early.append(entry)
            continue
        for name in names:
            ages[name] = Age(newest, date == newest, turn, number)
    first = min((age.date for age in ages.values()), default="")
    for turn, date, names, number in early:
        for name in names:
            ages[name] = Age(first or date, not first or date == first, turn, number)
    for name, part in unlisted:
        known = part.date <= today or not newest
        ages[name] = Age(
            part.date if known else "", known, claims.order.get(plain_name(name), -1), part.number
        )
    return ages
