"""Parse the names of trace files, and lists of ids. Pure: no file is opened here, no clock is read.

All input is untrusted. What cannot be used is left out and reported; whatever the bytes are, the only
exception is :class:`~coordd.util.fields.Malformed`.
"""

from __future__ import annotations

from typing import NamedTuple

from coordd.sources.bodies import MAX_ID
from coordd.sources.bounds import MAX_NAMED
from coordd.util.fields import NOT_TEXT, Malformed, Parsed, as_utf8, jsonable

ACTIVE_LIST = "active.list"

_LITTER_BEGINS = (".", "#", "tmp.")
_LITTER_ENDS = ("~", "#", ".tmp", ".bak", ".swp", ".orig", ".rej")
_LITTER = frozenset({"Thumbs.db", "desktop.ini"})
_OVERLONG = f"holds an id longer than {MAX_ID} characters, which was skipped"


def is_litter(filename: str) -> bool:
    """Return whether editors, atomic writers and desktops leave such a name behind."""
    return filename.startswith(_LITTER_BEGINS) or filename.endswith(_LITTER_ENDS) or filename in _LITTER


def agent_id_of(filename: str, suffix: str) -> str | None:
    r"""Return the id of the agent that a file name stands for; None for any other name.

    ``filename`` is as ``os.fsdecode`` returns it. Its bytes that are not UTF-8 become ``\xNN`` in the id, and
    white space around the id is no part of it.

    Raises:
        Malformed: the id is longer than 256 characters.
    """
    if not filename.endswith(suffix) or len(filename) == len(suffix) or is_litter(filename):
        return None
    agent_id = id_of_stem(filename[: -len(suffix)])
    if not agent_id:
        return None
    if len(agent_id) > MAX_ID:
        raise Malformed(f"an id longer than {MAX_ID} characters")
    return agent_id


def id_of_stem(stem: str) -> str:
    """Return the id that a file's name without its suffix stands for."""
    return jsonable(stem).strip()


def parse_ids(content: bytes) -> Parsed[tuple[str, ...]]:
    """Parse a list of one id a line: ``agents/<id>.tasks`` and ``agents/active.list``.

    White space around an id, blank lines and repeated ids are ignored. An id that is overlong or no text is
    skipped and reported.

    Raises:
        Malformed: nothing in it is text.
    """
    found: dict[str, None] = {}
    problem = None
    for line in as_utf8(content).split(b"\n"):
        text = _id_in(line)
        if text is None:
            problem = NOT_TEXT
        elif len(text) > MAX_ID:
            problem = _OVERLONG
        elif text:
            found[text] = None
    if problem is NOT_TEXT and not found:
        raise Malformed(problem)
    return Parsed(tuple(found), problem)


def _id_in(line: bytes) -> str | None:
    try:
        return None if b"\0" in line else line.decode().strip()
    except UnicodeDecodeError:
        return None


class TaskIds(NamedTuple):
    """A list of tasks: the ids that are kept, and the number of further ones."""

    named: tuple[str, ...] = ()
    unnamed: int = 0


def parse_tasks(content: bytes, most: int = MAX_NAMED) -> Parsed[TaskIds]:
    """Parse ``agents/<id>.tasks``: each id once, in the order written; beyond ``most`` only counted.

    Raises:
        Malformed: nothing in it is text.
    """
    content = as_utf8(content)
    lines = dict.fromkeys(map(bytes.strip, content.split(b"\n")))
    lines.pop(b"", None)
    if len(lines) <= most:
        ids, problem = parse_ids(content)
        return Parsed(TaskIds(ids), problem)
    distinct = list(lines)
    ids, problem = parse_ids(b"\n".join(distinct[:most]))
    unnamed = 0
    for line in distinct[most:]:
        if len(line) > MAX_ID and len(_id_in(line) or "") > MAX_ID:
            problem = _OVERLONG
        else:
            unnamed += 1
    return Parsed(TaskIds(ids, unnamed), problem)


def parse_active_list(content: bytes) -> Parsed[frozenset[str]]:
    """Parse ``agents/active.list``: the agent ids.

    Raises:
        Malformed: nothing in it is text.
    """
    ids, problem = parse_ids(content)
    return Parsed(frozenset(ids), problem)
