"""Index what ties observations of different ids: the processes and sessions that they name.

Pure state. identity.py says what a tie is; this finds which others have the same, without a look at each. A
process that one source names for several ids ties none of them: its ids are kept here as well.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import TypeVar

from coordd.agents.identity import Tie, ties
from coordd.agents.observation import Observation, ObservationKey
from coordd.agents.source import SourceName
from coordd.host.process_facts import Process

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Ties:
    """Hold, for each tie, the observations that have it; and for each process, the ids that name it."""

    def __init__(self) -> None:
        self._places: dict[Tie, dict[ObservationKey, None]] = {}
        self._ids: dict[tuple[SourceName, Process], dict[str, None]] = {}
        self._tied: dict[str, dict[tuple[SourceName, Tie], None]] = {}

    def replace(self, old: Observation | None, new: Observation | None) -> None:
        """Take over that an observation came (``old`` None), changed, or went (``new`` None)."""
        if old is not None:
            for tie in ties(old):
                _discard(self._places, tie, old.place)
                _discard(self._tied, old.agent_id, (old.source, tie))
            if old.process is not None:
                _discard(self._ids, (old.source, old.process.process), old.agent_id)
        if new is not None:
            for tie in ties(new):
                _add(self._places, tie, new.place)
                _add(self._tied, new.agent_id, (new.source, tie))
            if new.process is not None:
                _add(self._ids, (new.source, new.process.process), new.agent_id)

    def any_of(self, agent_id: str) -> bool:
        """Return whether any observation with this id is tied."""
        return agent_id in self._tied

    def tied_to(self, observation: Observation) -> set[str]:
        """Return the ids of the observations that have a tie with this one, which may be held here or not."""
        return {agent_id for tie in ties(observation) for _, agent_id in self._places.get(tie, ())}

    def ids_naming(self, source: SourceName, process: Process) -> Collection[str]:
        """Return the ids for which a source names this process, in the order in which they came."""
        return self._ids.get((source, process), {}).keys()


def _add(index: dict[Key, dict[Item, None]], key: Key, item: Item) -> None:
    index.setdefault(key, {})[item] = None


def _discard(index: dict[Key, dict[Item, None]], key: Key, item: Item) -> None:
    index[key].pop(item, None)
    if not index[key]:
        del index[key]
