"""Opening what a stranger may have put there: nothing is followed, nothing blocks, nothing is endless.

The I/O edge of the file backend. Only regular files are opened at all: opening a FIFO would wake its writer,
opening a device may act. Knows no file formats.
"""

from __future__ import annotations

import errno
import os
import stat

from coordd.util.fields import Malformed, jsonable

FILE_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK

_TYPE = 0o170000  # S_IFMT of inode(7)
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFLNK: "a symbolic link, which is not followed",
    stat.S_IFDIR: "a directory",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def irregular(mode: int) -> str | None:
    """What kind of thing this is, in words, unless it is a regular file."""
    if mode & _TYPE == stat.S_IFREG:
        return None
    return _KINDS.get(stat.S_IFMT(mode), "not a regular file")


def read_regular(folder: int, name: str, limit: int) -> tuple[bytes, os.stat_result]:
    """A regular file's whole content and its state from just before the reading.

    Args:
        folder: descriptor of the directory.
        name: the file's name in it; the caller saw a regular file there, and that is checked again.
        limit: bytes.

    Raises:
        Malformed: not a regular file, or larger than ``limit``.
        OSError: as open(2) and read(2); FileNotFoundError where it has just gone.
    """
    try:
        fd = os.open(name, FILE_FLAGS, dir_fd=folder)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Malformed(_KINDS[stat.S_IFLNK]) from None
        if error.errno == errno.ENXIO:
            raise Malformed("a socket, or a device without a driver") from None
        raise
    try:
        state = os.fstat(fd)
        if (kind := irregular(state.st_mode)) is not None:
            raise Malformed(kind)
        size = state.st_size
        if size > limit:
            raise _too_large(limit)
        content = os.read(fd, size + 1)
        while content and len(content) > size:  # it grew, or its file system does not tell sizes
            if len(content) > limit:
                raise _too_large(limit)
            size = len(content)
            content += os.read(fd, limit + 1 - size)
    finally:
        os.close(fd)
    return content, state


def open_folder(name: str, parent: int) -> int | None:
    """A descriptor of the directory ``name`` in ``parent``, None where there is nothing of that name.

    Raises:
        Malformed: it is something else, a symbolic link included.
        OSError: as open(2).
    """
    try:
        return os.open(name, FOLDER_FLAGS | os.O_NOFOLLOW, dir_fd=parent)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
        raise Malformed(irregular(mode) or "a file, not a directory") from None


def explain(error: OSError, path: str) -> str:
    """Why ``path`` could not be read, for the person who has to mend it."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return f"{error.strerror}: {jsonable(path)}"
    where, need = _denied(path)
    who = f"the user running coordd (uid {os.geteuid()})"
    return f"Permission denied: {jsonable(where)} — {who} needs {need} on it"


def _denied(path: str) -> tuple[str, str]:
    """The directory above ``path`` that does not let us through, or ``path`` itself."""
    parts = path.rstrip("/").split("/")
    for depth in range(2, len(parts) + 1):
        try:
            os.stat("/".join(parts[:depth]))
        except PermissionError:
            return "/".join(parts[: depth - 1]) or "/", "--x"
        except OSError:
            break
    return path, "r-x" if os.path.isdir(path) else "r--"


def _too_large(limit: int) -> Malformed:
    return Malformed(f"larger than {limit // 1024} KiB")
