"""Make and parse file names: ``agent_2026-11-22.jsonl``, ``agent_2026-11-22.2.jsonl``, …, ``….gz``.

Pure: names in, names out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One file of a series, ordered as written: by UTC date (``2026-11-22``), then by number from 1."""

    date: str
    number: int
    compressed: bool = False


def part_name(series: str, part: Part, extension: str) -> str:
    """Return the file name of a part; ``extension`` is without its dot."""
    number = "" if part.number == 1 else f".{part.number}"
    return f"{series}_{part.date}{number}.{extension}{'.gz' if part.compressed else ''}"


def parse_part(name: str, series: str, extension: str) -> Part | None:
    """Return the part that a file name stands for; None for names that :func:`part_name` does not make."""
    match = re.fullmatch(
        rf"{re.escape(series)}_([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}})(?:\.([1-9][0-9]{{0,8}}))?"
        rf"\.{re.escape(extension)}(\.gz)?",
        name,
    )
    if match is None or match[2] == "1":
        return None
    return Part(match[1], int(match[2] or 1), match[3] is not None)


@dataclass(frozen=True, slots=True)
class RecordSeries:
    """What the files of one kind of record are called and begin with.

    ``extension`` is without its dot, ``link`` the name of the symlink to the current part, ``header`` the
    first line of every part, without newline; None for none.
    """

    name: str
    extension: str
    link: str
    header: bytes | None = None


SERIES = {"agent": "jsonl", "event": "jsonl", "performance": "csv", "system": "jsonl"}
"""All series, and the extensions of their files."""


def series_of(name: str) -> tuple[str, Part] | None:
    """Return the series and the part that a file name stands for; None for any other name."""
    series = name.partition("_")[0]
    if series not in SERIES:
        return None
    part = parse_part(name, series, SERIES[series])
    return None if part is None else (series, part)


MAX_NUMBER = 999_999_999


def parts_of(names: Iterable[str], *, series: str, date: str, extension: str) -> set[Part]:
    """Return the parts of one date among these names."""
    begin = f"{series}_{date}."
    parts = (parse_part(name, series, extension) for name in names if name.startswith(begin))
    return {part for part in parts if part is not None}
