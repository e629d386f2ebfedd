"""Decode one line of ``events.jsonl`` into the few fields that coordd looks at; all else is skipped unread.

Pure. A field may be absent, or of any type: then it counts as absent. Prompts, answers, commands, their
results and what they name are never decoded.
"""

from __future__ import annotations

from typing import Any

import msgspec

from coordd.sources.sessions.lines import FAILED, decoded, text_of, time_of


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
        """Return the event's time in epoch seconds; None if it is absent, or cannot be a time of now."""
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


def decode(line: bytes) -> Event | None:
    """Decode an event; None if the line is not one. Data that is not understood counts as absent."""
    try:
        return _EVENT.decode(line)
    except FAILED:
        pass
    try:
        bare = _BARE.decode(line)
    except FAILED:
        return None
    return Event(type=bare.type, timestamp=bare.timestamp, agent_id=bare.agent_id)


def directory_of(data: Data) -> str | None:
    """Return the absolute path in which an event says that the session works."""
    told = data.cwd if data.cwd is not None else (decoded(_CONTEXT, data.context) or Context()).cwd
    path = text_of(told, 4096)
    return path if path is not None and path.startswith("/") and "\0" not in path else None


def usage_of(data: Data) -> Usage | None:
    """Return what was used; None where nothing was told."""
    return decoded(_USAGE, data.usage)


def notice_of(data: Data) -> object:
    """Return the word for what the program tells its model."""
    return (decoded(_NOTICE, data.kind) or Notice()).type


def runs_on(data: Data) -> bool:
    """Return whether a call that has ended says that its command runs on in the background."""
    told = decoded(_TELEMETRY, data.tool_telemetry)
    return told is not None and told.properties is not None and told.properties.execution_mode == "async"
