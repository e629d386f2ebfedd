"""Record in a snapshot where it was written, and check it: the machine, and the folder by device and inode.

A snapshot in a project may have come with a clone. It counts only if it names this machine and the very
folder that it is in, neither of which the person who committed it can know. Of the machine's id only a digest
is stored, as machine-id(5) asks. Imports little, because ``coordctl`` imports it.
"""

from __future__ import annotations

import os

from coordd.util.digest import sha256_hex
from coordd.util.regular_files import read_file

FIELD = "origin"
"""The snapshot's field for the origin."""
MACHINE_ID = "/etc/machine-id"
_MOST = 256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


def origin_of(directory: int) -> dict[str, object]:
    """Return the origin of files written here: host, machine (digest or None), device and inode."""
    status = os.fstat(directory)
    return {
        "host": os.uname().nodename,
        "machine": _machine(),
        "device": status.st_dev,
        "inode": status.st_ino,
    }


def origin_problem(origin: object, directory: int, *, owner: int) -> str | None:
    """Return why a snapshot with this origin does not count in an open directory; None if it counts.

    ``owner`` is the uid of the file's owner: as on a project's socket, only this user and root are trusted.
    """
    if owner not in (0, os.geteuid()):
        return f"it is a file of uid {owner}"
    if not isinstance(origin, dict):
        return "it does not say on which machine and in which folder it was written"
    here = origin_of(directory)
    if not _same(origin, here, "host") or not _same(origin, here, "machine"):
        return "it was written on another machine"
    if not _same(origin, here, "device") or not _same(origin, here, "inode"):
        return "it was written in another folder"
    return None


def _same(one: Mapping[str, object], other: Mapping[str, object], key: str) -> bool:
    mine, theirs = one.get(key), other[key]
    return type(mine) is type(theirs) and mine == theirs


def _machine() -> str | None:
    try:
        text = read_file(MACHINE_ID, _MOST).strip()
    except OSError:
        return None
    return sha256_hex(b"coordd snapshot\0" + text)[:32] if text else None
