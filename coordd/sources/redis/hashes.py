"""Read known fields of hashes whose other fields, or values, may be huge; never a whole hash."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from coordd.redislink.session import CHUNK, Command, RedisSession, Reply
from coordd.redislink.trouble import ServerError
from coordd.sources.redis.parse import MAX_VALUE, TOO_LARGE
from coordd.sources.redis.read_plan import KeyToRead
from coordd.sources.redis.requests import ask
from coordd.util.fields import Malformed, as_utf8

HashReply = Mapping[str, bytes] | ServerError | Malformed
"""The fields that were found; or why they cannot be read; or why they cannot be used."""


async def read_hashes(
    session: RedisSession,
    items: Sequence[KeyToRead],
    names: Sequence[str],
    take: Callable[[KeyToRead, HashReply, Reply], None],
    *,
    last: bytes = b"EXISTS",
) -> None:
    """Read the known fields of each hash; call ``take`` with them, by name.

    A value may have 512 MB, so HSTRLEN comes before HGET. A hash without known fields and a missing key look
    alike but for the reply to the command ``last``, which goes to ``take`` as well.

    Raises:
        RedisLost: the connection failed.
        Unusable: the server would answer every command with this error.
    """
    step = max(1, CHUNK // (len(names) + 1))
    for start in range(0, len(items), step):
        some = items[start : start + step]
        sizes = await ask(session, [(b"HSTRLEN", item.key, name) for item in some for name in names])
        of_keys = [sizes[at : at + len(names)] for at in range(0, len(sizes), len(names))]
        troubles = list(map(_trouble, of_keys))
        wanted = [
            [] if trouble else [name for name, size in zip(names, of_key, strict=True) if size]
            for of_key, trouble in zip(of_keys, troubles, strict=True)
        ]
        commands: list[Command] = []
        for item, fields in zip(some, wanted, strict=True):
            commands += [(b"HGET", item.key, name) for name in fields]
            commands.append((last, item.key))
        replies = iter(await ask(session, commands))
        for item, fields, trouble in zip(some, wanted, troubles, strict=True):
            values = [next(replies) for _ in fields]
            found = {
                name: value for name, value in zip(fields, values, strict=True) if isinstance(value, bytes)
            }
            take(item, trouble or _trouble(values) or found, next(replies))


def spellings(*names: str) -> tuple[str, ...]:
    """Return these names of fields in snake_case and in camelCase.

    >>> spellings("agent_id", "ttl")
    ('agent_id', 'agentId', 'ttl')
    """
    return tuple(dict.fromkeys(one for name in names for one in (name, _camel_case(name))))


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def _trouble(replies: Sequence[Reply]) -> ServerError | Malformed | None:
    """Return the first error among the replies for one hash; also if its fields are too large."""
    error = next((reply for reply in replies if isinstance(reply, ServerError)), None)
    if error is None and sum(reply for reply in replies if isinstance(reply, int)) > MAX_VALUE:
        return Malformed(TOO_LARGE)
    return error


def as_json(fields: Mapping[str, bytes]) -> bytes:
    """Return the fields as the JSON object that says the same, all of them text; empty for no fields.

    A byte order mark counts as in any text. Bytes that are not UTF-8 stay what they are, so that its reader
    refuses them.
    """
    if not fields:
        return b""
    texts = {name: _utf8(value).decode("utf-8", "surrogateescape") for name, value in fields.items()}
    return json.dumps(texts, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _utf8(value: bytes) -> bytes:
    with suppress(Malformed):
        return as_utf8(value)
    return value
