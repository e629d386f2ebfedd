"""The directory of a sink's record files, held open while coordd runs, with the manifest in it.

==================  ====================================================================================
what is the case    what :meth:`HeldFolder.folder` does
==================  ====================================================================================
never opened        opens what stands under the name, or makes it; links as directories.py has it
in place            one fstatat(2), no more
gone                closes it, and makes a new one
something else      closes it, and fails until nothing stands there, or the very directory is back, or
stands there        one that holds nothing yet; :meth:`HeldFolder.accept` takes whatever directory stands
                    there
==================  ====================================================================================

So ``git checkout`` cannot lead coordd elsewhere while it runs. One thread calls :meth:`HeldFolder.folder`;
all else may be called from any.
"""

from __future__ import annotations

import os
import shlex
import stat
import threading
from collections.abc import Callable

from coordd.records import manifest
from coordd.records.manifest import Claims
from coordd.records.names import series_of
from coordd.sinks.folder import Folder
from coordd.util.directories import OpenDirectory, made_here, open_directory

_NOTHING_YET = frozenset({".gitignore", ".lock"})
_Identity = tuple[int, int]


class HeldFolder:
    """A directory and its manifest.

    Args:
        path: made when missing, with ``mode`` and, with ``gitignore``, a ``.gitignore`` of ``*``.
        file_mode: permission bits of the manifest.
        root: a directory above that is somebody else's to make, and below which no link is followed; see
            open_directory.
    """

    def __init__(
        self,
        path: str,
        *,
        mode: int = 0o700,
        file_mode: int = 0o640,
        gitignore: bool = False,
        root: str | None = None,
    ) -> None:
        self.path = os.path.abspath(path)
        self.on_displaced: Callable[[str, str], None] = lambda _path, _message: None
        self._mode = mode
        self._file_mode = file_mode
        self._gitignore = gitignore
        inside = root is not None and self.path.startswith(root.rstrip("/") + "/")
        self._root = root if inside else None
        self._lock = threading.RLock()  # guards what follows
        self._opened: OpenDirectory | None = None
        self._folder: Folder | None = None
        self._lost: tuple[_Identity, _Identity | None] | None = None
        self._displaced: str | None = None
        self._accepting = False
        self._claims = Claims()
        self._data = b""
        self._stamp: tuple[int, ...] | None = None

    def folder(self) -> Folder:
        """The directory, in its place.

        Raises:
            OSError: with ``filename``; it cannot be had, and what to do.
        """
        with self._lock:
            if self._opened is not None and self._folder is not None:
                if self._opened.in_place():
                    return self._folder
                self._lose()
            if self._lost is not None and not self._accepting:
                self._refuse_a_stranger()
            return self._open()

    def take(self) -> Folder | None:
        """The same directory for another thread, which closes it; None while it is not in place."""
        with self._lock:
            if self._opened is None or self._folder is None or not self._opened.in_place():
                return None
            return self._folder.again()

    def accept(self) -> None:
        """From now on take the directory that stands under the name, if the held one is lost."""
        self._accepting = self._lost is not None

    def close(self) -> None:
        """Let go; what is asked for afterwards opens it again."""
        with self._lock:
            if self._opened is not None and self._folder is not None:
                self._folder.fd = -1
                self._opened.close()
            self._opened = self._folder = None

    def claims(self, folder: Folder) -> Claims:
        """What the manifest says now.

        Raises:
            OSError: with ``filename``; it cannot be read.
        """
        with self._lock:
            try:
                status = os.stat(manifest.NAME, dir_fd=folder.fd, follow_symlinks=False)
            except FileNotFoundError:
                return Claims.parse(self._data)
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._stamp:
                data = manifest.read(folder.fd, folder.path)
                if data is not None:
                    data = data[: data.rfind(b"\n") + 1]
                    self._claims, self._data, self._stamp = Claims.parse(data), data, stamp
            return self._claims

    def announce(self, folder: Folder, lines: bytes) -> None:
        """Add lines to the manifest, and bring them to disk. Where it was removed, it comes back whole.

        Raises:
            OSError: with ``filename``; nothing may be written yet.
        """
        with self._lock:
            manifest.append(folder.fd, lines, mode=self._file_mode, shown=folder.path, before=self._data)
            self._data, self._stamp = self._data + lines, None

    def restore(self, folder: Folder) -> None:
        """Write the manifest again if somebody removed it.

        Raises:
            OSError: with ``filename``.
        """
        with self._lock:
            if self._data and not folder.exists(manifest.NAME):
                self.announce(folder, b"")

    def compact(self, folder: Folder, present: Callable[[str], bool]) -> None:
        """Shorten a manifest that has grown large; see manifest.compact.

        Raises:
            OSError: it is as it was.
        """
        with self._lock:
            manifest.compact(folder.fd, present, mode=self._file_mode)

    def _open(self) -> Folder:
        opened = open_directory(
            self.path, root=self._root, make=True, mode=self._mode, gitignore=self._gitignore
        )
        folder = Folder(self.path, opened.fd)
        try:
            self._begin(folder)
        except BaseException:
            opened.close()
            raise
        self._opened, self._folder = opened, folder
        self._lost, self._displaced, self._accepting = None, None, False
        return folder

    def _begin(self, folder: Folder) -> None:
        """Read the manifest. Where there is none, one begins with what an older coordd may have left."""
        self._claims, self._data, self._stamp = Claims(), b"", None
        if folder.exists(manifest.NAME):
            self.claims(folder)
            return
        found = sorted(
            (place, manifest.plain_name(name)) for name in folder.names() if (place := series_of(name))
        )
        names = dict.fromkeys(name for _, name in found)
        if names:
            self.announce(folder, b"".join(manifest.finding(name) for name in names))

    def _lose(self) -> None:
        """The name has come to mean something else: close, and remember what was held."""
        opened, folder, self._opened, self._folder = self._opened, self._folder, None, None
        if opened is None or folder is None:
            return
        held = os.fstat(opened.fd)
        try:
            inside: _Identity | None = _identity(
                os.stat(manifest.NAME, dir_fd=opened.fd, follow_symlinks=False)
            )
        except OSError:
            inside = None
        self._lost = (_identity(held), inside)
        folder.fd = -1  # whoever still has it fails, and meets no other file
        opened.close()

    def _refuse_a_stranger(self) -> None:
        """Raise unless nothing stands under the name, or what may be taken without asking."""
        try:
            status = os.lstat(self.path)
        except FileNotFoundError:
            return
        if stat.S_ISDIR(status.st_mode) and self._may_take(status):
            return
        message = self._advice(status)
        if message != self._displaced:
            self._displaced = message
            self.on_displaced(self.path, f"{self.path}: {message}")
        raise NotADirectoryError(20, message, self.path)

    def _may_take(self, status: os.stat_result) -> bool:
        """Whether it is the very directory that was held, moved back, or one that holds nothing yet, or one
        that another part of coordd (the lock) has made again already.
        """
        try:
            # A number of an inode is used again: the manifest in it has to be the same as well.
            inside = os.lstat(os.path.join(self.path, manifest.NAME))
        except OSError:
            pass
        else:
            return made_here(status) or self._lost == (_identity(status), _identity(inside))
        try:
            return status.st_uid == os.geteuid() and set(os.listdir(self.path)) <= _NOTHING_YET
        except OSError:
            return False

    def _advice(self, status: os.stat_result) -> str:
        quoted = shlex.quote(self.path)
        if stat.S_ISLNK(status.st_mode):
            try:
                what = f"a link to {os.readlink(self.path)}"
            except OSError:
                what = "a link"
        else:
            what = "another directory" if stat.S_ISDIR(status.st_mode) else "no directory"
        message = (
            f"{what} stands in place of the directory that coordd wrote to, and nothing is written there; "
            f"move it away (mv {quoted} {quoted}.other) and coordd makes a new one"
        )
        if stat.S_ISDIR(status.st_mode) or (stat.S_ISLNK(status.st_mode) and self._root is None):
            message += ", or have it taken: coordctl reload"
        return message


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino
