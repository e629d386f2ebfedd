"""Let words of a program through that look like what they are to be; free text can carry a command. Pure."""

from __future__ import annotations

import re

OTHER_TOOL = "other"
"""The tool of a call whose name looks like none."""
UNREADABLE = "an unreadable word"
"""Stands for a status that looks like none."""

_TOOL = re.compile(r"[A-Za-z0-9_.:/-]{1,128}", re.ASCII)
_STATUS = re.compile(r"[A-Za-z0-9_ -]{1,40}", re.ASCII)
_VERSION = re.compile(r"[A-Za-z0-9_.+-]{1,40}", re.ASCII)
_MODEL = re.compile(r"[A-Za-z0-9_.:/@\[\]-]{1,128}", re.ASCII)


def tool_of(value: object) -> str:
    """Return the name of a tool."""
    return value if isinstance(value, str) and _TOOL.fullmatch(value) else OTHER_TOOL


def status_word(value: str) -> str:
    """Return a status that coordd does not know, as it is told of."""
    return value if _STATUS.fullmatch(value) else UNREADABLE


def version_of(value: str | None) -> str | None:
    """Return a version of a program, None for what looks like none."""
    return value if value is not None and _VERSION.fullmatch(value) else None


def model_of(value: object) -> str | None:
    """Return the name of a model, None for what looks like none."""
    return value if isinstance(value, str) and _MODEL.fullmatch(value) else None
