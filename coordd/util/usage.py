"""Word a wrong command line, for ``coordd`` and ``coordctl`` alike. Pure; knows nothing of click."""

from __future__ import annotations

USAGE = 2
"""The exit code of every wrong command line."""


def usage_words(message: str, usage: str, command: str) -> str:
    """Return what is wrong, how the command is used, and where help is, a line each.

    Args:
        message: what is wrong; its line breaks and tabs become blanks, since click makes lists of choices.
        usage: the line that begins with "Usage:"; empty where none is known.
        command: the command as it is typed, ``coordctl agents``.
    """
    lines = [" ".join(message.split()), usage, f"Try '{command} --help'."]
    return "\n".join([line for line in lines if line])
