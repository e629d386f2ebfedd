"""Count the tokens of a transcript, each message once, from a moment on. Pure state, bounded.

One message spans several lines, and each repeats what the message has cost so far: of lines that name the
same message the highest counts stand. What is older than the moment from which is counted, and, after the
transcript was read again, what is older than the last message that was counted, does not count.
"""

from __future__ import annotations

from coordd.agents.session import TokenCounts
from coordd.sources.claude_code.transcript_lines import Usage
from coordd.sources.sessions.lines import count_of

_MAX_MESSAGES = 64
"""Messages that are remembered; the lines of one follow each other, with a few of others in between."""

_Counts = tuple[int, int, int, int]


class Tokens:
    """Count from ``since`` on, in epoch seconds."""

    __slots__ = ("_after", "_last", "_messages", "_since", "_total")

    def __init__(self, since: float) -> None:
        self._since = self._after = self._last = since
        self._messages: dict[str, _Counts] = {}
        self._total: _Counts = (0, 0, 0, 0)

    @property
    def counts(self) -> TokenCounts:
        """What was counted so far."""
        into, out, read, write = self._total
        return TokenCounts(into, out, read, write, self._since)

    def restart(self) -> None:
        """Begin to read again what may have been counted already."""
        self._after = self._last

    def add(self, message: str, usage: Usage, at: float | None) -> None:
        """Count a line of a message; ``at`` is the line's time."""
        known = self._messages.get(message)
        if known is None:
            if at is None or at < self._since or (at <= self._after and self._after > self._since):
                return
            known = (0, 0, 0, 0)
        counts = (
            count_of(usage.input_tokens),
            count_of(usage.output_tokens),
            count_of(usage.cache_read_input_tokens),
            count_of(usage.cache_creation_input_tokens),
        )
        highest = tuple(map(max, known, counts))
        self._total = tuple(  # type: ignore[assignment]  # four of four: zip has no length for mypy
            total + new - old for total, new, old in zip(self._total, highest, known, strict=True)
        )
        if len(self._messages) >= _MAX_MESSAGES and message not in self._messages:
            del self._messages[next(iter(self._messages))]
        self._messages[message] = highest  # type: ignore[assignment]  # as above
        if at is not None:
            self._last = max(self._last, at)
