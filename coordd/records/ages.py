"""Which record files are older: by the order in which they were begun, for a clock may have lied in their
names.

A file is named after the day that the clock told. Where the clock ran ahead and came back, that day is still
to come, and a name alone would make such a file the newest for ever. The manifest has the order of writing:

- a date that is still to come is false, and counts as the day during which the file was begun;
- a date before that of a file begun earlier is false as well (a clock that started in 1970), and so it does;
- files that somebody gave to coordd go by their names, and so do all while the manifest has none of them.

Pure: names in, ages out.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from coordd.records.manifest import Claims, plain_name
from coordd.records.names import Part


@dataclass(frozen=True, slots=True, order=True)
class Age:
    """Orders files, oldest first: the day that counts (``2026-11-22``, or empty), then the turn within it.

    ``named`` says that the file has the name of that day: it may be written to still, and so comes last.
    """

    date: str
    named: bool
    turn: int
    number: int


def ages_of(parts: Iterable[tuple[str, Part]], claims: Claims, today: str) -> dict[str, Age]:
    """The age of each file.

    Args:
        parts: names of files of one series (plain or gzipped), and what they stand for.
        claims: of the manifest beside them.
        today: the UTC date by the clock.
    """
    places: dict[str, tuple[int, str, list[str], int]] = {}
    ages: dict[str, Age] = {}
    strangers: list[tuple[str, Part]] = []
    for name, part in parts:
        plain = plain_name(name)
        turn = claims.order.get(plain)
        if turn is None or plain in claims.adopted:
            strangers.append((name, part))
        elif plain in places:  # its other form
            places[plain][2].append(name)
        else:
            places[plain] = (turn, part.date, [name], part.number)
    newest = ""
    early: list[tuple[int, str, list[str], int]] = []
    for place in sorted(places.values()):
        turn, date, names, number = place
        if date <= today:
            newest = max(newest, date)
        if not newest:
            early.append(place)
            continue
        for name in names:
            ages[name] = Age(newest, date == newest, turn, number)
    first = min((age.date for age in ages.values()), default="")
    for turn, date, names, number in early:
        for name in names:
            ages[name] = Age(first or date, not first or date == first, turn, number)
    for name, part in strangers:
        known = part.date <= today or not newest
        ages[name] = Age(
            part.date if known else "", known, claims.order.get(plain_name(name), -1), part.number
        )
    return ages
