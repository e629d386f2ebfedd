"""Implement ``coordctl wait ID``: return when an agent is idle, waits for a human, or has ended."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from coordd.cli.agent_words import key_of
from coordd.cli.awaited_state import STATES, AwaitedState, Outcome
from coordd.cli.common import complain, say, say_json
from coordd.cli.find_agent import agent_of
from coordd.cli.options import json_option, named_agent, place_options, socket_option, target_of
from coordd.cli.staying import Daemon
from coordd.cli.waiting import wait_for
from coordd.errors import CannotTell, ClientError, CoorddError, DaemonNotRunning
from coordd.protocol.client import result_of
from coordd.util.text import escape
from coordd.util.units import format_duration, parse_duration
from coordd.util.untyped import as_dict, dicts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coordd.cli.agent_words import Key
    from coordd.protocol.client import Client

SCHEMA = 1
DEFAULT = ("idle", "waiting", "ended")
RETRY = 1.0
"""Seconds between two attempts to reach a daemon that was lost."""
PATIENCE = 60.0
"""Seconds after which a daemon that was lost is given up: it was stopped, not restarted."""
ANSWER = 5.0
"""Seconds within which the daemon has to say what the agent does, even where the time is over before."""


class WillNotCome(CoorddError):
    """The agent will not come into the state that is waited for."""


def _duration(ctx: click.Context, param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    try:
        return parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(f"{error}; for example 90s, 10m, 1h30m.", ctx, param) from error


@click.command(
    "wait",
    epilog="""\b
Examples:
  coordctl wait api-3                   until it is idle, waits for you, or has ended
  coordctl wait api-3 --until ended && deploy
  coordctl wait api-3 --until idle --until waiting --timeout 30m
  coordctl wait api-3 --until waiting && notify-send "api-3 waits"

\b
A state counts once it has held for a second, waiting for three; an agent that is in
it already is not waited for. While coordd restarts, the waiting goes on, and so it does
while nobody can say what the agent does, which is said once. Of an agent that is known
by its process alone nothing tells how it ended: it counts as ended.

\b
Exit codes: 0 it is in one of these states, which is printed; 1 it will not be (it was
killed, has fallen silent, ended, left the list); 3 coordd is not running; 4 the time
is over, or cannot tell.""",
)
@click.option(
    "--until",
    type=click.Choice(STATES),
    multiple=True,
    default=DEFAULT,
    show_default="idle, waiting, ended",
    help="A state to wait for; may be given several times.",
)
@click.option(
    "--timeout",
    "patience",
    callback=_duration,
    metavar="TIME",
    help="Wait this long at most, 30m for example.",
)
@json_option("The agent as it is then, as JSON.")
@named_agent
@socket_option
@place_options
def command(
    agent_id: str,
    workspace: str | None,
    until: tuple[str, ...],
    patience: float | None,
    as_json: bool,
    **place: str | None,
) -> int:
    """Wait until an agent is idle, waits for a human, or has ended.

    ID may be an id, a name, or a beginning of one that only one agent has.
    """
    deadline = None if patience is None else time.monotonic() + patience
    target = target_of(place)
    agent = agent_of(target, agent_id, workspace)
    awaited = AwaitedState(until)
    awaited.see(agent, time.monotonic())
    waiting = _Waiting(Daemon(target), key_of(agent), awaited)
    outcome = waiting.until(deadline)
    name = escape(str(agent.get("agent_id")))
    if outcome is None:
        raise CannotTell(f"{name} {waiting.predicate} after {format_duration(patience or 0)}.")
    if outcome.how == "over":
        raise WillNotCome(f"{name} {waiting.predicate}: it will not be {_either(until)}.")
    if as_json:
        say_json({"schema": SCHEMA, **waiting.agent})
    else:
        say(outcome.words)
    return 0


def _either(states: Sequence[str]) -> str:
    """Return states as a sentence has them: ``idle, waiting or ended``."""
    *first, last = dict.fromkeys(states)
    return f"{', '.join(first)} or {last}" if first else last


class _Waiting:
    """Follow one agent by a subscription, over restarts of the daemon."""

    def __init__(self, daemon: Daemon, key: Key, awaited: AwaitedState) -> None:
        self.agent: dict[str, Any] = {}
        self._daemon = daemon
        self._key = key
        self._awaited = awaited
        self._lost_at: float | None = None
        self._said = False

    @property
    def predicate(self) -> str:
        """What the agent does, or did when coordd was lost, as a sentence about it goes on."""
        mono = time.monotonic()
        words = self._awaited.predicate(mono)
        if self._lost_at is None:
            return words
        silent_for = format_duration(round(mono - self._lost_at))
        return f"{words} by the last word of coordd, which has not answered for {silent_for},"

    def until(self, deadline: float | None) -> Outcome | None:
        """Return how it ended; None when the time was over.

        Raises:
            DaemonNotRunning: the daemon is gone for :data:`PATIENCE`.
            CannotTell: it refuses.
        """
        while True:
            try:
                with self._daemon.connect() as client:
                    return self._follow(client, deadline)
            except DaemonNotRunning as error:
                self._lost(error)
            except ClientError as error:
                if self._lost_at is None and not self.agent:  # it has never answered
                    raise
                self._lost(error)
            if deadline is not None and time.monotonic() + RETRY >= deadline:
                return None
            wait_for(-1, RETRY)

    def _lost(self, error: ClientError) -> None:
        mono = time.monotonic()
        if self._lost_at is None:
            self._lost_at = mono
        if mono - self._lost_at >= PATIENCE:
            raise error

    def _follow(self, client: Client, deadline: float | None) -> Outcome | None:
        (asked,) = client.send([("subscribe", {"topics": ["agent"]})])
        answer_by = time.monotonic() + ANSWER
        answered = False
        while True:
            for message in client.arrived():
                if message.get("id") == asked:
                    self._lost_at = None
                    answered = True
                    self._see(dicts(as_dict(result_of(message)).get("agents")), whole=True)
                elif message.get("method") == "lagged":  # what was missed is asked for anew
                    (asked,) = client.send([("subscribe", {"topics": ["agent"]})])
                else:
                    self._see([as_dict(message.get("params"))], whole=False)
            mono = time.monotonic()
            if not answered:  # what it is when the time is over has to be known before that can be said
                if mono >= answer_by:
                    raise CannotTell(f"coordd does not answer within {ANSWER:.0f} s.")
                wait_for(client.fileno(), answer_by - mono)
                continue
            outcome = self._awaited.outcome(mono)
            if outcome is not None or (deadline is not None and mono >= deadline):
                return outcome
            self._say_unknown(mono)
            times = [self._awaited.due(mono), None if deadline is None else deadline - mono]
            wait_for(client.fileno(), min((one for one in times if one is not None), default=None))

    def _say_unknown(self, mono: float) -> None:
        """Say once that nobody can tell what the agent does: who waits would think that it works."""
        if self._awaited.unknown and not self._said:
            name = escape(str(self.agent.get("agent_id")))
            complain(f"{name} {self._awaited.predicate(mono)}: waiting until something tells more.")
        self._said = self._awaited.unknown

    def _see(self, agents: Sequence[dict[str, Any]], *, whole: bool) -> None:
        """Take over what is said of the agent; ``whole``: these are all agents."""
        found = [one for one in agents if key_of(one) == self._key and "agent_id" in one]
        if found and found[-1].get("cause") != "removed":
            self.agent = found[-1]
            self._awaited.see(self.agent, time.monotonic())
        elif whole or found:
            self._awaited.see(None, time.monotonic())
