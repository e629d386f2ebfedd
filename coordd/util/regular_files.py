"""Open, make and read regular files where somebody else may have put something different.

No call blocks, and none opens anything else: opening a FIFO would wake its writer, opening a device may act.
By default no link is followed at the last component; what is read is bounded::

    function          of                                     what is no regular file
    open_regular      any (the others are made of it)        raises what the caller says
    open_own          coordd's own files, to write them      raises an error with the command to move it
    open_if_regular   files that others rotate and remove    is None
    open_file         files to be read                       raises an error that says what it is

``coordctl status`` imports this module, so it imports little.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False  # type checkers take it for True; importing typing is slow
if TYPE_CHECKING:
    from collections.abc import Callable

_SAFE = os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
_MAKE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | _SAFE
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
_IRREGULAR = {
    errno.ELOOP: _KINDS[stat.S_IFLNK],
    errno.EMLINK: _KINDS[stat.S_IFLNK],
    errno.EISDIR: _KINDS[stat.S_IFDIR],
    errno.ENXIO: "a socket, or a device without a driver",
}
"""What open(2) has met, by its errno."""


def open_regular(
    path: str,
    flags: int,
    *,
    refuse: Callable[[str], Exception],
    directory: int | None = None,
    shown: str | None = None,
    mode: int = 0,
    follow: bool = False,
    looked: bool = False,
) -> int:
    """Open a regular file, and nothing else.

    Args:
        path: of the file; with ``directory`` its name in that directory.
        flags: as open(2) takes them.
        refuse: makes the error to raise for anything else, of what that is in words.
        directory: descriptor of the directory that ``path`` is relative to.
        shown: what errors call the file; by default ``path``.
        mode: permission bits less the umask, where ``flags`` make a file.
        follow: follow links.
        looked: the caller has just seen that it is a regular file; that is checked once it is open.

    Returns:
        The descriptor.

    Raises:
        OSError: stat(2) or open(2) failed; ``filename`` is ``shown``.
        Exception: what ``refuse`` returned.
    """
    descriptor = -1
    flags |= _SAFE if follow else _SAFE | os.O_NOFOLLOW
    try:
        kind = None if looked else _irregular(os.stat(path, dir_fd=directory, follow_symlinks=follow))
        if kind is None:
            descriptor = os.open(path, flags, mode, dir_fd=directory)
            kind = _irregular(os.fstat(descriptor))
    except (OSError, ValueError) as error:  # ValueError: a NUL, or a lone surrogate
        if descriptor >= 0:
            os.close(descriptor)
        number = getattr(error, "errno", None) or errno.EINVAL
        kind = None if follow else _IRREGULAR.get(number)
        if kind is None:
            raise OSError(number, getattr(error, "strerror", None) or str(error), shown or path) from None
        raise refuse(kind) from None
    if kind is None:
        return descriptor
    if descriptor >= 0:
        os.close(descriptor)
    raise refuse(kind)


def open_own(
    path: str, flags: int, *, mode: int | None = None, directory: int | None = None, shown: str | None = None
) -> tuple[int, bool]:
    """Open a regular file of coordd's, and with ``mode`` make a missing one, with exactly that mode.

    Args:
        path, flags, directory, shown: as :func:`open_regular` takes them.
        mode: permission bits of a file that has to be made; None makes nothing.

    Returns:
        The descriptor, and whether the file was made.

    Raises:
        OSError: it is not a regular file, or open(2) failed; ``filename`` is set.
    """
    if mode is not None:
        try:
            return make_file(path, flags, mode=mode, directory=directory, shown=shown), True
        except FileExistsError:
            pass

    def refuse(_kind: str) -> OSError:
        return surprise(shown or path, "a regular file")

    return open_regular(path, flags, refuse=refuse, directory=directory, shown=shown), False


def make_file(
    path: str,
    flags: int = os.O_WRONLY,
    *,
    mode: int,
    directory: int | None = None,
    shown: str | None = None,
) -> int:
    """Make a file with exactly this mode, and open it; arguments as :func:`open_own` takes them.

    Raises:
        FileExistsError: the name is taken, by anything at all.
        OSError: as open(2) and fchmod(2) tell; ``filename`` is set.
    """
    try:
        descriptor = os.open(path, flags | _MAKE, mode, dir_fd=directory)
    except OSError as error:
        raise OSError(error.errno, error.strerror, shown or path) from None
    try:
        os.fchmod(descriptor, mode)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_file(path: str, *, directory: int | None = None) -> int:
    """Open a regular file for reading; arguments and errors as in :func:`read_file`."""

    def refuse(kind: str) -> OSError:
        return OSError(errno.EEXIST, f"{kind}, no regular file", path)

    return open_regular(path, os.O_RDONLY, refuse=refuse, directory=directory)


def open_if_regular(path: str, *, directory: int | None = None) -> int | None:
    """Open a regular file for reading; None where nothing has that name, or something else.

    Raises:
        OSError: it cannot be told, or the file may not be read.
    """
    try:
        return open_regular(path, os.O_RDONLY, refuse=FileNotFoundError, directory=directory)
    except FileNotFoundError:
        return None


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
    return read_owned(path, limit, directory=directory)[0]


def read_owned(path: str, limit: int, *, directory: int | None = None) -> tuple[bytes, int]:
    """Return a file's content and the uid of its owner; arguments and errors as in :func:`read_file`."""
    descriptor = open_file(path, directory=directory)
    try:
        return read_open(descriptor, path, limit), os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)


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


def _irregular(state: os.stat_result) -> str | None:
    return None if stat.S_ISREG(state.st_mode) else kind_of(state.st_mode)


def write_all(descriptor: int, data: bytes, path: str | None = None) -> None:
    """Write all of these bytes.

    Raises:
        OSError: not all of them are written; ``filename`` is ``path``.
    """
    try:
        while data:
            data = data[os.write(descriptor, data) :]
    except OSError as error:
        raise OSError(error.errno, error.strerror, path) from None


def kind_of(mode: int) -> str:
    """Return in words what kind of file a mode of stat(2) describes."""
    return _KINDS.get(stat.S_IFMT(mode), "something unknown")


def explain(error: OSError) -> str:
    """Describe an OSError with the path it is about, without Python's ``[Errno …]``."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def surprise(path: str, expected: str) -> OSError:
    """Return the error for something unexpected at a path of coordd's, with the command to move it."""
    from coordd.util.shell import shell_word

    quoted = shell_word(path)
    reason = f"not {expected}, and coordd does not touch it; move it away: mv {quoted} {quoted}.other"
    return OSError(errno.EEXIST, reason, path)
