"""Take an agent or a project out of a snapshot, while no coordd runs that would write the next one.

What is counted in it stays as it was: a number names nobody. Sentences that name them go.
"""

from __future__ import annotations

import os
import re
from typing import Any

import msgspec

from coordd.protocol.origin import FIELD, origin_problem
from coordd.records.selection import RecordSelection
from coordd.sinks.snapshot_reader import MAX_BYTES
from coordd.sinks.snapshot_writer import write_snapshot
from coordd.util.directories import open_directory, root_of
from coordd.util.regular_files import read_owned
from coordd.util.untyped import as_dict, as_list


def purge_snapshot(path: str, selection: RecordSelection, *, root: str | None, mode: int) -> str | None:
    """Take them out of the snapshot at ``path``; return why it was left as it is, None where it was not.

    Args:
        path: of the snapshot.
        selection: the agent or project.
        root: a project's canonical path; a snapshot below it must name this machine and its own folder.
        mode: of the new file.
    """
    folder, name = os.path.split(path)
    try:
        with open_directory(folder, root=root) as directory:
            data, owner = read_owned(name, MAX_BYTES, directory=directory.fd)
            document = msgspec.json.decode(data)
            if not isinstance(document, dict):
                return "it is no snapshot"
            if root_of(path, root):
                problem = origin_problem(document.get(FIELD), directory.fd, owner=owner)
                if problem is not None:
                    return problem
            purged = without(document, selection)
            if purged != document:
                write_snapshot(directory, name, purged, mode=mode)
    except FileNotFoundError:
        return None
    except OSError as error:
        return error.strerror or str(error)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return f"it is damaged: {error}"
    return None


def without(document: dict[str, Any], selection: RecordSelection) -> dict[str, Any]:
    """Return a snapshot's document without an agent or a project. Pure."""
    status = as_dict(document.get("status"))
    purged = {
        **document,
        "agents": [
            one for one in as_list(document.get("agents")) if not selection.fits("agent", as_dict(one))
        ],
    }
    for field in ("ended_today", "forgotten"):
        if isinstance(document.get(field), list):
            purged[field] = [one for one in document[field] if not _is_named(one, selection)]
    purged["status"] = {
        **status,
        **{
            field: [one for one in status[field] if not _tells_of(one, selection)]
            for field in ("attention", "problems", "own_problems", "workspaces")
            if isinstance(status.get(field), list)
        },
    }
    return purged


def _is_named(entry: object, selection: RecordSelection) -> bool:
    """Return whether an entry that begins with workspace and id is theirs."""
    if not isinstance(entry, list) or len(entry) < 2:
        return False
    return selection.fits("agent", {"workspace": entry[0] or None, "agent_id": entry[1]})


def _tells_of(entry: object, selection: RecordSelection) -> bool:
    names = [selection.agent_id] if selection.agent_id is not None else selection.places
    texts = [text for text in (as_dict(entry).values() if isinstance(entry, dict) else [entry]) if text]
    return any(
        isinstance(text, str) and re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w-])", text)
        for text in texts
        for name in names
        if name
    )
