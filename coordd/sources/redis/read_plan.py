"""Sort keys by what has to be read for them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from coordd.sources.redis.keys import (
    AGENT_HEARTBEAT,
    AGENT_TASKS,
    AVAILABLE,
    CLAIM,
    CLAIMED,
    HEARTBEAT,
    PROGRESS,
    QUEUE,
    REGISTRY,
    Keyspace,
    id_of,
)
from coordd.sources.redis.problems import Problems
from coordd.util.fields import Malformed


class KeyToRead(NamedTuple):
    """A key of an agent or of a task.

    ``slot`` tells the two families apart where there are two: 0 or 1.
    """

    slot: int
    id: str
    key: bytes


class ReadPlan:
    """The keys that have to be read, by kind."""

    def __init__(self, keyspace: Keyspace) -> None:
        self._meaning = keyspace.meaning
        self.beats: list[KeyToRead] = []
        self.tasks: list[KeyToRead] = []
        self.claims: list[KeyToRead] = []
        self.progress: list[KeyToRead] = []
        self.offers: set[bytes] = set()
        self.registry = False
        self.names: dict[str, bytes] = {}
        """The bytes of agents' ids that are not UTF-8."""
        self._lists = {
            HEARTBEAT: (self.beats, 0),
            AGENT_HEARTBEAT: (self.beats, 1),
            AGENT_TASKS: (self.tasks, 0),
            CLAIMED: (self.claims, 0),
            CLAIM: (self.claims, 1),
            PROGRESS: (self.progress, 0),
        }

    def __len__(self) -> int:
        """Return the number of keys of agents and tasks."""
        return len(self.beats) + len(self.tasks) + len(self.claims) + len(self.progress)

    def add(self, keys: Iterable[bytes], problems: Problems) -> None:
        """Sort some keys in; foreign keys are skipped, impossible ids are reported."""
        meaning = self._meaning
        for key in keys:
            known = meaning(key)
            if known is None:
                continue
            family, name = known
            if family == REGISTRY:
                self.registry = True
                continue
            if family in _WITHOUT_ID:
                self.offers.add(key)
                continue
            try:
                one = id_of(name)
            except Malformed as error:
                problems.note(key, str(error))
                continue
            found = self._lists.get(family)
            if found is None:
                self.offers.add(key)
                continue
            found[0].append(KeyToRead(found[1], one, key))
            if family in _OF_AGENTS and not name.isascii() and one.encode() != name:
                self.names[one] = name


_OF_AGENTS = frozenset({HEARTBEAT, AGENT_HEARTBEAT, AGENT_TASKS})
_WITHOUT_ID = frozenset({AVAILABLE, QUEUE})
