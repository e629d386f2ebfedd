"""Give a file another content, so that nothing else about it changes and no content of it gets lost.

=========  ==============================================================  =================================
way        when                                                            a crash in the middle leaves
=========  ==============================================================  =================================
renamed    a new file can be the same: owner, mode, ACL, extended          the old content, or the new one
           attributes
in place   it cannot: there are further hard links, the folder cannot be   a part; the caller keeps a backup
           written to, it is a mount point, or its owner is another
=========  ==============================================================  =================================

Knows nothing of settings. Where Python has no extended attributes (macOS), they are not looked at.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from coordd.util.regular_files import open_regular, write_all

if TYPE_CHECKING:
    from collections.abc import Callable

_CONTENTS_OWN = ("security.ima", "security.evm")
"""Extended attributes that the kernel makes of the content."""
_NOT_BESIDE = (errno.EACCES, errno.EPERM, errno.EBUSY, errno.ENOTSUP, errno.EXDEV)
"""Errors of a folder, or a mount point, that does not take another file."""


def write_new(path: str, content: bytes, mode: int) -> None:
    """Write a file of coordd's own so that it is there whole or not at all; raises OSError."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    _rename(path, content, mode=mode, finish=lambda _: True)


def write_first(path: str, content: bytes, mode: int, *, check: Callable[[], None]) -> None:
    """Write a file that did not exist, as :func:`replace_content` replaces one."""
    os.makedirs(os.path.dirname(path), exist_ok=True)

    def finish(_descriptor: int) -> bool:
        check()
        return True

    _rename(path, content, mode=mode, finish=finish)


def replace_content(
    path: str, before: bytes, content: bytes, state: os.stat_result, *, check: Callable[[], None]
) -> None:
    """Give an existing regular file another content.

    Args:
        path: its path, without links.
        before: its content.
        content: the new one.
        state: its stat.
        check: called just before; what it raises leaves the file as it is.

    Raises:
        OSError: it cannot be written, and is as it was.
    """

    def finish(descriptor: int) -> bool:
        alike = _made_alike(descriptor, path, state)
        check()
        return alike

    if state.st_nlink == 1:
        try:
            if _rename(path, content, mode=stat.S_IMODE(state.st_mode), finish=finish):
                return
        except OSError as error:
            if error.errno not in _NOT_BESIDE:
                raise
    _write_over(path, before, content, state, check)


def _rename(path: str, content: bytes, *, mode: int, finish: Callable[[int], bool]) -> bool:
    """Write a file beside its place, and rename it to there unless ``finish`` says no or raises."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.coordd-{os.getpid()}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    descriptor = os.open(temporary, flags, mode & 0o600)
    try:
        try:
            write_all(descriptor, content)
            os.fchmod(descriptor, mode)
            fits = finish(descriptor)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if fits:
            os.rename(temporary, path)
        else:
            os.unlink(temporary)
    except BaseException:
        os.unlink(temporary)
        raise
    return fits


def _made_alike(descriptor: int, path: str, state: os.stat_result) -> bool:
    """Give a new file the owner, mode and attributes of another one; return whether it has them all."""
    wanted = _attributes(path)
    with suppress(OSError):
        made = os.fstat(descriptor)
        if (made.st_uid, made.st_gid) != (state.st_uid, state.st_gid):
            os.fchown(descriptor, state.st_uid, state.st_gid)
        if sys.platform == "linux":
            has = _attributes(descriptor)
            for name in has.keys() - wanted.keys():  # as a folder's default ACL leaves one
                os.removexattr(descriptor, name)
            for name, value in wanted.items():
                if has.get(name) != value:
                    os.setxattr(descriptor, name, value)
        if stat.S_IMODE(os.fstat(descriptor).st_mode) != stat.S_IMODE(state.st_mode):
            os.fchmod(descriptor, stat.S_IMODE(state.st_mode))
    made = os.fstat(descriptor)
    same = (made.st_uid, made.st_gid, made.st_mode) == (state.st_uid, state.st_gid, state.st_mode)
    return same and _attributes(descriptor) == wanted


def _attributes(file: int | str) -> dict[str, bytes]:
    """Return the extended attributes of a file, an ACL among them."""
    if sys.platform != "linux":
        return {}
    try:
        names = os.listxattr(file)
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        return {}
    return {name: os.getxattr(file, name) for name in names if name not in _CONTENTS_OWN}


def _write_over(
    path: str, before: bytes, content: bytes, state: os.stat_result, check: Callable[[], None]
) -> None:
    """Write a file where it is; what cannot be written whole is written back."""
    descriptor = open_regular(
        path, os.O_WRONLY, refuse=lambda what: OSError(errno.EINVAL, f"it is {what} now")
    )
    try:
        now = os.fstat(descriptor)
        if (now.st_dev, now.st_ino) != (state.st_dev, state.st_ino):
            raise OSError(errno.ESTALE, "somebody has put another file in its place")
        check()
        try:
            if len(content) > len(before) and sys.platform == "linux":
                os.posix_fallocate(descriptor, 0, len(content))  # a full disk is met before a byte is lost
            write_all(descriptor, content)
            os.ftruncate(descriptor, len(content))
            os.fsync(descriptor)
        except OSError:
            os.lseek(descriptor, 0, os.SEEK_SET)
            write_all(descriptor, before)
            os.ftruncate(descriptor, len(before))
            raise
    finally:
        os.close(descriptor)
