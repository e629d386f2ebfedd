"""The room on ``/``, and what goes to and from the disks."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from coordd.host.rates import Counters

ROOT = "/"


def read_disk_usage() -> Mapping[str, int | float]:
    """``total``, ``used``, ``free`` in bytes and ``percent`` of ``/``; free: what a normal user may take."""
    usage = psutil.disk_usage(ROOT)
    return {"total": usage.total, "used": usage.used, "free": usage.free, "percent": usage.percent}


def read_disk_counters(mono: float) -> Counters:
    """(bytes read, bytes written) since boot, all disks under one name; none on a machine without."""
    # nowrap=False: psutil's own correction keeps state for ever and hides what byte_rates has to see
    total = psutil.disk_io_counters(nowrap=False)
    return Counters(mono, {} if total is None else {"all": (total.read_bytes, total.write_bytes)})
