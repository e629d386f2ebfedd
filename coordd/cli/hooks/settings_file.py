"""Read a settings file of somebody else's, and replace it so that nothing of it can get lost.

A link to it is followed and stays. All but the content stays as it is (replacing.py), and nothing is written
over what somebody changed since it was read. What cannot be done so is a :class:`HooksError`, and the file is
as it was.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import NamedTuple

from coordd.cli.hooks.acting import Owner, acting_as
from coordd.cli.hooks.replacing import replace_content, write_first
from coordd.errors import CoorddError
from coordd.util.directories import sync_directory
from coordd.util.regular_files import read_file
from coordd.util.shell import shell_word
from coordd.util.text import escape

MAX_SIZE = 16 * 1024 * 1024


class HooksError(CoorddError):
    """Hooks cannot be installed or removed; nothing was changed."""


class SettingsFile(NamedTuple):
    """A settings file as it was read.

    ``path`` is as people know it, ``target`` where it lies once links are followed. ``content``, and its stat
    ``state``, are None where the file does not exist. ``owner`` is whose rights it is touched with, None for
    those of this process.
    """

    path: str
    target: str
    content: bytes | None
    state: os.stat_result | None
    owner: Owner | None = None

    @property
    def text(self) -> str:
        """The content as text, empty for a file that does not exist. Raises HooksError if it is not UTF-8."""
        try:
            return (self.content or b"").decode()
        except UnicodeDecodeError as error:
            raise HooksError(
                f"{escape(self.path)} is no UTF-8 text (byte {error.start}); it stays as it is"
            ) from error


def read(path: str, *, within: str | None = None, owner: Owner | None = None) -> SettingsFile:
    """Read a settings file.

    Args:
        path: its path, which may be a link.
        within: a canonical path that a link may not lead out of: a clone may come with links.
        owner: whose rights it is read with, and replaced with later; None: those of this process.

    Raises:
        HooksError: it cannot be read, or is no file.
    """
    try:
        with acting_as(owner):
            return _read(path, within)._replace(owner=owner)
    except OSError as error:
        raise HooksError(f"{escape(path)} cannot be read{_as(owner)}: {_words(error)}") from error


def _read(path: str, within: str | None) -> SettingsFile:
    target = os.path.realpath(path)
    if within is not None and os.path.commonpath([target, within]) != within:
        raise HooksError(f"{escape(path)} is a link out of its project, to {escape(target)}: not touched")
    try:
        state = os.stat(target)
        if not stat.S_ISREG(state.st_mode):
            raise HooksError(f"{escape(path)} is no file; it stays as it is")
        if state.st_size > MAX_SIZE:
            raise HooksError(f"{escape(path)} is larger than {MAX_SIZE >> 20} MiB; it stays as it is")
        return SettingsFile(path, target, read_file(target, MAX_SIZE), state)
    except FileNotFoundError:
        return SettingsFile(path, target, None, None)


def replace(file: SettingsFile, content: bytes | None) -> None:
    """Give a settings file another content; None removes it.

    Raises:
        HooksError: it cannot be written, or was changed since it was read.
    """
    shown = escape(file.path)
    if file.state is not None and not file.state.st_mode & 0o222:
        raise HooksError(f"{shown} is read-only; to have it changed: chmod u+w {shell_word(file.path)}")
    try:
        with acting_as(file.owner):
            _replace(file, content)
    except OSError as error:
        raise HooksError(
            f"{shown} cannot be written{_as(file.owner)}: {_words(error)}; it is as it was"
        ) from error


def _replace(file: SettingsFile, content: bytes | None) -> None:
    if file.state is not None:
        _check_right(file.target)
    if content is None:
        _check_unchanged(file)
        os.unlink(file.target)
    else:
        _write(file, content)
    directory = os.open(os.path.dirname(file.target), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_directory(directory)
    finally:
        os.close(directory)


def _write(file: SettingsFile, content: bytes) -> None:
    def check() -> None:
        _check_unchanged(file)

    if file.state is None or file.content is None:
        write_first(file.target, content, 0o666 & ~_umask(), check=check)
    else:
        replace_content(file.target, file.content, content, file.state, check=check)


def _check_right(target: str) -> None:
    """Check that a file may be written: renaming another one over it asks for no such right."""
    if not os.access(target, os.W_OK, effective_ids=True):
        number = errno.EROFS if os.statvfs(target).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(number, os.strerror(number))


def _check_unchanged(file: SettingsFile) -> None:
    try:
        now = read_file(file.target, MAX_SIZE)
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        now = None
    if now != file.content:
        raise HooksError(f"{escape(file.path)} was changed by somebody just now; try again")


def _as(owner: Owner | None) -> str:
    return "" if owner is None else f" as uid {owner.uid}, whose it is"


def _words(error: OSError) -> str:
    return error.strerror or str(error)


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
