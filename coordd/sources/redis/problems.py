"""What in Redis cannot be used: bounded, and each for as long as the readings find it so. Pure."""

from __future__ import annotations

from coordd.redislink.trouble import ServerError
from coordd.sources.redis.keys import place

MAX_MALFORMED = 1000

_LONGEST = 1100  # bytes of a name that are kept: every name that can be an id, and more than is shown

At = tuple[bytes, bytes | None]


class Problems:
    """Keys, or members of them, with the reason. :meth:`begin` and :meth:`end` frame a full reading."""

    def __init__(self, *, limit: int = MAX_MALFORMED) -> None:
        self._limit = limit
        self._found: dict[At, tuple[str, int]] = {}
        self._news: set[At] = set()
        self._reading = 0
        self.unnamed = 0
        """How many were found since the last full reading began for which there is no place."""

    def begin(self) -> None:
        """A full reading begins: what it does not find again is mended."""
        self._reading += 1
        self.unnamed = 0

    def end(self) -> dict[str, str]:
        """It has ended: everything there is, by its place."""
        self._found = {at: one for at, one in self._found.items() if one[1] == self._reading}
        self._news = set()
        return {place(*at): reason for at, (reason, _) in self._found.items()}

    def note(self, key: bytes, reason: str | None, member: bytes | None = None) -> None:
        """Something is wrong with a key or a member of it; None: nothing is."""
        if reason is None and not self._found:
            return
        at = (key[:_LONGEST], None if member is None else member[:_LONGEST])
        if reason is None:
            if self._found.pop(at, None) is not None:
                self._news.discard(at)
            return
        known = self._found.get(at)
        if known is None and len(self._found) >= self._limit:
            self.unnamed += 1
            return
        if known is None or known[0] != reason:
            self._news.add(at)
        self._found[at] = (reason, self._reading)

    def take_news(self) -> dict[str, str]:
        """What was found since the last full reading and has not been asked for."""
        news, self._news = self._news, set()
        return {place(*at): self._found[at][0] for at in news}


def refusal(error: ServerError, wanted: str) -> str:
    """Why a key cannot be read, of which ``wanted`` ("a string") was expected."""
    return f"not {wanted}" if error.code == "WRONGTYPE" else f"Redis {error}"
