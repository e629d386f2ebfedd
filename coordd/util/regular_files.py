"""Open and read regular files at paths where somebody else may have put something different.

For files that coordd or its user owns: records, locks, tokens, configuration. No link is followed at the last
component, no call blocks, no file is read beyond a limit: a FIFO, a device, a link or a file of 10 GB becomes
an OSError in plain words. Agents' and projects' folders are read by descriptor instead: untrusted_folder.py.

``coordctl status`` imports this module, so it imports little.
"""

from __future__ import annotations

import errno
import os
import stat

SAFE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
READ_FLAGS = os.O_RDONLY | SAFE | os.O_NOCTTY

_BLOCK = 64 * 1024
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFLNK: "a symbolic link",
    stat.S_IFDIR: "a directory",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFREG: "a file",
}


def open_regular(
    path: str, flags: int, *, mode: int | None = None, folder: int | None = None, shown: str | None = None
) -> tuple[int, bool]:
    """Open a regular file of coordd's, and with ``mode`` make a missing one, with exactly that mode.

    Args:
        path: of the file; with ``folder`` its name in that directory.
        flags: as open(2) takes them.
        mode: permission bits of a file that has to be made; None makes nothing.
        folder: descriptor of the directory that ``path`` is relative to.
        shown: what errors call the file; by default ``path``.

    Returns:
        The descriptor, and whether the file was made.

    Raises:
        OSError: it is not a regular file, or open(2) failed; ``filename`` is set.
    """
    shown = shown or path
    if mode is not None:
        try:
            made = _open(path, flags | os.O_CREAT | os.O_EXCL, mode, folder, shown)
        except FileExistsError:
            pass
        else:
            try:
                os.fchmod(made, mode)
            except BaseException:
                os.close(made)
                raise
            return made, True
    try:
        descriptor = _open(path, flags, 0, folder, shown)
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.EMLINK, errno.ENXIO, errno.EISDIR}:
            raise surprise(shown, "a regular file") from error
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise surprise(shown, "a regular file")
    return descriptor, False


def read_file(path: str, limit: int, *, directory: int | None = None) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Args:
        path: a path, or with ``directory`` a name in it.
        limit: bytes.
        directory: descriptor of the directory that ``path`` is relative to.

    Raises:
        FileNotFoundError: there is no such file.
        OSError: it is not a regular file, is larger, or open(2) or read(2) failed; ``strerror`` says which.
    """
    descriptor = open_file(path, directory=directory)
    try:
        return read_open(descriptor, path, limit)
    finally:
        os.close(descriptor)


def read_owned(path: str, limit: int, *, directory: int | None = None) -> tuple[bytes, int]:
    """Return a file's content and the uid of its owner; arguments and errors as in :func:`read_file`."""
    descriptor = open_file(path, directory=directory)
    try:
        return read_open(descriptor, path, limit), os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)


def open_file(path: str, *, directory: int | None = None) -> int:
    """Open a regular file for reading; arguments and errors as in :func:`read_file`."""
    try:
        state = os.lstat(path, dir_fd=directory)
        _demand_regular(state.st_mode, path)  # opening a FIFO would wake its writer, opening a device may act
        descriptor = os.open(path, READ_FLAGS, dir_fd=directory)
    except ValueError as error:  # a NUL, or a lone surrogate
        raise OSError(errno.EINVAL, str(error), path) from None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK):
            raise OSError(errno.ELOOP, "a symbolic link, no regular file", path) from None
        raise
    try:
        _demand_regular(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def read_open(descriptor: int, path: str, limit: int) -> bytes:
    """Return the rest of an open file, from its current position; errors as in :func:`read_file`."""
    expected = os.fstat(descriptor).st_size
    if expected > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", path)
    blocks = []
    size = 0
    while block := os.read(descriptor, max(expected + 1 - size, _BLOCK)):  # some file systems report size 0
        blocks.append(block)
        size += len(block)
        if size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", path)
    return b"".join(blocks)


def kind_of(mode: int) -> str:
    """Return in words what kind of file a mode of stat(2) describes."""
    return _KINDS.get(stat.S_IFMT(mode), "something unknown")


def explain(error: OSError) -> str:
    """Describe an OSError with the path it is about, without Python's ``[Errno …]``."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def surprise(path: str, expected: str) -> OSError:
    """Return the error for something unexpected at a path of coordd's, with the command to move it."""
    from shlex import quote  # it compiles regular expressions, and only this error needs it

    quoted = quote(path)
    reason = f"not {expected}, and coordd does not touch it; move it away: mv {quoted} {quoted}.other"
    return OSError(errno.EEXIST, reason, path)


def _open(path: str, flags: int, mode: int, folder: int | None, shown: str) -> int:
    try:
        return os.open(path, flags | SAFE, mode, dir_fd=folder)
    except OSError as error:
        raise type(error)(error.errno, error.strerror, shown) from None


def _demand_regular(mode: int, path: str) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EEXIST, f"{kind_of(mode)}, no regular file", path)
