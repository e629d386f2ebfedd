"""Reload the configuration: build all of the new one first, so that a bad one changes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable

from coordd.config.build import Config, changed
from coordd.config.file import ConfigSources
from coordd.control.reload import Reloaded
from coordd.errors import ConfigError
from coordd.protocol.jsonrpc import SERVER_ERROR, Fault
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.service.logs import set_level
from coordd.service.supervision import Supervision
from coordd.sinks.recorder import Recorder
from coordd.util.one_at_a_time import OneAtATime

log = logging.getLogger(__name__)

READ_DEADLINE = 5.0
"""Seconds for reading the configuration's files."""


class Reloading:
    """Read the configuration again when asked, and have it applied.

    ``config`` is the configuration in effect; what of it needs a restart is in ``restart_required`` until
    then, by key, however often it is reloaded: those whose values differ from those of the start.
    ``rejected`` says why the last reload could not use the project's own file, None if it could.

    Args:
        sources: where the configuration is read from.
        config: the one that the daemon started with.
        reader: the thread in which files are read.
        recorder: records what came of a reload as an event.
        supervision: tells the service manager of it.
        apply: takes the old and the new configuration, and brings the parts to the new one.
    """

    def __init__(
        self,
        *,
        sources: ConfigSources,
        config: Config,
        reader: Worker,
        recorder: Recorder,
        supervision: Supervision,
        apply: Callable[[Config, Config], None],
    ) -> None:
        self.config = config
        self.restart_required: list[str] = []
        self.rejected: str | None = None
        self._started_with = config
        self._sources = sources
        self._reader = reader
        self._recorder = recorder
        self._supervision = supervision
        self._apply = apply
        self._reloads = OneAtATime(self._reload)

    async def reload(self) -> Reloaded:
        """Reload; return the keys that changed, and all that await a restart, of earlier reloads as well.

        A project's own file that could be read before and cannot be used now is an error here, although it
        stops no start: what it set stays, and whoever asked is told.

        Raises:
            Fault: the new configuration is bad; the message is its error.
        """
        return await self._reloads()

    @property
    def problems(self) -> list[str]:
        """Return what is wrong with the configuration in effect, and with the file that it should be of."""
        return [*self.config.problems, *([] if self.rejected is None else [self.rejected])]

    async def _reload(self) -> Reloaded:
        with self._supervision.reloading():
            return await self._take()

    async def _take(self) -> Reloaded:
        try:
            new = await self._reader.run(self._sources.load, deadline=READ_DEADLINE)
        except ConfigError as error:
            self._recorder.event("config.rejected", self._sources.path, str(error))
            raise Fault(SERVER_ERROR, str(error), kind="config") from error
        except DeadlineMissed as late:
            raise Fault(SERVER_ERROR, f"{self._sources.path} cannot be read: {late}", kind="config") from late
        broken = [one for one in new.unusable if one not in self.config.unusable]
        if broken:
            words = f"{broken[0].removesuffix('; it is ignored')}; what it has set stays in effect"
            self.rejected = words
            self._recorder.event("config.rejected", self._sources.path, words)
            raise Fault(SERVER_ERROR, words, kind="config")
        self.rejected = None
        old, self.config = self.config, new
        keys, _ = changed(old, new)
        _, restart_required = changed(self._started_with, new)
        self.restart_required = restart_required
        set_level(new.log.level)
        for problem in new.problems:
            if problem not in old.problems:
                log.warning("%s", problem)
        self._apply(old, new)
        message = f"changed: {', '.join(keys) or 'nothing'}"
        self._recorder.event(
            "config.reloaded",
            self._sources.path,
            message,
            {"changed": keys, "restart_required": restart_required, "problems": list(new.problems)},
        )
        return Reloaded(keys, restart_required, list(new.problems))
