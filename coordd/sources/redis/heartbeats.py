"""Read heartbeats: one command for each, and two more for one that seems to be empty."""

from __future__ import annotations

from collections.abc import Collection

from coordd.redislink.session import RedisSession, Reply
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.keys import BEATS
from coordd.sources.redis.problems import Problems, refusal
from coordd.sources.redis.read_plan import KeyToRead
from coordd.sources.redis.requests import Tally, read_strings


class HeartbeatReader:
    """Read heartbeat keys into :class:`Agents`."""

    def __init__(self, *, agents: Agents, problems: Problems) -> None:
        self._agents = agents
        self._problems = problems

    async def read(
        self, session: RedisSession, items: list[KeyToRead], now: float, tally: Tally, *, pushed: bool
    ) -> None:
        """Read these keys; ``pushed`` means that they were announced, so each is a beat."""
        agents, note, count = self._agents, self._problems.note, tally.count

        def take(item: KeyToRead, reply: Reply) -> None:
            slot, agent_id, key = item
            count(BEATS[slot], reply)
            if isinstance(reply, bytes):
                note(key, agents.put_heartbeat(slot, agent_id, reply, now, pushed=pushed))
            elif isinstance(reply, ServerError):
                words = refusal(reply, "a string")
                if reply.means.wrong_type:
                    agents.remove_heartbeat(slot, agent_id)
                else:
                    agents.refuse_heartbeat(slot, agent_id, words)
                note(key, words)
            else:
                agents.remove_heartbeat(slot, agent_id)
                note(key, None)

        await read_strings(session, items, take)

    def keys_of(self, agent_ids: Collection[str]) -> list[KeyToRead]:
        """Return the heartbeat keys that these agents are known to have; both keys if none is known."""
        found = []
        for agent_id in agent_ids:
            known = self._agents.known_heartbeats(agent_id)
            name = self._agents.name_of(agent_id)
            for slot, family in enumerate(BEATS):
                if known[slot] or not any(known):
                    found.append(KeyToRead(slot, agent_id, family.encode() + name))
        return found
