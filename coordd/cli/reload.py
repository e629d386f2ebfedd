"""Implement ``coordctl reload``: have the daemon read its configuration again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from coordd.cli.common import complain, say
from coordd.cli.options import takes_target
from coordd.errors import CannotTell
from coordd.util.text import shown

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget


@click.command(
    "reload",
    epilog="""\b
Examples:
  coordctl reload
  coordd check-config && coordctl reload

\b
A bad configuration changes nothing: the daemon keeps the old one, and the error
is shown here. What of a project's own file is ignored is a warning. Only root and
the daemon's own user may reload.""",
)
@takes_target
def command(target: DaemonTarget) -> int:
    """Read the configuration again; say what changed and what needs a restart."""
    with target.connect() as client:
        answer = client.call("reload")
        if not isinstance(answer, dict):
            raise CannotTell(f"{client.path}: the answer is not one to a reload.")
    changed, waiting = _keys(answer.get("changed")), _keys(answer.get("restart_required"))
    say(f"changed: {', '.join(changed)}" if changed else "nothing changed")
    if waiting:
        say(f"needs a restart: {', '.join(waiting)}")
    for problem in _keys(answer.get("problems")):
        complain(f"warning: {problem}")
    return 0


def _keys(value: Any) -> list[str]:
    return [shown(key) for key in value] if isinstance(value, list) else []
