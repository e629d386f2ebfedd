"""Count the tokens of a rollout from a moment on, by what the thread has used in all. Pure state.

A rollout says it again and again, so that each difference counts once. Where the total before is not known,
as at the first line that is read, what the last request has used counts.
"""

from __future__ import annotations

from coordd.agents.session import TokenCounts
from coordd.sources.codex.rollout_lines import TokenInfo, Usage
from coordd.sources.sessions.lines import count_of

_Counts = tuple[int, int, int, int]
_NONE: _Counts = (0, 0, 0, 0)


class Tokens:
    """Count from ``since`` on, in epoch seconds."""

    __slots__ = ("_after", "_before", "_last", "_since", "_total")

    def __init__(self, since: float) -> None:
        self._since = self._after = self._last = since
        self._before: _Counts | None = None
        self._total: _Counts = _NONE

    @property
    def counts(self) -> TokenCounts:
        """What was counted so far."""
        into, out, read, write = self._total
        return TokenCounts(into, out, read, write, self._since)

    def restart(self) -> None:
        """Begin to read again what may have been counted already."""
        self._after, self._before = self._last, None

    def add(self, info: TokenInfo, at: float | None) -> bool:
        """Take over what a line says, at its time; return whether more was used than was known."""
        if info.total_token_usage is None:
            return False
        total, before = _counts(info.total_token_usage), self._before
        self._before = total
        if at is None or at < self._since or (at <= self._after and self._after > self._since):
            return total != before
        if before is None or any(new < old for new, old in zip(total, before, strict=True)):
            used = _NONE if info.last_token_usage is None else _counts(info.last_token_usage)
        else:
            used = _less(total, before)
        self._total = _more(self._total, used)
        self._last = max(self._last, at)
        return total != before


def context_of(info: TokenInfo) -> int | None:
    """Return how much the last request had for context, None where that was not told."""
    last = info.last_token_usage
    return None if last is None or not isinstance(last.input_tokens, int) else count_of(last.input_tokens)


def _counts(usage: Usage) -> _Counts:
    read, write = count_of(usage.cached_input_tokens), count_of(usage.cache_write_input_tokens)
    return max(0, count_of(usage.input_tokens) - read - write), count_of(usage.output_tokens), read, write


def _less(one: _Counts, other: _Counts) -> _Counts:
    return one[0] - other[0], one[1] - other[1], one[2] - other[2], one[3] - other[3]


def _more(one: _Counts, other: _Counts) -> _Counts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2], one[3] + other[3]
