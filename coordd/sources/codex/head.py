"""Read the first line of a rollout: which session it is, where it began, of which version of the program.

It holds the instructions of the session as well, which are read past and kept nowhere. A call may block.
"""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from coordd.sources.codex.rollout_lines import decode
from coordd.sources.sessions.lines import any_of, text_of, time_of
from coordd.sources.sessions.words import version_of
from coordd.util.fields import Malformed

MAX_HEAD = 1024 * 1024
"""Bytes of the first line that are read."""
_STEP = 64 * 1024


class Head(NamedTuple):
    """What a rollout says of its session; None is what it does not say.

    ``parent`` is the id of the session whose subagent it is; ``subagent`` is whether it is one.
    """

    cwd: str | None = None
    version: str | None = None
    began: float | None = None
    subagent: bool = False
    parent: str | None = None


def read_head(descriptor: int, wall: float) -> Head | None:
    """Return the head of an open rollout; None while its first line is not whole.

    Raises:
        Malformed: it begins with something else.
        OSError: read(2) failed.
    """
    line = _first_line(descriptor)
    head = parse_head(line, wall) if line is not None else None
    if line is not None and head is None:
        raise Malformed("it begins with no session_meta")
    return head


def session_of(descriptor: int) -> str | None:
    """Return the id of the session of which an open file says that it is; raises OSError."""
    found = decode(_first_line(descriptor) or b"")
    return text_of(found.payload.id) if found is not None and found.payload is not None else None


def _first_line(descriptor: int) -> bytes | None:
    content = b""
    while b"\n" not in content and len(content) < MAX_HEAD:
        block = os.read(descriptor, _STEP)
        if not block:
            return None
        content += block
    return content.partition(b"\n")[0]


def parse_head(line: bytes, wall: float) -> Head | None:
    """Return what the first line says; None where it is of another format."""
    found = decode(line)
    if found is None or found.type != "session_meta" or found.payload is None:
        return None
    meta = found.payload
    cwd = text_of(meta.cwd, 4096)
    source = any_of(meta.source) if len(meta.source) < 4096 else None
    return Head(
        cwd=cwd if cwd is not None and cwd.startswith("/") and "\0" not in cwd else None,
        version=version_of(text_of(meta.cli_version)),
        began=time_of(meta.timestamp, wall) or found.time_by(wall),
        subagent=isinstance(source, dict) and "subagent" in source,
        parent=text_of(meta.parent_thread_id) or _parent_of(source),
    )


def _parent_of(source: Any) -> str | None:
    """Return the id of the parent, which lies some levels down by the way in which a subagent was made."""
    for _ in range(4):
        if not isinstance(source, dict):
            return None
        if "parent_thread_id" in source:
            return text_of(source["parent_thread_id"])
        source = next(iter(source.values()), None)
    return None
