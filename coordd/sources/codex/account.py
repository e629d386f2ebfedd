"""Take out of a rollout what the provider tells of the account's limits, and of refusing it. Pure.

A refusal is final: the program has tried again by itself, and the turn is over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import cast

from coordd.agents.limits import ToldLimit
from coordd.agents.session import Refusal
from coordd.sources.codex.rollout_lines import RateLimits, Window
from coordd.sources.sessions.moments import plausible

USUAL = "codex"
"""The provider's word for the limit that everybody has."""
_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}", re.ASCII)
_LONGEST = 366 * 24 * 60
_AHEAD = 366 * 86_400.0

_WORDS: dict[str, Refusal] = {
    "usage_limit_exceeded": "rate-limit",
    "usage_not_included": "billing",
    "quota_exceeded": "billing",
    "server_overloaded": "overload",
    "internal_server_error": "overload",
    "unauthorized": "authentication",
}
_STATUSES: dict[int, Refusal] = {
    401: "authentication",
    402: "billing",
    403: "authentication",
    429: "rate-limit",
    500: "overload",
    502: "overload",
    503: "overload",
    504: "overload",
    529: "overload",
}


def refusal_of(info: object) -> Refusal | None:
    """Return why the provider refuses, by the word for why a turn failed; None: it was no refusal."""
    if isinstance(info, str):
        return _WORDS.get(info)
    if not isinstance(info, dict) or len(info) != 1:
        return None
    word, detail = next(iter(info.items()))
    status = detail.get("http_status_code") if isinstance(detail, dict) else None
    return (_STATUSES.get(status) if isinstance(status, int) else None) or _WORDS.get(word)


def told_limits(limits: RateLimits, at: float | None) -> Iterator[ToldLimit]:
    """Yield what was told of each window; ``at`` is when, and nothing is yielded where that is not known."""
    if at is None:
        return
    written = limits.limit_id
    name = written if isinstance(written, str) and _NAME.fullmatch(written) and written != USUAL else None
    for window in (limits.primary, limits.secondary):
        if window is not None:
            used = _number(window.used_percent, 1000.0)
            minutes = _number(window.window_minutes, _LONGEST)
            yield ToldLimit(
                name=name,
                window=None if minutes is None else 60.0 * minutes,
                used_percent=used,
                resets_at=_resets_at(window, at),
                seen_at=at,
            )


def _resets_at(window: Window, at: float) -> float | None:
    written = _number(window.resets_at, 1e11)
    if written is not None:
        return written if plausible(written, at + _AHEAD) is not None else None
    seconds = _number(window.resets_in_seconds, _AHEAD)  # of older builds
    return None if seconds is None else at + seconds


def _number(value: object, most: float) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return cast(float, value) if 0 <= value <= most else None
