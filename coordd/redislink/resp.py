"""The Redis protocol (RESP2): commands to bytes, bytes to replies, in whatever pieces they come.

Pure (https://redis.io/docs/latest/develop/reference/protocol-spec/). What a stranger's server may send is
bounded: the bytes of one reply, the length of a line, the depth of lists in lists.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from coordd.redislink.trouble import ServerError, server_error

MAX_REPLY = 64 << 20
"""Bytes of one reply, lists within it included; a registry of 50,000 agents is a fifth of it."""
MAX_LINE = 64 << 10
MAX_DEPTH = 16

Argument = bytes | str | int
Command = Sequence[Argument]
Reply: TypeAlias = "bytes | int | ServerError | list[Reply] | None"

_TLS_ALERT = 0x15  # RFC 8446, section 5.1: what a TLS port says to who speaks none
_KINDS = b"+-:$*"
_STATUS, _ERROR, _NUMBER, _BULK, _LIST = _KINDS


class NotRedis(Exception):
    """What came is no reply of a Redis; the text says of "Redis" what it is."""


class More:
    """There is no whole reply yet."""


MORE: Final = More()


def pack(commands: Iterable[Command]) -> bytes:
    """Commands as they are sent.

    Raises:
        UnicodeEncodeError: an argument holds a character that UTF-8 has no bytes for.
    """
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            data = argument if isinstance(argument, bytes) else str(argument).encode()
            parts.append(b"$%d\r\n%b\r\n" % (len(data), data))
    return b"".join(parts)


class Replies:
    """Takes bytes, gives replies: strings as bytes, errors as ServerError without any of the secrets."""

    def __init__(self, *, secrets: tuple[str, ...] = ()) -> None:
        self._secrets = secrets
        self._data = bytearray()
        self._at = 0
        self._open: list[tuple[list[Reply], int]] = []  # lists that are not whole, and their lengths
        self._taken = 0  # bytes of the reply that is not whole, as far as parsed

    def feed(self, data: bytes) -> None:
        """Add what came."""
        self._data += data

    @property
    def waiting(self) -> int:
        """Bytes that are here and belong to no reply given out yet."""
        return len(self._data) - self._at

    def next(self) -> Reply | More:
        """The next reply, or MORE; what is parsed of a long list is not parsed again.

        Raises:
            NotRedis: this is no reply, or a larger one than is taken.
        """
        while not isinstance(value := self._one(), More):
            if isinstance(value, _Begun):
                continue
            while self._open:
                items, length = self._open[-1]
                items.append(value)
                if len(items) < length:
                    break
                self._open.pop()
                value = items
            else:
                self._taken = 0
                return value
        del self._data[: self._at]
        self._taken += self._at
        self._at = 0
        if self._taken + len(self._data) > MAX_REPLY:
            raise NotRedis(f"answers with more than {MAX_REPLY >> 20} MiB at once")
        return MORE

    def _one(self) -> Reply | More | _Begun:
        data, at = self._data, self._at
        end = data.find(b"\r\n", at, at + MAX_LINE)
        if len(data) > at and data[at] not in _KINDS:
            raise _no_reply(data[at])
        if end < 0:
            if len(data) - at >= MAX_LINE:
                raise _no_reply(data[at])
            return MORE
        kind, line = data[at], bytes(data[at + 1 : end])
        self._at = end + 2
        if kind == _BULK:
            return self._bulk(_length(line), at)
        if kind == _LIST:
            return self._list(_length(line))
        if kind == _NUMBER:
            return _number(line)
        if kind == _STATUS:
            return line
        return server_error(line.decode("utf-8", "replace"), secrets=self._secrets)

    def _bulk(self, size: int, begin: int) -> bytes | More | None:
        if size < 0:
            return None
        start, end = self._at, self._at + size
        if len(self._data) < end + 2:
            self._at = begin
            return MORE
        self._at = end + 2
        return bytes(self._data[start:end])

    def _list(self, size: int) -> list[Reply] | _Begun | None:
        if size <= 0:
            return None if size else []
        if len(self._open) == MAX_DEPTH:
            raise NotRedis("answers with lists in lists without an end")
        self._open.append(([], size))
        return _BEGUN


class _Begun:
    """A list has begun; its members follow."""


_BEGUN: Final = _Begun()


def _number(line: bytes) -> int:
    try:
        return int(line)
    except ValueError:
        raise _no_reply(_NUMBER) from None


def _length(line: bytes) -> int:
    size = _number(line)
    if size > MAX_REPLY:
        raise NotRedis(f"answers with more than {MAX_REPLY >> 20} MiB at once")
    return size


def _no_reply(first: int) -> NotRedis:
    if first == _TLS_ALERT:
        return NotRedis("speaks TLS there: rediss:// is for such a port")
    return NotRedis("does not speak the Redis protocol: something else listens there")
