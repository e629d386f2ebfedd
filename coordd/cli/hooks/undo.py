"""Keep what a settings file was before coordd's hooks came into it, so that they can go without a trace.

For each settings file there are two files in ``hooks-undo`` of the user's state directory, named after the
settings file's path: ``….backup``, its content before, and ``….json``, which says what was written over it,
and whether it is a project's. While the settings file still is what was written, undoing restores the backup
byte for byte.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from coordd.cli.hooks.replacing import write_new
from coordd.cli.hooks.settings_file import HooksError
from coordd.protocol.paths import user_paths
from coordd.util.digest import sha256_hex
from coordd.util.regular_files import explain, read_file
from coordd.util.shell import shell_word
from coordd.util.text import escape

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_MAX_SIZE = 16 * 1024 * 1024
_RECORDS = 1000
"""Files of which the settings are looked for."""
_OF_PROJECT = "settings.local.json"
"""What settings of projects are called, for what an older coordd kept."""


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
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def keep(folder: str, target: str, backup: Backup, *, of_project: bool) -> str | None:
    """Keep what a settings file is, before it is changed; return the path of the backup, None without one.

    Raises:
        HooksError: it cannot be kept.
    """
    place = _place(folder, target)
    said = {
        "path": target,
        "existed": backup.content is not None,
        "written": backup.written,
        "of_project": of_project,
    }
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


def kept_of_user(folder: str) -> Iterator[str | HooksError]:
    """Yield each settings file of the user, not of a project, of which something is kept.

    What cannot be told is yielded as the error that says so.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
    except FileNotFoundError:
        return
    except OSError as error:
        yield HooksError(f"{escape(folder)} cannot be read: {explain(error)}")
        return
    for name in names[:_RECORDS]:
        record = os.path.join(folder, name)
        try:
            path, of_project = _said(folder, record)
        except OSError as error:
            yield _unusable(record, error.strerror or str(error))
        except (ValueError, RecursionError) as error:
            yield _unusable(record, str(error) if type(error) is ValueError else "it is no JSON")
        else:
            if not of_project:
                yield path
    if len(names) > _RECORDS:
        yield HooksError(f"{escape(folder)} has more than {_RECORDS} files: the others were not looked at")


def _said(folder: str, record: str) -> tuple[str, bool]:
    """Return which settings a file names, and whether they are a project's. Raises OSError or ValueError."""
    said = json.loads(read_file(record, _MAX_SIZE))
    path = said.get("path") if isinstance(said, dict) else None
    if not isinstance(path, str) or not os.path.isabs(path) or "\0" in path:
        raise ValueError("it names no settings")
    if _place(folder, path) + ".json" != record:
        raise ValueError("it is not named after the settings that it names")
    of_project = said.get("of_project")
    return path, of_project if isinstance(of_project, bool) else os.path.basename(path) == _OF_PROJECT


def _unusable(record: str, why: str) -> HooksError:
    return HooksError(
        f"{escape(record)} does not tell which settings have hooks ({escape(why)}); where you know of none, "
        f"remove it: rm {shell_word(record)}"
    )


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
