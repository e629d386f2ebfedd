"""The round that is made every few seconds: whether what coordd owns still is where it was.

Lock, record directories and control socket are made again where somebody removed them; a metrics directory
that belongs to another daemon by now ends this one.
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
    """Makes the round; ``replaced`` is called when the metrics directory is another daemon's."""

    def __init__(
        self,
        *,
        places: RuntimeFiles,
        recorder: Recorder,
        upkeep: Upkeep,
        server: ControlServer,
        replaced: Callable[[], None],
    ) -> None:
        self._places = places
        self._recorder = recorder
        self._upkeep = upkeep
        self._server = server
        self._replaced = replaced
        self._lost: str | None = None
        self._told: list[str] = []

    async def make(self) -> None:
        """Look at everything once, and mend it."""
        moved = False

        def keep() -> None:
            nonlocal moved
            moved = self._places.keep()

        try:
            await self._recorder.check(first=keep)
        except InstanceRunning as error:
            log.critical("the metrics directory was replaced, and now belongs to another: %s", error)
            self._replaced()
            return
        except StartError as error:
            if str(error) != self._lost:
                self._lost = str(error)
                log.error("what coordd owns is gone: %s", error)  # noqa: TRY400 - it says all there is
            return
        self._lost = None
        problems = self._places.problems()
        for problem in problems:
            if problem not in self._told:
                log.warning("%s", problem)
        self._told = problems
        self._upkeep.look()
        if moved:
            self._server.move(self._places.socket)
            self._recorder.event(
                "socket.recreated", self._places.socket_path, "the control socket was removed, and is back"
            )
