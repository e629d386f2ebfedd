"""Decode one line of a transcript into the few fields that coordd looks at; all else is skipped unread.

Pure. A field may be absent, or of any type: then it counts as absent. Prompts, answers, commands and results
pass through :attr:`Block.text` and :attr:`Record.content` for as long as a line is looked at, and are kept
nowhere.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from coordd.sources.sessions.lines import FAILED, any_of, count_of, decoded, text_of, time_of

SILENT_KINDS = frozenset(
    (
        *("agent-color", "agent-name", "agent-setting", "ai-title", "attachment", "bridge-session"),
        *("content-replacement", "custom-title", "file-history-snapshot", "last-prompt", "mode"),
        *("permission-mode", "pr-link", "progress", "queue-operation", "saved_hook_context"),
        *("speculation-accept", "summary", "tag", "task-summary", "worktree-state"),
    )
)
"""Kinds of lines that say nothing of a turn."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class Block(msgspec.Struct, gc=False):
    """One block of a message's content: a text, a ``tool_use`` or a ``tool_result``."""

    type: Any = None
    id: Any = None
    name: Any = None
    tool_use_id: Any = None
    text: Any = None


class Usage(msgspec.Struct, gc=False):
    """What a message has cost, in tokens."""

    input_tokens: Any = None
    output_tokens: Any = None
    cache_read_input_tokens: Any = None
    cache_creation_input_tokens: Any = None

    @property
    def context(self) -> int:
        """How much the request had for context."""
        every = self.input_tokens, self.cache_creation_input_tokens, self.cache_read_input_tokens
        return sum(map(count_of, every))


class Message(msgspec.Struct, gc=False):
    """A message of the user or of the model, or a part of one: several lines may share an ``id``."""

    id: Any = None
    model: Any = None
    stop_reason: Any = None
    content: str | list[Block] | None = None
    usage: Usage | None = None

    @property
    def blocks(self) -> list[Block]:
        """What it consists of; a text is one block."""
        if isinstance(self.content, str):
            return [Block("text", text=self.content)]
        return self.content or []


class Record(msgspec.Struct, gc=False):
    """One line."""

    type: Any = None
    subtype: Any = None
    timestamp: Any = None
    isSidechain: Any = None  # noqa: N815 - the names are the format's
    isMeta: Any = None  # noqa: N815 - as above
    isCompactSummary: Any = None  # noqa: N815 - as above
    isApiErrorMessage: Any = None  # noqa: N815 - as above
    apiErrorStatus: Any = None  # noqa: N815 - as above
    operation: Any = None
    error: msgspec.Raw = msgspec.Raw()
    origin: msgspec.Raw = msgspec.Raw()
    toolUseResult: msgspec.Raw = msgspec.Raw()  # noqa: N815 - as above
    content: msgspec.Raw = msgspec.Raw()
    message: Message | None = None

    def time_by(self, wall: float) -> float | None:
        """Return the line's time in epoch seconds; None where there is none, or it cannot be one now."""
        return time_of(self.timestamp, wall)


class _Bare(msgspec.Struct, gc=False):
    type: Any = None
    timestamp: Any = None


class ToolResult(msgspec.Struct, gc=False):
    """What a tool has told its program of a call, beside what it tells the model."""

    backgroundTaskId: Any = None  # noqa: N815 - the names are the format's
    agentId: Any = None  # noqa: N815 - as above
    isAsync: Any = None  # noqa: N815 - as above
    task_id: Any = None
    shell_id: Any = None


class ErrorDetail(msgspec.Struct, gc=False):
    """What a provider's refusal says of itself."""

    status: Any = None
    type: Any = None
    error: Any = None


class Origin(msgspec.Struct, gc=False):
    """Who a line of the user's is from."""

    kind: Any = None


_RECORD = msgspec.json.Decoder(Record)
_BARE = msgspec.json.Decoder(_Bare)
_RESULT = msgspec.json.Decoder(ToolResult)
_ERROR = msgspec.json.Decoder(ErrorDetail)
_ORIGIN = msgspec.json.Decoder(Origin)


def decode(line: bytes) -> Record | None:
    """Return the line's record; None for one that is no JSON object."""
    for attempt in (line, None):
        text = _SURROGATE.sub(rb"\\ufffd", line) if attempt is None else attempt
        try:
            return _RECORD.decode(text)
        except msgspec.ValidationError:  # something lies where another thing does: what is left of it counts
            try:
                bare = _BARE.decode(text)
            except FAILED:
                return None
            return Record(type=bare.type, timestamp=bare.timestamp)
        except FAILED:
            # JavaScript writes half of a character that was cut in two as an escape, which msgspec refuses
            if attempt is None or b"\\u" not in line:
                return None
    return None


def result_of(raw: msgspec.Raw) -> ToolResult:
    """Return what a tool told of a call; all fields are None where that is not an object."""
    return decoded(_RESULT, raw) or ToolResult()


def error_of(raw: msgspec.Raw) -> ErrorDetail:
    """Return what a refusal says of itself, be it an object or a word (then its ``type``)."""
    found = decoded(_ERROR, raw)
    if isinstance(found, ErrorDetail):
        return found
    word = any_of(raw) if len(raw) < 100 else None
    return ErrorDetail(type=word)


def origin_of(raw: msgspec.Raw) -> str | None:
    """Return the kind of a line's origin, such as ``human`` or ``task-notification``."""
    found = decoded(_ORIGIN, raw)
    return text_of(found.kind) if isinstance(found, Origin) else None


def string_of(raw: msgspec.Raw) -> str:
    """Return the text in raw JSON; "" for anything else."""
    found = any_of(raw) if bytes(memoryview(raw)[:1]) == b'"' else None
    return found if isinstance(found, str) else ""
