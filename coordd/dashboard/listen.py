"""Parse the address to listen on, and bind the socket.

``127.0.0.1:8000``, ``8000``, ``[::1]:8000``, ``localhost:8000``, ``unix:/run/coordd/dashboard.sock``.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
import sys
from dataclasses import dataclass

from coordd.errors import CoorddError
from coordd.protocol.paths import address_problem
from coordd.util.text import escape

DEFAULT = "127.0.0.1:8000"
BACKLOG = 1024


class ListenError(CoorddError):
    """It is impossible to listen on this address."""


class BadAddress(CoorddError):
    """A text that is not an address."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Address:
    """A host with a port, or the path of a Unix socket."""

    host: str | None
    port: int
    path: str | None = None

    @property
    def loopback(self) -> bool:
        """Return whether only this machine can reach it; a Unix socket is guarded by its own rights."""
        if self.host is None:
            return True
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    def url(self, port: int) -> str:
        """Return the URL to type into a browser; ``port`` is the one that was bound."""
        if self.path is not None:
            return f"unix:{self.path}"
        host = self.host or "localhost"
        if host in ("0.0.0.0", "::"):  # noqa: S104  # shown, not bound
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{port}/"


def parse_address(text: str) -> Address:
    """Parse an address from the command line.

    Raises:
        BadAddress: the text is not an address. Names other than localhost are refused: their meaning can
        change, and with it who can reach the dashboard.
    """
    if text.startswith("unix:"):
        path = os.path.abspath(text.removeprefix("unix:"))
        problem = address_problem(path, sys.platform)
        if problem is not None or text == "unix:":
            raise BadAddress(f"--listen {escape(text)}: {problem or 'the path is missing'}")
        return Address(None, 0, path)
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = "127.0.0.1", text
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise BadAddress(f"--listen {escape(text)}: an IPv6 address stands in brackets: [::1]:8000")
    try:
        if host != "localhost":
            ipaddress.ip_address(host)
        number = int(port) if port.isascii() and port.isdigit() else -1
    except ValueError:
        number = -1
    if not 0 <= number <= 65535:
        raise BadAddress(
            f"--listen {escape(text)}: not an address such as 127.0.0.1:8000, [::1]:8000, 0.0.0.0:8000 "
            "or unix:/path/to/socket"
        )
    return Address(host, number)


def bind(address: Address, *, group_may: bool = False) -> socket.socket:
    """Return a bound, listening socket.

    A Unix socket is for its owner alone, with ``group_may`` also for the group.

    Raises:
        ListenError: another process listens there, or it is not permitted.
    """
    if address.path is not None:
        return _bind_path(address.path, 0o660 if group_may else 0o600)
    host = "127.0.0.1" if address.host == "localhost" or address.host is None else address.host
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it each answer takes 40 ms
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and host == "::":
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind((host, address.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(
            f"cannot listen on {host}:{address.port}: {error.strerror or error}. "
            "Choose another address with --listen, such as --listen 127.0.0.1:8001"
        ) from error
    sock.setblocking(False)
    return sock


def _bind_path(path: str, mode: int) -> socket.socket:
    _remove_dead(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # closed to others from the start, before chmod too
    try:
        sock.bind(path)
        os.chmod(path, mode)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {escape(path)}: {error.strerror or error}") from error
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock


def _remove_dead(path: str) -> None:
    """Remove the socket of a dashboard that has ended; never a live one's, and no other file."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ListenError(f"{escape(path)} exists and is not a socket: remove it, or name another path")
    except FileNotFoundError:
        return
    except OSError as error:
        raise ListenError(f"{escape(path)}: {error.strerror or error}") from error
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
        except OSError as error:
            raise ListenError(f"{escape(path)}: {error.strerror or error}") from error
        else:
            raise ListenError(f"somebody listens on {escape(path)} already: name another path with --listen")
