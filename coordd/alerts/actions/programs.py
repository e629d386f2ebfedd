"""Find programs as a shell would, and say in words why one cannot be started."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping

USUAL_PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where programs are looked for if the environment does not say."""


def find(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the path of a program; None if PATH has none of that name.

    A name with a slash is a path, which may begin with ``~/``. Parts of PATH that are not absolute are passed
    over.
    """
    if "/" in name:
        home = environ.get("HOME", "")
        return f"{home}{name[1:]}" if name.startswith("~/") and home.startswith("/") else name
    found = None
    for folder in environ.get("PATH", USUAL_PATH).split(":"):
        if folder.startswith("/"):
            path = f"{folder}/{name}"
            if os.path.isfile(path):
                if os.access(path, os.X_OK):
                    return path
                found = found or path
    return found


def trouble_with(name: str, environ: Mapping[str, str]) -> str | None:
    """Return why a program cannot be started, None if nothing speaks against it; the text names no path."""
    path = find(name, environ)
    if path is None:
        return f"there is no program of that name in PATH ({environ.get('PATH', USUAL_PATH)})"
    try:
        state = os.stat(path)
    except OSError as error:
        return error.strerror or type(error).__name__
    if stat.S_ISDIR(state.st_mode):
        return "it is a directory"
    if not stat.S_ISREG(state.st_mode):
        return "it is no regular file"
    if not os.access(path, os.X_OK):
        return "it is not executable: chmod +x"
    return None
