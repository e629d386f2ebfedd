"""Apply the rules of access.py before every request, and security headers after it.

This is plain ASGI around the application, so that every answer passes it, errors included.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from coordd.dashboard.access import Access, Headers, Refusal
from coordd.dashboard.answers import refused
from coordd.dashboard.connections import CONNECTION
from coordd.dashboard.login_brake import Brake

LOGIN = "login"
"""Relative to the page, wherever a proxy has it."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",  # text can never become HTML, even by mistake
    )
)
SECURITY_HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_NO_STORE = (b"cache-control", b"no-store")
_READ = ("GET", "HEAD")
TOO_MANY = Refusal(429, "token", "too many wrong tokens; try again later")


class Guard:
    """An ASGI application that guards another one; ``count`` is called for each request."""

    def __init__(self, app: ASGIApp, *, access: Access, brake: Brake, count: Callable[[], None]) -> None:
        self._app = app
        self._access = access
        self._brake = brake
        self._count = count

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a request, or pass it on."""
        if scope["type"] != "http":
            return
        self._count()

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"] = [*message.get("headers", ()), *SECURITY_HEADERS]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_NO_STORE)
            await send(message)

        method, path = scope["method"], scope["path"]
        refusal = self._access.refusal(method, path, _headers(scope["headers"]), time.time())
        if refusal is not None and refusal.wrong_token and not await self._brake.wrong(address_of(scope)):
            refusal = TOO_MANY
        if refusal is None and method in _READ and _has_body(scope["headers"]):
            refusal = Refusal(413, "body", "a request that only reads has no body")
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        elif refusal.status == 401 and path == "/" and method in _READ:
            await RedirectResponse(LOGIN, 303)(scope, receive, send_with_headers)
        else:
            await refused(refusal)(scope, receive, send_with_headers)


def address_of(scope: Scope) -> object:
    """Return the address, or user, under which a client is counted."""
    connection = scope.get(CONNECTION)
    return None if connection is None else connection.caller.user


_WANTED = {
    b"host": "host",
    b"origin": "origin",
    b"sec-fetch-site": "site",
    b"sec-fetch-mode": "mode",
    b"sec-fetch-dest": "dest",
    b"authorization": "authorization",
    b"cookie": "cookie",
}


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> Headers:
    found: dict[str, str | None] = dict.fromkeys(_WANTED.values())
    hosts = 0
    for name, value in raw:
        wanted = _WANTED.get(name)
        if wanted is not None:
            hosts += wanted == "host"
            found[wanted] = value.decode("latin-1")
    return Headers(hosts=hosts, **found)


def _has_body(raw: Iterable[tuple[bytes, bytes]]) -> bool:
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip(b"0 ") != b"")
        for name, value in raw
    )
