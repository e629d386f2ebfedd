"""Ask a Redis how it is, in one exchange that serves everybody, and read what it tells.

Two commands: PING, which some errors come back to that INFO hides (MISCONF), and INFO, whose default sections
hold all that coordd wants to know of a server. A node of a cluster and a Sentinel answer both without an
error, though no agent beats there: that is an error here. Pure but for the names of the commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coordd.redislink.info import parse_info
from coordd.redislink.session import Command, Reply
from coordd.redislink.trouble import ServerError

ASKED: tuple[Command, ...] = (("PING",), ("INFO",))
"""The commands of the exchange."""


_KINDS = {"cluster": "CLUSTER", "sentinel": "SENTINEL"}


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The answers: ``trouble`` is the error that PING got, or else that this is no single Redis.

    ``fields`` is what INFO tells, by name; empty where INFO is not permitted.
    """

    trouble: ServerError | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, replies: Sequence[Reply]) -> ServerInfo:
        """Return what the replies to :data:`ASKED` say."""
        ping, info = replies
        fields = parse_info(info)
        return cls(ping if isinstance(ping, ServerError) else kind_trouble(fields), fields)

    def keys(self, database: int) -> int | None:
        """Return the number of keys in a database; None where INFO is not permitted."""
        if not self.fields:
            return None
        counts = self.fields.get(f"db{database}", "keys=0")  # a database without keys is not listed
        text = counts.partition("keys=")[2].partition(",")[0]
        return int(text) if text.isdigit() and len(text) < 20 else None


def kind_trouble(fields: Mapping[str, str]) -> ServerError | None:
    """Return the error that a node of a cluster and a Sentinel are, by what INFO tells; None for a Redis."""
    kind = (fields.get("server_mode") or fields.get("redis_mode") or "").lower()
    code = _KINDS.get(kind)
    return None if code is None else ServerError(code, kind)
