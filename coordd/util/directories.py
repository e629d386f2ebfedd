"""Open and make directories without being led elsewhere by a symbolic link.

A path is walked from ``/`` one component at a time, each opened by the descriptor of the one before it
(openat(2)), and the last descriptor is held. Whatever takes the name later, work goes on in the directory
that was opened; :meth:`OpenDirectory.in_place` tells whether the name still leads there.

Which links are followed::

    below ``root``       none: a stranger may have written the project, and ``git checkout`` can replace a
                         folder by a link
    root, and elsewhere  links owned by root or this user: an administrator's choice, such as a larger disk

A directory that exists is accepted as it is, mode included. This module does not know what is kept in it.
"""

from __future__ import annotations

import errno
import os
import stat

from coordd.util.regular_files import make_file

TYPE_CHECKING = (
    False  # type checkers take it for True; clients import this module, and importing typing is slow
)
if TYPE_CHECKING:
    from types import TracebackType

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
# on the way to a directory, the right to enter is enough; O_PATH (open(2)) asks for no right to list
_STEP = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
_NO_DIRECTORY_FSYNC = frozenset({errno.EINVAL, errno.ENOTSUP})
_made_here: set[tuple[int, int]] = set()
_MAX_LINKS = 40  # as path_resolution(7)
_DESCRIPTORS = "/proc/self/fd"  # proc(5): each entry leads to the open file, wherever its name leads by now


