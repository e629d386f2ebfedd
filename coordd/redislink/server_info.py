"""Ask a Redis how it is, in one exchange that serves everybody, and read what it tells.

Two commands: PING, which some errors come back to that INFO hides (MISCONF), and INFO, whose default sections
hold all that coordd wants to know of a server. Pure but for the names of the commands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from coordd.redislink.info import parse_info
from coordd.redislink.session import Command, Reply
from coordd.redislink.trouble import ServerError

ASKED: tuple[Command, ...] = (("PING",), ("INFO",))
"""The commands of the exchange."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The answers: ``trouble`` is the error that PING got, ``fields`` what INFO tells, by name.

    ``fields`` is empty where INFO is not permitted.
    """

    trouble: ServerError | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, replies: Sequence[Reply]) -> ServerInfo:
        """Return what the replies to :data:`ASKED` say."""
        ping, info = replies
        return cls(ping if isinstance(ping, ServerError) else None, parse_info(info))

    def keys(self, database: int) -> int | None:
        """Return the number of keys in a database; None where INFO is not permitted."""
        if not self.fields:
            return None
        counts = self.fields.get(f"db{database}", "keys=0")  # a database without keys is not listed
        text = counts.partition("keys=")[2].partition(",")[0]
        return int(text) if text.isdigit() and len(text) < 20 else None
