"""What the machine sends and receives, without what it says to itself."""

from __future__ import annotations

import psutil

from coordd.host.rates import Counters

_LOOPBACK = frozenset({"lo", "lo0"})


def read_network_counters(mono: float) -> Counters:
    """(bytes sent, bytes received) of each interface but the loopback, since it came up."""
    # nowrap=False: psutil's own correction keeps state for ever and hides what byte_rates has to see
    interfaces = psutil.net_io_counters(pernic=True, nowrap=False)
    return Counters(
        mono,
        {
            name: (counts.bytes_sent, counts.bytes_recv)
            for name, counts in interfaces.items()
            if name not in _LOOPBACK
        },
    )
