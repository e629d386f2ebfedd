"""Read claims and progress: the keys ``tasks:claimed:``, ``task:claim:`` and ``task:progress:``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from coordd.agents.traces import Claim
from coordd.redislink.session import CHUNK, Command, RedisSession, Reply
from coordd.redislink.trouble import ServerError
from coordd.sources.bodies import parse_claim, parse_progress
from coordd.sources.redis.keys import CLAIMED, CLAIMS, PROGRESS
from coordd.sources.redis.parse import MAX_VALUE, TOO_LARGE
from coordd.sources.redis.problems import Problems, refusal
from coordd.sources.redis.read_plan import KeyToRead
from coordd.sources.redis.requests import END, Tally, ask, read_strings
from coordd.sources.redis.work import Claims, TaskProgress
from coordd.util.fields import Denied
from coordd.util.timestamps import within_calendar

_ABSENT = -2  # the reply of PTTL for a missing key


class ClaimReader:
    """Read the claims on tasks, and their progress."""

    def __init__(self, *, claims: Claims, progress: TaskProgress, problems: Problems) -> None:
        self._claims = claims
        self._progress = progress
        self._problems = problems

    async def read_claims(
        self, session: RedisSession, items: Sequence[KeyToRead], wall: Callable[[], float], tally: Tally
    ) -> set[str]:
        """Read these claims; return the tasks whose claim changed.

        Args:
            session: the connection.
            items: the keys.
            wall: returns the wall clock, epoch seconds, to turn a remaining time into a moment.
            tally: counts the keys.
        """
        changed = set()
        for start in range(0, len(items), CHUNK // 2):
            chunk = items[start : start + CHUNK // 2]
            commands: list[Command] = []
            for item in chunk:
                commands += [(b"GETRANGE", item.key, b"0", END), (b"PTTL", item.key)]
            replies = await ask(session, commands)
            now = wall()
            for item, value, left in zip(chunk, replies[::2], replies[1::2], strict=True):
                tally.count(CLAIMS[item.slot], value)
                claim, problem = (None, None) if left == _ABSENT else _claim(item, value)
                self._problems.note(item.key, problem)
                # a time to live may be 292 million years, beyond any timestamp
                expires_at = None
                if isinstance(left, int) and left >= 0:
                    expires_at = within_calendar(now + left / 1000)
                if self._claims.put(item.slot, item.id, claim, expires_at):
                    changed.add(item.id)
        return changed

    async def read_progress(
        self, session: RedisSession, items: Sequence[KeyToRead], tally: Tally
    ) -> set[str]:
        """Read the progress of these tasks; return those where it changed."""
        changed = set()

        def take(item: KeyToRead, reply: Reply) -> None:
            tally.count(PROGRESS, reply)
            progress, problem = None, None
            if isinstance(reply, ServerError):
                problem = refusal(reply, "a string")
            elif isinstance(reply, bytes):
                if len(reply) > MAX_VALUE:
                    problem = TOO_LARGE
                else:
                    progress, problem = parse_progress(item.id, reply)
            self._problems.note(item.key, problem)
            if self._progress.put(item.id, progress):
                changed.add(item.id)

        await read_strings(session, items, take)
        return changed


def _claim(item: KeyToRead, value: Reply) -> tuple[Claim | None, str | None]:
    """Return what an existing key says, and what is wrong with it.

    ``tasks:claimed:`` may be of any type.
    """
    any_type = CLAIMS[item.slot] == CLAIMED
    if isinstance(value, ServerError):
        if not value.means.wrong_type:
            words = refusal(value, "a string")
            return Claim(item.id, problem=words if isinstance(words, Denied) else None), words
        return (Claim(item.id), None) if any_type else (None, refusal(value, "a string"))
    content = value if isinstance(value, bytes) else b""
    if len(content) > MAX_VALUE:
        return Claim(item.id) if any_type else None, TOO_LARGE
    return parse_claim(item.id, content)
