"""Build the answers of the HTTP API: JSON as the daemon sent it, and errors of one shape.

An error is ``{"error": {"kind", "message", …}}``. With the daemon down its status is 503, and it tells the
age of the last known state, and shows that state where the endpoint asks for it.
"""

from __future__ import annotations

import time

import msgspec
from starlette.responses import Response

from coordd.dashboard.access import Refusal
from coordd.dashboard.last_known import LastKnown
from coordd.dashboard.upstream import Unavailable
from coordd.errors import ClientError, RpcError
from coordd.protocol.jsonrpc import INVALID_PARAMS

JSON = "application/json"

_STATUS_OF_KIND = {
    "no-such-agent": 404,
    "ambiguous": 409,
    "params": 400,
    "busy": 503,
    "not-yet": 503,
    "deadline": 504,
    "unreadable": 503,
}


class BadRequest(Exception):
    """A query string that cannot be used; the message says why."""


def json_response(body: bytes, *, status: int = 200) -> Response:
    """Return a response of JSON that is encoded already."""
    return Response(body, status, media_type=JSON)


def problem(status: int, kind: str, message: str, **more: object) -> Response:
    """Return an error response."""
    headers = {"retry-after": "1"} if status in (429, 503) else {}
    if status == 401:
        headers["www-authenticate"] = 'Bearer realm="coordd"'
    body = msgspec.json.encode({"error": {"kind": kind, "message": message, **more}})
    return Response(body, status, headers, media_type=JSON)


def refused(refusal: Refusal) -> Response:
    """Return the response for a refused request; it closes the connection, so that no body is read."""
    response = problem(refusal.status, refusal.kind, refusal.message)
    response.headers["connection"] = "close"
    return response


def daemon_error(error: ClientError) -> Response:
    """Return the response for an error of the daemon, or for a daemon that is up but cannot be asked now."""
    if not isinstance(error, RpcError):
        return problem(503, "busy", str(error))
    data = error.data if isinstance(error.data, dict) else {}
    kind = str(data.get("kind") or ("params" if error.code == INVALID_PARAMS else "daemon-error"))
    status = _STATUS_OF_KIND.get(kind, 400 if error.code == INVALID_PARAMS else 502)
    return problem(
        status, kind, str(error), **{k: v for k, v in data.items() if k not in ("kind", "message")}
    )


async def unavailable(error: Unavailable, last: LastKnown, *, show: str | None = None) -> Response:
    """Return the response for a question without a daemon to ask.

    ``show`` is the part of the last known state to include: ``status``, ``agents`` or None.
    """
    state = await last.state()
    body: dict[str, object] = {
        "error": {"kind": error.kind, "message": str(error)},
        "down_for": round(time.monotonic() - error.since, 3),
        "snapshot_age": None if state is None or state.age is None else round(state.age, 3),
    }
    if show is not None:
        shown = None if state is None else getattr(state, show)
        body["snapshot"] = None if shown is None else msgspec.Raw(shown)
    return Response(msgspec.json.encode(body), 503, {"retry-after": "1"}, media_type=JSON)
