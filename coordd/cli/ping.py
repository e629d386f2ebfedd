"""Implement ``coordctl ping``: show version, pid and time to answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from coordd.cli.common import say
from coordd.cli.options import takes_target
from coordd.errors import CannotTell
from coordd.util.text import duration, escape, shown

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget


@click.command(
    "ping",
    epilog="""\b
Examples:
  coordctl ping
  coordctl ping --timeout 0.5 >/dev/null && echo up""",
)
@takes_target
def command(target: DaemonTarget) -> int:
    """Check that the daemon answers, and how quickly."""
    with target.connect() as client:
        asked = time.monotonic()
        answer = client.call("ping")
        took = time.monotonic() - asked
        if not isinstance(answer, dict):
            raise CannotTell(f"{client.path}: the answer is not one to a ping.")
    say(
        f"coordd {shown(answer.get('version'))}, pid {shown(answer.get('pid'))}, "
        f"up {duration(answer.get('uptime'))}, answered in {took * 1000:.1f} ms at {escape(client.path)}"
    )
    return 0
