"""Sample the host: measure in the psutil thread, record the sample, then show it.

The rule: a measurement that fails or hangs leaves the last sample shown and counts as lateness; it never
stops the next one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from coordd.agents.store import AgentStore
from coordd.model import HostReading, OwnCost, PerformanceRow, SelfUsage, SystemSample
from coordd.redislink.state import RedisState
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.schedule import now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sinks.recorder import Recorder
from coordd.util.timestamps import format_utc

log = logging.getLogger(__name__)

FIRST_AFTER = 1.0
"""Seconds from priming the counters to the first sample: less would be the CPU use of coordd's own start."""
DEADLINE = 10.0
"""Seconds that one measurement may take."""


class Sampler(Protocol):
    """The interface of what measures the host; both calls belong to one thread."""

    @property
    def errors(self) -> Mapping[str, str]:
        """What could not be measured last time: part to reason."""

    def prime(self, mono: float) -> None:
        """Take the first reading of every counter."""

    def read(self, mono: float) -> HostReading:
        """Measure everything, with rates since the reading before."""


class HostSampling:
    """Take a system sample each time :meth:`sample` is called.

    Args:
        sampler: makes the sampler in the worker's thread, so that coordd answers before psutil is imported.
        worker: the thread that measures.
        store: shows the latest sample.
        recorder: writes it.
        loop_monitor: knows the lateness of the loop.
        cost: takes what coordd itself costs.
        host: the name of this machine.
        interval: seconds between two samples; it may be changed.
        redis: the mode, and the size of Redis, for the performance record.
    """

    def __init__(
        self,
        *,
        sampler: Callable[[], Sampler],
        worker: Worker,
        store: AgentStore,
        recorder: Recorder,
        loop_monitor: LoopMonitor,
        cost: OwnCost,
        host: str,
        interval: float,
        redis: RedisState,
    ) -> None:
        self._make = sampler
        self._sampler: Sampler | None = None
        self._ending = False
        self._worker = worker
        self._store = store
        self._recorder = recorder
        self._loop_monitor = loop_monitor
        self._cost = cost
        self._host = host
        self._redis = redis
        self.interval = interval
        self._last: float | None = None
        self._primed: float | None = None
        self._measured = asyncio.Event()
        self._measured.set()
        self._logged: dict[str, str] = {}

    async def prime(self) -> None:
        """Take the first reading of every counter; the first sample follows :data:`FIRST_AFTER` later."""
        self._last = now().mono
        try:
            await self._worker.run(self._begin, deadline=DEADLINE)
        except DeadlineMissed:
            log.warning("the first look at the host takes more than %g s", DEADLINE)

    def first_in(self) -> float:
        """Return the seconds until the first sample; what the daemon did since it was primed counts."""
        return FIRST_AFTER if self._primed is None else max(0.0, self._primed + FIRST_AFTER - now().mono)

    def _begin(self) -> None:
        """Make and prime the sampler; runs in the psutil thread."""
        self._sampler = self._make()
        self._primed = now().mono
        self._sampler.prime(self._primed)

    async def sample(self) -> None:
        """Measure, record the sample, then show it."""
        if self._sampler is None:
            await self.prime()
            return
        self._measured.clear()
        try:
            reading = await self._worker.run(self._sampler.read, now().mono, deadline=DEADLINE)
        except DeadlineMissed:
            log.warning("measuring the host takes more than %g s; the sample is left out", DEADLINE)
            return
        finally:
            self._measured.set()
        if self._ending:
            return
        self._log_errors(self._sampler.errors)
        moment, mode = now(), self._redis.mode
        self._last = moment.mono
        self._cost.cpu_seconds = reading.own_cpu_seconds
        self._cost.rss = reading.own_rss
        sample = SystemSample(
            timestamp=format_utc(moment.wall),
            host=self._host,
            cpu_percent=reading.cpu_percent,
            memory_usage=reading.memory_usage,
            disk_usage=reading.disk_usage,
            load_average=reading.load_average,
            cpu_count=reading.cpu_count,
            swap_usage=reading.swap_usage,
            disk_io=reading.disk_io,
            network_io=reading.network_io,
            coord_mode=mode,
            agents=self._store.counts(moment.mono),
            self=SelfUsage(
                cpu_percent=reading.own_cpu_percent,
                rss=reading.own_rss,
                open_fds=reading.own_open_fds,
                loop_lag_ms=round(self._loop_monitor.take_lag() * 1000, 3),
            ),
            cgroup=reading.cgroup,
        )
        memory = (reading.memory_usage or {}).get("percent")
        row = PerformanceRow(
            timestamp=moment.wall,
            cpu=reading.cpu_percent,
            memory=memory,
            redis_memory=self._redis.used_memory,
            redis_keys=self._redis.keys,
            coord_mode=mode,
        )
        await self._recorder.record(system=[sample], performance=[row])
        self._store.system = sample

    async def measured(self) -> None:
        """Return when the sample that is under way is about to be recorded; at once where none is."""
        await self._measured.wait()

    def stop(self) -> None:
        """Stop recording: a sample that comes later would not reach every sink."""
        self._ending = True

    def lateness(self, mono: float) -> float:
        """Return the seconds by which the next sample is overdue; 0.0 within one interval of grace."""
        if self._last is None:
            return 0.0
        late = mono - self._last - self.interval
        return late if late > self.interval else 0.0

    def _log_errors(self, errors: Mapping[str, str]) -> None:
        for part, error in errors.items():
            if self._logged.get(part) != error:
                self._logged[part] = error
                log.warning("%s cannot be measured: %s", part, error)
