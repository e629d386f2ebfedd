"""Turn a request line into an answer line: decode, look up the method, check parameters, encode.

methods.py has the methods; server.py and connection.py bring the lines.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from coordd.control.hub import Streamed, Subscription
from coordd.control.peer import Peer
from coordd.protocol import jsonrpc
from coordd.protocol.jsonrpc import AnswerAndClose, Fault

log = logging.getLogger(__name__)

Handler = Callable[[Any, Peer], object]
"""Takes checked parameters and the peer; returns a result for msgspec to encode, or an awaitable of one."""


@dataclass(frozen=True, slots=True)
class Method:
    """One row of the method table.

    ``params`` is a msgspec Struct type whose fields, in their order, are the parameters; a reader of
    ``describe`` sees their names, types and defaults. ``control`` methods are for root and the daemon's own
    user.
    """

    name: str
    summary: str
    handler: Handler
    params: type[msgspec.Struct]
    control: bool = False


class NoParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of a method that takes none."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A result after which notifications follow; already encoded, so that nothing can fail after it."""

    result: msgspec.Raw
    subscription: Subscription


@dataclass(slots=True)
class Dispatcher:
    """Answer request lines from a table of methods; ``own_uid`` is the daemon's."""

    methods: Mapping[str, Method]
    own_uid: int
    _encoder: msgspec.json.Encoder = field(default_factory=msgspec.json.Encoder)
    _decoder: msgspec.json.Decoder[Any] = field(default_factory=msgspec.json.Decoder)

    def __call__(self, line: bytes, peer: Peer) -> bytes | Streamed | Awaitable[bytes | None] | None:
        """Return the answer to one line; None for a notification.

        Raises:
            AnswerAndClose: the line is not JSON; its answer is the connection's last.
        """
        try:
            message = self._decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
            raise AnswerAndClose(self.refusal(Fault(jsonrpc.PARSE_ERROR))) from error
        try:
            request = jsonrpc.check_request(message)
        except Fault as fault:
            return self._error(jsonrpc.request_id(message), fault)
        try:
            method, params = self._resolve(request, peer)
            result = method.handler(params, peer)
            if isinstance(result, Awaitable):
                return self._await(request, result)
            if isinstance(result, Opened):
                return Streamed(
                    self._success(request, result.result),
                    result.subscription,
                    partial(self._failure, request),
                )
            return self._success(request, result)
        except Exception as error:
            return self._failure(request, error)

    def refusal(self, fault: Fault) -> bytes:
        """Return an error answer that belongs to no request."""
        return self._error(None, fault)

    def _resolve(self, request: jsonrpc.Request, peer: Peer) -> tuple[Method, msgspec.Struct]:
        method = self.methods.get(request.method)
        if method is None:
            raise Fault(jsonrpc.METHOD_NOT_FOUND)
        if method.control and not peer.may_control(self.own_uid):
            raise Fault(
                jsonrpc.SERVER_ERROR,
                f"{method.name} is for root and the user that coordd runs as (uid {self.own_uid})",
                kind="forbidden",
            )
        given = request.params
        if isinstance(given, list):
            names = method.params.__struct_fields__
            if len(given) > len(names):
                raise Fault(
                    jsonrpc.INVALID_PARAMS, f"{method.name} takes {len(names)} parameters", kind="params"
                )
            given = dict(zip(names, given, strict=False))
        try:
            return method, msgspec.convert(given, method.params)
        except msgspec.ValidationError as error:
            raise Fault(jsonrpc.INVALID_PARAMS, f"Invalid params: {error}", kind="params") from error

    async def _await(self, request: jsonrpc.Request, result: Awaitable[object]) -> bytes | None:
        try:
            return self._success(request, await result)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            return self._failure(request, error)

    def _success(self, request: jsonrpc.Request, result: object) -> bytes | None:
        if not request.wants_answer:
            return None
        return self._encoder.encode_lines([{"jsonrpc": "2.0", "id": request.id, "result": result}])

    def _failure(self, request: jsonrpc.Request, error: Exception) -> bytes | None:
        if not isinstance(error, Fault):
            log.error("%s failed", request.method, exc_info=error)
            error = Fault(jsonrpc.INTERNAL_ERROR)
        return self._error(request.id, error) if request.wants_answer else None

    def _error(self, ident: str | float | None, fault: Fault) -> bytes:
        return self._encoder.encode_lines(
            [{"jsonrpc": "2.0", "id": ident, "error": jsonrpc.error_object(fault)}]
        )
