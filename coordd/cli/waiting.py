"""Wait for a daemon's message, and notice when the reader of stdout goes away."""

from __future__ import annotations

import select
import sys

from coordd.cli.common import OutputClosed


def wait_for(descriptor: int, seconds: float | None) -> None:
    """Wait until a descriptor (-1: none) can be read or the time is over (None: never).

    poll(2) reports POLLERR and POLLHUP without being asked; without it ``--watch | head -1`` would run until
    the next change.

    Raises:
        OutputClosed: the reader of the output went away.
    """
    if sys.stdout is None:  # started with >&-
        raise OutputClosed
    timeout = None if seconds is None else seconds * 1000
    out = sys.stdout.fileno()
    poll = select.poll()
    if descriptor >= 0:
        poll.register(descriptor, select.POLLIN)
    poll.register(out, 0)
    of_stdout = dict(poll.poll(timeout)).get(out, 0)
    if of_stdout & (select.POLLERR | select.POLLHUP):
        raise OutputClosed
    if of_stdout:  # POLLNVAL: the system cannot poll this device
        poll.unregister(out)
        poll.poll(timeout)
