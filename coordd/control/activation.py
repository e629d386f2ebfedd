"""Take over the control socket that a service manager bound, named by LISTEN_FDS (sd_listen_fds(3)).

The manager chose its path, owner and mode, and keeps the file: a client that connects while the daemon starts
or restarts waits in the backlog, and is not refused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

from coordd.control.socket_file import ListeningSocket
from coordd.errors import StartError

FIRST = 3
"""The number of the first descriptor that a manager passes."""


def passed_sockets(environ: Mapping[str, str], pid: int) -> list[socket.socket]:
    """Return the sockets passed to process ``pid``, closed to its children; [] where there are none.

    Raises:
        StartError: an announced descriptor is closed, or is not a socket.
    """
    with suppress(ValueError):
        if int(environ.get("LISTEN_PID", "")) == pid:
            count = int(environ.get("LISTEN_FDS", ""))
            return [_socket(number) for number in range(FIRST, FIRST + max(0, count))]
    return []


def adopt(passed: Sequence[socket.socket]) -> ListeningSocket | None:
    """Return the control socket that was passed; None where none was.

    Raises:
        StartError: there are several, or it is not a listening Unix stream socket with a path.
    """
    if not passed:
        return None
    if len(passed) > 1:
        raise StartError(
            f"the service manager passed {len(passed)} sockets (LISTEN_FDS), and coordd has one control "
            "socket: leave one ListenStream= in the socket unit."
        )
    (sock,) = passed
    name = sock.getsockname() if sock.family == socket.AF_UNIX else ""
    listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if sock.type != socket.SOCK_STREAM or not listens or not str(name).startswith("/"):
        raise StartError(
            "the service manager passed a socket (LISTEN_FDS) that is no Unix stream socket with a path: "
            "name one with ListenStream=/run/coordd/coordd.sock, and leave Accept= at no."
        )
    sock.setblocking(False)
    return ListeningSocket(str(name), sock, owned=False)


def _socket(number: int) -> socket.socket:
    try:
        os.set_inheritable(number, False)
        return socket.socket(fileno=number)
    except OSError as error:
        raise StartError(
            f"descriptor {number}, which LISTEN_FDS announces, is no socket: {error.strerror}"
        ) from error
