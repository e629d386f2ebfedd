"""Build and send the messages of sd_notify(3), the protocol between a service and its manager.

A message is lines of ``NAME=value``; the functions that build one are pure, time is passed in. Sending never
blocks and never raises: a service runs whether or not the manager listens. Knows nothing of the services.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

log = logging.getLogger(__name__)

_STATUS_LIMIT = 400
"""Characters of a status line: a message has to fit into one datagram and be read by people."""


class Notifier(Protocol):
    """A receiver of the daemon's messages about its own state."""

    def send(self, message: str) -> None:
        """Pass a message on; never blocks, never raises."""


class NoNotifier:
    """Discard all messages: no service manager listens."""

    def send(self, message: str) -> None:
        """Do nothing."""


class ManagerSocket:
    """Send messages to the service manager's datagram socket.

    Args:
        address: the value of NOTIFY_SOCKET: an absolute path, or ``@`` and a name for an abstract one.
    """

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._failed = False

    def send(self, message: str) -> None:
        """Send one datagram; only the first failure is logged."""
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
    """Return the notifier that NOTIFY_SOCKET asks for; :class:`NoNotifier` if it is not set."""
    address = environ.get("NOTIFY_SOCKET", "")
    return ManagerSocket(address) if address[:1] in ("/", "@") and len(address) > 1 else NoNotifier()


def watchdog_seconds(environ: Mapping[str, str], pid: int) -> float | None:
    """Return how many seconds the manager waits for a sign of life of process ``pid``; None: forever.

    WATCHDOG_USEC and WATCHDOG_PID as in sd_watchdog_enabled(3).
    """
    with suppress(ValueError):
        microseconds = int(environ.get("WATCHDOG_USEC", ""))
        meant = environ.get("WATCHDOG_PID", "")
        if microseconds > 0 and (not meant or int(meant) == pid):
            return microseconds / 1e6
    return None


def ready(status: str) -> str:
    """Build the message that the start or a reload is done; ``status`` is one line for people."""
    return f"READY=1\n{status_line(status)}"


def reloading(mono_ns: int) -> str:
    """Build the message that a reload begins; ``mono_ns`` is CLOCK_MONOTONIC, read just now."""
    return f"RELOADING=1\nMONOTONIC_USEC={mono_ns // 1000}\n{status_line('reading the configuration again')}"


def stopping(status: str) -> str:
    """Build the message that the service is stopping; ``status`` is one line for people."""
    return f"STOPPING=1\n{status_line(status)}"


def watchdog() -> str:
    """Build the message that the service is alive."""
    return "WATCHDOG=1"


def status_line(text: str) -> str:
    """Build the message for the line in ``systemctl status``; unprintable characters are replaced."""
    plain = "".join([char if char.isprintable() else "?" for char in text])
    return "STATUS=" + (plain if len(plain) <= _STATUS_LIMIT else plain[: _STATUS_LIMIT - 1] + "…")
