"""Try everything that coordd needs of a Redis, for ``coordd check-redis``; nothing there is changed.

Permissions are tried, not looked up: ``ACL`` commands need permissions of their own. Commands that write are
sent in a transaction that is discarded: the server checks them and does not carry them out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic

from coordd.config.redis_url import public_url
from coordd.redislink.codes import fix_of
from coordd.redislink.info import parse_info
from coordd.redislink.server_info import kind_trouble
from coordd.redislink.session import Command, RedisLost, RedisSession, Reply
from coordd.redislink.target import parse_target
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.keys import HEARTBEAT, KINDS, Keyspace, Kind
from coordd.sources.redis.prefixes import look_for_traces
from coordd.sources.redis.tracking import CHANNEL, subscribe
from coordd.sources.redis.verdicts import Check, of_clock, of_eviction, of_memory, of_version

_NAME = "coordd-check"
"""The name used in keys that do not exist."""

_READS: Mapping[Kind, tuple[tuple[str, ...], ...]] = {
    "hash": (("HSCAN", "", "0", "COUNT", "1"), ("HGET", "", _NAME), ("HSTRLEN", "", _NAME)),
    "string": (("GETRANGE", "", "0", "64"), ("EXISTS", ""), ("PTTL", "")),
    "set": (("SCARD", ""), ("SSCAN", "", "0", "COUNT", "1")),
    "list": (("LLEN", ""), ("LRANGE", "", "0", "0")),
    "sorted set": (("ZCARD", ""), ("ZRANGE", "", "0", "0")),
}
"""The commands that read each kind of value; an empty argument stands for the key."""

WRITES: tuple[Command, ...] = (
    ("SET", f"metrics:system:0:{_NAME}", "", "EX", 1),
    ("HSET", f"metrics:agent:0:{_NAME}", _NAME, ""),
    ("EXPIRE", f"metrics:agent:0:{_NAME}", 1),
)

_OTHERWISE = "its log may say why; a proxy or a service in the place of Redis may lack that command"
_LATER = "see what its log says; the samples are in the files meanwhile, and are filled in later"
_NAMED = 3  # how many refused commands a message names


async def probe(
    url: str, *, prefix: str, reads: bool, writes: bool, wall: Callable[[], float]
) -> list[Check]:
    """Return the results of all checks of one Redis; the first is whether it answers.

    Args:
        url: as configured.
        prefix: what all keys begin with that are read.
        reads: whether coordd reads agents' traces there.
        writes: whether coordd writes samples there.
        wall: returns this machine's time, epoch seconds.
    """
    shown = public_url(url)
    try:
        session = await RedisSession.open(url)
    except RedisLost as lost:
        return [_unreachable(shown, lost)]
    found: list[Check] = []
    try:
        user = parse_target(url).username or "default"
        looking = _Probe(url=url, user=user, keyspace=Keyspace(prefix), session=session, wall=wall)
        async for check in looking.checks(reads=reads, writes=writes):
            fix = check.fix and check.fix.replace("…", user)
            found.append(replace(check, fix=fix))
    except RedisLost as lost:
        found.append(_unreachable(shown, lost))
    finally:
        await session.close()
    return found


class _Probe:
    def __init__(
        self, *, url: str, user: str, keyspace: Keyspace, session: RedisSession, wall: Callable[[], float]
    ) -> None:
        self._url = url
        self._user = user
        self._keyspace = keyspace
        self._session = session
        self._wall = wall

    async def checks(self, *, reads: bool, writes: bool) -> AsyncIterator[Check]:
        began = monotonic()
        pong = (await self._session.call(("PING",)))[0]
        latency = (monotonic() - began) * 1000
        if isinstance(pong, ServerError) and pong.means.unusable:
            raise RedisLost(str(pong), pong.code)
        server, memory = map(parse_info, await self._session.call(("INFO", "server"), ("INFO", "memory")))
        if (kind := kind_trouble(server)) is not None:
            raise RedisLost(str(kind), kind.code)
        yield Check("redis", "ok", f"{public_url(self._url)} answers in {latency:.1f} ms")
        yield of_version(server)
        if reads:
            yield await self._tracking()
            yield await self._reading()
            if (traces := await look_for_traces(self._session, self._keyspace)) is not None:
                yield traces
        if writes:
            yield await self._writing()
        else:
            yield Check("redis_write", "ok", "no samples are written there: REDIS_URL alone names it")
        yield of_eviction(memory)
        yield of_memory(memory)
        yield of_clock(await self._clock())

    async def _tracking(self) -> Check:
        listener = await RedisSession.open(self._url)
        try:
            refused = await subscribe(listener, self._session, self._keyspace.tracked)
        finally:
            await listener.close()
        if refused is not None:
            return Check(
                "redis_tracking",
                "warn",
                f"it tells of no changes, so coordd asks every two seconds: {refused}",
                self._grant(
                    f"+client|id +client|tracking +subscribe &{CHANNEL.decode()}", refused.partition(": ")[2]
                ),
            )
        await self._session.call(("CLIENT", "TRACKING", "OFF"))
        return Check("redis_tracking", "ok", "it tells of changes (CLIENT TRACKING)")

    async def _reading(self) -> Check:
        refused: dict[str, ServerError] = {}
        key_of, name = self._keyspace.spelled, _NAME
        pattern = self._keyspace.pattern(HEARTBEAT)
        scanned = (await self._session.call(("SCAN", "0", "MATCH", pattern, "COUNT", "1")))[0]
        if isinstance(scanned, ServerError):
            refused["SCAN"] = scanned
        needed, patterns = {"+scan"}, []
        for family, kind in KINDS.items():
            pattern = self._keyspace.pattern(family)
            patterns.append(_word(f"~{pattern}"))
            key, commands = key_of(family) + (name if family.endswith(":") else ""), _READS[kind]
            replies = await self._session.call(*[[word or key for word in command] for command in commands])
            needed.update(f"+{command[0].lower()}" for command in commands)
            for command, reply in zip(commands, replies, strict=True):
                if isinstance(reply, ServerError) and not reply.means.wrong_type:
                    refused.setdefault(f"{command[0]} {pattern}", reply)
        if not refused:
            behind = f" behind {self._keyspace.prefix!r}" if self._keyspace.prefix else ""
            return Check("redis_read", "ok", f"every kind of trace can be read{behind}")
        first = next(iter(refused.values()))
        more = f" and {len(refused) - _NAMED} more" if len(refused) > _NAMED else ""
        return Check(
            "redis_read",
            "fail",
            f"cannot be read: {', '.join(list(refused)[:_NAMED])}{more}; it {first}",
            self._grant(" ".join([*patterns, *sorted(needed)]), *[one.code for one in refused.values()]),
        )

    async def _writing(self) -> Check:
        opened = (await self._session.call(("MULTI",)))[0]
        if opened != b"OK":  # without it the commands would be carried out
            return Check(
                "redis_write",
                "warn",
                f"cannot tell whether samples can be written: {_words_of(opened)}",
                self._grant("+multi +discard", opened.code if isinstance(opened, ServerError) else ""),
            )
        replies = (await self._session.call(*WRITES, ("DISCARD",)))[:-1]
        refusals = [reply for reply in replies if isinstance(reply, ServerError)]
        if not refusals:
            return Check("redis_write", "ok", "samples can be written")
        return Check(
            "redis_write",
            "fail",
            f"no samples can be written: it {refusals[0]}",
            self._grant("~metrics:* +set +hset +expire", refusals[0].code, otherwise=_LATER),
        )

    def _grant(self, rights: str, *refusals: str, otherwise: str = _OTHERWISE) -> str:
        """Return the command that grants rights, if the server's errors say that these are lacking."""
        lacking = any(one.startswith("NOPERM") for one in refusals)
        return f"ACL SETUSER {self._user} {rights}" if lacking else otherwise

    async def _clock(self) -> float | None:
        before = self._wall()
        reply = (await self._session.call(("TIME",)))[0]
        after = self._wall()
        seconds = _seconds(reply)
        if seconds is None:
            return None
        # any time between both is possible: the round trip limits the precision
        return seconds - min(max(seconds, before), after)


def _seconds(reply: Reply) -> float | None:
    if not isinstance(reply, list) or len(reply) != 2:
        return None
    numbers = [int(part) for part in reply if isinstance(part, bytes) and part.isdigit() and len(part) < 20]
    return numbers[0] + numbers[1] / 1e6 if len(numbers) == 2 else None


def _words_of(reply: Reply) -> str:
    return str(reply) if isinstance(reply, ServerError) else "its answer is not understood"


def _word(text: str) -> str:
    """Return a text as one argument, for redis-cli and for a shell."""
    if not any(char in text for char in "\\\"'"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unreachable(shown: str, lost: RedisLost) -> Check:
    return Check("redis", "fail", f"{shown} {lost}", fix_of(lost.code))


def failed(checks: Sequence[Check]) -> bool:
    """Return whether any of the checks failed."""
    return any(check.state == "fail" for check in checks)
