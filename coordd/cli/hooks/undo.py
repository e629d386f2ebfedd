"""Keep what a settings file was before coordd's hooks came into it, so that they can go without a trace.

For each settings file there are two files in ``hooks-undo`` of the user's state directory, named after the
settings file's path: ``….backup``, its content before, and ``….json``, which says what was written over it.
While the settings file still is what was written, undoing restores the backup byte for byte.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from coordd.cli.hooks.settings_file import HooksError, write_new
from coordd.protocol.paths import user_paths
from coordd.util.digest import sha256_hex
from coordd.util.regular_files import explain, read_file
from coordd.util.text import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

_MAX_SIZE = 16 * 1024 * 1024


class Backup(NamedTuple):
    """What a settings file was: ``content``, None where there was none; ``written`` is the digest of what was
    written over it."""

    content: bytes | None
    written: str

    def covers(self, content: bytes | None) -> bool:
        """Return whether a settings file with this content is as coordd wrote it."""
        return content is not None and sha256_hex(content) == self.written


def folder_of(environ: Mapping[str, str]) -> str:
    """Return the folder in which backups lie."""
    return os.path.join(os.path.dirname(user_paths(environ, sys.platform)["snapshot"]), "hooks-undo")


def find(folder: str, target: str) -> Backup | None:
    """Return what was kept of a settings file, None where nothing (that can be used) was."""
    place = _place(folder, target)
    try:
        said = json.loads(read_file(place + ".json", _MAX_SIZE))
        content = read_file(place + ".backup", _MAX_SIZE) if said["existed"] else None
        return Backup(content, str(said["written"])) if said["path"] == target else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def keep(folder: str, target: str, backup: Backup) -> str | None:
    """Keep what a settings file is, before it is changed; return the path of the backup, None without one.

    Raises:
        HooksError: it cannot be kept.
    """
    place = _place(folder, target)
    said = {"path": target, "existed": backup.content is not None, "written": backup.written}
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        if backup.content is not None:
            write_new(place + ".backup", backup.content, 0o600)
        write_new(place + ".json", json.dumps(said).encode(), 0o600)
    except OSError as error:
        raise HooksError(
            f"{escape(target)} stays as it is: no backup can be made in {escape(folder)}: {explain(error)}"
        ) from error
    return None if backup.content is None else place + ".backup"


def drop(folder: str, target: str) -> None:
    """Forget what was kept of a settings file."""
    for ending in (".json", ".backup"):
        with suppress(OSError):
            os.unlink(_place(folder, target) + ending)


def is_empty(folder: str) -> bool:
    """Return whether nothing is kept: no settings file is known to have hooks."""
    try:
        return not any(name.endswith(".json") for name in os.listdir(folder))
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _place(folder: str, target: str) -> str:
    return os.path.join(folder, f"{os.path.basename(target)}-{sha256_hex(os.fsencode(target))[:16]}")
