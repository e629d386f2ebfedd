"""Choose the part of a series that lines are written to: the last one of coordd's, or a new one behind it.

Only a file that coordd made, as the manifest proves, gets more lines. A name that another file has is passed
over. Those who used the plain names of the days before are left the one of today (``_DATE.2`` is used), for
they will append to it. Nothing here opens a part for writing lines; record_file.py does.
"""

from __future__ import annotations

import datetime as dt
import errno

from coordd.records.manifest import ManifestClaims, announcement, remark
from coordd.records.names import MAX_NUMBER, Part, RecordSeries, part_name, parts_of
from coordd.records.provenance import is_own, proven, proves
from coordd.sinks.folder import Folder
from coordd.sinks.held_folder import HeldFolder
from coordd.sinks.repair import Damage, repair_file

_LOOK_BACK = 2
"""Days whose plain names tell whether somebody else uses those."""


def choose_part(
    folder: Folder, claims: ManifestClaims, series: RecordSeries, *, date: str, max_bytes: int
) -> Part:
    """Return the highest part of a date that is coordd's and may grow, or the next number that is free.

    Args:
        folder: the directory, open.
        claims: what its manifest says.
        series, date: of the part.
        max_bytes: a part of that size or more gets no more lines; 0 always begins a new one.

    Raises:
        OSError: with ``filename``; the directory cannot be read, or no number is left.
    """
    names = folder.names()
    taken = parts_of(names, series=series.name, date=date, extension=series.extension)
    plain_names = [part_name(series.name, Part(day, 1), series.extension) for day in _days_before(date)]
    last = int(any(_is_others(folder, claims, name, set(names)) for name in plain_names))
    for part in sorted(taken, reverse=True):
        name = part_name(series.name, part, series.extension)
        if not proves(claims, folder.fd, name):
            continue
        is_packed = part.compressed or Part(part.date, part.number, compressed=True) in taken
        if not is_packed and _may_grow(folder, claims, part, name, max_bytes):
            return part
        last = max(last, part.number)
        break
    numbers = {part.number for part in taken}
    number = next(n for n in range(last + 1, MAX_NUMBER + 2) if n not in numbers)
    if number > MAX_NUMBER:
        raise OSError(errno.EEXIST, f"no name is left for a part of {date}", folder.path)
    return Part(date, number)


def prepare_part(held: HeldFolder, folder: Folder, name: str, *, header: bytes) -> Damage | None:
    """Announce a part in the manifest before it is made, or repair its end if it is there already.

    Args:
        held: has the manifest of the directory.
        folder: the directory, open.
        name: of the part.
        header: its first line, empty where it has none.

    Returns:
        The torn tail that was set aside; None where there was none.

    Raises:
        OSError: with ``filename``; the part may not be written yet.
    """
    claims = held.claims(folder)
    if not claims.announces(name):
        # Before the file: an empty one that is found after a kill has to be known as coordd's.
        held.announce(folder, announcement(name, header))
        return None
    if folder.regular(name) is None:
        return None
    if claims.sizes.get(name) is not None:
        held.announce(folder, remark(name, size=None))
    # A tail torn by an earlier process, or copied back by a person, would swallow the next line.
    return repair_file(folder, name, held)


def demand_own(held: HeldFolder, folder: Folder, descriptor: int, name: str) -> None:
    """Raise OSError unless the file just opened is coordd's: somebody may have made it a moment before."""
    if not proven(held.claims(folder), descriptor, name):
        raise OSError(errno.EAGAIN, "somebody else made it just now", folder.path_of(name))


def _may_grow(folder: Folder, claims: ManifestClaims, part: Part, name: str, max_bytes: int) -> bool:
    """Return whether lines may be added to a part: nobody else writes to it, and it is not full."""
    if name in claims.adopted or (part.number == 1 and name in claims.met):
        return False
    if not is_own(claims, folder.fd, name):
        return False
    status = folder.regular(name)
    return status is not None and status.st_size < max_bytes


def _is_others(folder: Folder, claims: ManifestClaims, plain: str, names: set[str]) -> bool:
    """Return whether somebody else's lines are in a file of this name, in either form."""
    return any(
        plain in claims.met or plain in claims.mixed or not is_own(claims, folder.fd, name)
        for name in names & {plain, f"{plain}.gz"}
    )


def _days_before(day: str) -> list[str]:
    date = dt.date.fromisoformat(day)
    return [str(date - dt.timedelta(days=n)) for n in range(1, _LOOK_BACK + 1) if date.toordinal() > n]
