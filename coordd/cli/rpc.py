"""Implement ``coordctl rpc METHOD [JSON]``: call any method of the control socket."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, NoReturn

import click

from coordd.cli.common import BadUsage, complain, flush, say, say_json
from coordd.cli.options import takes_target
from coordd.cli.typed import typed
from coordd.cli.waiting import wait_for
from coordd.errors import RpcError

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget
    from coordd.protocol.client import Client

MAX_PARAMS = 1024 * 1024
"""Bytes of parameters at most; the daemon refuses longer requests."""


@click.command(
    "rpc",
    epilog="""\b
Examples:
  coordctl rpc describe
  coordctl rpc agents.get '{"agent_id": "reviewer-7"}'
  echo '{"status": "inactive"}' | coordctl rpc agents.list -
  coordctl rpc subscribe '{"topics": ["event"]}' | jq --unbuffered .params
  coordctl rpc subscribe '{"topics": ["event"], "since": "5f0c2b9a41d7:42"}'

\b
After subscribe it prints the snapshot and then each notification, one JSON a
line, until Ctrl-C. since goes on from a place, RUN:SEQ, with the run of that
answer and the seq of the last notification.""",
)
@click.argument("method")
@click.argument("params", metavar="[JSON]", required=False)
@takes_target
def command(target: DaemonTarget, method: str, params: str | None) -> int:
    """Call a METHOD with parameters from JSON (- reads them from stdin); print the result."""
    parsed = None if params is None else parse_params(_stdin() if params == "-" else typed(params))
    with target.connect() as client:
        try:
            result = client.call(method, parsed)
            if method == "subscribe":
                print_stream(client, result)
        except RpcError as error:
            data = "" if error.data is None else f"\n{json.dumps(error.data, indent=2)}"
            complain(f"{error} (code {error.code}){data}")
            return error.exit_code
    say_json(result)
    return 0


def print_stream(client: Client, snapshot: object) -> NoReturn:
    """Print the snapshot and every notification after it, one line each.

    Raises:
        CannotTell: the daemon closed the connection.
        OutputClosed: the reader of the output went away.
    """
    say(json.dumps(snapshot))
    while True:
        for message in client.arrived():
            say(json.dumps(message))
        flush()
        wait_for(client.fileno(), None)


def parse_params(text: str) -> Any:
    """Parse JSON parameters: an object or an array.

    Raises:
        BadUsage: the text is anything else.
    """
    try:
        params = json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise BadUsage(f"the parameters are not JSON: {error}") from error
    if not isinstance(params, (dict, list)):
        raise BadUsage('the parameters must be a JSON object or array, such as \'{"agent_id": "a"}\'.')
    return params


def _stdin() -> str:
    if sys.stdin is None:
        raise BadUsage("there is no stdin to read the parameters from.")
    data = sys.stdin.buffer.read(MAX_PARAMS + 1)
    if len(data) > MAX_PARAMS:
        raise BadUsage(f"parameters of more than {MAX_PARAMS} bytes; the daemon would refuse them.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise BadUsage(f"the parameters are not UTF-8: {error}") from error


def _finite(digits: str) -> float:
    number = float(digits)
    return number if abs(number) < float("inf") else _refuse(digits)


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant:.40} is not a number that JSON can hold")
