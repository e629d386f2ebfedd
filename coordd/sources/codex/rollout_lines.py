"""Decode one line of a rollout into the few fields that coordd looks at; all else is skipped unread.

Pure. A field may be absent, or of any type: then it counts as absent. Prompts, answers, commands and results
are never decoded, but for the beginning of a result, which is looked at for one phrase and kept nowhere.
"""

from __future__ import annotations

from typing import Any

import msgspec

from coordd.sources.sessions.lines import FAILED, any_of, decoded, time_of


class Item(msgspec.Struct, gc=False):
    """What has been completed in a turn, such as a ``CommandExecution``."""

    type: Any = None
    id: Any = None


class Payload(msgspec.Struct, gc=False):
    """What a line is about: of an event, an item of the model's, the session or a turn."""

    type: Any = None
    id: Any = None
    call_id: Any = None
    name: Any = None
    status: Any = None
    cwd: Any = None
    model: Any = None
    timestamp: Any = None
    cli_version: Any = None
    parent_thread_id: Any = None
    output: msgspec.Raw = msgspec.Raw()
    source: msgspec.Raw = msgspec.Raw()
    item: msgspec.Raw = msgspec.Raw()
    info: msgspec.Raw = msgspec.Raw()
    rate_limits: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()
    codex_error_info: msgspec.Raw = msgspec.Raw()


class Line(msgspec.Struct, gc=False):
    """One line."""

    type: Any = None
    timestamp: Any = None
    payload: Payload | None = None

    def time_by(self, wall: float) -> float | None:
        """Return the line's time in epoch seconds; None where there is none, or it cannot be one now."""
        return time_of(self.timestamp, wall)


class _Bare(msgspec.Struct, gc=False):
    type: Any = None
    timestamp: Any = None


class Usage(msgspec.Struct, gc=False):
    """What was used, in tokens; ``input_tokens`` are those that were cached and those that were not."""

    input_tokens: Any = None
    cached_input_tokens: Any = None
    cache_write_input_tokens: Any = None
    output_tokens: Any = None


class TokenInfo(msgspec.Struct, gc=False):
    """What the thread has used so far, and what its last request has."""

    total_token_usage: Usage | None = None
    last_token_usage: Usage | None = None


class Window(msgspec.Struct, gc=False):
    """How much of one window of an account is used."""

    used_percent: Any = None
    window_minutes: Any = None
    resets_at: Any = None
    resets_in_seconds: Any = None


class RateLimits(msgspec.Struct, gc=False):
    """What the provider tells of an account."""

    limit_id: Any = None
    primary: Window | None = None
    secondary: Window | None = None


class Error(msgspec.Struct, gc=False):
    """Why a turn failed; what it says to people is not among it."""

    codex_error_info: msgspec.Raw = msgspec.Raw()


_LINE = msgspec.json.Decoder(Line)
_BARE = msgspec.json.Decoder(_Bare)
_ITEM = msgspec.json.Decoder(Item)
_INFO = msgspec.json.Decoder(TokenInfo)
_LIMITS = msgspec.json.Decoder(RateLimits)
_ERROR = msgspec.json.Decoder(Error)


def decode(line: bytes) -> Line | None:
    """Return the line; None for one that is no JSON object."""
    try:
        return _LINE.decode(line)
    except msgspec.ValidationError:  # something lies where another thing does: what is left of it counts
        try:
            bare = _BARE.decode(line)
        except FAILED:
            return None
        return Line(type=bare.type, timestamp=bare.timestamp)
    except FAILED:
        return None


def item_of(raw: msgspec.Raw) -> Item:
    """Return what has been completed; all fields are None where that is not an object."""
    return decoded(_ITEM, raw) or Item()


def info_of(raw: msgspec.Raw) -> TokenInfo:
    """Return what was used; all fields are None where nothing was told."""
    return decoded(_INFO, raw) or TokenInfo()


def limits_of(raw: msgspec.Raw) -> RateLimits:
    """Return what was told of the account; all fields are None where nothing was."""
    return decoded(_LIMITS, raw) or RateLimits()


def error_of(payload: Payload) -> object:
    """Return the word for why a turn failed, or the object that wraps it; None for none."""
    error = decoded(_ERROR, payload.error)
    raw = error.codex_error_info if isinstance(error, Error) else payload.codex_error_info
    return any_of(raw) if len(raw) < 1000 else None
