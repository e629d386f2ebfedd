"""Tell which file systems other machines write to, where inotify only sees this machine's changes.

The parser and the decision are pure; one function reads the mount table. FUSE counts as remote whatever it is
backed by: changes made there directly reach no watch.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

Mount = tuple[str, str]
"""Mount point and type of file system."""

_REMOTE = frozenset(
    {
        *("nfs", "nfs3", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "afpfs", "coda", "ncpfs"),
        *("davfs", "webdav", "ceph", "glusterfs", "lustre", "gpfs", "beegfs", "pvfs2", "orangefs", "ocfs2"),
        *("gfs2", "9p", "virtiofs", "vboxsf", "prl_fs", "vmhgfs", "fuse", "osxfuse", "macfuse"),
    }
)
_OCTAL = re.compile(r"\\([0-7]{3})")


def parse_mountinfo(text: str) -> list[Mount]:
    """Return the mounts in ``/proc/self/mountinfo`` (proc_pid_mountinfo(5)), in their order.

    A line without ``-`` between its two halves is left out.
    """
    mounts = []
    for line in text.splitlines():
        before, separator, after = line.partition(" - ")
        fields, source = before.split(" "), after.split(" ")
        if separator and len(fields) >= 6:
            mounts.append((_OCTAL.sub(lambda match: chr(int(match[1], 8)), fields[4]), source[0]))
    return mounts


def fstype_of(path: str, mounts: Sequence[Mount]) -> str | None:
    """Return the type of the file system that holds ``path``; None if unknown.

    ``path`` is absolute, without symbolic links. The longest mount point wins; of equal ones the last, which
    covers those before it.
    """
    best, found = -1, None
    for point, fstype in mounts:
        inside = point in ("/", path) or path.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= best:
            best, found = len(point), fstype
    return found


def is_remote_type(fstype: str) -> bool:
    """Return whether other machines write to file systems of this type; ``fuseblk`` is a local disk."""
    return fstype in _REMOTE or fstype.startswith("fuse.")


def remote_type(path: str) -> str | None:
    """Return the type of the file system of ``path`` if other machines write to it, else None.

    Follows symbolic links; may block.
    """
    fstype = fstype_of(os.path.realpath(path), mounts())
    return fstype if fstype is not None and is_remote_type(fstype) else None


def is_remote(path: str) -> bool:
    """Return whether other machines write to the file system of ``path``."""
    return remote_type(path) is not None


def mount_points() -> frozenset[str]:
    """Return the directories at which another file system begins, without symbolic links."""
    return frozenset(point for point, _ in mounts())


def mounts() -> list[Mount]:
    """Return the mounts of this machine in their order; none where they cannot be told."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
            return parse_mountinfo(table.read())
    except OSError:  # no Linux
        import psutil
    try:
        return [(part.mountpoint, part.fstype.lower()) for part in psutil.disk_partitions(all=True)]
    except OSError:
        return []
