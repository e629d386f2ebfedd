"""Work with the files of one directory by its open descriptor, whatever takes the directory's name later.

No link is followed, neither as the directory nor in it. Every error has the whole path as its ``filename``.
This module knows neither records nor who made the files (held_folder.py does).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator

from coordd.records.names import RecordSeries, parse_part
from coordd.util.directories import sync_directory
from coordd.util.regular_files import make_file, open_own, surprise

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folder:
    """Do file operations in a directory, given by its descriptor.

    Args:
        path: what it is called in errors.
        fd: the descriptor; the caller that opened it closes it.
    """

    __slots__ = ("fd", "path")

    def __init__(self, path: str, fd: int) -> None:
        self.path = path
        self.fd = fd

    @classmethod
    def at(cls, path: str) -> Folder:
        """Open a directory by its name, which may not be a link; the caller closes it.

        Raises:
            OSError: with ``filename``.
        """
        return cls(path, os.open(path, _FLAGS | os.O_NOFOLLOW))

    def again(self) -> Folder:
        """Open the same directory once more, for another thread, which closes it.

        Raises:
            OSError: with ``filename``.
        """
        with self._named("."):
            return Folder(self.path, os.open(".", _FLAGS, dir_fd=self.fd))

    def close(self) -> None:
        """Close the descriptor; once closed, closing again is harmless."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def path_of(self, name: str) -> str:
        """Return the path of a file in the directory, for messages."""
        return os.path.join(self.path, name)

    def names(self) -> list[str]:
        """Return all names in the directory."""
        # Its own descriptor: duplicates of one share the position in the listing.
        with self._named("."):
            fd = os.open(".", _FLAGS, dir_fd=self.fd)
            try:
                return os.listdir(fd)
            finally:
                os.close(fd)

    def open(self, name: str, flags: int, *, mode: int | None = None) -> tuple[int, bool]:
        """Open a regular file; arguments and result as :func:`coordd.util.regular_files.open_own`."""
        return open_own(name, flags, mode=mode, directory=self.fd, shown=self.path_of(name))

    def make(self, name: str, *, mode: int) -> int:
        """Create a file with exactly this mode, and open it for writing.

        Raises:
            FileExistsError: the name is taken, by anything at all.
        """
        return make_file(name, mode=mode, directory=self.fd, shown=self.path_of(name))

    def stat(self, name: str) -> os.stat_result:
        """Return the status of what has a name; a link is not followed."""
        with self._named(name):
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)

    def regular(self, name: str) -> os.stat_result | None:
        """Return the status of a regular file; None for anything else, or where nothing has the name."""
        try:
            status = self.stat(name)
        except FileNotFoundError:
            return None
        return status if stat.S_ISREG(status.st_mode) else None

    def exists(self, name: str) -> bool:
        """Return whether anything has the name."""
        try:
            self.stat(name)
        except FileNotFoundError:
            return False
        return True

    def unlink(self, name: str) -> None:
        """Remove a name."""
        with self._named(name):
            os.unlink(name, dir_fd=self.fd)

    def rename(self, name: str, to: str) -> None:
        """Rename within the directory; what had the new name before is replaced."""
        with self._named(name):
            os.rename(name, to, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def move(self, name: str, to: str) -> None:
        """Rename within the directory to a name that is free.

        Raises:
            FileExistsError: the name is taken.
        """
        try:
            with self._named(to):
                os.link(name, to, src_dir_fd=self.fd, dst_dir_fd=self.fd, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            if self.exists(to):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self.path_of(to)) from None
            self.rename(name, to)
        else:
            self.unlink(name)

    def sync(self) -> None:
        """Bring the directory to stable storage, so that its names survive a power loss."""
        with self._named("."):
            sync_directory(self.fd)

    def point(self, series: RecordSeries, target: str) -> bool:
        """Make the symlink of a series lead to ``target``, a part of it; readers always find a whole link.

        Returns:
            Whether it had to be changed.

        Raises:
            OSError: what has the name is no link to a part of this series, and so not coordd's; or as
                symlink(2) and rename(2).
        """
        if self._leads_to(series.link, series) == target:
            return False
        temporary = f".{series.link}.tmp"
        if self._leads_to(temporary, series) is not None:
            self.unlink(temporary)
        with self._named(series.link):
            os.symlink(target, temporary, dir_fd=self.fd)
        self.rename(temporary, series.link)
        return True

    def _leads_to(self, link: str, series: RecordSeries) -> str | None:
        """Return where coordd's own link leads; None where nothing has the name."""
        try:
            target = os.readlink(link, dir_fd=self.fd)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise surprise(self.path_of(link), "a symlink") from error
            raise type(error)(error.errno, error.strerror, self.path_of(link)) from None
        if parse_part(target, series.name, series.extension) is None:
            raise surprise(self.path_of(link), "a symlink to one of coordd's files")
        return target

    @contextlib.contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Give an OSError raised inside the path of ``name`` as its ``filename``."""
        try:
            yield
        except OSError as error:
            path = self.path if name == "." else self.path_of(name)
            raise type(error)(error.errno, error.strerror, path) from None
