"""Build the application: the routes, and the endpoints without a module of their own."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from starlette.applications import Starlette
from starlette.convertors import Convertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from coordd import __version__
from coordd.dashboard.access import Access
from coordd.dashboard.agent_metrics import read_agents
from coordd.dashboard.answers import json_response, problem
from coordd.dashboard.api import ENDPOINTS, Api
from coordd.dashboard.assets import Asset, asset
from coordd.dashboard.connections import HttpConnections
from coordd.dashboard.daemon_poll import Pulse
from coordd.dashboard.feed import Feed
from coordd.dashboard.guard import Guard
from coordd.dashboard.last_known import LastKnown
from coordd.dashboard.login import Login
from coordd.dashboard.login_brake import Brake
from coordd.dashboard.metrics import Page, dashboard_families
from coordd.dashboard.openapi import document
from coordd.dashboard.root_path import BelowPath
from coordd.dashboard.stream import EventStream
from coordd.dashboard.token_totals import TokenTotals
from coordd.dashboard.upstream import Upstream
from coordd.errors import ClientError

_HTML = "text/html; charset=utf-8"
_REFUSED = b'<p class="wrong" role="alert">This is not the token.</p>'
_PLACE = b"<!-- wrong -->"


class Dashboard:
    """The routes of one dashboard, with the few endpoints that have no module of their own.

    It is served ``below`` a path of another site where that is not empty.
    """

    def __init__(
        self,
        *,
        upstream: Upstream,
        feed: Feed,
        pulse: Pulse,
        last: LastKnown,
        connections: HttpConnections,
        access: Access,
        assets: dict[str, Asset],
        below: str = "",
    ) -> None:
        self._upstream = upstream
        self._feed = feed
        self._connections = connections
        self._assets = assets
        self._requests = 0
        self._tokens = TokenTotals()
        self._openapi = msgspec.json.encode(document())
        api = Api(upstream=upstream, last=last)
        form = assets["login.html"].body
        brake = Brake()
        login = Login(
            form=asset(form.replace(_PLACE, b""), _HTML),
            failed=asset(form.replace(_PLACE, _REFUSED), _HTML),
            keys=access.keys,
            brake=brake,
            below=below,
        )
        routes = [
            Route("/", self._page),
            Route("/static/{name}", self._static),
            Route("/favicon.ico", self._icon),
            Route("/healthz", self._healthz),
            Route("/metrics", self._metrics),
            Route("/openapi.json", self._document),
            Route("/login", login.__call__, methods=["GET", "POST"]),
            Route("/api/events", EventStream(feed=feed, on_open=pulse.wake, connections=connections)),
            *(Route(_path(one.path), api.handler(one)) for one in ENDPOINTS),
        ]
        handlers: dict[Any, Any] = {404: _nothing, 405: _read_only, Exception: _failed}
        guard = Guard(
            Starlette(routes=routes, exception_handlers=handlers),
            access=access,
            brake=brake,
            count=self._count,
        )
        self.app: ASGIApp = BelowPath(guard, below) if below else guard

    def _count(self) -> None:
        self._requests += 1

    async def _page(self, request: Request) -> Response:
        return self._assets["index.html"].response(request)

    async def _static(self, request: Request) -> Response:
        found = self._assets.get(request.path_params["name"])
        if found is None or found.media_type == _HTML:
            raise HTTPException(404)
        return found.response(request)

    async def _icon(self, request: Request) -> Response:
        return self._assets["favicon.svg"].response(request)

    async def _healthz(self, _request: Request) -> Response:
        """Answer that the dashboard serves; the state of the daemon is shown but does not decide."""
        daemon = "up" if self._upstream.down is None else "down"
        return json_response(msgspec.json.encode({"status": "ok", "daemon": daemon, "version": __version__}))

    async def _metrics(self, request: Request) -> Response:
        status = agents = None
        try:
            status = msgspec.json.decode(await self._upstream.ask("status"), type=dict)
            agents = read_agents(await self._upstream.ask("agents.list"), self._tokens)
        except (ClientError, msgspec.DecodeError):
            pass  # what is known is told
        own = dashboard_families(
            connections=len(self._connections),
            streams=len(self._feed),
            refused=self._connections.refused,
            cut=self._connections.cut,
            requests=self._requests,
            cpu=time.process_time(),
            reconnections=max(0, self._upstream.reconnections),
        )
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Page(status, own, agents))
        accept = request.headers.get("accept", "")
        try:
            encode, content_type = choose_encoder(accept)
        except (
            TypeError,
            ValueError,
        ):  # it compares the version "a.b" with numbers
            encode, content_type = choose_encoder("")
        return Response(encode(registry), headers={"content-type": content_type})

    async def _document(self, _request: Request) -> Response:
        return json_response(self._openapi)


class _AnyText(Convertor[str]):
    """Match all that is left of a path, line breaks too, which Starlette's own ``path`` does not."""

    regex = "(?s:.*)"

    def convert(self, value: str) -> str:
        """Return the text as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Return the text as it is."""
        return value


register_url_convertor("anytext", _AnyText())


def _path(template: str) -> str:
    """Return a path template in Starlette's form, with an agent's id as :class:`_AnyText`."""
    return template.replace("{id}", "{id:anytext}")


async def _nothing(_request: Request, _error: Exception) -> Response:
    return problem(404, "no-such-page", "there is no such page; /openapi.json lists the paths")


async def _read_only(_request: Request, error: HTTPException) -> Response:
    response = problem(405, "method", "the dashboard only reads: use GET or HEAD")
    response.headers.update(error.headers or {})
    return response


async def _failed(_request: Request, _error: Exception) -> Response:
    return problem(500, "internal", "the dashboard failed to answer; its log says why")