class OpenDirectory:
    """Hold a directory open by its descriptor.

    ``path`` is the absolute path it was opened by, ``fd`` the descriptor (for ``dir_fd=``), ``made`` whether
    the call that opened it also made it.
    """

    __slots__ = ("_follow", "_identity", "fd", "made", "path")

    def __init__(self, path: str, fd: int, *, made: bool, follow: bool) -> None:
        self.path = path
        self.fd = fd
        self.made = made
        self._follow = follow
        self._identity = _identity(os.fstat(fd))

    def in_place(self) -> bool:
        """Return whether the path still leads to the directory that is held; costs one fstatat(2).

        Below a project's root a symbolic link in its place counts as moved; elsewhere a link that leads here
        is fine.

        Below a project's root a link never does; elsewhere one that leads here does.
        """
        try:
            return _identity(os.stat(self.path, follow_symlinks=self._follow)) == self._identity
        except OSError:
            return False

    def free(self) -> bool:
        """Return whether nothing exists at the path, not even a dangling link."""
        return not os.path.lexists(self.path)

    def way(self, name: str) -> str:
        """Return a path to ``name`` in this directory, for calls that take no descriptor, such as bind(2).

        On Linux the path leads through the descriptor held. Elsewhere it is the path by name, and the caller
        compares :meth:`in_place` before and after.
        """
        through = f"{_DESCRIPTORS}/{self.fd}"
        return os.path.join(through if os.path.isdir(through) else self.path, name)

    def close(self) -> None:
        """Close the descriptor; calling it twice is harmless."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def __enter__(self) -> OpenDirectory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_directory(
    path: str,
    *,
    root: str | None = None,
    make: bool = False,
    mode: int = 0o700,
    gitignore: bool = False,
) -> OpenDirectory:
    """Open a directory, and with ``make`` make it and every parent that is missing.

    Args:
        path: the directory; a relative one is taken from the current directory.
        root: canonical path of an existing directory, such as a project: no link is followed below it, and
            neither it nor its parents are made. Ignored unless ``path`` is ``root`` or lies below it.
        make: make what is missing, with exactly ``mode`` whatever the umask.
        mode: permission bits of each directory made.
        gitignore: put a ``.gitignore`` of ``*`` into ``path`` when it was made here. Parents made on the way
            get none: they may come to hold what a user wants in git. A file already there is left alone.

    Raises:
        FileNotFoundError: it, or ``root``, does not exist.
        NotADirectoryError: something else stands in the way, a link below ``root`` too.
        PermissionError: a link on the way belongs to another user.
        OSError: as openat(2), mkdirat(2), fchmod(2) and fsync(2) tell.
    """
    path = os.path.abspath(path)
    root = root_of(path, root)
    if root is None:
        fd, made = _walk("/", _parts(path), follow=True, mode=mode if make else None, shown="/")
    else:
        try:
            start, _ = _walk("/", _parts(root), follow=True, mode=None, shown="/")
        except FileNotFoundError:
            raise FileNotFoundError(errno.ENOENT, "the project directory is gone", root) from None
        below = _parts(path)[len(_parts(root)) :]
        try:
            fd, made = _walk(start, below, follow=False, mode=mode if make else None, shown=root)
        finally:
            os.close(start)
    if made:
        _made_here.add(_identity(os.fstat(fd)))
    if made and gitignore:
        try:
            _write_gitignore(fd)
        except BaseException:
            os.close(fd)
            raise
    return OpenDirectory(path, fd, made=made, follow=root is None)


def made_here(status: os.stat_result) -> bool:
    """Return whether this process made the directory.

    Several parts of coordd may find the same directory gone and make it anew; each then recognises the
    other's work. The kernel reuses inode numbers, so a directory that was made here and removed since may be
    mistaken.
    """
    return _identity(status) in _made_here


def ensure_directory(
    path: str, *, mode: int = 0o700, gitignore: bool = False, root: str | None = None
) -> bool:
    """Make ``path`` and every missing parent; see :func:`open_directory`.

    Returns:
        Whether ``path`` was made by this call.
    """
    with open_directory(path, root=root, make=True, mode=mode, gitignore=gitignore) as directory:
        return directory.made


def root_of(path: str, root: str | None) -> str | None:
    """Return ``root`` if ``path`` is it or lies below it, else None."""
    inside = root is not None and (path == root or path.startswith(root.rstrip("/") + "/"))
    return root if inside else None


def sync_directory(descriptor: int) -> None:
    """Flush an open directory with fsync(2), so that the names in it survive a power loss.

    Some network and FUSE file systems refuse to fsync a directory (EINVAL, ENOTSUP); that is ignored, for
    they offer nothing better.

    Raises:
        OSError: any other failure of fsync(2).
    """
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_DIRECTORY_FSYNC:
            raise


def _walk(
    start: int | str, parts: list[str], *, follow: bool, mode: int | None, shown: str
) -> tuple[int, bool]:
    """Open one component after another; return the last descriptor, and whether that directory was made.

    ``mode`` None makes nothing; errors name ``start`` as ``shown``.
    """
    fd = os.open(start, _STEP) if isinstance(start, str) else os.dup(start)
    made = False
    waiting = [(name, mode) for name in reversed(parts)]
    links = 0
    try:
        while waiting:
            name, make = waiting.pop()
            shown = os.path.normpath(os.path.join(shown, name))
            try:
                inner, made = _enter(fd, name, make, shown)
            except NotADirectoryError:
                target = _link_to_follow(fd, name, shown) if follow else None
                links += 1
                if target is None or links > _MAX_LINKS:
                    raise
                shown = "/" if target.startswith("/") else os.path.dirname(shown)
                # the target of a link has to exist: nothing is made through one
                waiting.extend((name, None) for name in reversed(_parts(target)))
                if not target.startswith("/"):
                    continue
                inner, made = os.open("/", _STEP), False
            os.close(fd)
            fd = inner
        return _open_here(fd, shown), made
    finally:
        os.close(fd)


def _open_here(step: int, shown: str) -> int:
    try:
        return os.open(".", _FLAGS, dir_fd=step)
    except OSError as error:
        raise OSError(error.errno, error.strerror, shown) from None


def _enter(parent: int, name: str, mode: int | None, shown: str) -> tuple[int, bool]:
    made = False
    for _ in range(3):  # another process may make or remove it between two calls
        try:
            fd = os.open(name, _STEP | os.O_NOFOLLOW, dir_fd=parent)
        except FileNotFoundError:
            if mode is None:
                raise FileNotFoundError(errno.ENOENT, "there is no such directory", shown) from None
        except OSError as error:
            number = errno.ENOTDIR if error.errno in {errno.ELOOP, errno.EMLINK} else error.errno or errno.EIO
            raise OSError(number, os.strerror(number), shown) from None
        else:
            if made and mode is not None:
                try:
                    _finish(fd, parent, mode)
                except BaseException:
                    os.close(fd)
                    raise
            return fd, made
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
            made = True
        except FileExistsError:
            pass
        except OSError as error:
            raise OSError(error.errno, error.strerror, shown) from None
    raise OSError(errno.EAGAIN, "it keeps being made and removed", shown)


def _finish(step: int, parent: int, mode: int) -> None:
    """Set the mode of a directory just made, by descriptor: its name may lead elsewhere by now."""
    made = os.open(".", _FLAGS, dir_fd=step)
    try:
        os.fchmod(made, mode)
    finally:
        os.close(made)
    try:
        above = os.open(".", _FLAGS, dir_fd=parent)
    except PermissionError:  # the parent is writable but not readable
        return
    try:
        sync_directory(above)
    finally:
        os.close(above)


def _link_to_follow(parent: int, name: str, shown: str) -> str | None:
    """Return the target of a symbolic link owned by root or this user; None if it is not a link."""
    status = os.lstat(name, dir_fd=parent)
    if not stat.S_ISLNK(status.st_mode):
        return None
    if status.st_uid not in {0, os.geteuid()}:
        raise PermissionError(
            errno.EPERM, f"a link of uid {status.st_uid}, which coordd does not follow", shown
        )
    return os.readlink(name, dir_fd=parent)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _identity(status: os.stat_result) -> tuple[int, int]:
    return (status.st_dev, status.st_ino)


def _write_gitignore(directory: int) -> None:
    try:
        descriptor = make_file(".gitignore", mode=0o644, directory=directory)
    except FileExistsError:
        return
    try:
        os.write(descriptor, b"*\n")
    finally:
        os.close(descriptor)
