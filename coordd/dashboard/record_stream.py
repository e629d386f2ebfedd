"""Subscribe to the daemon's records, and go on after a lost connection.

The rule: a record is passed on once. The place is that of the last record that was passed on, in the run of
the daemon that told of it; a daemon that cannot go on from there, or knows no places, begins anew.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from coordd.dashboard.channel import Channel
from coordd.errors import CannotTell, RpcError
from coordd.model import RECORD_TOPICS
from coordd.protocol.jsonrpc import INVALID_PARAMS


class _Daemon(msgspec.Struct):
    layout: str = ""


class _Status(msgspec.Struct):
    daemon: _Daemon


class _Answer(msgspec.Struct):
    seq: int
    run: str = ""
    resumed: bool = False
    status: _Status | None = None


class _Numbered(msgspec.Struct):
    seq: int = 0


_numbered = msgspec.json.Decoder(_Numbered)


class RecordStream:
    """Keep the place over connections.

    ``on_record`` is called with each notification (method, encoded parameters).
    """

    def __init__(self, *, on_record: Callable[[str, bytes], None]) -> None:
        self._on_record = on_record
        self._run = ""
        self._layout = ""
        self._at = 0
        self._heard = 0

    def take(self, method: str, params: bytes) -> None:
        """Pass on a notification of the connection that is subscribed, or is being so."""
        with suppress(msgspec.DecodeError):
            self._heard = max(self._heard, _numbered.decode(params).seq)
        self._on_record(method, params)

    async def subscribe(self, channel: Channel, *, within: float) -> str:
        """Subscribe on a new connection, from the place on if there is one; return the daemon's layout.

        Raises:
            CannotTell: what answers is no coordd.
            RpcError, ChannelLost: as :meth:`Channel.call`.
        """
        self._at, self._heard = max(self._at, self._heard), 0
        params: dict[str, object] = {"topics": RECORD_TOPICS, "snapshot": "status"}
        if self._run:
            params["since"] = f"{self._run}:{self._at}"
        try:
            encoded = await channel.call("subscribe", params, within=within)
        except RpcError as error:
            if error.code != INVALID_PARAMS:
                raise
            encoded = await channel.call("subscribe", None, within=within)  # it is older, and knows no places
        try:
            answer = msgspec.json.decode(encoded, type=_Answer)
        except msgspec.DecodeError as error:
            raise CannotTell("what answers there is not coordd.") from error
        if answer.status is not None:
            self._layout = answer.status.daemon.layout
        elif not (answer.resumed and answer.run == self._run):
            raise CannotTell("what answers there is not coordd.")
        # records may have come since the answer
        self._run, self._at, self._heard = answer.run, answer.seq, max(answer.seq, self._heard)
        return self._layout
