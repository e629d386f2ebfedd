"""Find out whether a started service answers, asking as any client does."""

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
    """Where a service answers, for people, and a function for the version behind it (None: no answer)."""

    place: str
    version: Callable[[], str | None]


def version_behind(socket: str) -> str | None:
    """Return the version of the daemon that answers on this socket; None if none does."""
    try:
        with Client(socket, PING_DEADLINE) as client:
            return str(client.call("ping").get("version"))
    except (OSError, ClientError, AttributeError):
        return None


def wait_for_answer(endpoint: ServiceAddress, seconds: float = DEADLINE) -> str | None:
    """Return the version as soon as the service answers; None if it does not in time."""
    deadline = time.monotonic() + seconds
    while True:
        version = endpoint.version()
        if version is not None or time.monotonic() > deadline:
            return version
        time.sleep(PAUSE)
