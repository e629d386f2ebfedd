"""Copy the hook script to where settings call it: a path that stays, whatever becomes of this package."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from coordd.cli.hooks.replacing import write_new
from coordd.cli.hooks.settings_file import HooksError
from coordd.util.regular_files import explain, read_file
from coordd.util.text import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

SHIPPED = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hook.sh")
_MAX_SIZE = 65536


def path_of(environ: Mapping[str, str]) -> str:
    """Return where the script belongs: ``${XDG_DATA_HOME:-~/.local/share}/coordd/hook``."""
    data = environ.get("XDG_DATA_HOME", "")
    if not os.path.isabs(data):
        home = environ.get("HOME") or os.path.expanduser("~")
        data = os.path.join(home, ".local", "share")
    return os.path.join(data, "coordd", "hook")


def is_current(path: str) -> bool:
    """Return whether the script there is that of this coordd, and can be run."""
    try:
        return os.access(path, os.X_OK) and read_file(path, _MAX_SIZE) == read_file(SHIPPED, _MAX_SIZE)
    except OSError:
        return False


def install(path: str) -> None:
    """Put the script there; agents that call it meanwhile find the old one or the new one.

    Raises:
        HooksError: it cannot be written.
    """
    if is_current(path):
        return
    try:
        write_new(path, read_file(SHIPPED, _MAX_SIZE), 0o755)
    except OSError as error:
        raise HooksError(f"{escape(path)} cannot be written: {explain(error)}") from error


def remove(path: str) -> None:
    """Take the script away."""
    with suppress(OSError):
        os.unlink(path)
        os.rmdir(os.path.dirname(path))
