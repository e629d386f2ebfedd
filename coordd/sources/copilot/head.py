"""Read the first line of ``events.jsonl``: of which version of the program a session is, and since when."""

from __future__ import annotations

import os
from typing import NamedTuple

from coordd.sources.copilot.events import Data, decode, directory_of
from coordd.sources.sessions.lines import text_of, time_of
from coordd.sources.sessions.words import version_of
from coordd.util.fields import Malformed
from coordd.util.regular_files import open_regular

MAX_HEAD = 64 * 1024
"""Bytes of the first line that are read."""


class Head(NamedTuple):
    """What the first line says; None is what it does not say."""

    cwd: str | None = None
    version: str | None = None
    began: float | None = None


def read_head(path: str, wall: float) -> Head | None:
    """Return the head of a session; None until its first line is written whole.

    Raises:
        Malformed: it is no regular file.
        OSError: open(2) or read(2) failed.
    """
    try:
        descriptor = open_regular(path, os.O_RDONLY, refuse=Malformed)
    except FileNotFoundError:
        return None
    try:
        content = os.pread(descriptor, MAX_HEAD, 0)
    finally:
        os.close(descriptor)
    line, whole, _ = content.partition(b"\n")
    if not whole:
        return Head() if len(content) == MAX_HEAD else None
    return parse_head(line, wall)


def parse_head(line: bytes, wall: float) -> Head:
    """Return what the first line says; nothing where it is of another kind."""
    found = decode(line)
    if found is None or found.type != "session.start":
        return Head()
    data = found.data or Data()
    return Head(
        cwd=directory_of(data),
        version=version_of(text_of(data.copilot_version)),
        began=time_of(data.start_time, wall) or found.time_by(wall),
    )
