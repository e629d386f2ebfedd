"""Measure memory and swap, with psutil's names of fields; sizes are bytes, ``percent`` is 0..100."""

from __future__ import annotations

from collections.abc import Mapping

import psutil


def read_memory() -> Mapping[str, int | float]:
    """Return all fields of psutil.virtual_memory(); they differ by system."""
    return dict(psutil.virtual_memory()._asdict())


def read_swap() -> Mapping[str, int | float]:
    """Return ``total``, ``used``, ``free`` and ``percent``; all zero on a machine without swap."""
    swap = psutil.swap_memory()
    return {"total": swap.total, "used": swap.used, "free": swap.free, "percent": swap.percent}
