"""Run the daemon: start its parts in order, react to signals and clocks, and end them in order.

The parts are built by parts.py. The order of the start::

    lock and control socket (bound, not yet answering)     run()
    record sinks, and what the last run knew               Daemon.run()
    the first reading of the workspaces and of Redis
    answers to clients
    timers
    the first sample of the host: the service is ready

The end is the reverse order, within :data:`DRAIN` seconds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from contextlib import suppress

from coordd import __version__
from coordd.config.again import again
from coordd.config.build import Config
from coordd.config.file import ConfigSources
from coordd.control.activation import passed_sockets
from coordd.protocol.jsonrpc import Fault
from coordd.protocol.registry import registry_folder
from coordd.runtime.clocks import Moment
from coordd.runtime.footprint import give_back_memory
from coordd.runtime.schedule import now
from coordd.service.parts import Parts
from coordd.service.runtime_files import RuntimeFiles
from coordd.util.log_limit import log_loop_errors
from coordd.util.sdnotify import Notifier, manager_of
from coordd.util.text import epoch_of
from coordd.util.timestamps import format_utc
from coordd.util.unit import is_service

log = logging.getLogger(__name__)

SNAPSHOT_EVERY = 60.0
SNAPSHOT_SLACK = 10.0
"""Seconds that a snapshot waits for a sample of the host, to be written in the same wake-ups."""
DRAIN = 5.0
"""Seconds for writing what waits at the end."""
LOAD_DEADLINE = 60.0
TRIM_AFTER = 3.0
"""Seconds after the start at which the memory that starting took is given back."""
STALL = 2.0
"""Seconds that coordd did not run after which everything is read again."""
DAY = 86400.0


def run(sources: ConfigSources, config: Config, *, notifier: Notifier | None = None) -> int:
    """Run the daemon in this process until it is told to end; return the exit code.

    ``notifier`` is told of start, reloads and end; by default the service manager that the environment names.

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
        registry=registry_folder(sources.layout.name, sources.environ, sys.platform),
        inherited=passed_sockets(sources.environ, os.getpid()),
        start=again(sources, config, by_hand=not is_service(os.getpid(), sources.environ)),
    ) as runtime_files:
        daemon = Daemon(
            sources=sources,
            config=config,
            runtime_files=runtime_files,
            started=started,
            notifier=notifier or manager_of(sources.environ),
        )
        return asyncio.run(daemon.run())


