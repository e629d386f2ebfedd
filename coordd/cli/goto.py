"""Implement ``coordctl goto ID``: go to the tmux pane in which an agent runs."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from coordd.cli.common import flush, say
from coordd.cli.find_agent import agent_of
from coordd.cli.options import takes_named_agent
from coordd.cli.tmux import pane_of, way_to
from coordd.errors import CannotTell, CoorddError
from coordd.util.text import escape, number, shown

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget


class NoPane(CoorddError):
    """No pane of tmux is the terminal of the agent, or it has none."""


@click.command(
    "goto",
    epilog="""\b
Examples:
  coordctl goto api-3
  coordctl goto api-3 --print           only the command that goes there
  who=$(coordctl agents --activity waiting --json | jq -r '.agents[0].agent_id')
  coordctl goto "$who"                  to the first that waits for you

\b
Inside of tmux your client switches to that pane; outside, this terminal attaches to its
session. All tmux servers of yours are searched.""",
)
@click.option(
    "--print", "only_print", is_flag=True, help="Print the command that goes there, and do nothing."
)
@takes_named_agent
def command(target: DaemonTarget, agent_id: str, workspace: str | None, only_print: bool) -> int:
    """Go to the tmux pane in which an agent runs.

    ID may be an id, a name, or a beginning of one that only one agent has.
    """
    agent = agent_of(target, agent_id, workspace)
    name, terminal = shown(agent.get("agent_id")), agent.get("tty")
    if not isinstance(terminal, str) or not terminal:
        raise NoPane(f"{name} has no terminal that is known: {_why_none(agent)}.")
    pane = pane_of(terminal, dict(os.environ))
    if pane is None:
        raise NoPane(
            f"{name} runs in terminal {escape(terminal)}, which no tmux of yours shows. "
            f"'ps -t {escape(terminal)}' lists what runs in it."
        )
    way = way_to(pane, dict(os.environ))
    if only_print:
        import shlex

        say(shlex.join(way))
        return 0
    if not sys.stdin.isatty():
        raise CannotTell("goto needs a terminal; --print prints the command that goes there.")
    flush()
    if "attach-session" in way:  # inside of another tmux it would refuse (tmux(1), "nested with care")
        os.environ.pop("TMUX", None)
    try:
        os.execvp(way[0], way)  # noqa: S606  # nothing of the agent's is in it but ids of tmux's
    except OSError as error:
        raise CannotTell(f"tmux: {error.strerror}") from error


def _why_none(agent: dict[str, object]) -> str:
    pid = number(agent.get("pid"))
    if agent.get("status") == "inactive":
        return "it does not run any more"
    return "nothing tells which process it is" if pid is None else f"its process {pid:.0f} runs without one"
