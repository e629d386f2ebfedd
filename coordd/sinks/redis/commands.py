"""Make Redis commands of records. Pure: the moment is passed in.

``SET metrics:system:<epoch>:<host>`` and ``HSET metrics:agent:<epoch>:<host>`` with a field
``<workspace>:<agent_id>``, where epoch is the whole seconds of the record's own timestamp. So no two hosts or
agents overwrite each other, and writing a record twice changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from coordd.redislink.session import Argument, Command
from coordd.util.timestamps import parse_timestamp

TOPICS = ("agent", "system")
LONGEST = 64 * 1024
"""Bytes of the longest record that is written; coordd's own are a hundredth of it."""
_PLACED_BY = ("host", "timestamp", "workspace", "agent_id")
"""The fields of a record that say where it goes in Redis."""
_FRESH = 5
"""Seconds; a record that is no older gets the whole time to live."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A record and where it goes in Redis; ``field`` is None where the key is not a hash."""

    epoch: int
    key: bytes
    field: bytes | None
    value: bytes


def samples_of(topic: str, records: Sequence[bytes], made_of: Sequence[object]) -> list[Sample]:
    """Return the samples in records that were just made, without those that have none.

    Args:
        topic: of all of them.
        records: as they are in the record files.
        made_of: the AgentSample or SystemSample that each of them was encoded from.
    """
    found = []
    for record, one in zip(records, made_of, strict=True):
        fields = {name: getattr(one, name, None) for name in _PLACED_BY}
        if (sample := sample_of(topic, record, fields)) is not None:
            found.append(sample)
    return found


def sample_of(topic: str, record: bytes, fields: Mapping[str, object]) -> Sample | None:
    """Return the sample in a line of the record files, decoded in ``fields``; None where it has none."""
    try:
        host, timestamp = fields["host"], fields["timestamp"]
        if not isinstance(host, str) or not isinstance(timestamp, str) or len(record) > LONGEST:
            return None
        epoch = math.floor(parse_timestamp(timestamp))
        name = _field_of(fields) if topic == "agent" else None
        return Sample(epoch, f"metrics:{topic}:{epoch}:{host}".encode(), name, record)
    except (ValueError, LookupError):  # no time, host or agent; half a surrogate
        return None


def _field_of(fields: Mapping[str, object]) -> bytes:
    workspace, agent_id = fields.get("workspace"), fields["agent_id"]
    if not isinstance(agent_id, str) or not isinstance(workspace, str | None):
        raise ValueError("not the name of an agent")
    return f"{workspace or ''}:{agent_id}".encode()


@dataclass(slots=True)
class Plan:
    """Commands, and how many samples each of them carries.

    ``expired`` counts the samples that were left out, because they are older than the time to live.
    """

    commands: list[Command] = field(default_factory=list)
    carried: list[int] = field(default_factory=list)
    expired: int = 0

    def add(self, command: Command, carries: int) -> None:
        """Append a command."""
        self.commands.append(command)
        self.carried.append(carries)


def plan(samples: Iterable[Sample], *, wall: float, ttl: float) -> Plan:
    """Return the commands that write samples; the last sample for a key and field wins.

    Args:
        wall: now, epoch seconds.
        ttl: seconds that a key lives, counted from its samples' own second.
    """
    made = Plan()
    by_key: dict[bytes, list[Sample]] = {}
    for sample in samples:
        if sample.epoch + ttl <= wall:
            made.expired += 1
        else:
            by_key.setdefault(sample.key, []).append(sample)
    for key, together in by_key.items():
        seconds = _seconds_left(together[0].epoch, wall, ttl)
        if together[0].field is None:
            made.add(("SET", key, together[-1].value, "EX", seconds), len(together))
            continue
        hset: list[Argument] = ["HSET", key]
        for name, value in {one.field or b"": one.value for one in together}.items():
            hset += (name, value)
        made.add(hset, len(together))
        made.add(("EXPIRE", key, seconds), 0)
    return made


def _seconds_left(epoch: int, wall: float, ttl: float) -> int:
    left = ttl if wall - epoch <= _FRESH else epoch + ttl - wall
    return max(1, math.ceil(left))
