"""Serve below a path of another site, as ``--root-path`` says: behind a proxy that passes the path on.

All addresses of the page are relative, so that a proxy which takes the path away needs nothing of this.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

from coordd.errors import CoorddError

_ROOT = re.compile(r"(/[A-Za-z0-9._~-]+)+", re.ASCII)
_OWN = frozenset({"api", "static", "login", "metrics", "healthz", "openapi.json", "favicon.ico"})
"""First parts of the dashboard's own paths."""


class BadRootPath(CoorddError):
    """The path cannot be one that the dashboard is served below."""

    exit_code = 2


def parse_root_path(text: str) -> str:
    """Return the path without a slash at its end; "" for the root.

    Raises:
        BadRootPath: it is no path, or begins as one of the dashboard's own.
    """
    path = text.rstrip("/")
    if path and not _ROOT.fullmatch(path):
        raise BadRootPath(
            f"--root-path {text!r:.100}: a path such as /coordd, of letters, digits and . _ ~ -"
        )
    if path.split("/")[1:2] and path.split("/")[1] in _OWN | {".", ".."}:
        raise BadRootPath(f"--root-path {text!r:.100}: the dashboard itself has paths that begin so")
    return path


class BelowPath:
    """An ASGI application that takes the path away from requests below it, and sends its bare name on."""

    def __init__(self, app: ASGIApp, path: str) -> None:
        self._app = app
        self._path = path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        asked = scope.get("path", "")
        if scope["type"] == "http" and asked == self._path:
            # its addresses are relative, to a folder
            headers = [(b"location", f"{self._path}/".encode()), (b"content-length", b"0")]
            await send({"type": "http.response.start", "status": 308, "headers": headers})
            await send({"type": "http.response.body", "body": b""})
            return
        if asked.startswith(f"{self._path}/"):
            raw = scope.get("raw_path") or b""
            scope = {**scope, "path": asked[len(self._path) :], "raw_path": raw[len(self._path) :]}
        await self._app(scope, receive, send)
