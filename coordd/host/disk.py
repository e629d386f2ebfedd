"""Measure the space on ``/`` and the traffic of the disks."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from coordd.host.rates import Counters

ROOT = "/"


def read_disk_usage() -> Mapping[str, int | float]:
    """Return ``total``, ``used``, ``free`` (for normal users) in bytes and ``percent`` used of ``/``."""
    usage = psutil.disk_usage(ROOT)
    return {"total": usage.total, "used": usage.used, "free": usage.free, "percent": usage.percent}


def read_disk_counters(mono: float) -> Counters:
    """Return (bytes read, bytes written) since boot of all disks as one device; no device without disks."""
    # nowrap=False: psutil's own correction keeps state for ever and hides resets from byte_rates
    total = psutil.disk_io_counters(nowrap=False)
    return Counters(mono, {} if total is None else {"all": (total.read_bytes, total.write_bytes)})
