"""Read, append to and shorten the manifest file of an open directory (``.coordd-files.jsonl``).

Appended lines are on disk before the caller goes on. Shortening replaces the file in one step, and a lock
keeps it from losing what another process appends meanwhile. No link is followed. What the lines mean is in
manifest.py.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from collections.abc import Callable

from coordd.records.manifest import ManifestClaims
from coordd.util.directories import sync_directory
from coordd.util.regular_files import make_file, open_own, write_all

NAME = ".coordd-files.jsonl"
MAX_BYTES = 4 * 1024 * 1024
"""Bytes of a manifest that are read, from its end: 20 years' worth. One that came with a clone may be of any
size; what it says before them does not count."""
COMPACT_FROM = 256 * 1024
"""Bytes below which a manifest is not worth shortening."""
_RECENT = 100


def read(folder: int, shown: str = "") -> bytes | None:
    """Read the manifest in an open directory; None where it has none.

    Args:
        folder: descriptor of the directory.
        shown: the path of the directory, for errors.

    Raises:
        OSError: with ``filename``; it cannot be read, or is not a regular file.
    """
    try:
        descriptor = _open(folder, os.O_RDONLY, shown)
    except FileNotFoundError:
        return None
    try:
        return _end_of(descriptor)
    finally:
        os.close(descriptor)


def append(folder: int, lines: bytes, *, mode: int, shown: str = "", before: bytes = b"") -> None:
    """Append lines to the manifest; they are on disk when this returns.

    Args:
        folder: descriptor of the directory.
        lines: whole lines, with their newlines.
        mode: permission bits of a manifest that has to be made.
        shown: the path of the directory, for errors.
        before: what a manifest that has to be made begins with.

    Raises:
        OSError: with ``filename``; the lines may or may not be in the manifest.
    """
    path = os.path.join(shown, NAME)
    try:
        replaced = False
        try:
            descriptor = _open(folder, os.O_RDWR | os.O_APPEND, shown)
        except FileNotFoundError:
            _replace(folder, before + lines, mode)
            return
        try:
            # Without this lock the lines could go into the old file while compact() replaces it.
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink == 0:
                replaced = True
            else:
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                write_all(descriptor, (b"\n" if torn else b"") + lines)
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None
    if replaced:
        append(folder, lines, mode=mode, shown=shown, before=before)


def compact(folder: int, present: Callable[[str], bool], *, mode: int) -> bool:
    """Rewrite a large manifest without the files that are gone.

    Args:
        folder: descriptor of the directory.
        present: tells whether a file of a (plain) name exists, plain or gzipped.
        mode: permission bits of the new manifest.

    Returns:
        Whether it was rewritten; it is not while another process appends lines.

    Raises:
        OSError: the old manifest is unchanged.
    """
    try:
        descriptor = _open(folder, os.O_RDONLY, "")
    except FileNotFoundError:
        return False
    with os.fdopen(descriptor, "rb"):
        if os.fstat(descriptor).st_size < COMPACT_FROM:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        lines = [line for line in _end_of(descriptor).split(b"\n") if line]
        recent = max(0, len(lines) - _RECENT)  # announced, and perhaps not made yet
        kept = [line for i, line in enumerate(lines) if i >= recent or _is_present(line, present)]
        kept = list(dict.fromkeys(_last_sizes(kept)))
        if len(kept) * 2 > len(lines):
            return False
        _replace(folder, b"".join(line + b"\n" for line in kept), mode)
        return True


def _last_sizes(lines: list[bytes]) -> list[bytes]:
    """Return the lines with the last size of each table alone, for the order of sizes counts."""
    last = {}
    for line in lines:
        for name in ManifestClaims.parse(line).sizes:
            last[name] = line
    others = [line for line in lines if not ManifestClaims.parse(line).sizes]
    return others + list(last.values())


def _is_present(line: bytes, present: Callable[[str], bool]) -> bool:
    return any(present(name) for name in ManifestClaims.parse(line).order)


def _open(folder: int, flags: int, shown: str) -> int:
    return open_own(NAME, flags, directory=folder, shown=os.path.join(shown, NAME))[0]


def _replace(folder: int, data: bytes, mode: int) -> None:
    """Replace the manifest in one step, so that a reader finds the old or the new one, whole."""
    temporary = f"{NAME}.tmp"
    with contextlib.suppress(FileNotFoundError):
        if not stat.S_ISREG(os.stat(temporary, dir_fd=folder, follow_symlinks=False).st_mode):
            raise OSError(errno.EEXIST, f"{temporary} is no regular file there; move it away")
        os.unlink(temporary, dir_fd=folder)
    descriptor = make_file(temporary, mode=mode, directory=folder)
    try:
        owner = os.fstat(folder)
        if os.geteuid() == 0 and owner.st_uid != 0:  # root does this for a daemon of another user
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(temporary, NAME, src_dir_fd=folder, dst_dir_fd=folder)
    sync_directory(folder)


def _end_of(descriptor: int) -> bytes:
    """Return the last MAX_BYTES, from the beginning of a line: what coordd itself adds is always in them."""
    size = os.fstat(descriptor).st_size
    begin = max(0, size - MAX_BYTES)
    data = b""
    while piece := os.pread(descriptor, size - begin - len(data), begin + len(data)):
        data += piece
    return data[data.find(b"\n") + 1 :] if begin else data
