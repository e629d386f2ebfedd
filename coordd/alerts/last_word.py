"""Tell that the daemon is gone before ending with it, for one that runs beside the daemon.

That its end of the pipe is closed is certain, so nothing has to hold: what is told is told at once. A daemon
that said that it would end is not told of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from coordd.alerts.conditions import daemon_gone
from coordd.alerts.memory import Memory
from coordd.alerts.moment import now

TAKEN_IN = 0.5
"""Seconds in which what the daemon said last is taken in."""
GATHERED = 2.0
"""Seconds in which what is due becomes a message."""


async def last_word(memory: Memory, changed: Callable[[], None], then: Callable[[], None]) -> None:
    """Have it told that the daemon is gone unless it was stopped, and call ``then``.

    Args:
        memory: what is known of the daemon.
        changed: has it looked at what is due.
        then: ends this process in order, which waits for what is being told.
    """
    await asyncio.sleep(TAKEN_IN)
    if memory.heard.place is not None and not memory.heard.stopped:
        moment = now()
        memory.engine.happen(daemon_gone("is gone, and was not stopped", moment.wall), moment)
        changed()
        await asyncio.sleep(GATHERED)
    then()
