"""Which files may hold records of a span, and opening them safely.

A file's date is that of writing. A record is made before it is written: by milliseconds as a rule, by as long
as a disk was full at worst. So a file holds nothing from after its date, but for a clock set back between
making and writing (EDGE covers it), and a later file may begin with old records.
"""

from __future__ import annotations

import os
import stat
import time
from dataclasses import dataclass

from coordd.records import manifest
from coordd.records.ages import ages_of
from coordd.records.manifest import Claims
from coordd.records.moments import Span
from coordd.records.names import Part, parse_part, part_name
from coordd.util.timestamps import utc_date

EDGE = 3600.0
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Chosen:
    """A part to read. ``late`` says that by its date it is too young: only its beginning tells."""

    part: Part
    late: bool


def choose(directory: str, series: str, span: Span, *, today: str | None = None) -> list[Chosen]:
    """The parts that may hold records of ``span``, in the order of writing, each once.

    Where a part is there plain and gzipped (a kill during compression), the plain one counts. A directory
    that does not exist (yet) holds nothing. ``today`` is the UTC date, by default the clock's; ages.py has
    what it is for.

    Raises:
        OSError: the directory cannot be listed.
    """
    wide = span.widened(EDGE)
    # as bytes that order like time: an hour after 9999-12-31 has no date
    first, last = wide.low[:10].decode(), wide.high[:10].decode()
    try:
        names = os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found: dict[tuple[str, int], Part] = {}
    for name in names:
        part = parse_part(name, series, "jsonl")
        if part is None or part.date < first:
            continue
        known = found.get((part.date, part.number))
        if known is None or known.compressed:
            found[part.date, part.number] = part
    named = {part_name(series, part, "jsonl"): part for part in found.values()}
    ages = ages_of(named.items(), claims_of(directory), today or utc_date(time.time()))
    return [
        Chosen(part, late=part.date > last)
        for _, part in sorted(named.items(), key=lambda one: (ages[one[0]], one[1]))
    ]


def claims_of(directory: str) -> Claims:
    """What the manifest of a directory says; nothing where there is none to be read."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return Claims()
    try:
        return Claims.parse(manifest.read(descriptor, directory) or b"")
    except OSError:
        return Claims()
    finally:
        os.close(descriptor)


def open_part(directory: str, series: str, part: Part) -> tuple[int, Part] | None:
    """Open a part for reading, in its other form where it was compressed meanwhile.

    Returns:
        The descriptor and the form that it has; None where it is gone, or is no regular file.

    Raises:
        OSError: it is there and may not be read.
    """
    for form in (part, Part(part.date, part.number, not part.compressed)):
        path = os.path.join(directory, part_name(series, form, "jsonl"))
        try:
            status = os.lstat(path)
            if not stat.S_ISREG(status.st_mode):
                continue
            descriptor = os.open(path, _FLAGS)
        except FileNotFoundError:
            continue
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor, form
        os.close(descriptor)
    return None
