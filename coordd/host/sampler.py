"""Measure everything for one system sample, part by part.

The rule: a part that cannot be read is None and does not affect the other parts. All calls belong to one
thread, which may block because it does not run the event loop. It knows nothing of samples, sinks or the
loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

from coordd.host.cgroup import GroupReading, read_groups, usage_of
from coordd.host.cpu import Times, busy_percent, read_cpu_count, read_cpu_times, read_load_average
from coordd.host.disk import read_disk_counters, read_disk_usage
from coordd.host.memory import read_memory, read_swap
from coordd.host.network import read_network_counters
from coordd.host.process import CpuUse, cpu_share, read_own_cpu, read_own_descriptors, read_own_rss
from coordd.host.rates import Counters, byte_rates
from coordd.model import HostReading

T = TypeVar("T")


class HostSampler:
    """Measure the host, with rates since the reading before.

    A counter that could not be read keeps its last reading: the next rate then is the mean over both spans.
    """

    def __init__(self) -> None:
        self._cpu: Times | None = None
        self._disk: Counters | None = None
        self._network: Counters | None = None
        self._own: CpuUse | None = None
        self._groups: GroupReading | None = None
        self._errors: dict[str, str] = {}

    @property
    def errors(self) -> Mapping[str, str]:
        """What could not be measured last time: part to reason; empty when everything was."""
        return MappingProxyType(self._errors)

    def prime(self, mono: float) -> None:
        """Take the first reading of every counter, so that the first :meth:`read` has rates."""
        self._errors = {}
        self._cpu = self._try("cpu", read_cpu_times)
        self._disk = self._try("disk_io", lambda: read_disk_counters(mono))
        self._network = self._try("network_io", lambda: read_network_counters(mono))
        self._own = read_own_cpu(mono)
        self._groups = self._read_groups(
            mono, self._try("memory", read_memory), self._try("cpu_count", read_cpu_count)
        )

    def read(self, mono: float) -> HostReading:
        """Measure everything at the monotonic time ``mono``."""
        self._errors = {}
        cpu = self._try("cpu", read_cpu_times)
        disk = self._try("disk_io", lambda: read_disk_counters(mono))
        network = self._try("network_io", lambda: read_network_counters(mono))
        own = read_own_cpu(mono)
        memory, cpus = self._try("memory", read_memory), self._try("cpu_count", read_cpu_count)
        groups = self._read_groups(mono, memory, cpus)
        disk_rates = byte_rates(self._disk, disk)
        network_rates = byte_rates(self._network, network)
        reading = HostReading(
            cpu_percent=busy_percent(self._cpu, cpu),
            memory_usage=memory,
            disk_usage=self._try("disk", read_disk_usage),
            load_average=self._try("load", read_load_average),
            cpu_count=cpus,
            swap_usage=self._try("swap", read_swap),
            disk_io=None if disk_rates is None else {"read": disk_rates[0], "write": disk_rates[1]},
            network_io=None
            if network_rates is None
            else {"sent": network_rates[0], "received": network_rates[1]},
            own_cpu_percent=cpu_share(self._own, own),
            own_cpu_seconds=round(own.seconds, 3),
            own_rss=self._try("own_rss", read_own_rss),
            own_open_fds=self._try("own_fds", read_own_descriptors),
            cgroup=usage_of(self._groups, groups),
        )
        self._cpu = cpu or self._cpu
        self._disk = disk or self._disk
        self._network = network or self._network
        self._own = own
        self._groups = groups
        return reading

    def _read_groups(
        self, mono: float, memory: Mapping[str, int | float] | None, cpus: int | None
    ) -> GroupReading | None:
        total = None if memory is None else int(memory["total"])
        return self._try("cgroup", lambda: read_groups(mono, memory=total, cpus=cpus))

    def _try(self, part: str, measure: Callable[[], T]) -> T | None:
        try:
            return measure()
        except Exception as error:  # psutil raises any kind of error for a /proc that it cannot parse
            self._errors[part] = f"{type(error).__name__}: {error}"
            return None
