"""Know the names of files of work: claims, progress, available tasks; and choose between two claims. Pure.

A claim is identified by its file's name. The id in the file is ignored: a folder holds each name only once,
while any file can repeat an id.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from coordd.agents.traces import Claim
from coordd.sources.bodies import MAX_ID, with_rivals
from coordd.sources.file.parse import agent_id_of, is_litter
from coordd.util.fields import Malformed, jsonable

CLAIM_SUFFIXES = (".claim", ".json")
PROGRESS_SUFFIX = ".progress"

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
    are the task ``fix``, while ``v1.2`` is the task ``v1.2``. None for litter and for a README.

    Raises:
        Malformed: the id is longer than 256 characters.
    """
    if is_litter(filename) or filename.startswith("README"):
        return None
    name = jsonable(filename).strip()
    task = _EXTENSION.sub("", name).strip()
    if not task:
        return None
    if len(task) > MAX_ID:
        raise Malformed(f"an id longer than {MAX_ID} characters")
    return task, name


def merge_claims(claims: Iterable[Claim]) -> dict[str, Claim]:
    """Return one claim for each task: of several, the one claimed later; of equals, the first given.

    Others that name another holder are its rivals.
    """
    merged: dict[str, Claim] = {}
    others: dict[str, list[Claim]] = {}
    for claim in claims:
        known = merged.get(claim.task)
        if known is not None:
            others.setdefault(claim.task, []).append(claim)
        if known is None or (claim.claimed_at or 0.0) > (known.claimed_at or 0.0):
            merged[claim.task] = claim
            if known is not None:
                others[claim.task][-1] = known
    return merged | {task: with_rivals(merged[task], beside) for task, beside in others.items()}
