"""Waiting for a daemon to say something, as part of a pipe."""

from __future__ import annotations

import select
import sys

from coordd.cli.common import OutputClosed


def wait_for(descriptor: int, seconds: float | None) -> None:
    """Wait until a descriptor (-1: none) can be read or the time is over, if it ever is.

    poll(2) reports POLLERR and POLLHUP unasked; without it ``--watch | head -1`` would live until the next
    change.

    Raises:
        OutputClosed: whoever read our output went away.
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
    if of_stdout:  # POLLNVAL: a device that this system cannot poll
        poll.unregister(out)
        poll.poll(timeout)
