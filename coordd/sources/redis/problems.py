"""Keep the problems found in Redis: bounded in number, each as long as readings find it. Pure."""

from __future__ import annotations

from coordd.redislink.trouble import ServerError
from coordd.sources.redis.keys import location
from coordd.util.fields import Denied

MAX_MALFORMED = 1000

_LONGEST = 1400  # bytes of a name that are kept: enough for every prefix and id, and more than is shown

At = tuple[bytes, bytes | None]


class Problems:
    """Keep keys, or members of keys, that cannot be used, with the reason."""

    def __init__(self, *, limit: int = MAX_MALFORMED) -> None:
        self._limit = limit
        self._found: dict[At, tuple[str, int]] = {}
        self._new: set[At] = set()
        self._reading = 0
        self.unnamed = 0
        """Problems found since the last full reading began that did not fit."""

    def begin(self) -> None:
        """Begin a full reading: problems that it does not find again are dropped at its end."""
        self._reading += 1
        self.unnamed = 0

    def end(self) -> dict[str, str]:
        """End a full reading; return all present problems by their location."""
        self._found = {at: one for at, one in self._found.items() if one[1] == self._reading}
        self._new = set()
        return {location(*at): reason for at, (reason, _) in self._found.items()}

    def note(self, key: bytes, reason: str | None, member: bytes | None = None) -> None:
        """Record what is wrong with a key, or with a member of it; None removes the problem."""
        if reason is None and not self._found:
            return
        at = (key[:_LONGEST], None if member is None else member[:_LONGEST])
        if reason is None:
            if self._found.pop(at, None) is not None:
                self._new.discard(at)
            return
        known = self._found.get(at)
        if known is None and len(self._found) >= self._limit:
            self.unnamed += 1
            return
        if known is None or known[0] != reason:
            self._new.add(at)
        self._found[at] = (reason, self._reading)

    def take_new(self) -> dict[str, str]:
        """Return the problems found since the last full reading and not returned yet."""
        new, self._new = self._new, set()
        return {location(*at): self._found[at][0] for at in new}


def refusal(error: ServerError, wanted: str) -> str:
    """Return why a key cannot be read; ``wanted`` is the type that was expected ("a string")."""
    if error.means.wrong_type:
        return f"not {wanted}"
    return Denied(f"Redis {error}") if error.code == "NOPERM" else f"Redis {error}"
