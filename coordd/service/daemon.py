"""The daemon: the only place where its parts are built and put together, started and ended.

Order of start: lock, socket (bound, not yet answering), sinks, memory of the last run, first reading of the
workspaces, answers, timers, first sample of the host. Order of end: the reverse, within five seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import signal
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from coordd import __version__
from coordd.agents.store import AgentStore
from coordd.config.build import Config, changed, public_url
from coordd.config.file import ConfigSources
from coordd.control.activation import passed_sockets
from coordd.control.connection import ConnectionLimits
from coordd.control.documents import Documents, Identity
from coordd.control.history import HistoryQueries
from coordd.control.hub import Hub
from coordd.control.methods import Methods
from coordd.control.rpc import Dispatcher
from coordd.control.server import ControlServer
from coordd.errors import ConfigError
from coordd.intake.agents import AgentIntake
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.files import FileIntake
from coordd.intake.host import FIRST_AFTER, HostSampling, Sampler
from coordd.intake.source import TraceLog
from coordd.intake.tasks import TaskIntake
from coordd.model import OwnCost, SinkStatus, Topic
from coordd.protocol.admission import allowed_connections
from coordd.protocol.jsonrpc import SERVER_ERROR, Fault
from coordd.redislink.state import RedisState
from coordd.runtime.clocks import LoopMonitor, Moment
from coordd.runtime.footprint import give_back_memory
from coordd.runtime.schedule import TICK, Schedule, now
from coordd.runtime.worker import DeadlineMissed, Worker, renew_deadline
from coordd.service.logs import set_level
from coordd.service.ownership_check import OwnershipCheck
from coordd.service.runtime_files import RuntimeFiles
from coordd.service.supervision import Supervision
from coordd.sinks.csv import CsvSink
from coordd.sinks.jsonl import JsonlSink
from coordd.sinks.last_run import LastRun
from coordd.sinks.recorder import Recorder
from coordd.sinks.upkeep import Upkeep
from coordd.sources.bounds import Bounds
from coordd.sources.file.backend import FileBackend
from coordd.tasks.board import Board
from coordd.tasks.views import TaskList
from coordd.util.log_limit import log_loop_errors
from coordd.util.one_at_a_time import OneAtATime
from coordd.util.sdnotify import Notifier, manager_of, watchdog_seconds
from coordd.util.timestamps import format_utc

if TYPE_CHECKING:
    from coordd.service.redis_service import RedisService

log = logging.getLogger(__name__)

SNAPSHOT_EVERY = 60.0
CHECK_EVERY = 4.0
"""Seconds between two looks at whether lock and record directories still are where they were."""
DRAIN = 5.0
LOAD_DEADLINE = 60.0
TRIM_AFTER = 3.0
"""Seconds after the start at which what starting took is given back."""
DAY = 86400.0


def run(sources: ConfigSources, config: Config, *, notifier: Notifier | None = None) -> int:
    """Run the daemon in this process until it is told to end; returns the exit code.

    ``notifier`` is told how it goes; by default the service manager that the environment names.

    Raises:
        InstanceRunning: another coordd holds this metrics directory.
        StartError: a directory, the lock or the socket cannot be had.
    """
    started = now()
    with RuntimeFiles(
        config=config,
        layout=sources.layout,
        version=__version__,
        started_at=format_utc(started.wall),
        inherited=passed_sockets(sources.environ, os.getpid()),
    ) as places:
        notifier = notifier or manager_of(sources.environ)
        daemon = Daemon(sources=sources, config=config, places=places, started=started, notifier=notifier)
        return asyncio.run(daemon.run())


class Daemon:
    """One run of the daemon on one event loop."""

    def __init__(
        self,
        *,
        sources: ConfigSources,
        config: Config,
        places: RuntimeFiles,
        started: Moment,
        notifier: Notifier,
    ) -> None:
        self._sources = sources
        self._config = config
        self._mode = config.coordination.mode
        self._places = places
        self._stop = asyncio.Event()
        self._reloads = OneAtATime(self._reload)
        self._exit_code = 0
        self._host = socket.gethostname()
        self._loop_monitor = LoopMonitor(interval=TICK, mono=started.mono)
        self._schedule = Schedule(
            loop_monitor=self._loop_monitor, on_step=self._clock_stepped, on_gap=self._gap
        )
        self._store = AgentStore(timeout=config.agents.timeout, loop_monitor=self._loop_monitor)
        self._board = Board(store=self._store, stall_after=config.agents.stall_after)
        self._store.on_change = self._board.touched
        self._writer = Worker("coordd-writer")
        self._traces = Worker("coordd-traces", replaceable=True)
        self._hub = Hub()
        sinks = self._record_sinks = self._sinks()
        self._recorder = Recorder(
            sinks=sinks,
            writer=self._writer,
            syncer=Worker("coordd-fsync"),
            schedule=self._schedule,
            host=self._host,
            fsync_interval=config.storage.fsync_interval,
            publish=self._publish,
        )
        self._upkeep = Upkeep(
            files=[file for sink in sinks for file in sink.files],
            storage=config.storage,
            worker=Worker("coordd-upkeep"),
            schedule=self._schedule,
            on_event=self._recorder.event,
        )
        bounds = Bounds()
        self._backend = FileBackend(entries=self._workspaces(config), bounds=bounds, keepalive=renew_deadline)
        self._agents = AgentIntake(
            store=self._store,
            recorder=self._recorder,
            host=self._host,
            forget_after=config.agents.forget_after,
        )
        tasklog = TaskIntake(board=self._board, recorder=self._recorder, schedule=self._schedule)
        self._deadline_timer = DeadlineTimer(
            store=self._store, schedule=self._schedule, agents=self._agents, tasks=tasklog
        )
        trace_log = TraceLog()
        self._pipeline = FileIntake(
            store=self._store,
            backend=self._backend,
            schedule=self._schedule,
            local=self._traces,
            remote=Worker("coordd-remote", replaceable=True),
            agents=self._agents,
            tasks=tasklog,
            deadline_timer=self._deadline_timer,
            trace_log=trace_log,
        )
        self._deadline_timer.files = self._pipeline.reread
        coordination = config.coordination
        redis_url = coordination.redis_url
        redis = RedisState(
            url=public_url(redis_url) if redis_url else None,
            labels=coordination.mode != "file",
            writes=coordination.redis_writable,
            on_event=self._recorder.event,
        )
        self._redis: RedisService | None = None
        if redis_url is not None:
            from coordd.service.redis_service import RedisService

            self._redis = RedisService(
                config=config,
                url=redis_url,
                state=redis,
                store=self._store,
                schedule=self._schedule,
                agents=self._agents,
                tasks=tasklog,
                deadline_timer=self._deadline_timer,
                trace_log=trace_log,
                bounds=bounds,
                on_event=self._recorder.event,
            )
        cost = OwnCost()
        self._sampling = HostSampling(
            sampler=_make_sampler,
            worker=Worker("coordd-psutil", replaceable=True),
            store=self._store,
            recorder=self._recorder,
            loop_monitor=self._loop_monitor,
            cost=cost,
            host=self._host,
            interval=config.sampling.interval,
            redis=redis,
        )
        tasks = TaskList(board=self._board, store=self._store)
        self._documents = Documents(
            store=self._store,
            identity=self._identity(started),
            board=self._board,
            tasks=tasks,
            sinks=self._sink_statuses,
            lateness=self._sampling.lateness,
            cost=cost,
            redis=redis,
            configuration=lambda: self._config.problems,
            places=self._place_problems,
        )
        self._supervision = Supervision(
            notifier=notifier,
            watchdog=watchdog_seconds(sources.environ, os.getpid()),
            schedule=self._schedule,
            loop_monitor=self._loop_monitor,
            store=self._store,
            lateness=self._sampling.lateness,
            summary=self._documents.summary,
        )
        methods = Methods(
            store=self._store,
            documents=self._documents,
            tasks=tasks,
            hub=self._hub,
            past=HistoryQueries(
                directory=config.storage.metrics_dir,
                worker=Worker("coordd-history", replaceable=True),
                now=now,
                root=places.rights.root,
            ),
            reloader=self,
            now=now,
        )
        dispatcher = Dispatcher(methods=methods.table(), own_uid=os.geteuid())
        self._server = ControlServer(
            dispatch=dispatcher,
            refusal=dispatcher.refusal,
            limits=ConnectionLimits(connections=allowed_connections()),
            own_uid=os.geteuid(),
        )
        self._last_run = LastRun(
            path=sources.layout.snapshot,
            directory=places.snapshots,
            metrics=places.metrics,
            mode=places.rights.file,
            root=places.rights.root,
            host=self._host,
            writer=self._writer,
        )
        self._rounds = OwnershipCheck(
            places=places,
            recorder=self._recorder,
            upkeep=self._upkeep,
            server=self._server,
            replaced=self._replaced,
        )

    async def run(self) -> int:
        """Start, wait for the end, drain."""
        loop = asyncio.get_running_loop()
        log_loop_errors(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
        await self._recorder.open()
        self._recorder.event(
            "daemon.started", "coordd", f"coordd {__version__} started", {"pid": os.getpid()}
        )
        if self._redis is not None:
            self._redis.load(self._last_run.path, self._last_run.root)
        self._backend.start(self._pipeline.hint)
        self._supervision.say("reading back the records of the last run")
        await self._pipeline.start(await self._last_run.read())
        if self._redis is not None:
            await self._redis.start()
        self._deadline_timer.start()
        self._server.start(self._places.socket)
        if not self._store.workspaces:  # where there is a Redis, it is one of them
            log.warning(
                "there is no workspace to watch: name one with --workspace, or in %s", self._sources.path
            )
        # The first answer waits for neither APScheduler nor psutil: both are slow to import.
        await self._traces.run(self._schedule.load, deadline=LOAD_DEADLINE)
        self._schedule.start()
        await self._sampling.prime()
        self._schedule.every("host.sample", self._config.sampling.interval, self._sample, first=FIRST_AFTER)
        self._schedule.every("snapshot", SNAPSHOT_EVERY, self._write_snapshot, first=1.0)
        self._schedule.every("records.check", CHECK_EVERY, self._rounds.make)
        self._await_midnight()
        self._upkeep.start()
        self._schedule.once("memory.trim", TRIM_AFTER, self._trim)
        log.info("coordd %s answers on %s", __version__, self._places.socket_path)
        await self._stop.wait()
        await self._end()
        return self._exit_code

    async def reload(self) -> tuple[list[str], list[str]]:
        """Build the whole new configuration first; a bad one leaves the old one standing.

        Raises:
            Fault: the new configuration is bad; the message is its error.
        """
        return await self._reloads()

    async def _reload(self) -> tuple[list[str], list[str]]:
        with self._supervision.reloading():
            return await self._take_configuration()

    async def _take_configuration(self) -> tuple[list[str], list[str]]:
        try:
            new = await self._traces.run(self._sources.load, deadline=DRAIN)
        except ConfigError as error:
            self._recorder.event("config.rejected", self._sources.path, str(error))
            raise Fault(SERVER_ERROR, str(error), kind="config") from error
        except DeadlineMissed as late:
            raise Fault(SERVER_ERROR, f"{self._sources.path} cannot be read: {late}", kind="config") from late
        keys, restart_required = changed(self._config, new)
        self._apply(new)
        message = f"changed: {', '.join(keys) or 'nothing'}"
        self._recorder.event(
            "config.reloaded",
            self._sources.path,
            message,
            {"changed": keys, "restart_required": restart_required, "problems": list(new.problems)},
        )
        return keys, restart_required

    def _apply(self, new: Config) -> None:
        old, self._config = self._config, new
        set_level(new.log.level)
        for problem in new.problems:
            if problem not in old.problems:
                log.warning("%s", problem)
        if new.sampling.interval != old.sampling.interval:
            self._sampling.interval = new.sampling.interval
            self._schedule.every("host.sample", new.sampling.interval, self._sample)
        self._agents.forget_after = new.agents.forget_after
        self._upkeep.apply(new.storage)
        for sink in self._record_sinks:
            sink.accept_folder()
        if self._redis is not None:
            self._redis.apply(new)
        if new.agents.timeout != old.agents.timeout:
            self._store.timeout = new.agents.timeout
            self._store.rejudge_all(now().mono)
        self._board.holdings.stall_after = new.agents.stall_after
        self._board.rejudge_all()
        self._backend.entries = self._workspaces(new)
        self._rescan_soon()

    async def _end(self) -> None:
        """Drain: records first, then those who ask."""
        self._supervision.stopping()
        self._upkeep.close()
        self._sampling.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                if self._redis is not None:
                    await self._redis.stop_reading()
                await self._pipeline.stop()
                self._deadline_timer.stop()
                # the last word: a reading that was under way has had its own
                self._recorder.event("daemon.stopped", "coordd", f"coordd {__version__} stopped")
                await self._recorder.record()  # so that subscribers hear of the end
                await self._server.stop()
                if self._redis is not None:
                    await self._redis.stop()
                await self._write_snapshot()
                await self._recorder.close()
        self._schedule.stop()
        self._backend.close()

    async def _sample(self) -> None:
        await self._sampling.sample()
        self._supervision.sampled()

    async def _trim(self) -> None:
        give_back_memory()

    def _told_to_stop(self, number: int) -> None:
        if self._stop.is_set():
            log.warning("told to stop a second time: ending at once")
            self._places.close()
            os._exit(128 + number)
        log.info("told to stop (%s)", signal.Signals(number).name)
        self._stop.set()

    def _told_to_reload(self) -> None:
        async def reload() -> None:
            with suppress(Fault):  # it is an event and a log line already
                await self.reload()

        self._schedule.once("config.reload", 0.0, reload)

    def _clock_stepped(self, seconds: float) -> None:
        self._recorder.event(
            "clock.stepped",
            "clock",
            f"the wall clock moved by {seconds:+.1f} s (it was set, or this machine slept)",
            {"seconds": round(seconds, 3)},
        )
        self._await_midnight()
        self._schedule.once("records.roll", 0.0, self._recorder.roll)
        self._schedule.once("snapshot.clock", 0.0, self._write_snapshot)  # its times are of the new clock
        self._rescan_soon()

    def _gap(self, seconds: float) -> None:
        log.warning("coordd did not run for %.1f s (stopped, or starved of CPU)", seconds)
        if self._redis is not None:
            self._redis.gap(seconds)  # before all are judged anew
        self._pipeline.gap(seconds)

    def _rescan_soon(self) -> None:
        self._pipeline.rescan_soon()
        if self._redis is not None:
            self._redis.rescan_soon()

    def _publish(self, topic: Topic, records: Sequence[bytes]) -> None:
        self._hub.publish(topic, records)
        if self._redis is not None:
            self._redis.offer(topic, records)

    def _sink_statuses(self) -> Mapping[str, SinkStatus]:
        statuses = self._recorder.statuses()
        return statuses if self._redis is None else {**statuses, **self._redis.statuses()}

    def _await_midnight(self) -> None:
        wall = now().wall
        self._schedule.once("records.midnight", DAY - wall % DAY + 0.01, self._midnight)

    async def _midnight(self) -> None:
        await self._recorder.roll()
        self._await_midnight()

    def _replaced(self) -> None:
        self._exit_code = 1
        self._stop.set()

    async def _write_snapshot(self) -> None:
        async def document() -> Mapping[str, object]:
            made = await self._documents.snapshot(now())
            return made if self._redis is None else self._redis.marked(made)

        await self._last_run.write(document)

    def _place_problems(self) -> list[str]:
        said = self._places.problems()
        snapshot = self._last_run.problem
        return said if snapshot is None or said else [snapshot]

    def _sinks(self) -> tuple[JsonlSink, CsvSink]:
        storage, rights = self._config.storage, self._places.rights
        common: dict[str, Any] = {
            "random": random.random,
            "backlog": storage.backlog,
            "mode": rights.file,
            "directory_mode": rights.directory,
            "gitignore": rights.gitignore,
            "root": rights.root,
        }
        jsonl = JsonlSink(metrics_dir=storage.metrics_dir, **common)
        # One directory for both is held once, or each would take the other's work for a stranger's.
        same = os.path.abspath(storage.log_dir) == os.path.abspath(storage.metrics_dir)
        return jsonl, CsvSink(log_dir=storage.log_dir, folder=jsonl.folder if same else None, **common)

    def _identity(self, started: Moment) -> Identity:
        layout, storage = self._sources.layout, self._config.storage
        path = self._sources.path
        return Identity(
            host=self._host,
            pid=os.getpid(),
            started=started,
            layout=layout.name,
            config_file=path if os.path.exists(path) else None,
            socket=self._places.socket_path,
            metrics_dir=storage.metrics_dir,
            log_dir=storage.log_dir,
        )

    def _workspaces(self, config: Config) -> tuple[str, ...]:
        """Those to be watched; the mode is that of the start, for another one needs a restart."""
        return () if self._mode == "redis" else config.coordination.workspaces


def _make_sampler() -> Sampler:
    from coordd.host.sampler import HostSampler

    return HostSampler()
