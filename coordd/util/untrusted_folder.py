"""Open folders that strangers write, and read the regular files in them, by descriptor.

For agents' traces and projects' own files. No link is followed, no call blocks, no file is read beyond a
limit. What is found instead is :class:`~coordd.util.fields.Malformed`, a reason without a path, for reports
that name the path themselves. Knows no file formats.
"""

from __future__ import annotations

import errno
import os
import stat

from coordd.util.fields import Denied, Malformed, jsonable
from coordd.util.regular_files import kind_of, open_regular

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK


def irregular(mode: int) -> str | None:
    """Return in words what kind of file this is, or None for a regular file."""
    return None if stat.S_ISREG(mode) else _words(kind_of(mode))


def read_regular(folder: int, name: str, limit: int) -> tuple[bytes, os.stat_result]:
    """Return a regular file's whole content, and its state (stat) from just before reading.

    Args:
        folder: descriptor of the directory.
        name: the file's name in it; the caller has seen that it is a regular file, and it is checked again.
        limit: bytes.

    Raises:
        Malformed: it is not a regular file, or larger than ``limit``.
        FileNotFoundError: it has just been removed.
        OSError: open(2) or read(2) failed.
    """
    fd = open_regular(name, os.O_RDONLY, refuse=_refuse, directory=folder, looked=True)
    try:
        state = os.fstat(fd)
        size = state.st_size
        if size > limit:
            raise _too_large(limit)
        content = os.read(fd, size + 1)
        while content and len(content) > size:  # it grew, or its file system reports size 0
            if len(content) > limit:
                raise _too_large(limit)
            size = len(content)
            content += os.read(fd, limit + 1 - size)
    finally:
        os.close(fd)
    return content, state


def open_folder(name: str, parent: int) -> int | None:
    """Open the directory ``name`` in ``parent``; None if nothing has that name.

    Raises:
        Malformed: it is something else, such as a symbolic link.
        OSError: open(2) failed.
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


def explain_unreadable(error: OSError, path: str) -> str:
    """Return why ``path`` could not be read, in words for the person who has to fix it."""
    if error.errno not in (errno.EACCES, errno.EPERM):
        return f"{error.strerror}: {jsonable(path)}"
    where, need = denied_at(path)
    user = f"the user running coordd (uid {os.geteuid()})"
    return f"Permission denied: {jsonable(where)} — {user} needs {need} on it"


def explain_unreadable_trace(error: OSError, path: str) -> str:
    """Return why a trace could not be read, as ``Denied`` where a right is lacking."""
    words = explain_unreadable(error, path)
    return Denied(words) if error.errno in (errno.EACCES, errno.EPERM) else words


def denied_at(path: str) -> tuple[str, str]:
    """Return the directory above ``path`` that refuses access, or ``path``, and the permission it lacks."""
    parts = path.rstrip("/").split("/")
    for depth in range(2, len(parts) + 1):
        try:
            os.stat("/".join(parts[:depth]))
        except PermissionError:
            return "/".join(parts[: depth - 1]) or "/", "--x"
        except OSError:
            break
    return path, "r-x" if os.path.isdir(path) else "r--"


def _words(kind: str) -> str:
    return f"{kind}, which is not followed" if kind == "a symbolic link" else kind


def _refuse(kind: str) -> Malformed:
    return Malformed(_words(kind))


def _too_large(limit: int) -> Malformed:
    return Malformed(f"larger than {limit // 1024} KiB")
