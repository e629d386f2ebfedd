"""Find the daemon that is meant, and stay with it: once it was found, no other is asked.

Without a word of the command line it is the user's; a project's, the system's or any other has to be named.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from coordd.protocol.client import Client
from coordd.protocol.paths import DaemonLocation, socket_candidates
from coordd.protocol.search import find_daemon

TIMEOUT = 5.0
"""Seconds that connecting may take."""


@dataclass(frozen=True, slots=True)
class Named:
    """What the command line says of the daemon; None where it says nothing."""

    socket: str | None = None
    layout: str | None = None
    directory: str | None = None


class Target:
    """Connect to the daemon that is meant. Blocking; state: where it was found."""

    def __init__(self, named: Named, *, environ: Mapping[str, str], cwd: str | None) -> None:
        self._named = named
        self._environ = environ
        self._cwd = cwd
        self._found: DaemonLocation | None = None

    def find(self) -> Client:
        """Return a connected client.

        Raises:
            ClientError: the daemon does not answer, or refuses.
        """
        locations = self.locations()
        client = find_daemon(locations, TIMEOUT, environ=self._environ, cwd=self._cwd)
        if self._found is None:
            known = {one.socket: one for one in locations}
            self._found = known.get(client.path) or DaemonLocation(
                "--socket", client.path, None, None, None, root=client.root, own=client.own
            )
        return client

    def locations(self) -> list[DaemonLocation]:
        """Return where it is looked for, in order."""
        if self._found is not None:
            return [self._found]
        layout = self._named.layout
        if layout is None and self._named.directory is None:
            layout = "user"
        explicit = self._named.socket or (
            self._environ.get("COORDD_SOCKET")
            if self._named.layout is None and self._named.directory is None
            else None
        )
        return socket_candidates(
            explicit,
            self._environ,
            self._cwd,
            sys.platform,
            directory=self._named.directory,
            layout="project" if self._named.directory is not None and layout is None else layout,
        )


def working_directory() -> str | None:
    """Return the current directory; None if it no longer exists."""
    try:
        return os.getcwd()
    except OSError:
        return None
