"""Play a schedule that rings its timer in time, for tests of what the monitor of the loop says."""

from __future__ import annotations

from coordd.runtime.clocks import LoopMonitor


def tick(loop_monitor: LoopMonitor, mono: float, *, every: float = 2.0) -> float:
    """Ring the timer at ``mono`` and set the next one; return the gap, if the timer was late."""
    gap = loop_monitor.woke(mono)
    loop_monitor.expect(mono + every, mono)
    return gap
