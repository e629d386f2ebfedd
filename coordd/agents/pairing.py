"""Know every observation of every agent, and which two are of one agent.

An agent of Redis whose id exists in exactly one workspace is the agent of that workspace. Pure values that
change. An observation has the key (workspace, id), or (None, id) where Redis sees it. An agent is shown under
one key, its place: that of its observation, but for Redis's half of a pair, which is shown under the
workspace's. ``workspaces``, where it is asked for, are the paths of all sources, and None where Redis is none
of them, so that there can be no pairs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from coordd.agents.reducer import Key, KnownAgent


class Observations:
    """The observations by key; ``pairs`` has the workspace of each agent of Redis that is paired."""

    def __init__(self) -> None:
        self.pairs: dict[str, str] = {}
        self._seen: dict[Key, KnownAgent] = {}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._seen)

    def get(self, key: Key) -> KnownAgent | None:
        """One observation."""
        return self._seen.get(key)

    def place(self, key: Key) -> Key:
        """The key under which an observation is shown."""
        if key[0] is None and (workspace := self.pairs.get(key[1])) is not None:
            return (workspace, key[1])
        return key

    def of(self, place: Key) -> tuple[KnownAgent, ...]:
        """The observations that are shown under one key: none, one, or a workspace's and then Redis's."""
        own = self._seen.get(place)
        if own is None or (place[0] is None and place[1] in self.pairs):
            return ()
        if place[0] is not None and self.pairs.get(place[1]) == place[0]:
            return (own, self._seen[(None, place[1])])
        return (own,)

    def partner(self, key: Key, workspaces: Iterable[str]) -> KnownAgent | None:
        """The observation that makes a pair with one of this key, which may be about to come."""
        workspace, agent_id = key
        homes = self.homes(agent_id, workspaces)
        if workspace is None:
            return self._seen[(homes[0], agent_id)] if len(homes) == 1 else None
        redis = self._seen.get((None, agent_id))
        return redis if redis is not None and not [home for home in homes if home != workspace] else None

    def homes(self, agent_id: str, workspaces: Iterable[str]) -> list[str]:
        """The workspaces that see an agent of this id."""
        return [path for path in workspaces if path and (path, agent_id) in self._seen]

    def put(self, agent: KnownAgent, workspaces: Iterable[str] | None) -> bool:
        """Take an observation; whether that makes or breaks a pair."""
        new = agent.key not in self._seen
        self._seen[agent.key] = agent
        return new and workspaces is not None and self._pair(agent.key[1], workspaces)

    def pop(self, key: Key, workspaces: Iterable[str] | None) -> tuple[KnownAgent | None, bool]:
        """Forget an observation: what it was, and whether that makes or breaks a pair."""
        agent = self._seen.pop(key, None)
        if agent is None or workspaces is None:
            return agent, False
        return agent, self._pair(key[1], workspaces)

    def replace(self, agent: KnownAgent) -> None:
        """Take another value of an observation that is there."""
        self._seen[agent.key] = agent

    def _pair(self, agent_id: str, workspaces: Iterable[str]) -> bool:
        """Find out anew whether Redis's agent of that id is a workspace's; whether that is another answer."""
        before = self.pairs.get(agent_id)
        homes = self.homes(agent_id, workspaces) if (None, agent_id) in self._seen else []
        now = homes[0] if len(homes) == 1 else None
        if now == before:
            return False
        if now is None:
            del self.pairs[agent_id]
        else:
            self.pairs[agent_id] = now
        return True
