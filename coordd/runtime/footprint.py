"""Keep the daemon small: leave out what large libraries import in vain, and give back what starting took.

asyncio and redis-py import ssl, and with it OpenSSL, for a process that uses no TLS. Without it a daemon has
26.5 MB resident in place of 30.8, with a Redis 37.9 in place of 42.7 (Python 3.11, redis-py 8.1, medians of
five); 1.1 MB of that is private, the rest the library's pages. asyncio works in an interpreter built without
ssl, and is made to believe that it is in one; redis-py needs placeholders as well. A rediss:// URL needs ssl:
then neither function may be called. APScheduler imports what finds plugins, runs jobs in other processes and
knows time zones: 3.5 MB with all that these import, and coordd uses none of it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from types import ModuleType

from coordd.util.asyncio_without_ssl import import_asyncio_without_ssl

__all__ = [
    "Growth",
    "give_back_memory",
    "import_apscheduler",
    "import_asyncio_without_ssl",
    "import_redis_without_ssl",
    "share_one_heap",
]

_M_ARENA_MAX = -8  # of glibc's malloc.h


def import_redis_without_ssl() -> None:
    """Import redis-py's connection without TLS; afterwards ssl and hashlib can be imported as usual.

    Call it before any thread imports either: meanwhile both are replaced. If redis-py cannot be imported that
    way, it is imported with ssl.
    """
    if not {"redis", "ssl"} & sys.modules.keys() and _hashes_without_openssl():
        known = set(sys.modules)
        with suppress(Exception), _placeholders(), _stand_ins(_without_metadata()):
            import redis.asyncio.connection
        if "redis.asyncio.connection" not in sys.modules:
            _forget("redis", known)
    import redis.asyncio.connection  # noqa: F401


def import_apscheduler() -> None:
    """Import APScheduler's scheduler for asyncio without plugins, pools of workers and time zones.

    Triggers then have to be objects, and a scheduler has to be given its time zone as one. No thread may
    import these modules meanwhile. If APScheduler cannot be imported that way, it is imported whole.
    """
    if "apscheduler" not in sys.modules:
        known = set(sys.modules)
        with suppress(Exception), _stand_ins(_apscheduler_without_extras()):
            import apscheduler.schedulers.asyncio
        if "apscheduler.schedulers.asyncio" not in sys.modules:
            _forget("apscheduler", known)
    import apscheduler.schedulers.asyncio  # noqa: F401


def _apscheduler_without_extras() -> dict[str, ModuleType | None]:
    """Return stand-ins for modules that APScheduler imports and a scheduler on asyncio never calls."""
    pool = ModuleType("apscheduler.executors.pool")
    pool.ThreadPoolExecutor = object  # type: ignore[attr-defined]
    local = ModuleType("tzlocal")
    local.get_localzone = lambda: None  # type: ignore[attr-defined]
    zones = ModuleType("zoneinfo")
    zones.ZoneInfo = str  # type: ignore[attr-defined]
    return {**_without_metadata(), **{module.__name__: module for module in (pool, local, zones)}}


def _without_metadata() -> dict[str, ModuleType | None]:
    """Return what stands in for importlib.metadata: it knows no package, and no plugin."""

    def version(name: str) -> str:
        raise LookupError(name)

    metadata = ModuleType("importlib.metadata")
    metadata.PackageNotFoundError = LookupError  # type: ignore[attr-defined]
    metadata.version = version  # type: ignore[attr-defined]
    metadata.entry_points = lambda **_: ()  # type: ignore[attr-defined]
    return {metadata.__name__: metadata}


class _NoSsl(ModuleType):
    """Stand in for ssl: an exception class for every name, for annotations and for ``except``."""

    def __getattr__(self, name: str) -> type[Exception]:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Exception,), {})


@contextmanager
def _stand_ins(modules: dict[str, ModuleType | None]) -> Iterator[None]:
    """Let imports find these modules, unless the real ones are there; remove them at the end."""
    absent = {name: module for name, module in modules.items() if name not in sys.modules}
    sys.modules.update(absent)  # type: ignore[arg-type]  # None: as above
    try:
        yield
    finally:
        for name in absent:
            sys.modules.pop(name, None)


def _forget(package: str, known: set[str]) -> None:
    """Remove what was imported in part: the package's modules that are not among the known ones."""
    for name in sys.modules.keys() - known:
        if name.partition(".")[0] == package:
            del sys.modules[name]


@contextmanager
def _placeholders() -> Iterator[None]:
    """Put a placeholder for ssl in place, and a hashlib without OpenSSL; remove both at the end."""
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
    """Return whether CPython has hash functions of its own; without them hashlib would log errors."""
    sha2 = find_spec("_sha2") or (find_spec("_sha256") and find_spec("_sha512"))
    return bool(sha2) and all(find_spec(name) for name in ("_md5", "_sha1", "_sha3", "_blake2"))


def share_one_heap() -> None:
    """Let all threads allocate from one heap, for glibc would give each its own and keep what it frees there.

    Call it before any thread starts. CPython runs one thread at a time, so they hardly wait for each other;
    it saves 2 MB with 10,000 agents.
    """
    with suppress(AttributeError, OSError):  # a C library other than glibc
        import ctypes

        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


class Growth:
    """Exclude the agents from garbage collection as their number grows (gc.freeze).

    A full collection stops everything for a third of a second with the traces of 100,000 agents, and comes
    again each time they grow by a quarter. Frozen objects are still freed when their last reference goes.
    """

    def __init__(self, step: int = 10_000) -> None:
        self._step = step
        self._frozen = 0

    def note_count(self, count: int) -> None:
        """Note the number of agents that are known now."""
        if count < self._frozen:
            self._frozen = count
        elif count >= self._frozen + self._step:
            self._frozen = count
            gc.collect(1)  # frees unused young objects first
            gc.freeze()


def give_back_memory() -> None:
    """Return to the system what importing and starting have freed; glibc would keep it (malloc_trim(3)).

    Most of what is left stays for good, so it is excluded from garbage collection (gc.freeze): a collection
    takes a tenth of a second with the traces of 50,000 agents.
    """
    gc.collect()
    gc.freeze()
    with suppress(AttributeError, OSError):  # a C library other than glibc
        import ctypes

        ctypes.CDLL(None).malloc_trim(0)
