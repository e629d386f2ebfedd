"""Parse traces from values in Redis. Pure; builds on sources/bodies.py.

All input is untrusted. What cannot be used is left out and reported; whatever the bytes are, the only
exception is :class:`~coordd.util.fields.Malformed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from coordd.agents.traces import Claim, Registration
from coordd.sources.bodies import parse_registration, plain_id
from coordd.util.fields import Fields, Malformed, Parsed, utf8

MAX_VALUE = 64 * 1024
"""Bytes of the largest value that counts as a trace."""
TOO_LARGE = f"larger than {MAX_VALUE // 1024} KiB"


def parse_registry_entry(
    value: bytes, anchor: float | None = None, now: float | None = None
) -> Parsed[Registration]:
    """Parse a field of ``agents:registry``: a JSON object, each field by itself."""
    if len(value) > MAX_VALUE:
        return Parsed(Registration(), TOO_LARGE)
    return parse_registration(value, anchor, now)


def parse_task(member: bytes, names: Iterable[str] = ("task_id", "id")) -> str:
    """Return a task's id from a member of a set or list: JSON with one of these fields, or plain text.

    Raises:
        Malformed: it holds no id.
    """
    if len(member) > MAX_VALUE:
        raise Malformed(TOO_LARGE)
    task: str | None
    if member.lstrip()[:1] in (b"{", b"["):
        fields = Fields(member)
        found = (fields.identifier(name) for name in names)
        task = next((one for one in found if one is not None), None)
        if task is None:
            raise Malformed(fields.problem or f"JSON without {' or '.join(names)}")
        return task
    return plain_id(utf8(member))


def parse_tasks(
    members: Iterable[bytes], names: Iterable[str] = ("task_id", "id")
) -> Parsed[tuple[str, ...]]:
    """Return the task ids of many members, each once, in their order; a bad member is left out and reported.

    Of several problems the same one is reported whatever their order.
    """
    found: dict[str, None] = {}
    problem: str | None = None
    for member in members:
        try:
            found[parse_task(member, names)] = None
        except Malformed as error:
            problem = either(problem, f"holds what is no task: {error}")
    return Parsed(tuple(found), problem)


def either(one: str | None, other: str | None) -> str | None:
    """Return one of two problems, always the same one whatever their order."""
    return min((problem for problem in (one, other) if problem is not None), default=None)


def merge_both(claimed: Claim | None, claim: Claim | None) -> Claim | None:
    """Return one claim for the pair ``tasks:claimed:<task>`` and ``task:claim:<task>``.

    The claim that names a holder counts; if both do, the one claimed later. Fields that it lacks are taken
    from the other claim, unless that names another holder.
    """
    if claimed is None or claim is None:
        return claimed or claim
    first, second = claim, claimed
    if _rank(claimed) > _rank(claim):
        first, second = claimed, claim
    if second.agent_id is not None and second.agent_id != first.agent_id:
        return first
    return replace(
        first,
        claimed_at=second.claimed_at if first.claimed_at is None else first.claimed_at,
        expires_at=second.expires_at if first.expires_at is None else first.expires_at,
        status=second.status if first.status is None else first.status,
        description=second.description if first.description is None else first.description,
    )


def _rank(claim: Claim) -> tuple[bool, float]:
    return claim.agent_id is not None, claim.claimed_at or 0.0
