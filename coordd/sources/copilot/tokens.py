"""Count the tokens of a session from a moment on, each request once. Pure state."""

from __future__ import annotations

from coordd.agents.session import TokenCounts
from coordd.sources.copilot.events import Usage
from coordd.sources.sessions.lines import count_of


class Tokens:
    """Count from ``since`` on, in epoch seconds."""

    __slots__ = ("_after", "_into", "_last", "_out", "_read", "_since", "_write")

    def __init__(self, since: float) -> None:
        self._since = self._after = self._last = since
        self._into = self._out = self._read = self._write = 0

    @property
    def counts(self) -> TokenCounts:
        """What was counted so far."""
        return TokenCounts(self._into, self._out, self._read, self._write, self._since)

    def restart(self) -> None:
        """Begin to read again what may have been counted already."""
        self._after = self._last

    def add(self, usage: Usage, at: float | None) -> None:
        """Take over what one request has used, at its time."""
        if at is None or at < self._since or (at <= self._after and self._after > self._since):
            return
        read, write = count_of(usage.cache_read_tokens), count_of(usage.cache_write_tokens)
        self._into += max(0, count_of(usage.input_tokens) - read - write)
        self._out += count_of(usage.output_tokens)
        self._read += read
        self._write += write
        self._last = max(self._last, at)


def context_of(usage: Usage) -> int | None:
    """Return how much a request had for context, None where that was not told."""
    return count_of(usage.input_tokens) or None
