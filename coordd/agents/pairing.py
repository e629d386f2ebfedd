"""Keep every observation of every agent, and pair the two that belong to one agent.

The rule: an agent in Redis whose id exists in exactly one workspace is the agent of that workspace. An
observation has the key (workspace, id), or (None, id) where Redis sees it. Each agent is shown under one key,
its shown key: the key of its observation; for a pair, the key in the workspace. Pure state: it reads no
source.

A parameter ``workspaces`` has the paths of all sources; it is None when no Redis is read, and then no pairs
exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from coordd.agents.reducer import Key, KnownAgent


class Observations:
    """Hold the observations by key; ``pairs`` maps the id of each paired agent of Redis to its workspace."""

    def __init__(self) -> None:
        self.pairs: dict[str, str] = {}
        self._seen: dict[Key, KnownAgent] = {}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._seen)

    def get(self, key: Key) -> KnownAgent | None:
        """Return the observation with this key, None where there is none."""
        return self._seen.get(key)

    def shown_key(self, key: Key) -> Key:
        """Return the key under which the agent of this observation is shown."""
        if key[0] is None and (workspace := self.pairs.get(key[1])) is not None:
            return (workspace, key[1])
        return key

    def of(self, shown_key: Key) -> tuple[KnownAgent, ...]:
        """Return the observations shown under one key: none, one, or two (the workspace's, then Redis's)."""
        own = self._seen.get(shown_key)
        if own is None or (shown_key[0] is None and shown_key[1] in self.pairs):
            return ()
        if shown_key[0] is not None and self.pairs.get(shown_key[1]) == shown_key[0]:
            return (own, self._seen[(None, shown_key[1])])
        return (own,)

    def partner(self, key: Key, workspaces: Iterable[str]) -> KnownAgent | None:
        """Return the observation that is paired with this key, or would be if the key had an observation."""
        workspace, agent_id = key
        seen_in = self.workspaces_of(agent_id, workspaces)
        if workspace is None:
            return self._seen[(seen_in[0], agent_id)] if len(seen_in) == 1 else None
        redis = self._seen.get((None, agent_id))
        return redis if redis is not None and not [path for path in seen_in if path != workspace] else None

    def workspaces_of(self, agent_id: str, workspaces: Iterable[str]) -> list[str]:
        """Return the workspaces that see an agent with this id."""
        return [path for path in workspaces if path and (path, agent_id) in self._seen]

    def put(self, agent: KnownAgent, workspaces: Iterable[str] | None) -> bool:
        """Add or replace an observation; return whether that makes or breaks a pair."""
        new = agent.key not in self._seen
        self._seen[agent.key] = agent
        return new and workspaces is not None and self._pair(agent.key[1], workspaces)

    def pop(self, key: Key, workspaces: Iterable[str] | None) -> tuple[KnownAgent | None, bool]:
        """Remove an observation; return it, and whether that makes or breaks a pair."""
        agent = self._seen.pop(key, None)
        if agent is None or workspaces is None:
            return agent, False
        return agent, self._pair(key[1], workspaces)

    def replace(self, agent: KnownAgent) -> None:
        """Replace the value of an observation that exists."""
        self._seen[agent.key] = agent

    def _pair(self, agent_id: str, workspaces: Iterable[str]) -> bool:
        """Decide again which workspace has Redis's agent with this id; return whether the answer changed."""
        before = self.pairs.get(agent_id)
        seen_in = self.workspaces_of(agent_id, workspaces) if (None, agent_id) in self._seen else []
        now = seen_in[0] if len(seen_in) == 1 else None
        if now == before:
            return False
        if now is None:
            del self.pairs[agent_id]
        else:
            self.pairs[agent_id] = now
        return True
