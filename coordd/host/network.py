"""Measure what the machine sends and receives, without its loopback traffic."""

from __future__ import annotations

import psutil

from coordd.host.rates import Counters

_LOOPBACK = frozenset({"lo", "lo0"})


def read_network_counters(mono: float) -> Counters:
    """Return (bytes sent, bytes received) of each interface except the loopback, since it came up."""
    # nowrap=False: psutil's own correction keeps state for ever and hides resets from byte_rates
    interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
    return Counters(
        mono,
        {
            name: (counts.bytes_sent, counts.bytes_recv)
            for name, counts in interfaces.items()
            if name not in _LOOPBACK
        },
    )
