"""Choose the files that may hold records of a span, and open them safely.

A file's date is that of writing. A record is made before it is written: usually by milliseconds, at worst by
as long as a disk was full. So a file holds nothing from after its date, unless the clock was set back between
making and writing (EDGE allows for that), and a later file may begin with old records.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

from coordd.records import manifest_file
from coordd.records.ages import ages_of
from coordd.records.manifest import ManifestClaims
from coordd.records.moments import Span
from coordd.records.names import Part, parse_part, part_name
from coordd.util.regular_files import open_if_regular
from coordd.util.timestamps import utc_date

EDGE = 3600.0


@dataclass(frozen=True, slots=True)
class Chosen:
    """A part to read; ``late``: its date is after the span, so its beginning decides whether it is read."""

    part: Part
    late: bool


def choose(directory: str, series: str, span: Span, *, today: str | None = None) -> list[Chosen]:
    """Return the parts that may hold records of ``span``, in the order of writing, each once.

    Of a part that is both plain and gzipped (a kill during compression), the plain file counts. A directory
    that does not exist holds nothing. ``today`` is the UTC date, by default the clock's; see ages.py.

    Raises:
        OSError: the directory cannot be listed.
    """
    wide = span.widened(EDGE)
    # as bytes that order like time, because an hour after 9999-12-31 has no date
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


def claims_of(directory: str) -> ManifestClaims:
    """Return what the manifest of a directory says; nothing where it has none or it cannot be read."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return ManifestClaims()
    try:
        return ManifestClaims.parse(manifest_file.read(descriptor, directory) or b"")
    except OSError:
        return ManifestClaims()
    finally:
        os.close(descriptor)


def open_part(directory: str, series: str, part: Part) -> tuple[int, Part] | None:
    """Open a part for reading, or its gzipped form where it was compressed meanwhile.

    Returns:
        The descriptor and the part as it was found; None where it is gone, or is not a regular file.

    Raises:
        OSError: the file exists and may not be read.
    """
    for form in (part, Part(part.date, part.number, not part.compressed)):
        path = os.path.join(directory, part_name(series, form, "jsonl"))
        descriptor = open_if_regular(path)
        if descriptor is not None:
            return descriptor, form
    return None
