"""Memory and swap, as psutil names their fields; bytes, and percent 0..100."""

from __future__ import annotations

from collections.abc import Mapping

import psutil


def read_memory() -> Mapping[str, int | float]:
    """All fields of psutil.virtual_memory(); which there are differs by system."""
    return dict(psutil.virtual_memory()._asdict())


def read_swap() -> Mapping[str, int | float]:
    """``total``, ``used``, ``free``, ``percent``; all zero on a machine without swap."""
    swap = psutil.swap_memory()
    return {"total": swap.total, "used": swap.used, "free": swap.free, "percent": swap.percent}
