"""What a service manager is told: the protocol of sd_notify(3), and the datagram socket it goes through.

A message is lines of ``NAME=value``; the functions that make one are pure, time is passed in. Sending never
blocks and never raises: a manager that does not listen is no reason not to run. Knows nothing of the daemon.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

log = logging.getLogger(__name__)

_STATUS_LIMIT = 400
"""Characters of a status line: a message has to fit into one datagram, and a person reads it."""


class Notifier(Protocol):
    """Somebody who wants to know how the daemon does."""

    def send(self, message: str) -> None:
        """Pass a message on; never blocks, never raises."""


class NoNotifier:
    """No service manager listens."""

    def send(self, message: str) -> None:
        """Do nothing."""


class ManagerSocket:
    """The service manager's datagram socket.

    Args:
        address: the value of NOTIFY_SOCKET: an absolute path, or ``@`` and a name for an abstract one.
    """

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failed = False

    def send(self, message: str) -> None:
        """Send one datagram; the first failure is logged."""
        try:
            kind = socket.SOCK_DGRAM | getattr(socket, "SOCK_CLOEXEC", 0)
            with socket.socket(socket.AF_UNIX, kind) as sock:
                sock.setblocking(False)
                sock.sendto(message.encode(), self._address)
        except OSError as error:
            if not self._failed:
                self._failed = True
                log.warning("the service manager cannot be told anything: %s", error.strerror)


def manager_of(environ: Mapping[str, str]) -> Notifier:
    """Who started this process and wants to be told, by NOTIFY_SOCKET; :class:`NoNotifier` without it."""
    address = environ.get("NOTIFY_SOCKET", "")
    return ManagerSocket(address) if address[:1] in ("/", "@") and len(address) > 1 else NoNotifier()


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Seconds within which the manager wants a sign of life from process ``pid``; None where it wants none.

    WATCHDOG_USEC and WATCHDOG_PID as in sd_watchdog_enabled(3).
    """
    with suppress(ValueError):
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
        meant = environ.get("WATCHDOG_PID", "")
        if microseconds > 0 and (not meant or int(meant) == pid):
            return microseconds / 1e6
    return None


def ready(status: str) -> str:
    """Started, or done with a reload; ``status`` in one line."""
    return f"READY=1\n{status_line(status)}"


def reloading(mono_ns: int) -> str:
    """A reload begins; ``mono_ns`` is CLOCK_MONOTONIC in nanoseconds, read just now."""
    return f"RELOADING=1\nMONOTONIC_USEC={mono_ns // 1000}\n{status_line('reading the configuration again')}"


def stopping() -> str:
    """The end begins."""
    return f"STOPPING=1\n{status_line('writing the last records')}"


def watchdog() -> str:
    """A sign of life."""
    return "WATCHDOG=1"


def status_line(text: str) -> str:
    """What ``systemctl status`` shows; whatever is not plainly visible is replaced, for it ends a line."""
    plain = "".join([char if char.isprintable() else "?" for char in text])
    return "STATUS=" + (plain if len(plain) <= _STATUS_LIMIT else plain[: _STATUS_LIMIT - 1] + "…")
