"""Check that lock, record directories and control socket are still in their places, when there is reason to.

What somebody removed is made again. A metrics directory that another daemon holds by now ends this one. When
the check is made, and how long after the last one::

    inotify tells of a change, or what is watched had to change     SOON
    something is not in order: it is another's to mend              RETRY
    not everything can be watched                                   LOOK_EVERY
    all is well                                                     RARELY
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from coordd.control.server import ControlServer
from coordd.errors import InstanceRunning, StartError
from coordd.runtime.schedule import Schedule, now
from coordd.service.ownership_watch import OwnershipWatch
from coordd.service.runtime_files import RuntimeFiles
from coordd.sinks.recorder import Recorder

log = logging.getLogger(__name__)

SOON = 1.0
"""Seconds in which what is being removed goes on being removed; making it again would meet that."""
RETRY = 4.0
LOOK_EVERY = 10.0
RARELY = 600.0

_JOB = "records.check"


class OwnershipCheck:
    """Make the checks, from :meth:`start` to :meth:`close`.

    ``replaced`` is called when the metrics directory is another daemon's, ``changed`` when something was
    taken away, or is in order again: what else lies there is better written anew.
    """

    def __init__(
        self,
        *,
        runtime_files: RuntimeFiles,
        recorder: Recorder,
        server: ControlServer,
        schedule: Schedule,
        replaced: Callable[[], None],
        changed: Callable[[], None],
        watch: Callable[[Callable[[], None]], OwnershipWatch] = lambda tell: OwnershipWatch(on_change=tell),
    ) -> None:
        self._runtime_files = runtime_files
        self._recorder = recorder
        self._server = server
        self._schedule = schedule
        self._replaced = replaced
        self._changed = changed
        self._watch = watch(self._check_soon)
        self._last_error: str | None = None
        self._reported: list[str] = []
        self._checking = False
        self._told = False
        self._moved = False  # a new socket is there, and the server does not know yet
        self._rearmed = False
        self._kept = False
        self._in_order: bool | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to watch, and check once; needs a running loop."""
        self._watch.start()
        self._schedule.once(_JOB, 0.0, self.make)

    def close(self) -> None:
        """Check no longer."""
        self._closed = True
        self._schedule.cancel(_JOB)
        self._watch.close()

    async def make(self) -> None:
        """Check everything once, and restore what is gone."""
        if self._checking:
            self._told = True
            return
        self._checking, self._told = True, False
        in_order = False
        try:
            in_order = await self._make()
        finally:
            self._checking = False
            before, self._in_order = self._in_order, in_order
            rearmed, self._rearmed = self._rearmed, False
            if before is not None and (rearmed or before != in_order) and not self._closed:
                self._changed()
            self._await_next(again=rearmed or self._told, in_order=in_order)

    def _check_soon(self) -> None:
        waiting = self._schedule.waiting(_JOB)
        if self._checking:
            self._told = True
        elif not self._closed and (waiting is None or waiting > now().mono + SOON):
            self._schedule.once(_JOB, SOON, self.make)

    def _await_next(self, *, again: bool, in_order: bool) -> None:
        if again:
            self._check_soon()
        elif self._closed:
            return
        elif not in_order:
            self._schedule.once(_JOB, RETRY, self.make)
        elif not self._watch.complete:
            self._schedule.once(_JOB, LOOK_EVERY, self.make)
        else:
            self._schedule.once(_JOB, RARELY, self.make, slack=RARELY)

    def _keep(self) -> None:
        """Watch what is there, then restore what is not; runs in the writer thread."""
        files = self._runtime_files
        rearmed = self._watch.arm(
            records=[files.metrics.path, files.logs.path],
            directories=[files.snapshots.path],
            files=[files.socket_path],
        )
        self._rearmed = rearmed or self._rearmed
        self._moved = files.keep() or self._moved
        self._kept = True

    async def _make(self) -> bool:
        """Check once; return whether all is in order, which a check that is late does not tell."""
        self._kept = False
        try:
            await self._recorder.check(first=self._keep)
        except InstanceRunning as error:
            log.critical("the metrics directory was replaced, and now belongs to another: %s", error)
            self._replaced()
            return False
        except StartError as error:
            if str(error) != self._last_error:
                self._last_error = str(error)
                log.error("what coordd owns is gone: %s", error)  # noqa: TRY400 - no traceback: the message has everything
            return False
        self._last_error = None
        problems = self._runtime_files.problems()
        for problem in problems:
            if problem not in self._reported:
                log.warning("%s", problem)
        self._reported = problems
        if self._moved:
            self._moved = False
            self._server.move(self._runtime_files.socket)
            self._recorder.event(
                "socket.recreated",
                self._runtime_files.socket_path,
                "the control socket was removed, and is back",
            )
        return self._kept and not self._runtime_files.displaced
