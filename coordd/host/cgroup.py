"""Measure the control groups that coordd runs in: what they may use, and what they do use.

A container limits memory and processors by them, and psutil tells of the whole machine. Of nested groups the
least limit counts, and the usage is that of the group which has it. A limit that the machine itself is within
is none.

A systemd service of coordd's own is passed over, but not what is around it: its limits are coordd's, and say
nothing of agents.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from coordd.host.cgroup_files import (
    GroupPlace,
    field_in,
    limit_in,
    place_of,
    processors_in,
    whole_number,
)
from coordd.host.process import CpuUse, cpu_share
from coordd.model import CgroupUsage

_MEMBERSHIP = "/proc/self/cgroup"
_MOUNTS = "/proc/self/mountinfo"
_MOST = 1024 * 1024
_SECOND = {1: 1e9, 2: 1e6}
"""What a second of CPU time is in ``cpuacct.usage`` and in ``cpu.stat``."""


@dataclass(frozen=True, slots=True)
class GroupReading:
    """The limits and the usage at one moment; ``cpu`` counts for the group in ``cpu_of``."""

    memory_current: int | None = None
    memory_used: int | None = None
    memory_max: int | None = None
    cpu_max: float | None = None
    cpu_of: str | None = None
    cpu: CpuUse | None = None


def read_groups(mono: float, *, memory: int | None, cpus: int | None) -> GroupReading | None:
    """Return limits and usage of the groups that coordd runs in; None where no limit holds.

    Args:
        mono: the monotonic time.
        memory: bytes that the machine has.
        cpus: processors that it has.
    """
    membership, mounts = _read(_MEMBERSHIP), _read(_MOUNTS)
    reading = GroupReading()
    if (place := place_of("memory", membership, mounts)) is not None:
        reading = _memory(place, memory)
    if (place := place_of("cpu", membership, mounts)) is not None:
        accounts = place_of("cpuacct", membership, mounts) if place.version == 1 else place
        reading = _cpu(reading, place, accounts, mono, cpus)
    limited = reading.memory_max is not None or reading.cpu_max is not None
    return reading if limited else None


def usage_of(before: GroupReading | None, now: GroupReading | None) -> CgroupUsage | None:
    """Return the part of a sample that tells of the groups, with the CPU used since the reading before."""
    if now is None:
        return None
    share = None
    if before is not None and before.cpu_of == now.cpu_of and now.cpu_max:
        used = cpu_share(before.cpu, now.cpu)
        share = None if used is None else round(used / now.cpu_max, 2)
    percent = None
    if now.memory_used is not None and now.memory_max:
        percent = round(100 * now.memory_used / now.memory_max, 1)
    return CgroupUsage(
        memory_current=now.memory_current,
        memory_used=now.memory_used,
        memory_max=now.memory_max,
        memory_percent=percent,
        cpu_max=now.cpu_max,
        cpu_percent=share,
    )


def _memory(place: GroupPlace, machine: int | None) -> GroupReading:
    name, used = ("memory.max", "memory.current")
    if place.version == 1:
        name, used = ("memory.limit_in_bytes", "memory.usage_in_bytes")
    limits = [(limit_in(_read(f"{level}/{name}")), level) for level in _levels(place)]
    known = [(limit, level) for limit, level in limits if limit is not None]
    if not known:
        return GroupReading()
    most, level = min(known, key=lambda one: one[0])
    if machine is not None and most >= machine:
        return GroupReading()
    current = whole_number(_read(f"{level}/{used}"))
    idle = field_in(_read(f"{level}/memory.stat"), "total_inactive_file", "inactive_file")
    working = None if current is None else max(current - (idle or 0), 0)
    return GroupReading(memory_current=current, memory_used=working, memory_max=most)


def _cpu(
    reading: GroupReading, place: GroupPlace, accounts: GroupPlace | None, mono: float, machine: int | None
) -> GroupReading:
    limits = [(_quota(level, place.version), level) for level in _levels(place)]
    known = [(limit, level) for limit, level in limits if limit is not None]
    if not known:
        return reading
    most, level = min(known, key=lambda one: one[0])
    if machine is not None and most >= machine:
        return reading
    spent = None
    if accounts is not None:
        counted = accounts.top + level.removeprefix(place.top)
        spent = (
            field_in(_read(f"{counted}/cpu.stat"), "usage_usec")
            if place.version == 2
            else whole_number(_read(f"{counted}/cpuacct.usage"))
        )
    return GroupReading(
        memory_current=reading.memory_current,
        memory_used=reading.memory_used,
        memory_max=reading.memory_max,
        cpu_max=round(most, 3),
        cpu_of=level,
        cpu=None if spent is None else CpuUse(mono, spent / _SECOND[place.version]),
    )


def _quota(level: str, version: int) -> float | None:
    if version == 2:
        quota, _, period = _read(f"{level}/cpu.max").partition(" ")
        return processors_in(quota, period)
    return processors_in(_read(f"{level}/cpu.cfs_quota_us"), _read(f"{level}/cpu.cfs_period_us"))


def _levels(place: GroupPlace) -> list[str]:
    """Return the groups whose limits count, without that of a service which was started for coordd itself.

    Who started coordd is not in that: it is the service manager. What else may be in it for a moment is a
    ``coordctl reload`` of the manager's.
    """
    own, *above = place.levels()
    if own.endswith(".service") and str(os.getppid()) not in _read(f"{own}/cgroup.procs").split():
        return above
    return [own, *above]


def _read(path: str) -> str:
    """Return a file's text; empty where there is none: most groups lack some of them."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(_MOST)
    except OSError:
        return ""
