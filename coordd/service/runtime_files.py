"""Take and keep what a running coordd owns in the file system: directories, lock, socket, registration.

Taken at the start (``inherited``: the control socket that a service manager passed; ``registry``: the folder
of registrations; ``start``: what is told of how to start the daemon again), and kept while it runs: what was
removed or replaced is made again. Synchronous; :meth:`RuntimeFiles.keep` runs in the writer thread. The
directory of snapshots is kept by who writes them, in another thread.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence
from types import TracebackType

from coordd.config.build import Config
from coordd.config.layout import Layout, check_project_directories
from coordd.config.rights import Rights
from coordd.control.activation import adopt
from coordd.control.socket_file import ListeningSocket, listen
from coordd.errors import CoorddError, StartError
from coordd.service.lock import InstanceLock, demand_free
from coordd.service.lock_content import LastHolder
from coordd.service.registration import Registration
from coordd.util.held_directory import HeldDirectory


class RuntimeFiles:
    """Own directories, lock and socket, from ``with`` to its end.

    Raises:
        InstanceRunning: on entering: another coordd holds this metrics directory.
        StartError: in the constructor: a socket was passed that is not a control socket; on entering: a
            directory, the lock or the socket cannot be had.
    """

    def __init__(
        self,
        *,
        config: Config,
        layout: Layout,
        version: str,
        started_at: str,
        registry: str,
        inherited: Sequence[socket.socket] = (),
        start: Mapping[str, object] | None = None,
    ) -> None:
        self.rights = Rights.of(layout, config)
        self.start = start or {}
        self._listener = adopt(inherited)
        self.socket_path = config.control.socket if self._listener is None else self._listener.path
        self._layout = layout
        storage, rights = config.storage, self.rights
        self.metrics = self._directory(storage.metrics_dir)
        self.logs = self._directory(storage.log_dir)
        self._run = self._directory(os.path.dirname(self.socket_path))
        self.snapshots = self._directory(os.path.dirname(layout.snapshot))
        self._lock = InstanceLock(
            directory=storage.metrics_dir, version=version, started_at=started_at, root=rights.root
        )
        self._registration = Registration(
            folder=registry, socket=self.socket_path, layout=layout.name, root=layout.root, start=start
        )
        self._socket_problem: str | None = None

    @property
    def socket(self) -> socket.socket:
        """Return the listening socket."""
        return self._listening.socket

    def __enter__(self) -> RuntimeFiles:
        check_project_directories(self._layout)
        for directory in (self.metrics, self.logs, self._run):
            self._look(directory)
        self._lock.acquire()
        try:
            self._listener = self._listener or self._listen()
        except BaseException as error:
            self._given_up(error)
            self._lock.close()
            raise
        self._registration.write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._given_up(error)
        self.close()

    def _given_up(self, error: BaseException) -> None:
        """Note that this coordd ends for a reason that it tells: no crash, unless that of the one before."""
        if isinstance(error, (CoorddError, KeyboardInterrupt, SystemExit)) and self._lock.crashed is None:
            self._lock.ended()

    def keep(self) -> bool:
        """Take again what was lost; return whether a new socket replaces the old one.

        Something else that has one of the names is left alone, and reported by :meth:`problems`.

        Raises:
            InstanceRunning: the metrics directory is another coordd's now.
            StartError: something cannot be taken again for now.
        """
        in_place = [self._look(directory) for directory in (self.metrics, self.logs, self._run)]
        self._registration.write()
        if not self._lock.still_held():
            self._lock_again(in_place=in_place[0])
        if self._listening.in_place():
            self._socket_problem = None
            return False
        if not in_place[2]:
            return False
        try:
            listener = self._listen()
        except StartError as error:
            self._socket_problem = str(error)
            raise
        self._listening.forget()
        self._listener, self._socket_problem = listener, None
        return True

    def problems(self) -> list[str]:
        """Return what keeps coordd from its own files, in words; may be called from any thread."""
        troubles = (self.metrics.trouble, self.logs.trouble, self._run.trouble, self.snapshots.trouble)
        words = [*troubles, self._lock.warning, self._socket_problem]
        return list(dict.fromkeys(trouble for trouble in words if trouble is not None))

    @property
    def displaced(self) -> bool:
        """Whether something else stands in the place of a directory that :meth:`keep` looks after."""
        return any(directory.trouble is not None for directory in (self.metrics, self.logs, self._run))

    @property
    def crashed(self) -> LastHolder | None:
        """The coordd before this one, if it came to no orderly end."""
        return self._lock.crashed

    def ended(self) -> None:
        """Note for the next coordd that this one ends in order."""
        self._lock.ended()

    def close(self) -> None:
        """Let go of registration, socket, lock and directories; the record files stay."""
        self._registration.close()
        if self._listener is not None:
            self._listener.close()
        self._lock.close()
        for directory in (self.metrics, self.logs, self._run, self.snapshots):
            directory.close()

    @property
    def _listening(self) -> ListeningSocket:
        if self._listener is None:
            raise RuntimeError("the socket is asked for before it was taken")
        return self._listener

    def _listen(self) -> ListeningSocket:
        rights = self.rights
        return listen(self.socket_path, mode=rights.socket, group=rights.group, root=rights.root)

    def _directory(self, path: str) -> HeldDirectory:
        rights = self.rights
        return HeldDirectory(path, mode=rights.directory, gitignore=rights.gitignore, root=rights.root)

    def _look(self, directory: HeldDirectory) -> bool:
        """Make a directory again where it is gone; return whether it is in place."""
        try:
            return directory.look() is not None
        except OSError as error:
            raise StartError(
                f"the directory {directory.path} cannot be made: {error.strerror}: {error.filename}"
            ) from error

    def _lock_again(self, *, in_place: bool) -> None:
        """Lock the metrics directory again; where it was replaced, only check whether another holds it.

        Raises:
            InstanceRunning, StartError: as :meth:`keep`.
        """
        if in_place:
            self._lock.acquire()
        else:
            demand_free(self.metrics.path, root=self.rights.root)
