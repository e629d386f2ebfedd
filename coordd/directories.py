"""Directories that coordd owns: made where missing, with the mode asked for, for good.

What exists is accepted as it is, mode included: an administrator's choice, or a link to a larger disk, is not
coordd's to change. This module knows nothing of what is kept in them.
"""

from __future__ import annotations

import contextlib
import errno
import os

_NO_DIRECTORY_FSYNC = frozenset({errno.EINVAL, errno.ENOTSUP})


def ensure_directory(
    path: str, *, mode: int = 0o700, gitignore: bool = False, root: str | None = None
) -> bool:
    """Make ``path``, and every parent that is missing, with exactly ``mode`` whatever the umask.

    Args:
        path: the directory; a relative one is taken from the current directory.
        mode: permission bits of each directory made.
        gitignore: put a ``.gitignore`` of ``*`` into ``path`` when it was made here. Parents made on the way
            get none: they may come to hold what a user wants in git. A file already there is left alone.
        root: a directory that somebody else has to make: below it all is made, itself and above nothing.

    Returns:
        Whether ``path`` was made by this call.

    Raises:
        FileNotFoundError: ``root`` does not exist.
        NotADirectoryError: something that is no directory stands in the way.
        OSError: as mkdir(2), open(2), fchmod(2) and fsync(2) tell.
    """
    path = os.path.abspath(path)
    if root is not None and path == root and not os.path.isdir(root):
        raise FileNotFoundError(errno.ENOENT, "the project directory is gone", root)
    try:
        made = _make(path, mode)
    except FileNotFoundError:
        ensure_directory(os.path.dirname(path), mode=mode, root=root)
        made = _make(path, mode)
    if made and gitignore:
        _write_gitignore(path)
    return made


def sync_directory(descriptor: int) -> None:
    """fsync an open directory, so that the names in it outlive a power loss.

    Some network and FUSE file systems refuse to fsync a directory (EINVAL, ENOTSUP); there is nothing
    better to ask of them, so that is no error.

    Raises:
        OSError: any other failure of fsync(2).
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_FSYNC:
            raise


def _make(path: str, mode: int) -> bool:
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        if os.path.isdir(path):
            return False
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    # By descriptor: between mkdir and chmod the name could come to mean something else.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, mode)
    finally:
        os.close(descriptor)
    parent = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_directory(parent)
    finally:
        os.close(parent)
    return True


def _write_gitignore(directory: str) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(os.path.join(directory, ".gitignore"), flags, 0o644)
        try:
            os.write(descriptor, b"*\n")
        finally:
            os.close(descriptor)
