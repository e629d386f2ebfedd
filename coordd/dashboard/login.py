"""Serve the login form: it takes the token and returns a cookie that stands for it."""

from __future__ import annotations

import asyncio
import time
from urllib.parse import parse_qs

from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response

from coordd.dashboard.answers import problem
from coordd.dashboard.assets import Asset
from coordd.dashboard.guard import TOO_MANY, address_of
from coordd.dashboard.login_brake import Brake
from coordd.dashboard.tokens import COOKIE, COOKIE_AGE, Keys

MAX_FORM = 1024
"""Bytes of a sent form at most."""
DEADLINE = 5.0
_PAGE = "./"
"""The page's address, relative to the form's."""


class Login:
    """The login endpoint: ``GET`` shows the form, ``POST`` checks it; without ``keys`` no login is needed.

    The cookie is for what is ``below`` a path.
    """

    def __init__(
        self, *, form: Asset, failed: Asset, keys: Keys | None, brake: Brake, below: str = ""
    ) -> None:
        self._form = form
        self._failed = failed
        self._keys = keys
        self._brake = brake
        self._below = below

    async def __call__(self, request: Request) -> Response:
        """Answer ``GET`` or ``POST``."""
        if self._keys is None:
            return RedirectResponse(_PAGE, 303)
        if request.method != "POST":
            return self._form.response(request)
        return await self._judge(self._keys, request)

    async def _judge(self, keys: Keys, request: Request) -> Response:
        try:
            async with asyncio.timeout(DEADLINE):
                body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)  # the client has gone
        except TimeoutError:
            return _closing(problem(408, "slow", f"the form did not come within {DEADLINE:g} s"))
        if body is None:
            return _closing(problem(413, "body", f"a form of more than {MAX_FORM} bytes"))
        try:
            fields = parse_qs(body.decode("utf-8", "replace"), max_num_fields=4)
        except ValueError:  # the form has more fields than ours
            fields = {}
        token = fields.get("token", [""])[0]
        if not keys.opens(token.strip().encode()):
            return _closing(await self._wrong(request))
        response = RedirectResponse(_PAGE, 303)
        secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        response.set_cookie(
            COOKIE,
            keys.cookie(time.time()),
            max_age=COOKIE_AGE,
            path=self._below or "/",
            secure=secure,
            httponly=True,
            samesite="strict",
        )
        return response

    async def _wrong(self, request: Request) -> Response:
        if await self._brake.wrong(address_of(request.scope)):
            return self._failed.response(request, status=403)
        return problem(TOO_MANY.status, TOO_MANY.kind, TOO_MANY.message)


async def _body(request: Request) -> bytes | None:
    """Return the body; None if it is too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM:
            return None
    return body


def _closing(response: Response) -> Response:
    response.headers["connection"] = "close"
    return response
