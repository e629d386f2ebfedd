"""Read a whole file that somebody else may have made, changed or replaced.

Nothing is followed at the last step, nothing blocks, nothing is endless: a FIFO, a device, a link, a file of
10 GB is an OSError in words. For daemon and clients alike; ``coordctl status`` imports it, so it is light.
"""

from __future__ import annotations

import errno
import os
import stat

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
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


def read_file(path: str, limit: int, *, directory: int | None = None) -> bytes:
    """The content of a regular file of at most ``limit`` bytes.

    Args:
        path: a path, or with ``directory`` (a descriptor) a name in it.
        limit: bytes.
        directory: a descriptor that ``path`` is relative to.

    Raises:
        FileNotFoundError: there is nothing.
        OSError: it is no regular file, is larger, or open(2) or read(2) failed; ``strerror`` says which.
    """
    descriptor = open_file(path, directory=directory)
    try:
        return read_open(descriptor, path, limit)
    finally:
        os.close(descriptor)


def read_owned(path: str, limit: int, *, directory: int | None = None) -> tuple[bytes, int]:
    """The content of a file and the uid of its owner. Arguments and errors as :func:`read_file`."""
    descriptor = open_file(path, directory=directory)
    try:
        return read_open(descriptor, path, limit), os.fstat(descriptor).st_uid
    finally:
        os.close(descriptor)


def open_file(path: str, *, directory: int | None = None) -> int:
    """A descriptor of a regular file, for reading. Arguments and errors as :func:`read_file`."""
    try:
        state = os.lstat(path, dir_fd=directory)
        _demand_regular(state.st_mode, path)  # opening a FIFO would wake its writer, opening a device may act
        descriptor = os.open(path, _FLAGS, dir_fd=directory)
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
    """The content of an open file, from where it stands. Raises OSError as :func:`read_file`."""
    told = os.fstat(descriptor).st_size
    if told > limit:
        raise OSError(errno.EFBIG, f"larger than {limit} bytes", path)
    blocks = []
    size = 0
    while block := os.read(descriptor, max(told + 1 - size, _BLOCK)):  # some file systems tell no sizes
        blocks.append(block)
        size += len(block)
        if size > limit:
            raise OSError(errno.EFBIG, f"larger than {limit} bytes", path)
    return b"".join(blocks)


def kind_of(mode: int) -> str:
    """What stands there, in words."""
    return _KINDS.get(stat.S_IFMT(mode), "something unknown")


def _demand_regular(mode: int, path: str) -> None:
    if not stat.S_ISREG(mode):
        raise OSError(errno.EEXIST, f"{kind_of(mode)}, no regular file", path)
