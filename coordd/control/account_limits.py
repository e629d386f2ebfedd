"""Show what providers have told of the limits of accounts, as it is at a moment. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from coordd.agents.source import SourceState
from coordd.model import AccountLimit
from coordd.util.timestamps import format_utc


def account_limits(sources: Iterable[SourceState], wall: float) -> list[AccountLimit]:
    """Return the limits of the accounts that are used in these homes; ``wall`` is now, in epoch seconds."""
    return [
        AccountLimit(
            kind=source.name.kind,
            account=source.name.path,
            name=one.name,
            window=one.window,
            used_percent=one.used_at(wall),
            resets_at=None if one.resets_at is None else format_utc(one.resets_at),
            seen_at=format_utc(one.seen_at),
        )
        for source in sources
        for one in source.limits
    ]
