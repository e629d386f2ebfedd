"""Allow one coordd-alert per state directory, by flock(2): two would tell everything twice.

The directory is this user's alone (0700); the lock file is never removed, and holds the pid for the message
to a second one.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress

from coordd.errors import CoorddError
from coordd.util.directories import OpenDirectory, open_directory
from coordd.util.regular_files import explain, open_own
from coordd.util.shell import shell_word
from coordd.util.text import escape

NAME = ".lock"


class AlertsRunning(CoorddError):
    """Another coordd-alert has this state directory."""


class StateError(CoorddError):
    """The state directory cannot be made, opened or trusted."""


class StateDirectory:
    """The state directory, open and locked until :meth:`close`; ``fd`` is its descriptor."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._opened: OpenDirectory | None = None
        self._lock = -1

    @property
    def fd(self) -> int:
        """Return the descriptor of the directory."""
        return -1 if self._opened is None else self._opened.fd

    def open(self) -> None:
        """Make, open and lock it.

        Raises:
            AlertsRunning: another process has it.
            StateError: it cannot be had, or belongs to another user, or others can write to it.
        """
        try:
            self._opened = open_directory(self.path, make=True, mode=0o700)
            self._demand_own(os.fstat(self._opened.fd))
            self._lock, _ = open_own(NAME, os.O_RDWR, mode=0o600, directory=self._opened.fd, shown=NAME)
            self._take()
        except OSError as error:
            self.close()
            raise StateError(f"{escape(self.path)}: {explain(error)}") from error
        except BaseException:
            self.close()
            raise

    def _demand_own(self, state: os.stat_result) -> None:
        if state.st_uid != os.geteuid():
            raise StateError(f"{escape(self.path)} belongs to uid {state.st_uid}: name another --state")
        if state.st_mode & 0o022:
            raise StateError(f"others can write to {escape(self.path)}: chmod go-w {shell_word(self.path)}")

    def way(self, name: str) -> str:
        """Return a path to a name in the directory, for calls that take no descriptor."""
        return os.path.join(self.path, name) if self._opened is None else self._opened.way(name)

    def close(self) -> None:
        """Let go of the lock and of the directory; harmless when they are not held."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _take(self) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pid = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            whose = f" with pid {pid}" if pid.isdigit() else ""
            raise AlertsRunning(
                f"coordd-alert{whose} runs already with {escape(self.path)}. Ask it with 'coordctl alerts', "
                "stop it first, or name another --state."
            ) from None
        with suppress(OSError):  # on a full disk the lock holds all the same
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
