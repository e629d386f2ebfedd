"""Stay with one daemon for life: once it was found, no other is asked, whatever happens to it."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from coordd.cli.common import BadUsage
from coordd.errors import DaemonNotRunning
from coordd.protocol.left_behind import last_snapshot

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget
    from coordd.protocol.client import Client
    from coordd.protocol.snapshot import Snapshot

ADVICE = 60.0
"""Seconds for which advice counts: to find out what to do, the service manager is asked."""


class Daemon:
    """The daemon that a target means when it is first found, asked again and again."""

    def __init__(self, target: DaemonTarget) -> None:
        self._target = target
        self._found = False
        self._advice: list[str] | None = None
        self._advised_at = 0.0

    def connect(self) -> Client:
        """Connect to it; what an error says to do is found out once in :data:`ADVICE` seconds.

        Raises:
            BadUsage, ClientError: as :meth:`coordd.cli.common.DaemonTarget.connect`.
        """
        known = self._advice is not None and time.monotonic() - self._advised_at < ADVICE
        try:
            client = self._target.connect(advise=not known, tell=False)
        except DaemonNotRunning as error:
            if known and self._advice is not None:
                raise error.advised(self._advice) from error
            self._advice, self._advised_at = error.advice, time.monotonic()
            raise
        self._advice = None
        if not self._found:
            self._found, self._target = True, self._target.staying(client)
        return client

    def last_snapshot(self) -> Snapshot | None:
        """Return its last snapshot, None if there is none."""
        try:
            locations = self._target.locations()
        except BadUsage:  # the directory that was named is gone by now
            return None
        return last_snapshot(locations, os.environ, self._target.where(), time.time())