class Daemon:
    """Run the daemon once, on one event loop."""

    def __init__(
        self,
        *,
        sources: ConfigSources,
        config: Config,
        runtime_files: RuntimeFiles,
        started: Moment,
        notifier: Notifier,
    ) -> None:
        self._sources = sources
        self._runtime_files = runtime_files
        self._stop = asyncio.Event()
        self._exit_code = 0
        self._parts = Parts(
            sources=sources,
            config=config,
            runtime_files=runtime_files,
            started=started,
            notifier=notifier,
            on_clock_step=self._clock_stepped,
            on_gap=self._gap,
            on_sleep=self._slept,
            on_replaced=self._replaced,
        )

    async def run(self) -> int:
        """Start, wait for the end, drain."""
        parts, loop = self._parts, asyncio.get_running_loop()
        log_loop_errors(loop)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload)
        await parts.recorder.open()
        parts.recorder.event(
            "daemon.started", "coordd", f"coordd {__version__} started", {"pid": os.getpid()}
        )
        parts.redis.load()
        parts.supervision.say("reading back the records of the last run")
        memory = await parts.last_run.read()
        self._tell_of_crash(memory.written)
        parts.remember(memory)
        await parts.intake.start(memory.agents)
        await parts.redis.start(memory.checkpoint)
        await parts.intake.first_readings()
        await parts.processes.evidence.first_look()
        parts.deadline_timer.start()
        parts.announcer.start()
        parts.server.start(self._runtime_files.socket)
        if not parts.store.workspaces:  # a Redis is one of them
            by_itself = parts.agent_finders.seen_by_themselves()
            log.warning(
                "there is no workspace to watch: %sname one with --workspace, or in %s",
                by_itself,
                self._sources.path,
            )
        # The first answer waits for neither APScheduler nor psutil: both are slow to import.
        # Neither waits for the other: the first sample is due a second after its counters were read.
        await asyncio.gather(parts.sampling.prime(), self._start_timers())
        interval, first = parts.reloading.config.sampling.interval, parts.sampling.first_in()
        parts.schedule.every("host.sample", interval, parts.sample, first=first)
        parts.schedule.every(
            "snapshot",
            SNAPSHOT_EVERY,
            parts.write_snapshot_with_sample,
            first=0.0,
            slack=SNAPSHOT_SLACK,
        )
        parts.ownership_check.start()
        self._await_midnight()
        parts.upkeep.start()
        parts.schedule.once("memory.trim", TRIM_AFTER, self._trim)
        log.info("coordd %s answers on %s", __version__, self._runtime_files.socket_path)
        await self._stop.wait()
        await self._end()
        return self._exit_code

    async def _start_timers(self) -> None:
        await self._parts.traces.run(self._parts.schedule.load, deadline=LOAD_DEADLINE)
        self._parts.schedule.start()

    def _tell_of_crash(self, snapshot: float | None) -> None:
        """Record that the coordd before this one crashed; ``snapshot`` is the time of its last, if any."""
        last = self._runtime_files.crashed
        if last is None:
            return
        wall, began = now().wall, epoch_of(last.started_at)
        known = [one for one in (snapshot, began) if one is not None and one <= wall]
        seen = format_utc(max(known)) if known else None
        restarted = last.same_boot is False
        told = "ended together with the machine" if restarted else "came to no orderly end"
        when = "" if seen is None else f"; it was last seen alive at {seen}"
        self._parts.recorder.event(
            "machine.restarted" if restarted else "daemon.crashed",
            "coordd",
            f"the coordd before this one (pid {last.pid or 'unknown'}) {told}{when}",
            {"pid": last.pid, "version": last.version, "started_at": last.started_at, "last_seen": seen},
        )

    async def _end(self) -> None:
        """End the parts: write what waits, then answer clients, then let go."""
        parts = self._parts
        parts.supervision.stopping()
        parts.purging.close()
        parts.upkeep.close()
        parts.ownership_check.close()
        parts.sampling.stop()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN):
                parts.processes.named.stop()
                await parts.processes.evidence.settled()
                await parts.intake.stop()
                parts.deadline_timer.stop()
                await parts.deadline_timer.stopped()
                parts.announcer.stop()
                # after the last events of a reading that was under way
                parts.recorder.event("daemon.stopped", "coordd", f"coordd {__version__} stopped")
                await parts.recorder.record()  # so that subscribers get it
                await parts.server.stop()
                await parts.redis.stop()
                await parts.write_snapshot(ended=True)
                await parts.recorder.close()
        parts.schedule.stop()
        self._runtime_files.ended()

    async def _trim(self) -> None:
        give_back_memory()

    def _told_to_stop(self, number: int) -> None:
        if self._stop.is_set():
            log.warning("told to stop a second time: ending at once")
            self._runtime_files.ended()
            self._runtime_files.close()
            os._exit(128 + number)
        log.info("told to stop (%s)", signal.Signals(number).name)
        self._stop.set()

    def _told_to_reload(self) -> None:
        async def reload() -> None:
            with suppress(Fault):  # it is already an event and a log line
                await self._parts.reloading.reload()

        self._parts.schedule.once("config.reload", 0.0, reload)

    def _clock_stepped(self, seconds: float) -> None:
        self._parts.recorder.event(
            "clock.stepped",
            "clock",
            f"the wall clock was set: it moved by {seconds:+.1f} s",
            {"seconds": round(seconds, 3)},
        )
        self._wall_moved()

    def _slept(self, seconds: float) -> None:
        self._parts.recorder.event(
            "clock.slept", "clock", f"this machine slept for {seconds:.1f} s", {"seconds": round(seconds, 3)}
        )
        self._parts.intake.interrupted()
        self._wall_moved()

    def _wall_moved(self) -> None:
        """Do what depends on the date anew, and read everything again: agents may have written unnoticed."""
        self._await_midnight()
        self._parts.schedule.once("records.roll", 0.0, self._parts.recorder.roll)
        # The times in it are then of the new clock.
        self._parts.schedule.once("snapshot.clock", 0.0, self._parts.write_snapshot)
        self._parts.intake.scan_soon()

    def _gap(self, seconds: float) -> None:
        self._parts.processes.trees.skip(seconds)
        if seconds < STALL:  # nothing announced was lost: it only counts as no silence
            self._parts.intake.skip(seconds)
            return
        log.warning("coordd did not run for %.1f s (stopped, or starved of CPU)", seconds)
        self._parts.redis.gap()
        self._parts.intake.gap(seconds)

    def _await_midnight(self) -> None:
        wall = now().wall
        self._parts.schedule.once("records.midnight", DAY - wall % DAY + 0.01, self._midnight)

    async def _midnight(self) -> None:
        await self._parts.recorder.roll()
        self._await_midnight()

    def _replaced(self) -> None:
        self._exit_code = 1
        self._stop.set()
