"""Whether a service that was started answers, asked as any client asks it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from coordd.errors import ClientError
from coordd.protocol.client import Client

DEADLINE = 60.0
"""Seconds in which a started service has to answer; systemd has waited for READY before."""
PING_DEADLINE = 2.0
PAUSE = 0.1


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """Where a service answers, for people, and the version behind it; None where nothing answers."""

    place: str
    version: Callable[[], str | None]


def version_behind(socket: str) -> str | None:
    """The version of the daemon that answers on this socket, None where none does."""
    try:
        with Client(socket, PING_DEADLINE) as client:
            return str(client.call("ping").get("version"))
    except (OSError, ClientError, AttributeError):
        return None


def wait_for_answer(door: ServiceAddress, seconds: float = DEADLINE) -> str | None:
    """The version once it answers, None where it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        version = door.version()
        if version is not None or time.monotonic() > deadline:
            return version
        time.sleep(PAUSE)
