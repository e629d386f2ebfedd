"""Share out the file descriptors that a process may have.

=====================  ================  ==========================================================
for                    where are many    where are few
=====================  ================  ==========================================================
the process itself     a quarter         at least OWN: without one, no file is read, no module loaded
connections            half              two thirds of the rest, and a few in any case
watching processes     a quarter         what then remains
=====================  ================  ==========================================================
"""

from __future__ import annotations

from typing import NamedTuple

OWN = 40
"""Descriptors for everything else that coordd opens: 27 always, others for a Redis and for what it reads."""
FEW = 4
"""Connections that there may be however few descriptors there are."""


class Shares(NamedTuple):
    """How many descriptors may serve connections, and how many may serve to watch processes."""

    connections: int
    processes: int


def shares() -> Shares:
    """Return the shares of this process by its limit (RLIMIT_NOFILE, getrlimit(2)); -1 of one: no limit."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    except (ImportError, OSError, ValueError):
        return shares_of(256)
    return Shares(-1, -1) if limit in (-1, resource.RLIM_INFINITY) else shares_of(limit)


def shares_of(limit: int) -> Shares:
    """Return the shares where a process may have so many descriptors."""
    rest = max(0, limit - max(OWN, limit // 4))
    connections = max(FEW, min(limit // 2, rest * 2 // 3))
    return Shares(connections, max(0, min(limit // 4, rest - connections)))
