"""Parse traces from values in Redis. Pure; builds on sources/bodies.py.

All input is untrusted. What cannot be used is left out and reported; whatever the bytes are, the only
exception is :class:`~coordd.util.fields.Malformed`.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace

from coordd.agents.beats import FUTURE
from coordd.agents.traces import Claim, Registration
from coordd.sources.bodies import parse_heartbeat, parse_registration, plain_id, with_rivals
from coordd.sources.redis.zones import may_lack_zone
from coordd.util.fields import Fields, Malformed, Parsed, utf8
from coordd.util.written_times import AGREES, WrittenTime

MAX_VALUE = 64 * 1024
"""Bytes of the largest value that counts as a trace."""
TOO_LARGE = f"larger than {MAX_VALUE // 1024} KiB"


_OPEN = "a time without a zone: of now if it is local, and long past if it is UTC"


def open_zone(written: float | None, local: float | None, now: float) -> str | None:
    """Return in words that a time without a zone does not tell whether its writer lives; None if it does."""
    told = written is None or local is None or not (written < now - AGREES <= local <= now + FUTURE)
    return None if told else _OPEN


def parse_found_heartbeat(value: bytes, now: float) -> tuple[float | None, float | None]:
    """Return the time in a heartbeat of which nobody knows when it was written; None if it is empty.

    The second time is the same in local time, None where that makes no difference: where a zone is named, or
    where one of both would lie ahead of ``now`` (wall clock, epoch seconds) and the other is true.

    Raises:
        Malformed: it holds no time.
    """
    written = parse_heartbeat(value, None, now)
    if written is None or not may_lack_zone(value):
        return written, None
    local = _as_local(written, now)
    if local == written or parse_heartbeat(value, local, now) != local:
        return written, None
    return (local, None) if written > now + FUTURE >= local else (written, local)


def parse_registry_entry(value: bytes, now: float, *, observed: bool) -> Parsed[Registration]:
    """Parse a field of ``agents:registry``: a JSON object, each field by itself, or a time alone.

    Args:
        value: the field's value.
        now: wall clock, epoch seconds.
        observed: it was written now; else nobody knows when, and its times are as those of
            :func:`parse_found_heartbeat`.
    """
    if len(value) > MAX_VALUE:
        return Parsed(Registration(), TOO_LARGE)
    parsed = _entry(value, now if observed else None, now)
    told = _told(parsed.value)
    if observed or told is None or not may_lack_zone(value):
        return parsed
    local = _as_local(told, now)
    if local == told:
        return parsed
    other = _entry(value, local, now)
    if _told(other.value) != local:
        return parsed
    if told > now + FUTURE >= local:
        return other
    return Parsed(replace(parsed.value, local=local), parsed.problem or open_zone(told, local, now))


def _entry(value: bytes, anchor: float | None, now: float) -> Parsed[Registration]:
    parsed = parse_registration(value, anchor, now)
    if parsed.problem is not None and parsed.value == Registration():
        with suppress(Malformed):  # some write the time of their last beat and nothing else
            return Parsed(Registration(updated_at=parse_heartbeat(value, anchor, now)))
    return parsed


def _told(registration: Registration) -> float | None:
    return registration.started_at if registration.updated_at is None else registration.updated_at


def _as_local(written: float, now: float) -> float:
    """Return the moment that a time read as UTC means in local time."""
    return WrittenTime(written, zoneless=True).in_zone("local", now)


def parse_task(member: bytes, names: Iterable[str] = ("task_id", "id")) -> str:
    """Return a task's id from a member of a set or list: JSON with one of these fields, or plain text.

    Raises:
        Malformed: it holds no id.
    """
    if len(member) > MAX_VALUE:
        raise Malformed(TOO_LARGE)
    task: str | None
    text = utf8(member).strip()
    if text[:1] in ("{", "["):
        fields = Fields(text.encode())
        found = (fields.identifier(name) for name in names)
        task = next((one for one in found if one is not None), None)
        if task is None:
            raise Malformed(fields.problem or f"JSON without {' or '.join(names)}")
        return task
    return plain_id(text)


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

    The claim that names a holder counts; if both do, the one claimed later. Unless the other claim names
    another holder, fields that the first lacks are taken from it, and it ends when both have ended: the task
    is claimed as long as one of them is.
    """
    if claimed is None or claim is None:
        return claimed or claim
    first, second = claim, claimed
    if _rank(claimed) > _rank(claim):
        first, second = claimed, claim
    if second.agent_id is not None and second.agent_id != first.agent_id:
        return with_rivals(first, [second])
    return replace(
        first,
        claimed_at=second.claimed_at if first.claimed_at is None else first.claimed_at,
        expires_at=_later(first.expires_at, second.expires_at),
        status=second.status if first.status is None else first.status,
        description=second.description if first.description is None else first.description,
    )


def _later(one: float | None, other: float | None) -> float | None:
    return max((time for time in (one, other) if time is not None), default=None)


def _rank(claim: Claim) -> tuple[bool, float]:
    return claim.agent_id is not None, claim.claimed_at or 0.0
