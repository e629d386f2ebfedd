"""Keeping the daemon small: no ssl where none is needed, and no memory kept that only starting took.

asyncio and redis-py import ssl, and with it OpenSSL: 4.7 MB resident and 20 ms, a sixth of the whole daemon,
for a process none of whose sockets needs it. asyncio itself copes with an interpreter built without ssl; this
makes its import see one. redis-py nearly does. A rediss:// URL needs ssl, so then neither must be called.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from types import ModuleType


def import_asyncio_without_ssl() -> None:
    """Import asyncio as if there were no ssl module; ``import ssl`` works again afterwards."""
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]  # how import is told that a module does not exist
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]


def import_redis_without_ssl() -> None:
    """Import redis-py's connection, which can do no TLS in this process then; ssl and hashlib are untouched.

    To be called before there are threads that import either: for its time they are not what they were. If
    redis-py will not have it that way, it is imported with all that it wants.
    """
    if not {"redis", "ssl"} & sys.modules.keys() and _hashes_without_openssl():
        known = set(sys.modules)
        with suppress(Exception), _stood_in():
            import redis.asyncio.connection
        if "redis.asyncio.connection" not in sys.modules:
            for name in sys.modules.keys() - known:
                if name.partition(".")[0] == "redis":  # half of it
                    del sys.modules[name]
    import redis.asyncio.connection  # noqa: F401


class _NoSsl(ModuleType):
    """Has a class of every name, for annotations and for ``except``; nothing ever raises one."""

    def __getattr__(self, name: str) -> type[Exception]:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


@contextmanager
def _stood_in() -> Iterator[None]:
    """A placeholder for ssl, and hashlib as CPython has it by itself; forgotten at the end."""
    hidden: dict[str, ModuleType | None] = {"ssl": _NoSsl("ssl")}
    if not {"hashlib", "_hashlib"} & sys.modules.keys():
        hidden["_hashlib"] = None
    sys.modules.update(hidden)  # type: ignore[arg-type]  # None: as above
    try:
        yield
    finally:
        for name in (*hidden, *({"hashlib"} if "_hashlib" in hidden else ())):
            sys.modules.pop(name, None)


def _hashes_without_openssl() -> bool:
    """Whether CPython was built with hash functions of its own: hashlib complains aloud where it was not."""
    sha2 = find_spec("_sha2") or (find_spec("_sha256") and find_spec("_sha512"))
    return bool(sha2) and all(find_spec(name) for name in ("_md5", "_sha1", "_sha3", "_blake2"))


class Growth:
    """Takes what has grown large out of the collector's sight (gc.freeze).

    A full collection stops everything: for a third of a second with the traces of 100,000 agents, and again
    at each quarter that they grow by. What is frozen is still freed when nobody refers to it.
    """

    def __init__(self, step: int = 10_000) -> None:
        self._step = step
        self._frozen = 0

    def reached(self, count: int) -> None:
        """So many things are known now."""
        if count < self._frozen:
            self._frozen = count
        elif count >= self._frozen + self._step:
            self._frozen = count
            gc.collect(1)  # what is young and unused does not stay for good
            gc.freeze()


def give_back_memory() -> None:
    """Return to the system what importing and starting have freed; glibc would keep it (malloc_trim(3)).

    What is left stays for good, for the most part: the collector need not look at it again (gc.freeze), which
    takes a tenth of a second with the traces of 50,000 agents.
    """
    gc.collect()
    gc.freeze()
    with suppress(AttributeError, OSError):  # another C library
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
