"""Reading heartbeats: one command for each, and two more for one that seems to be empty."""

from __future__ import annotations

from collections.abc import Collection

from coordd.redislink.session import RedisSession, Reply
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.asking import Tally, read_strings
from coordd.sources.redis.keys import BEATS
from coordd.sources.redis.problems import Problems, refusal
from coordd.sources.redis.read_plan import KeyToRead


class Beats:
    """The heartbeats of all agents."""

    def __init__(self, *, agents: Agents, problems: Problems) -> None:
        self._agents = agents
        self._problems = problems

    async def read(
        self, wire: RedisSession, items: list[KeyToRead], now: float, tally: Tally, *, pushed: bool
    ) -> None:
        """Read these keys; ``pushed``: they were announced, so that what they hold is a beat in any case."""
        agents, note, count = self._agents, self._problems.note, tally.count

        def take(item: KeyToRead, reply: Reply) -> None:
            slot, agent_id, key = item
            count(BEATS[slot], reply)
            if isinstance(reply, bytes):
                note(key, agents.beat(slot, agent_id, reply, now, pushed=pushed))
            elif isinstance(reply, ServerError):
                if reply.code == "WRONGTYPE":
                    agents.no_beat(slot, agent_id)
                else:
                    agents.refused_beat(slot, agent_id)
                note(key, refusal(reply, "a string"))
            else:
                agents.no_beat(slot, agent_id)
                note(key, None)

        await read_strings(wire, items, take)

    def keys_of(self, agent_ids: Collection[str]) -> list[KeyToRead]:
        """The heartbeat keys that these agents are known to have, both where none is known."""
        found = []
        for agent_id in agent_ids:
            known = self._agents.beats_of(agent_id)
            name = self._agents.name_of(agent_id)
            for slot, family in enumerate(BEATS):
                if known[slot] or not any(known):
                    found.append(KeyToRead(slot, agent_id, family.encode() + name))
        return found
