"""Decode one line of ``events.jsonl`` into the few fields that coordd looks at; all else is skipped unread.

Pure. A field may be absent, or of any type: then it counts as absent. Prompts, answers, commands, their
results and what they name are never decoded.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from coordd.sources.sessions.moments import plausible
from coordd.util.fields import jsonable
from coordd.util.text import epoch_of
from coordd.util.timestamps import parse_timestamp

T = TypeVar("T")


class Data(msgspec.Struct, gc=False, rename="camel"):
    """What an event is about."""

    copilot_version: Any = None
    start_time: Any = None
    cwd: Any = None
    tool_call_id: Any = None
    tool_name: Any = None
    request_id: Any = None
    model: Any = None
    new_model: Any = None
    selected_model: Any = None
    error_type: Any = None
    status_code: Any = None
    execution_mode: Any = None
    continue_pending_work: Any = None
    context: msgspec.Raw = msgspec.Raw()
    usage: msgspec.Raw = msgspec.Raw()
    kind: msgspec.Raw = msgspec.Raw()
    tool_telemetry: msgspec.Raw = msgspec.Raw()


class Event(msgspec.Struct, gc=False, rename="camel"):
    """One line; ``agent_id`` is the subagent that it is of."""

    type: Any = None
    timestamp: Any = None
    agent_id: Any = None
    data: Data | None = None

    def time_by(self, wall: float) -> float | None:
        """Return the event's time in epoch seconds; None where there is none, or it cannot be one now."""
        return time_of(self.timestamp, wall)


class _Bare(msgspec.Struct, gc=False, rename="camel"):
    type: Any = None
    timestamp: Any = None
    agent_id: Any = None


class Context(msgspec.Struct, gc=False):
    """Where a session works."""

    cwd: Any = None


class Usage(msgspec.Struct, gc=False, rename="camel"):
    """What one request has used, in tokens; ``input_tokens`` are those from the cache and all others."""

    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_tokens: Any = None
    cache_write_tokens: Any = None


class Notice(msgspec.Struct, gc=False):
    """What the program itself tells its model."""

    type: Any = None


class _Properties(msgspec.Struct, gc=False, rename="camel"):
    execution_mode: Any = None


class _Telemetry(msgspec.Struct, gc=False):
    properties: _Properties | None = None


_EVENT = msgspec.json.Decoder(Event)
_BARE = msgspec.json.Decoder(_Bare)
_CONTEXT = msgspec.json.Decoder(Context)
_USAGE = msgspec.json.Decoder(Usage)
_NOTICE = msgspec.json.Decoder(Notice)
_TELEMETRY = msgspec.json.Decoder(_Telemetry)
_FAILED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(line: bytes) -> Event | None:
    """Return an event; None for what is none. Where its data is not understood, that counts as absent."""
    try:
        return _EVENT.decode(line)
    except _FAILED:
        pass
    try:
        bare = _BARE.decode(line)
    except _FAILED:
        return None
    return Event(type=bare.type, timestamp=bare.timestamp, agent_id=bare.agent_id)


def time_of(written: object, wall: float) -> float | None:
    """Return a written time in epoch seconds; None where there is none, or it cannot be one now."""
    if not isinstance(written, str):
        return None
    at = epoch_of(written)
    if at is None:
        try:
            at = parse_timestamp(written)
        except (ValueError, OverflowError):
            return None
    return plausible(at, wall)


def directory_of(data: Data) -> str | None:
    """Return the absolute path in which an event says that the session works."""
    told = data.cwd if data.cwd is not None else (_decoded(_CONTEXT, data.context) or Context()).cwd
    path = text_of(told, 4096)
    return path if path is not None and path.startswith("/") and "\0" not in path else None


def usage_of(data: Data) -> Usage | None:
    """Return what was used; None where nothing was told."""
    return _decoded(_USAGE, data.usage)


def notice_of(data: Data) -> object:
    """Return the word for what the program tells its model."""
    return (_decoded(_NOTICE, data.kind) or Notice()).type


def runs_on(data: Data) -> bool:
    """Return whether a call that has ended says that its command runs on in the background."""
    told = _decoded(_TELEMETRY, data.tool_telemetry)
    return told is not None and told.properties is not None and told.properties.execution_mode == "async"


def text_of(value: object, limit: int = 256) -> str | None:
    """Return a text of 1 to ``limit`` characters that can be written as JSON; None for anything else."""
    return jsonable(value) if isinstance(value, str) and 0 < len(value) <= limit else None


def count_of(value: object) -> int:
    """Return a number of tokens; 0 for what is none."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def _decoded(decoder: msgspec.json.Decoder[T], raw: msgspec.Raw) -> T | None:
    try:
        return decoder.decode(raw) if raw else None
    except _FAILED:
        return None
