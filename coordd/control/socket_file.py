"""Bind the control socket at its path: replace a dead daemon's socket, never a live one's.

``asyncio.start_unix_server(path=…)`` unlinks whatever has the name, even a live daemon's socket, and is not
used. Everything is done by the directory's descriptor: what takes the directory's name meanwhile changes
nothing.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import logging
import os
import socket
import stat
import sys

from coordd.errors import StartError
from coordd.protocol.paths import address_problem
from coordd.util.directories import OpenDirectory, open_directory
from coordd.util.regular_files import kind_of

log = logging.getLogger(__name__)

BACKLOG = 1024
_ITSELF = getattr(os, "O_PATH", os.O_RDONLY) | os.O_NOFOLLOW | os.O_CLOEXEC


class ListeningSocket:
    """A bound, listening Unix socket and its path; :meth:`close` removes the path if it still leads here.

    ``owned`` is False for a socket that a service manager made: its file stays. ``directory`` is where it was
    bound, and is closed here; None where only the path is known.
    """

    def __init__(
        self, path: str, sock: socket.socket, *, owned: bool = True, directory: OpenDirectory | None = None
    ) -> None:
        self.path = path
        self.socket = sock
        self._owned = owned
        self._directory = directory
        self._name = path if directory is None else os.path.basename(path)
        self._inode = self._identity()

    def in_place(self) -> bool:
        """Return whether the path still leads to this socket."""
        if self._inode is None or (self._directory is not None and not self._directory.in_place()):
            return False
        return self._identity() == self._inode

    def free(self) -> bool:
        """Return whether nothing has the path."""
        return not os.path.lexists(self.path)

    def close(self) -> None:
        """Stop listening and remove the socket file."""
        self.socket.close()
        if self._owned and self._inode is not None and self._identity() == self._inode:
            with contextlib.suppress(OSError):
                os.unlink(self._name, dir_fd=self._descriptor)
        self.forget()

    def forget(self) -> None:
        """Let go of the directory without removing the path: another listener has it now."""
        directory, self._directory, self._inode = self._directory, None, None
        if directory is not None:
            directory.close()

    @property
    def _descriptor(self) -> int | None:
        return None if self._directory is None else self._directory.fd

    def _identity(self) -> tuple[int, int] | None:
        return _identity(self._name, self._descriptor)


def listen(path: str, *, mode: int, group: str | None = None, root: str | None = None) -> ListeningSocket:
    """Bind the path, and return the listening socket.

    Args:
        path: absolute; its directory exists.
        mode: permission bits of the socket file.
        group: whose members may connect as well; None keeps the process's own.
        root: a project's canonical path, below which no link is followed; see open_directory.

    Raises:
        StartError: the path is too long, in use by a live daemon, taken by something else, or not writable.
    """
    problem = address_problem(path, sys.platform)
    if problem:
        raise StartError(f"no control socket at {path}: {problem}")
    folder, name = os.path.split(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0))
    directory: OpenDirectory | None = None
    try:
        directory = open_directory(folder, root=root)
        _remove_dead_socket(path, name, directory)
        _bind(sock, name, directory)
        _open_to(name, directory, mode=mode, group=group, path=path)
        sock.listen(BACKLOG)
        sock.setblocking(False)
        return ListeningSocket(path, sock, directory=directory)
    except BaseException as error:
        sock.close()
        if directory is not None:
            directory.close()
        if isinstance(error, OSError):
            raise StartError(
                f"no control socket at {path}: {error.strerror}. Name another one with --socket."
            ) from error
        raise


def _bind(sock: socket.socket, name: str, directory: OpenDirectory) -> None:
    """Bind by way of the descriptor: bind(2) follows links on the way, and takes no descriptor."""
    # Without rights for others, so that none of them connects between bind and chmod.
    umask = os.umask(0o177)
    try:
        sock.bind(directory.way(name))
    finally:
        os.umask(umask)
    if _identity(name, directory.fd) is None:  # without /proc, the path may have led elsewhere just then
        raise OSError(errno.EAGAIN, "its directory was replaced", directory.path)


def _open_to(name: str, directory: OpenDirectory, *, mode: int, group: str | None, path: str) -> None:
    """Give the socket file its group and mode; a link that took its place is not followed."""
    state = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
    gid = None if group is None else _gid_of(group)
    if gid is not None and gid != state.st_gid:  # no call without need: a sandbox may lack chown(2)
        try:
            os.chown(name, -1, gid, dir_fd=directory.fd, follow_symlinks=False)
        except PermissionError:
            log.warning("this user may not give %s to group %s (control.group)", path, group)
    if stat.S_IMODE(state.st_mode) == mode:
        return
    if os.chmod in os.supports_follow_symlinks:
        os.chmod(name, mode, dir_fd=directory.fd, follow_symlinks=False)
        return
    # Linux cannot chmod without following links; what O_PATH opened is the file itself, and /proc leads to it
    descriptor = os.open(name, _ITSELF, dir_fd=directory.fd)
    try:
        itself = f"/proc/self/fd/{descriptor}"
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            raise OSError(errno.EEXIST, "it was replaced", path)
        os.chmod(itself if os.path.exists(itself) else directory.way(name), mode)
    finally:
        os.close(descriptor)


def _remove_dead_socket(path: str, name: str, directory: OpenDirectory) -> None:
    try:
        state = os.stat(name, dir_fd=directory.fd, follow_symlinks=False)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(state.st_mode):
        raise StartError(
            f"{path} is {kind_of(state.st_mode)}, no socket: move it away (mv {path} {path}.aside), "
            "or name another one with --socket."
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(directory.way(name))
        except ConnectionRefusedError:
            os.unlink(name, dir_fd=directory.fd)
            return
        except FileNotFoundError:
            return
        except (TimeoutError, BlockingIOError):
            pass  # busy, its backlog full: alive
    raise StartError(
        f"a live daemon listens on {path}. Ask it with 'coordctl status', stop it first, "
        "or name another socket with --socket."
    )


def _gid_of(group: str) -> int | None:
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        log.warning("there is no group %s: only root and this user may ask (control.group)", group)
        return None


def _identity(path: str, directory: int | None = None) -> tuple[int, int] | None:
    try:
        state = os.stat(path, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None
    return (state.st_dev, state.st_ino)
