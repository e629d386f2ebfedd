"""What a running coordd owns in the file system beside its records: directories, lock, control socket.

Taken at the start (``inherited``: the control socket as a service manager passed it), and looked after while
it runs: what was removed or replaced is made and owned again. Synchronous; :meth:`Places.keep` runs in the
writer thread.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from coordd.config import Config
from coordd.directories import ensure_directory
from coordd.errors import StartError
from coordd.inherited import adopt
from coordd.layout import Layout, check_project_directories
from coordd.listening import Listener, listen
from coordd.lock import InstanceLock


@dataclass(frozen=True, slots=True)
class Rights:
    """Modes of what coordd makes: the system layout is shared with its group, the others are one person's.

    ``root`` is a project's directory, which coordd never makes: it came from its user, and goes with them.
    """

    directory: int
    file: int
    socket: int
    group: str | None
    gitignore: bool
    root: str | None

    @classmethod
    def of(cls, layout: Layout, config: Config) -> Rights:
        """The rights that a layout calls for."""
        if layout.name == "system":
            return cls(0o750, 0o640, 0o660, config.control.group, gitignore=False, root=None)
        project = layout.name == "project"
        return cls(0o700, 0o600, 0o600, None, gitignore=project, root=layout.root if project else None)


class Places:
    """Directories, lock and socket, from ``with`` to its end.

    Raises:
        InstanceRunning: on entering: another coordd holds this metrics directory.
        StartError: on entering: a directory, the lock or the socket cannot be had; at once: what was passed
            is no control socket.
    """

    def __init__(
        self,
        *,
        config: Config,
        layout: Layout,
        version: str,
        started_at: str,
        inherited: Sequence[socket.socket] = (),
    ) -> None:
        self.rights = Rights.of(layout, config)
        self._listener = adopt(inherited)
        self.socket_path = config.control.socket if self._listener is None else self._listener.path
        self._layout = layout
        self._directories = (
            config.storage.metrics_dir,
            config.storage.log_dir,
            os.path.dirname(self.socket_path),
        )
        self._lock = InstanceLock(
            directory=config.storage.metrics_dir, version=version, started_at=started_at
        )

    @property
    def socket(self) -> socket.socket:
        """The listening socket."""
        return self._held.socket

    def __enter__(self) -> Places:
        check_project_directories(self._layout)
        self._make_directories()
        self._lock.acquire()
        try:
            self._listener = self._listener or self._listen()
        except BaseException:
            self._lock.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def keep(self) -> bool:
        """Make and own again what was lost; whether there is a new socket in place of the old one.

        Raises:
            InstanceRunning: the metrics directory is another coordd's now.
            StartError: something cannot be had again, for now.
        """
        held, in_place = self._lock.still_held(), self._held.in_place()
        if held and in_place:
            return False
        self._make_directories()
        if not held:
            self._lock.acquire()
        if in_place:
            return False
        self._listener = self._listen()
        return True

    def close(self) -> None:
        """Let go of socket and lock; the files stay."""
        if self._listener is not None:
            self._listener.close()
        self._lock.close()

    @property
    def _held(self) -> Listener:
        if self._listener is None:
            raise RuntimeError("the socket is asked for before it was taken")
        return self._listener

    def _listen(self) -> Listener:
        return listen(self.socket_path, mode=self.rights.socket, group=self.rights.group)

    def _make_directories(self) -> None:
        rights = self.rights
        for path in self._directories:
            inside = rights.root is not None and path.startswith(rights.root + os.sep)
            try:
                ensure_directory(
                    path,
                    mode=rights.directory,
                    gitignore=rights.gitignore and inside,
                    root=rights.root if inside else None,
                )
            except OSError as error:
                raise StartError(
                    f"the directory {path} cannot be made: {error.strerror}: {error.filename}"
                ) from error
