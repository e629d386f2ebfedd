"""Parse traces of work from file names and bytes: claims, progress, available tasks. Pure.

A claim is identified by its file's name. The id in the file is ignored: a folder holds each name only once,
while any file can repeat an id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from coordd.agents.traces import Claim, Progress
from coordd.sources.file.parse import MAX_ID, agent_id_of, is_half_written
from coordd.util.fields import Fields, Malformed, Parsed, jsonable
from coordd.util.timestamps import parse_timestamp

CLAIM_SUFFIXES = (".claim", ".json")
PROGRESS_SUFFIX = ".progress"

_LONGEST_TTL = 1e9  # seconds: 31 years
_EXTENSION = re.compile(r"\.[A-Za-z][A-Za-z0-9]{0,7}$")


def claimed_task_of(filename: str) -> str | None:
    """Return the task of ``claims/<task>.claim`` or ``claims/<id>.json``; None for any other name.

    Raises:
        Malformed: the id is longer than 256 characters.
    """
    for suffix in CLAIM_SUFFIXES:
        if (task := agent_id_of(filename, suffix)) is not None:
            return task
    return None


def progress_task_of(filename: str) -> str | None:
    """Return the task of ``status/<task>.progress``; None for any other name.

    Raises:
        Malformed: the id is longer than 256 characters.
    """
    return agent_id_of(filename, PROGRESS_SUFFIX)


def task_names_of(filename: str) -> tuple[str, str] | None:
    """Return the id of the task in ``tasks/<task>[.ext]``, and the whole name, which a claim may also use.

    An extension is a dot, a letter, and up to seven letters or digits at the end: ``fix.md`` and ``fix.json``
    are the task ``fix``, while ``v1.2`` is the task ``v1.2``. None for a half-written file.

    Raises:
        Malformed: the id is longer than 256 characters.
    """
    if is_half_written(filename):
        return None
    name = jsonable(filename)
    task = _EXTENSION.sub("", name)
    if len(task) > MAX_ID:
        raise Malformed(f"an id longer than {MAX_ID} characters")
    return task, name


def parse_claim(task: str, content: bytes) -> Parsed[Claim]:
    """Parse the JSON object of a claim.

    Its fields are ``agent_id``, ``claimed_at``, ``ttl``, ``expires_at``, ``status`` and ``description``.
    """
    fields = Fields(content)
    claimed_at = fields.moment("claimed_at")
    expires_at = fields.moment("expires_at")
    ttl = fields.number("ttl", 0, _LONGEST_TTL)
    if expires_at is None and claimed_at is not None and ttl is not None:
        try:
            expires_at = parse_timestamp(claimed_at + ttl)
        except ValueError:  # past the year 9999: it never expires
            expires_at = None
    claim = Claim(
        task=task,
        agent_id=fields.text("agent_id"),
        claimed_at=claimed_at,
        expires_at=expires_at,
        status=fields.text("status"),
        description=fields.prose("description"),
    )
    return Parsed(claim, fields.problem)


def parse_progress(task: str, content: bytes) -> Parsed[Progress]:
    """Parse the JSON of a ``.progress`` file: ``progress``, ``message``, ``timestamp``."""
    fields = Fields(content)
    progress = Progress(
        task=task,
        percent=fields.number("progress", 0, 100),
        message=fields.prose("message"),
        timestamp=fields.moment("timestamp"),
    )
    return Parsed(progress, fields.problem)


def merge_claims(claims: Iterable[Claim]) -> dict[str, Claim]:
    """Return one claim for each task: of several, the one claimed later; of equals, the first given."""
    merged: dict[str, Claim] = {}
    for claim in claims:
        known = merged.get(claim.task)
        if known is None or (claim.claimed_at or 0.0) > (known.claimed_at or 0.0):
            merged[claim.task] = claim
    return merged
