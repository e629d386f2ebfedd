"""Test what is computed from two readings of the host, and that a failing part affects no other."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import fields

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.host.cpu import busy_percent
from coordd.host.process import CpuUse, cpu_share
from coordd.host.rates import Counters, byte_rates
from coordd.host.sampler import HostSampler
from coordd.model import HostReading

LINUX = {"user": 10.0, "nice": 0.0, "system": 5.0, "idle": 80.0, "iowait": 5.0, "steal": 0.0, "guest": 4.0}


def later(**spent: float) -> dict[str, float]:
    return {state: value + spent.get(state, 0.0) for state, value in LINUX.items()}


@pytest.mark.parametrize(
    ("after", "percent"),
    [
        (later(idle=10), 0.0),
        (later(user=10), 100.0),
        (later(user=1, system=1, idle=6), 25.0),
        (later(user=1, iowait=3), 25.0),  # who waits for a disk could work
        (later(steal=1, idle=3), 25.0),
        (later(user=2, guest=2, idle=2), 50.0),  # a guest's time is in user already
        (later(user=1, iowait=-0.5, idle=1), 50.0),  # proc_stat(5): iowait may go back
        (later(user=1, idle=-0.1), 100.0),
        (later(), None),  # no time has passed
        (later(idle=-1), None),
        (later(user=-1, idle=10), None),  # the counters began anew
        (None, None),
        ({"user": 11.0, "idle": 90.0}, None),
    ],
)
def test_busy_percent(after: dict[str, float] | None, percent: float | None) -> None:
    assert busy_percent(LINUX, after) == percent


def test_one_reading_is_no_percentage() -> None:
    assert busy_percent(None, LINUX) is None


states = st.fixed_dictionaries({state: st.floats(0, 1e9) for state in LINUX})


@settings(deadline=None)
@given(states, states)
def test_busy_percent_stays_in_range(before: dict[str, float], after: dict[str, float]) -> None:
    percent = busy_percent(before, after)
    assert percent is None or 0 <= percent <= 100


@pytest.mark.parametrize(
    ("before", "after", "rates"),
    [
        ({"a": (100, 10)}, {"a": (300, 10)}, (100.0, 0.0)),
        ({"a": (0, 0), "b": (5, 5)}, {"a": (2, 4), "b": (9, 5)}, (3.0, 2.0)),
        ({"a": (100, 10)}, {"a": (99, 20)}, None),  # wrapped or reset
        ({"a": (0, 0)}, {"a": (2, 2), "new": (10**9, 10**9)}, (1.0, 1.0)),
        ({"a": (0, 0), "gone": (10**9, 10**9)}, {"a": (2, 2)}, (1.0, 1.0)),
        ({}, {}, None),
        ({"a": (1, 1)}, {}, None),
    ],
)
def test_byte_rates(
    before: dict[str, tuple[int, ...]], after: dict[str, tuple[int, ...]], rates: tuple[float, ...] | None
) -> None:
    assert byte_rates(Counters(10.0, before), Counters(12.0, after)) == rates


def test_no_rate_without_two_readings_or_time_between_them() -> None:
    counters = Counters(10.0, {"a": (1, 1)})
    assert byte_rates(None, counters) is None
    assert byte_rates(counters, None) is None
    assert byte_rates(counters, counters) is None
    assert byte_rates(counters, Counters(9.0, {"a": (2, 2)})) is None


devices = st.dictionaries(st.sampled_from("abc"), st.tuples(*[st.integers(0, 2**64)] * 2))


@settings(deadline=None)
@given(st.floats(0, 1e9), devices, st.floats(0, 1e9), devices)
def test_a_rate_is_never_negative(
    mono: float, before: dict[str, tuple[int, ...]], then: float, after: dict[str, tuple[int, ...]]
) -> None:
    rates = byte_rates(Counters(mono, before), Counters(then, after))
    assert rates is None or all(rate >= 0 for rate in rates)


@pytest.mark.parametrize(
    ("after", "share"),
    [
        (CpuUse(12.0, 1.5), 25.0),
        (CpuUse(12.0, 5.0), 200.0),
        (CpuUse(10.0, 2.0), None),
        (CpuUse(12.0, 0.5), None),
        (None, None),
    ],
)
def test_cpu_share(after: CpuUse | None, share: float | None) -> None:
    assert cpu_share(CpuUse(10.0, 1.0), after) == share
    assert cpu_share(None, after) is None


def test_a_real_reading_agrees_with_psutil() -> None:
    sampler = HostSampler()
    sampler.prime(100.0)
    _burn(0.05)
    reading = sampler.read(100.2)
    assert sampler.errors == {}
    assert reading.cpu_percent is not None and 0 <= reading.cpu_percent <= 100
    assert reading.memory_usage is not None
    assert set(reading.memory_usage) == set(psutil.virtual_memory()._fields)
    assert reading.memory_usage["total"] == psutil.virtual_memory().total
    assert reading.disk_usage is not None
    assert set(reading.disk_usage) == {"total", "used", "free", "percent"}
    assert reading.disk_usage["total"] == psutil.disk_usage("/").total
    assert reading.load_average is not None and len(reading.load_average) == 3
    assert reading.cpu_count == os.cpu_count()
    assert reading.swap_usage is not None and reading.swap_usage["total"] == psutil.swap_memory().total
    assert reading.own_cpu_percent is not None and reading.own_cpu_percent >= 25  # 50 ms burnt in 200 ms
    assert reading.own_cpu_seconds is not None and reading.own_cpu_seconds >= 0.05
    assert reading.own_rss is not None and reading.own_rss > 1 << 20
    assert reading.own_open_fds is not None and reading.own_open_fds >= 3


def test_a_descriptor_more_is_seen() -> None:
    sampler = HostSampler()
    before = sampler.read(0.0).own_open_fds
    read_end, write_end = os.pipe()
    try:
        after = sampler.read(1.0).own_open_fds
    finally:
        os.close(read_end)
        os.close(write_end)
    assert before is not None
    assert after == before + 2


def test_the_first_reading_without_priming_has_no_rates() -> None:
    reading = HostSampler().read(0.0)
    assert (reading.cpu_percent, reading.disk_io, reading.network_io, reading.own_cpu_percent) == (None,) * 4
    assert reading.memory_usage is not None


PARTS = [
    ("cpu_times", "cpu", {"cpu_percent"}),
    ("virtual_memory", "memory", {"memory_usage"}),
    ("swap_memory", "swap", {"swap_usage"}),
    ("disk_usage", "disk", {"disk_usage"}),
    ("disk_io_counters", "disk_io", {"disk_io"}),
    ("net_io_counters", "network_io", {"network_io"}),
    ("cpu_count", "cpu_count", {"cpu_count"}),
]


def _unknown(reading: HostReading) -> set[str]:
    return {field.name for field in fields(reading) if getattr(reading, field.name) is None}


@pytest.mark.parametrize(("function", "part", "lost"), PARTS)
@pytest.mark.parametrize("how", ["raises", "is missing"])
def test_a_part_that_fails_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, function: str, part: str, lost: set[str], how: str
) -> None:
    usual = HostSampler()
    usual.prime(0.0)
    _burn(0.05)  # so that time has passed for the processors' clock of 10 ms
    always = _unknown(usual.read(1.0))  # a machine may have no disk or no network

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no /proc")

    if how == "raises":
        monkeypatch.setattr(psutil, function, broken)
    else:
        monkeypatch.delattr(psutil, function)
    sampler = HostSampler()
    sampler.prime(0.0)
    _burn(0.05)
    assert _unknown(sampler.read(1.0)) == always | lost
    assert set(sampler.errors) == {part}
    if how == "raises":
        assert sampler.errors[part] == "RuntimeError: no /proc"


def test_the_load_average_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getloadavg")
    sampler = HostSampler()
    assert sampler.read(0.0).load_average is None
    assert set(sampler.errors) == {"load"}


def test_an_error_that_has_gone_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    sampler = HostSampler()
    with monkeypatch.context() as broken:
        broken.delattr(psutil, "virtual_memory")
        sampler.read(0.0)
        assert set(sampler.errors) == {"memory"}
    assert sampler.read(1.0).memory_usage is not None
    assert sampler.errors == {}


def test_a_rate_after_a_failed_reading_is_the_mean_over_both_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = 0

    class Io:
        @property
        def read_bytes(self) -> int:
            return counted

        write_bytes = 0

    def counters(**_: object) -> Io:
        return Io()

    sampler = HostSampler()
    monkeypatch.setattr(psutil, "disk_io_counters", counters)
    sampler.prime(0.0)
    with monkeypatch.context() as broken:
        broken.delattr(psutil, "disk_io_counters")
        assert sampler.read(10.0).disk_io is None
    counted = 2000
    assert sampler.read(20.0).disk_io == {"read": 100.0, "write": 0.0}


def test_a_machine_without_disks_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "disk_io_counters", lambda **_: None)
    sampler = HostSampler()
    sampler.prime(0.0)
    assert sampler.read(1.0).disk_io is None
    assert sampler.errors == {}


def test_what_a_machine_says_to_itself_is_no_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    class Nic:
        def __init__(self, sent: int) -> None:
            self.bytes_sent = self.bytes_recv = sent

    sent = {"lo": 0, "eth0": 0}
    monkeypatch.setattr(psutil, "net_io_counters", lambda **_: {name: Nic(n) for name, n in sent.items()})
    sampler = HostSampler()
    sampler.prime(0.0)
    sent.update(lo=10**6, eth0=100)
    assert sampler.read(1.0).network_io == {"sent": 100.0, "received": 100.0}


def test_host_imports_psutil_and_nothing_else_that_is_heavy() -> None:
    code = "import sys, coordd.host.sampler; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "psutil" in run.stdout.split()
    assert not {"asyncio", "redis", "apscheduler", "msgspec", "click"} & set(run.stdout.split())


def _burn(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
