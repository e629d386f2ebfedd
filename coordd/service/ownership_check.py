"""Check every few seconds that lock, record directories and control socket are still in their places.

What somebody removed is made again. A metrics directory that another daemon holds by now ends this one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from coordd.control.server import ControlServer
from coordd.errors import InstanceRunning, StartError
from coordd.service.runtime_files import RuntimeFiles
from coordd.sinks.recorder import Recorder
from coordd.sinks.upkeep import Upkeep

log = logging.getLogger(__name__)


class OwnershipCheck:
    """Make the check; ``replaced`` is called when the metrics directory is another daemon's."""

    def __init__(
        self,
        *,
        runtime_files: RuntimeFiles,
        recorder: Recorder,
        upkeep: Upkeep,
        server: ControlServer,
        replaced: Callable[[], None],
    ) -> None:
        self._runtime_files = runtime_files
        self._recorder = recorder
        self._upkeep = upkeep
        self._server = server
        self._replaced = replaced
        self._last_error: str | None = None
        self._reported: list[str] = []

    async def make(self) -> None:
        """Check everything once, and restore what is gone."""
        moved = False

        def keep() -> None:
            nonlocal moved
            moved = self._runtime_files.keep()

        try:
            await self._recorder.check(first=keep)
        except InstanceRunning as error:
            log.critical("the metrics directory was replaced, and now belongs to another: %s", error)
            self._replaced()
            return
        except StartError as error:
            if str(error) != self._last_error:
                self._last_error = str(error)
                log.error("what coordd owns is gone: %s", error)  # noqa: TRY400 - no traceback: the message has everything
            return
        self._last_error = None
        problems = self._runtime_files.problems()
        for problem in problems:
            if problem not in self._reported:
                log.warning("%s", problem)
        self._reported = problems
        self._upkeep.look()
        if moved:
            self._server.move(self._runtime_files.socket)
            self._recorder.event(
                "socket.recreated",
                self._runtime_files.socket_path,
                "the control socket was removed, and is back",
            )
