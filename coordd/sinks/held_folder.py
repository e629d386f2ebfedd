"""Hold the directory of a sink's record files open while coordd runs, with the manifest in it.

Built on :class:`coordd.util.held_directory.HeldDirectory`, which finds, makes and judges the directory. Here
a directory that took the name is used without asking only if it holds nothing yet, or if another part of
coordd made it again with a manifest; :meth:`HeldFolder.accept` takes whatever directory stands there. So
``git checkout`` cannot lead coordd elsewhere while it runs.

One thread calls :meth:`HeldFolder.folder`; everything else may be called from any.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable

from coordd.config.rights import Rights
from coordd.records import manifest, manifest_file
from coordd.records.manifest import ManifestClaims
from coordd.records.names import series_of
from coordd.sinks.folder import Folder
from coordd.util.directories import OpenDirectory, made_here
from coordd.util.held_directory import HeldDirectory, holds_nothing
from coordd.util.shell import shell_word


class HeldFolder:
    """A directory and its manifest.

    ``on_displaced`` is called once, with the path and a message, when something else took its place.

    Args:
        path: made when missing, with ``mode``, and in a project with ``gitignore`` a ``.gitignore`` of ``*``.
        file_mode: permission bits of the files in it.
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
        self.file_mode = file_mode
        self._lock = threading.RLock()  # guards what follows
        self._directory = HeldDirectory(
            self.path, mode=mode, gitignore=gitignore, root=root, accepts=self._accepts
        )
        self._opened: OpenDirectory | None = None
        self._folder: Folder | None = None
        self._lost = False
        self._displaced: str | None = None
        self._accepting = False
        self._claims = ManifestClaims()
        self._data = b""
        self._parsed = b""  # what the claims have of it
        self._stamp: tuple[int, ...] | None = None

    @classmethod
    def of(cls, path: str, rights: Rights) -> HeldFolder:
        """Return the folder at ``path`` with the rights of a layout."""
        return cls(
            path,
            mode=rights.directory,
            file_mode=rights.file,
            gitignore=rights.gitignore,
            root=rights.root,
        )

    def folder(self) -> Folder:
        """Return the directory, which is in its place.

        Raises:
            OSError: with ``filename``; the directory cannot be had, and what to do.
        """
        with self._lock:
            try:
                opened = self._directory.look()
            except OSError:
                self._lost = self._opened is not None
                self._drop_folder()
                raise
            if opened is None:
                self._lost = True
                self._drop_folder()
                raise self._refusal()
            if opened is not self._opened:
                self._drop_folder()
            return self._folder or self._begin(opened)

    def take(self) -> Folder | None:
        """Return the same directory for another thread, which closes it; None while it is not in place."""
        with self._lock:
            if self._opened is None or self._folder is None or not self._opened.in_place():
                return None
            return self._folder.again()

    def accept(self) -> None:
        """Take the directory that stands under the name from now on, if the held one is lost."""
        # Called by the event loop, so without the lock, which is held while a slow disk is asked.
        self._accepting = self._lost

    def close(self) -> None:
        """Let go; the next call of :meth:`folder` opens the directory again."""
        with self._lock:
            self._drop_folder()
            self._opened = None
            self._directory.close()

    def claims(self, folder: Folder) -> ManifestClaims:
        """Return what the manifest says now.

        Raises:
            OSError: with ``filename``; it cannot be read.
        """
        with self._lock:
            try:
                status = os.stat(manifest_file.NAME, dir_fd=folder.fd, follow_symlinks=False)
            except FileNotFoundError:
                return ManifestClaims.parse(self._data)
            stamp = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._stamp:
                data = manifest_file.read(folder.fd, folder.path)
                if data is not None:
                    data = data[: data.rfind(b"\n") + 1]
                    if self._parsed and data.startswith(self._parsed):
                        self._claims.add(data[len(self._parsed) :])
                    else:
                        self._claims = ManifestClaims.parse(data)
                    self._parsed = self._data = data
                    self._stamp = stamp
            return self._claims

    def announce(self, folder: Folder, lines: bytes) -> None:
        """Add lines to the manifest and bring them to disk; write all of it again where it was removed.

        Raises:
            OSError: with ``filename``; nothing may be written yet.
        """
        with self._lock:
            manifest_file.append(folder.fd, lines, mode=self.file_mode, shown=folder.path, before=self._data)
            self._data, self._stamp = self._data + lines, None

    def restore(self, folder: Folder) -> None:
        """Write the manifest again if somebody removed it.

        Raises:
            OSError: with ``filename``.
        """
        with self._lock:
            if self._data and not folder.exists(manifest_file.NAME):
                self.announce(folder, b"")

    def compact(self, folder: Folder, present: Callable[[str], bool]) -> None:
        """Shorten a manifest that has grown large; see manifest_file.compact.

        Raises:
            OSError: it is as it was.
        """
        with self._lock:
            manifest_file.compact(folder.fd, present, mode=self.file_mode)

    def _begin(self, opened: OpenDirectory) -> Folder:
        """Read the manifest of a directory just opened; begin one where there is none."""
        folder = Folder(self.path, opened.fd)
        self._opened = opened
        self._claims, self._data, self._parsed, self._stamp = ManifestClaims(), b"", b"", None
        if folder.exists(manifest_file.NAME):
            self.claims(folder)
        else:
            self._announce_found(folder)
        self._folder, self._lost, self._displaced, self._accepting = folder, False, None, False
        return folder

    def _announce_found(self, folder: Folder) -> None:
        """Begin a manifest with the names that an older coordd may have left."""
        found = sorted(
            (part, manifest.plain_name(name)) for name in folder.names() if (part := series_of(name))
        )
        names = dict.fromkeys(name for _, name in found)
        if names:
            self.announce(folder, b"".join(manifest.finding(name) for name in names))

    def _drop_folder(self) -> None:
        """Make every further use of the folder given out before fail: it must not meet another directory."""
        if self._folder is not None:
            self._folder.fd = -1
            self._folder = None

    def _accepts(self, found: OpenDirectory) -> bool:
        """Decide whether a directory that took the name may be written to."""
        if self._accepting:
            return True
        if os.path.islink(self.path):
            return False
        status = os.fstat(found.fd)
        try:
            os.stat(manifest_file.NAME, dir_fd=found.fd, follow_symlinks=False)
        except FileNotFoundError:
            return status.st_uid == os.geteuid() and holds_nothing(found)
        # Inode numbers are used again, so "made by this process" proves nothing without a manifest.
        return made_here(status)

    def _refusal(self) -> NotADirectoryError:
        """Return the error that says what is in the way, and report it once."""
        message = self._advice()
        if message != self._displaced:
            self._displaced = message
            self.on_displaced(self.path, f"{self.path}: {message}")
        return NotADirectoryError(errno.ENOTDIR, message, self.path)

    def _advice(self) -> str:
        at, mode = self._directory.obstacle()
        quoted = shell_word(at)
        is_directory = mode is not None and stat.S_ISDIR(mode)
        is_link = mode is not None and stat.S_ISLNK(mode)
        if is_link:
            try:
                what = f"a link to {os.readlink(at)}"
            except OSError:
                what = "a link"
        else:
            what = "another directory" if is_directory else "no directory"
        above = "" if at == self.path else f"{at}, above "
        message = (
            f"{what} stands in place of {above}the directory that coordd wrote to, and nothing is written "
            f"there; move it away (mv {quoted} {quoted}.other) and coordd makes a new one"
        )
        if is_directory or (is_link and self._directory.root is None):
            message += ", or have it taken: coordctl reload"
        return message
