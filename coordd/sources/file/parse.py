"""Parse agents' traces from bytes. Pure: no file is opened here, no clock is read.

All input is untrusted. What cannot be used is left out and reported; whatever the bytes are, the only
exception is :class:`~coordd.util.fields.Malformed`.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import NamedTuple

from coordd.agents.traces import Registration
from coordd.sources.bounds import MAX_NAMED
from coordd.util.fields import MAX_TEXT, Fields, Malformed, Parsed, decoded, jsonable
from coordd.util.timestamps import parse_timestamp

MAX_ID = MAX_TEXT
MAX_PID = 2**31 - 1  # pid_t
ACTIVE_LIST = "active.list"
HALF_WRITTEN = (".tmp", ".bak", ".swp")

_OVERLONG = f"holds an id longer than {MAX_ID} characters, which was skipped"


def is_half_written(filename: str) -> bool:
    """Return whether editors and atomic writers use such a name for unfinished files."""
    return filename.startswith(".") or filename.endswith(HALF_WRITTEN)


def agent_id_of(filename: str, suffix: str) -> str | None:
    r"""Return the id of the agent that a file name stands for; None for any other name.

    ``filename`` is as ``os.fsdecode`` returns it. Its bytes that are not UTF-8 become ``\xNN`` in the id.

    Raises:
        Malformed: the id is longer than 256 characters.
    """
    if not filename.endswith(suffix) or len(filename) == len(suffix) or is_half_written(filename):
        return None
    agent_id = jsonable(filename[: -len(suffix)])
    if len(agent_id) > MAX_ID:
        raise Malformed(f"an id longer than {MAX_ID} characters")
    return agent_id


def parse_heartbeat(content: bytes) -> float | None:
    """Parse ``agents/<id>.heartbeat``: the time written in it as epoch seconds, None if it is empty.

    Raises:
        Malformed: the content is not a timestamp.
    """
    text = content.strip()
    if not text:
        return None
    try:
        return parse_timestamp(text.removeprefix(BOM_UTF8).decode())
    except (ValueError, OverflowError):
        raise Malformed("not a timestamp") from None


def parse_ids(content: bytes) -> Parsed[tuple[str, ...]]:
    """Parse a list of one id a line: ``agents/<id>.tasks`` and ``agents/active.list``.

    White space around an id, blank lines and repeated ids are ignored. An overlong id is skipped and
    reported.
    """
    found: dict[str, None] = {}
    problem = None
    for line in decoded(content).split("\n"):
        text = jsonable(line.strip())
        if len(text) > MAX_ID:
            problem = _OVERLONG
        elif text:
            found[text] = None
    return Parsed(tuple(found), problem)


class TaskIds(NamedTuple):
    """A list of tasks: the ids that are kept, and the number of further ones."""

    named: tuple[str, ...] = ()
    unnamed: int = 0


def parse_tasks(content: bytes, most: int = MAX_NAMED) -> Parsed[TaskIds]:
    """Parse ``agents/<id>.tasks``: each id once, in the order written; beyond ``most`` only counted."""
    lines = dict.fromkeys(map(bytes.strip, content.removeprefix(BOM_UTF8).split(b"\n")))
    lines.pop(b"", None)
    if len(lines) <= most:
        ids, problem = parse_ids(content)
        return Parsed(TaskIds(ids), problem)
    distinct = list(lines)
    ids, problem = parse_ids(b"\n".join(distinct[:most]))
    unnamed = 0
    for line in distinct[most:]:
        if len(line) > MAX_ID and len(jsonable(decoded(line).strip())) > MAX_ID:
            problem = _OVERLONG
        else:
            unnamed += 1
    return Parsed(TaskIds(ids, unnamed), problem)


def parse_active_list(content: bytes) -> Parsed[frozenset[str]]:
    """Parse ``agents/active.list``: the agent ids."""
    ids, problem = parse_ids(content)
    return Parsed(frozenset(ids), problem)


def parse_registration(content: bytes) -> Parsed[Registration]:
    """Parse ``agents/<id>.active``: a JSON object, each field by itself."""
    fields = Fields(content)
    registration = Registration(
        started_at=fields.moment("started_at"),
        status=fields.text("status"),
        hostname=fields.text("hostname"),
        pid=fields.integer("pid", 1, MAX_PID, text=True),
        proc_start=fields.number("proc_start", 0, 2.0**63, text=True),
    )
    return Parsed(registration, fields.problem)
