"""Read claims and progress: the keys ``tasks:claimed:``, ``task:claim:`` and ``task:progress:``.

A claim is a string, JSON or plain, or a hash of the same fields; that a key ``tasks:claimed:`` exists is a
claim, whatever its type. Progress is JSON or a hash.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from coordd.agents.traces import Claim, Progress
from coordd.redislink.session import CHUNK, Command, RedisSession, Reply
from coordd.redislink.trouble import ServerError
from coordd.sources.bodies import parse_claim, parse_progress
from coordd.sources.redis.hashes import HashReply, as_json, read_hashes, spellings
from coordd.sources.redis.keys import CLAIMED, CLAIMS, PROGRESS
from coordd.sources.redis.parse import MAX_VALUE, TOO_LARGE
from coordd.sources.redis.problems import Problems, refusal
from coordd.sources.redis.read_plan import KeyToRead
from coordd.sources.redis.requests import END, Tally, ask, read_strings
from coordd.sources.redis.work import Claims, TaskProgress
from coordd.sources.redis.zones import Zones
from coordd.util.fields import UPDATED, Denied, Malformed, Parsed
from coordd.util.timestamps import within_calendar

_ABSENT = -2  # the reply of PTTL for a missing key
_CLAIM = spellings("agent_id", "claimed_at", "ttl", "expires_at", "status", "description")
_PROGRESS = spellings("progress", "message", "timestamp", *UPDATED)


class ClaimReader:
    """Read the claims on tasks, and their progress."""

    def __init__(self, *, claims: Claims, progress: TaskProgress, problems: Problems, zones: Zones) -> None:
        self._claims = claims
        self._progress = progress
        self._problems = problems
        self._zones = zones

    async def read_claims(
        self,
        session: RedisSession,
        items: Sequence[KeyToRead],
        wall: Callable[[], float],
        tally: Tally,
        *,
        pushed: bool,
    ) -> set[str]:
        """Read these claims; return the tasks whose claim changed.

        Args:
            session: the connection.
            items: the keys.
            wall: returns the wall clock, epoch seconds, to turn a remaining time into a moment.
            tally: counts the keys.
            pushed: the keys were announced as changed.
        """
        changed = set()

        def take(item: KeyToRead, value: bytes | ServerError | Malformed | None, left: Reply) -> None:
            now = wall()
            claim, problem = (None, None)
            if value is None:
                self._zones.forget(item.key)
            else:
                claim, problem = self._claim(item, value, now, pushed=pushed)
            self._problems.note(item.key, problem)
            # a time to live may be 292 million years, beyond any timestamp
            expires_at = None
            if isinstance(left, int) and left >= 0:
                expires_at = within_calendar(now + left / 1000)
            if self._claims.put(item.slot, item.id, claim, expires_at):
                changed.add(item.id)

        def take_hash(item: KeyToRead, fields: HashReply, left: Reply) -> None:
            if isinstance(fields, Mapping):
                take(item, None if left == _ABSENT else as_json(fields), left)
            else:
                take(item, fields, left)

        for start in range(0, len(items), CHUNK // 2):
            chunk = items[start : start + CHUNK // 2]
            hashes, doubtful = [], []
            replies = await ask(session, _of_each(chunk, (b"GETRANGE", b"0", END), (b"PTTL",)))
            for item, value, left in zip(chunk, replies[::2], replies[1::2], strict=True):
                tally.count(CLAIMS[item.slot], value)
                if isinstance(value, ServerError) and value.means.wrong_type:
                    hashes.append(item)
                elif value == b"" and not isinstance(left, int):  # PTTL is refused
                    doubtful.append(item)
                else:
                    take(item, None if left == _ABSENT else _value(value), left)
            if doubtful:
                replies = await ask(session, _of_each(doubtful, (b"EXISTS",), (b"GETRANGE", b"0", END)))
                for item, there, value in zip(doubtful, replies[::2], replies[1::2], strict=True):
                    take(item, _value(value) if value != b"" or there == 1 else None, None)
            if hashes:
                await read_hashes(session, hashes, _CLAIM, take_hash, last=b"PTTL")
        return changed

    def _claim(
        self, item: KeyToRead, value: bytes | ServerError | Malformed, now: float, *, pushed: bool
    ) -> tuple[Claim | None, str | None]:
        """Return what an existing key says, and what is wrong with it."""
        any_type = CLAIMS[item.slot] == CLAIMED
        exists = Claim(item.id)
        if isinstance(value, ServerError):
            if not value.means.wrong_type:
                words = refusal(value, "a string")
                return Claim(item.id, problem=words if isinstance(words, Denied) else None), words
            return (exists, None) if any_type else (None, refusal(value, "a string or a hash"))
        if isinstance(value, Malformed) or len(value) > MAX_VALUE:
            return exists if any_type else None, TOO_LARGE
        return self._zones.parse(
            item.key,
            value,
            lambda written: parse_claim(item.id, value, written, now),
            lambda claim: claim.claimed_at,
            pushed=pushed,
            now=now,
        )

    async def read_progress(
        self, session: RedisSession, items: Sequence[KeyToRead], now: float, tally: Tally, *, pushed: bool
    ) -> set[str]:
        """Read the progress of these tasks; return those where it changed."""
        changed = set()
        hashes = []

        def take(item: KeyToRead, value: bytes | ServerError | Malformed | None) -> None:
            progress, problem = None, None
            if isinstance(value, ServerError):
                problem = refusal(value, "a string or a hash")
            elif isinstance(value, Malformed) or (value is not None and len(value) > MAX_VALUE):
                problem = TOO_LARGE
            elif value is not None:
                progress, problem = self._parsed_progress(item, value, now, pushed=pushed)
            if progress is None:
                self._zones.forget(item.key)
            self._problems.note(item.key, problem)
            if self._progress.put(item.id, progress):
                changed.add(item.id)

        def take_string(item: KeyToRead, reply: Reply) -> None:
            tally.count(PROGRESS, reply)
            if isinstance(reply, ServerError) and reply.means.wrong_type:
                hashes.append(item)
            else:
                take(item, None if reply is None else _value(reply))

        def take_hash(item: KeyToRead, fields: HashReply, exists: Reply) -> None:
            if isinstance(fields, Mapping):
                take(item, as_json(fields) if fields or exists == 1 else None)
            else:
                take(item, fields)

        await read_strings(session, items, take_string)
        if hashes:
            await read_hashes(session, hashes, _PROGRESS, take_hash)
        return changed

    def _parsed_progress(
        self, item: KeyToRead, value: bytes, now: float, *, pushed: bool
    ) -> Parsed[Progress]:
        return self._zones.parse(
            item.key,
            value,
            lambda written: parse_progress(item.id, value, written, now),
            lambda progress: progress.timestamp,
            pushed=pushed,
            now=now,
        )


def _of_each(items: Sequence[KeyToRead], *commands: tuple[bytes, ...]) -> list[Command]:
    """Return these commands, each with the key as its first argument, for each of the keys."""
    return [(name, item.key, *arguments) for item in items for name, *arguments in commands]


def _value(reply: Reply) -> bytes | ServerError:
    return reply if isinstance(reply, bytes | ServerError) else b""
