"""The control socket's place in the file system: a dead daemon's is replaced, a live one's never.

``asyncio.start_unix_server(path=…)`` unlinks whatever is there, a live daemon's socket included; hence this.
"""

from __future__ import annotations

import contextlib
import grp
import logging
import os
import socket
import stat
import sys

from coordd.errors import StartError
from coordd.sockets import address_problem

log = logging.getLogger(__name__)

BACKLOG = 1024


class Listener:
    """A bound, listening Unix socket and its path; ``close`` removes the path if it is still ours.

    ``owned`` is False for a socket that a service manager made: its file stays.
    """

    def __init__(self, path: str, sock: socket.socket, *, owned: bool = True) -> None:
        self.path = path
        self.socket = sock
        self._owned = owned
        self._inode = _identity(path)

    def in_place(self) -> bool:
        """Whether the path still leads to this socket."""
        return self._inode is not None and _identity(self.path) == self._inode

    def close(self) -> None:
        """Stop listening and remove the socket file."""
        self.socket.close()
        if self._owned and self.in_place():
            with contextlib.suppress(OSError):
                os.unlink(self.path)


def listen(path: str, *, mode: int, group: str | None = None) -> Listener:
    """Bind the path and listen.

    Args:
        path: absolute; its directory exists.
        mode: permission bits of the socket file.
        group: whose members may connect as well; None keeps the process's own.

    Raises:
        StartError: the path is too long, in use by a live daemon, taken by something else, or not writable.
    """
    problem = address_problem(path, sys.platform)
    if problem:
        raise StartError(f"no control socket at {path}: {problem}")
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0))
    try:
        _make_way(path)
        # Born with no rights for others: between bind and chmod nobody slips in.
        umask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(umask)
        if group is not None:
            _give_to_group(path, group)
        os.chmod(path, mode)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise StartError(
            f"no control socket at {path}: {error.strerror}. Name another one with --socket."
        ) from error
    except StartError:
        sock.close()
        raise
    return Listener(path, sock)


def _make_way(path: str) -> None:
    try:
        state = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(state.st_mode):
        raise StartError(f"{path} exists and is no socket: move it away, or name another one with --socket.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
        except FileNotFoundError:
            return
        except (TimeoutError, BlockingIOError):
            pass  # busy, its backlog full: alive
    raise StartError(
        f"a live daemon listens on {path}. Ask it with 'coordctl status', stop it first, "
        "or name another socket with --socket."
    )


def _give_to_group(path: str, group: str) -> None:
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        log.warning("there is no group %s: only root and this user may ask (control.group)", group)
        return
    if os.lstat(path).st_gid == gid:
        return  # a sandbox without chown(2) need not be told
    try:
        os.chown(path, -1, gid)
    except PermissionError:
        log.warning("this user may not give %s to group %s (control.group)", path, group)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        state = os.lstat(path)
    except OSError:
        return None
    return (state.st_dev, state.st_ino)
