"""Keep a status up to date by a subscription, and find the daemon again when it is lost.

A notification says that something changed; then the daemon is asked for the present status, so all numbers
are its own. This is a state machine on monotonic time, which is passed in. It blocks only while connecting;
its caller waits on :meth:`LiveStatus.fileno` for at most :meth:`LiveStatus.due`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coordd.cli.look import LOOK, OLD_LOOK, SUBSCRIBE, Picture, picture_of
from coordd.errors import CannotTell, ClientError, DaemonNotRunning, RpcError
from coordd.protocol.client import result_of
from coordd.protocol.jsonrpc import INVALID_PARAMS, METHOD_NOT_FOUND
from coordd.util.text import escape
from coordd.util.untyped import as_dict

if TYPE_CHECKING:
    from collections.abc import Callable

    from coordd.protocol.client import Client

PACE = 0.5
"""Seconds between two questions at least: two updates a second are enough for a person."""
IDLE = 5.0
"""Seconds between two questions at most, to notice changes without a notification, and a daemon that hangs
but keeps the connection.
"""
RETRY = 1.0
"""Seconds between two attempts to connect."""
OVERDUE = 1.5
"""Seconds after which a missing answer is mentioned."""


class LiveStatus:
    """Hold the latest picture of a daemon, and how old it is.

    ``connect`` returns a connected client, once it has found one always of the same daemon. ``note`` says
    that another daemon is asked than the one that is meant. ``version`` grows with every answer, ``changes``
    only when more than the time has changed. ``picture`` is None until the first answer; ``heard_at`` is when
    the last one came. ``trouble`` is why there has been no daemon since ``lost_at``.
    """

    def __init__(self, *, connect: Callable[[], Client], timeout: float) -> None:
        self.path: str | None = None
        self.note: str | None = None
        self.picture: Picture | None = None
        self.heard_at = 0.0
        self.trouble: ClientError | None = None
        self.lost_at = 0.0
        self.version = 0
        self.changes = 0
        self._connect = connect
        self._timeout = timeout
        self._client: Client | None = None
        self._look = LOOK
        self._waiting: dict[int, Any] = {}
        self._asked_at = 0.0
        self._retry_at = 0.0
        self._subscribing = False
        self._notified = False
        self._behind = False
        self._was_notified = False

    def fileno(self) -> int:
        """Return the descriptor to wait for before :meth:`read`; -1 without a connection."""
        return -1 if self._client is None else self._client.fileno()

    def due(self, mono: float) -> float:
        """Return the seconds until :meth:`step` has something to do."""
        if self._client is None:
            at = self._retry_at
        elif self._waiting:
            at = self._asked_at + self._timeout
        else:
            at = self._asked_at + (PACE if self._notified or self._behind else IDLE)
        return max(0.0, at - mono)

    def overdue(self, mono: float) -> float | None:
        """Return for how many seconds an answer is overdue, counted from the question; None if it is not."""
        waited = mono - self._asked_at if self._waiting else 0.0
        return waited if waited >= OVERDUE else None

    def step(self, mono: float) -> None:
        """Do what is due: connect, ask, or give up waiting.

        Raises:
            CannotTell: the daemon refuses, or knows no subscriptions, and has never answered before.
        """
        if self.due(mono) > 0:
            return
        if self._client is None:
            self._open(mono)
        elif self._waiting:
            self._lose(CannotTell(f"no answer within {self._timeout:g} s"), mono, since=self._asked_at)
        else:
            self._ask(SUBSCRIBE if self._behind else self._look, mono)

    def read(self, mono: float) -> None:
        """Read what has arrived; raises as :meth:`step` does."""
        if self._client is None:
            return
        try:
            for message in self._client.arrived():
                self._take(message, mono)
        except ClientError as error:
            self._lose(error, mono)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._waiting.clear()

    def _open(self, mono: float) -> None:
        try:
            self._client = self._connect()
        except (DaemonNotRunning, CannotTell) as error:
            self._lose(error, mono)
        else:
            self.note = self._client.note
            self._ask(SUBSCRIBE, mono)

    def _ask(self, calls: list[tuple[str, object]], mono: float) -> None:
        if self._client is None:
            return
        self._asked_at = mono
        self._subscribing = calls is SUBSCRIBE
        self._was_notified = self._notified or self._behind
        self._notified = False
        try:
            self._waiting = dict.fromkeys(self._client.send(calls))
        except CannotTell as error:
            self._lose(error, mono)

    def _take(self, message: dict[str, Any], mono: float) -> None:
        identity = message.get("id")
        if identity in self._waiting and self._waiting[identity] is None:
            try:
                self._waiting[identity] = [result_of(message)]
            except RpcError as error:
                if error.code != INVALID_PARAMS or self._look is OLD_LOOK:
                    raise
                self._look = OLD_LOOK
                self._ask(self._look, mono)
                return
            if all(self._waiting.values()):
                self._heard([answer for (answer,) in self._waiting.values()], mono)
        elif "method" in message:
            self._notified = True
            self._behind = self._behind or message["method"] == "lagged"
        elif identity is None and "error" in message:
            raise CannotTell(f"the daemon refused: {_words(message)}")

    def _heard(self, answers: list[Any], mono: float) -> None:
        self._waiting = {}
        if self._subscribing:
            self._behind = self._notified = False
        picture = picture_of(answers, subscribed=self._subscribing)
        if picture is None:
            raise CannotTell("the answer is not a status document")
        if (
            self._was_notified
            or self.trouble
            or self.picture is None
            or _content(picture.document) != _content(self.picture.document)
        ):
            self.changes += 1
        self.version += 1
        self.picture, self.heard_at, self.trouble = picture, mono, None
        if self._client is not None:
            self.path = self._client.path

    def _lose(self, error: ClientError, mono: float, *, since: float | None = None) -> None:
        """Close the connection after an error, and try again soon."""
        self.close()
        if isinstance(error, RpcError):
            unknown = error.code == METHOD_NOT_FOUND
            words = "the daemon knows no subscriptions; is it older?" if unknown else str(error)
            error = CannotTell(words)
        if self.picture is None and isinstance(error, CannotTell):
            raise error
        if self.trouble is None:
            self.lost_at = mono if since is None else since
            self.changes += 1
        self.trouble = error
        self.version += 1
        self._retry_at = mono + RETRY


def _words(refusal: dict[str, Any]) -> str:
    return escape(str(as_dict(refusal.get("error")).get("message")))


def _content(document: dict[str, Any]) -> list[object]:
    """Return the parts of a document whose change counts by itself; the daemon notifies of records only."""
    counted = ("health", "problems", "attention", "agents", "tasks", "workspaces", "sources")
    return [document.get(name) for name in counted]
