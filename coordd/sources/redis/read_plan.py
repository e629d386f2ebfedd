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

    ``slot`` tells the two families apart where there are two: 0 or 1. ``name`` is the id as the key spells
    it, None if that is the same: around it may be white space, and in it bytes that are not UTF-8.
    """

    slot: int
    id: str
    key: bytes
    name: bytes | None = None


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
        """The ids of agents as keys spell them, where that differs."""
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
            spelled = None if one.encode() == name else name
            found[0].append(KeyToRead(found[1], one, key, spelled))
            if spelled is not None and family in _OF_AGENTS:
                self.names[one] = spelled


_OF_AGENTS = frozenset({HEARTBEAT, AGENT_HEARTBEAT, AGENT_TASKS})
_WITHOUT_ID = frozenset({AVAILABLE, QUEUE})
