"""Read heartbeats: one command for each, two more for one that seems to be empty, a few for a hash."""

from __future__ import annotations

from collections.abc import Collection

from coordd.redislink.session import RedisSession, Reply
from coordd.redislink.trouble import ServerError
from coordd.sources.bodies import TOLD
from coordd.sources.redis.agents import Agents
from coordd.sources.redis.hashes import HashReply, as_json, read_hashes, spellings
from coordd.sources.redis.keys import BEATS, Keyspace
from coordd.sources.redis.problems import Problems, refusal
from coordd.sources.redis.read_plan import KeyToRead
from coordd.sources.redis.requests import Tally, read_strings
from coordd.util.fields import UPDATED, Malformed

FIELDS = spellings(*UPDATED, *TOLD)


class HeartbeatReader:
    """Read heartbeat keys into :class:`Agents`."""

    def __init__(self, *, agents: Agents, problems: Problems, keyspace: Keyspace) -> None:
        self._beginnings = tuple(map(keyspace.key, BEATS))
        self._agents = agents
        self._problems = problems

    async def read(
        self, session: RedisSession, items: list[KeyToRead], now: float, tally: Tally, *, pushed: bool
    ) -> None:
        """Read these keys; ``pushed`` means that they were announced, so each is a beat."""
        agents, note, count = self._agents, self._problems.note, tally.count
        hashes: list[KeyToRead] = []

        def take(item: KeyToRead, reply: Reply) -> None:
            slot, agent_id, key, name = item
            count(BEATS[slot], reply)
            if isinstance(reply, bytes):
                note(key, agents.put_heartbeat(slot, agent_id, reply, now, pushed=pushed, name=name))
            elif isinstance(reply, ServerError):
                words = refusal(reply, "a string")
                if reply.means.wrong_type:
                    hashes.append(item)
                else:
                    agents.refuse_heartbeat(slot, agent_id, words, name)
                    note(key, words)
            else:
                agents.remove_heartbeat(slot, agent_id, name)
                note(key, None)

        def take_hash(item: KeyToRead, fields: HashReply, exists: Reply) -> None:
            slot, agent_id, key, name = item
            problem = None
            if isinstance(fields, ServerError):
                problem = refusal(fields, "a string or a hash")
                if not fields.means.wrong_type:
                    agents.refuse_heartbeat(slot, agent_id, problem, name)
                    note(key, problem)
                    return
            elif isinstance(fields, Malformed):
                problem = str(fields)
            elif fields or exists:
                content = as_json(fields)
                note(key, agents.put_heartbeat(slot, agent_id, content, now, pushed=pushed, name=name))
                return
            agents.remove_heartbeat(slot, agent_id, name)
            note(key, problem)

        await read_strings(session, items, take)
        if hashes:
            await read_hashes(session, hashes, FIELDS, take_hash)

    def keys_of(self, agent_ids: Collection[str]) -> list[KeyToRead]:
        """Return the heartbeat keys that these agents are known to have; both keys if none is known."""
        found = []
        for agent_id in agent_ids:
            names = self._agents.heartbeat_names(agent_id)
            exact = agent_id.encode("utf-8", "surrogatepass")
            for slot, (beginning, name) in enumerate(zip(self._beginnings, names, strict=True)):
                if name is not None:
                    spelled = None if name == exact else name
                    found.append(KeyToRead(slot, agent_id, beginning + name, spelled))
        return found
