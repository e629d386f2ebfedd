"""Build coordd-alert and run it until a signal ends it; the only place that builds its parts.

The order of what is told: the engine says what is due; the message goes into the outbox; the state, with
both, is on disk; then the actions begin (delivery.py). So a kill -9 at any moment leaves a message that is
not due yet, or one that waits in the outbox.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from coordd import __version__
from coordd.alerts.actions.base import Action
from coordd.alerts.configuration import Rules
from coordd.alerts.control import ControlServer
from coordd.alerts.delivery import Delivery
from coordd.alerts.end_of_input import at_end_of_input
from coordd.alerts.engine import Engine
from coordd.alerts.feed import Feed
from coordd.alerts.last_word import last_word
from coordd.alerts.lock import StateDirectory, StateError
from coordd.alerts.memory import Memory, from_document, to_document
from coordd.alerts.moment import Moment, now
from coordd.alerts.outbox import Outbox, Parcel
from coordd.alerts.requests import Requests
from coordd.alerts.store import StateFiles
from coordd.alerts.supervision import Supervision
from coordd.alerts.target import Target
from coordd.alerts.texts import message_of
from coordd.alerts.thread import Thread
from coordd.errors import ConfigError
from coordd.protocol.paths import ALERTS_SOCKET, address_problem
from coordd.util.regular_files import explain
from coordd.util.text import escape
from coordd.util.timestamps import format_utc

log = logging.getLogger(__name__)

DRAIN = 12.0
"""Seconds that actions have at the end: an exec has ten by itself."""
_DISK = 10.0
"""Seconds that a write may take before everything goes on without it."""
_SAVE_AFTER = 600.0
"""Seconds after which the state is written although nothing was told: so much is taken in again at most."""
_SAVE_CHANGED = 60.0
"""The same once something that may be told has changed."""

Loaded = tuple[Rules, dict[str, dict[str, Action]]]


@dataclass(frozen=True, slots=True)
class Setup:
    """What a run is made of: where state lies, what is asked, how rules are read, and whether EOF ends it."""

    state: StateDirectory
    target: Target
    load: Callable[[], Loaded]
    environ: Mapping[str, str]
    supervision: Supervision
    platform: str
    until_eof: bool = False


class Service:
    """Run coordd-alert."""

    def __init__(self, setup: Setup, loaded: Loaded) -> None:
        self._setup = setup
        self._rules, actions = loaded
        self._host = socket.gethostname()
        self._files = StateFiles(setup.state.fd)
        self._disk = Thread("state")
        self._problems: dict[str, str] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._polling = False
        self._stop = asyncio.Event()
        self._saved_at = -math.inf
        self._saved_fires: object = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._memory = self._remember()
        self._delivery = Delivery(
            outbox=self._memory.outbox,
            actions=actions,
            keep=lambda line: self._on_disk(lambda: self._files.append(line)),
            stamp=lambda: format_utc(now().wall),
            changed=setup.supervision.changed,
        )
        self._feed = Feed(memory=self._memory, find=setup.target.find, changed=self._changed)
        self._requests = Requests(
            memory=self._memory,
            delivery=self._delivery,
            feed=self._feed,
            host=self._host,
            process=self._process,
            problems=lambda: list(self._problems.values()),
            reload=self._reload,
            save=self._save,
            changed=self._changed,
        )
        self._control = ControlServer(self._requests.table())

    async def run(self) -> None:
        """Run until SIGTERM or SIGINT.

        Raises:
            StateError: the control socket cannot be made.
        """
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
        if self._setup.until_eof:
            word = partial(last_word, self._memory, self._changed, self._stop.set)
            at_end_of_input(lambda: self._begin(word()))
        path = os.path.join(self._setup.state.path, ALERTS_SOCKET)
        if (problem := address_problem(path, self._setup.platform)) is not None:
            raise StateError(f"no control socket at {escape(path)}: {problem.replace('--socket', '--state')}")
        try:
            await self._control.start(self._setup.state.way(ALERTS_SOCKET))
        except OSError as error:
            raise StateError(f"no control socket at {escape(path)}: {error.strerror}") from error
        await self._save()
        for parcel in list(self._memory.outbox.parcels.values()):
            self._delivery.send(parcel)
        feed = asyncio.create_task(self._feed.run())
        feed.add_done_callback(lambda _: self._stop.set())
        self._setup.supervision.start(self._status)
        log.info("coordd-alert %s: %s", __version__, self._status())
        await self._stop.wait()
        self._setup.supervision.stop()
        if feed.done() and not feed.cancelled():
            feed.result()
        feed.cancel()
        await self._end()

    async def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            await asyncio.wait(list(self._tasks), timeout=_DISK)
        await self._control.stop()
        await self._delivery.drain(DRAIN)
        await self._save()

    def _remember(self) -> Memory:
        """Read what the last run left. Blocking: nothing else runs yet.

        Raises:
            StateError: it cannot be read.
        """
        engine = Engine(self._rules.rules)
        moment = now()
        try:
            document, journal = self._files.read()
        except OSError as error:
            raise StateError(f"{escape(self._setup.state.path)}: {explain(error)}") from error
        if self._files.damaged is not None:
            log.error("%s: what fires is told again", self._files.damaged)
        memory = Memory(engine=engine, outbox=Outbox())
        if document is not None:
            memory = from_document(document, engine, moment)
            engine.replace_rules(self._rules.rules, moment)  # new rules are told what fires already
        memory.outbox.replay(journal)
        return memory

    def _changed(self) -> None:
        """Look soon what is due: much may have changed at once."""
        if not self._polling:
            self._polling = True
            asyncio.get_running_loop().call_soon(self._poll)

    def _poll(self) -> None:
        self._polling = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._stop.is_set() or not self._feed.settled:
            return
        moment = now()
        drafts, later = self._memory.engine.poll(moment)
        parcels = []
        for draft in drafts:
            self._memory.serial += 1
            message = message_of(
                draft,
                serial=self._memory.serial,
                now=moment,
                host=self._host,
                home=self._setup.environ.get("HOME"),
            )
            parcels.append(self._memory.outbox.add(message, self._delivery.actions.get(draft.rule.name, {})))
        if parcels:
            self._begin(self._send(parcels))
        elif self._worth_saving(moment):
            self._begin(self._save())
        if later < math.inf:
            self._timer = asyncio.get_running_loop().call_later(
                max(later - moment.mono, 0.001), self._changed
            )
        self._setup.supervision.changed()

    async def _send(self, parcels: Sequence[Parcel]) -> None:
        await self._save()
        for parcel in parcels:
            self._delivery.send(parcel)

    def _worth_saving(self, moment: Moment) -> bool:
        fires = list(self._memory.engine.fires)
        return moment.mono - self._saved_at > (_SAVE_AFTER if fires == self._saved_fires else _SAVE_CHANGED)

    async def _save(self) -> None:
        """Write the state; what cannot be written is a problem, and everything goes on."""
        moment = now()
        self._saved_at = moment.mono
        self._saved_fires = list(self._memory.engine.fires)
        document = to_document(self._memory, moment)
        await self._on_disk(lambda: self._files.write(document))

    async def _on_disk(self, write: Callable[[], None]) -> None:
        try:
            await self._disk.run(write, within=_DISK)
        except OSError as error:
            words = error.strerror or str(error)
            if "state" not in self._problems:
                log.error("the state cannot be written: %s", words)  # noqa: TRY400  # no fault of the code
            self._problems["state"] = (
                f"the state cannot be written ({words}): after a restart something may be told again"
            )
        else:
            self._problems.pop("state", None)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _process(self) -> dict[str, object]:
        return {
            "version": __version__,
            "pid": os.getpid(),
            "config_file": self._rules.file,
            "built_in": self._rules.built_in,
            "state_dir": self._setup.state.path,
        }

    def _status(self) -> str:
        engine = self._memory.engine
        count = len(engine.rules)
        counted = f"{count} {'rule' if count == 1 else 'rules'}"
        rules = "the built-in rule" if self._rules.built_in else counted
        fires = len(engine.fires)
        daemon = "" if self._feed.connected else f"; no daemon: {self._feed.trouble}"
        problems = "".join(f"; {one}" for one in self._problems.values())
        return f"{rules}, {fires} {'thing fires' if fires == 1 else 'things fire'}{daemon}{problems}"

    async def _reload(self) -> Rules:
        """Take the rules anew; the old ones stay if the new ones are bad.

        Raises:
            ConfigError: they are.
        """
        self._setup.supervision.reloading()
        try:
            rules, actions = await self._disk.run(self._setup.load, within=_DISK)
        except OSError as error:
            raise ConfigError(self._rules.file, "", None, error.strerror or str(error)) from error
        finally:
            self._setup.supervision.ready()
        before = self._memory.engine.kinds
        self._rules = rules
        self._delivery.actions = actions
        self._memory.engine.replace_rules(rules.rules, now())
        if ("finished" in before) != ("finished" in self._memory.engine.kinds):
            self._feed.renew()
        self._problems.pop("rules", None)
        log.info("the rules were read anew from %s", escape(rules.file))
        self._changed()
        return rules

    def _told_to_stop(self, number: int) -> None:
        if self._stop.is_set():
            os._exit(128 + number)
        log.info("told to stop (%s)", signal.Signals(number).name)
        self._stop.set()

    def _told_to_reload(self) -> None:
        async def reload() -> None:
            try:
                await self._reload()
            except ConfigError as error:
                log.error("the rules stay as they were: %s", escape(str(error)))  # noqa: TRY400  # no fault here
                self._problems["rules"] = f"the new rules are bad, the old ones count: {error}"

        self._begin(reload())
