"""Keeping the daemon small: no ssl where none is needed, and no memory kept that only starting took.

asyncio imports ssl, and with it OpenSSL: 4.7 MB resident and 20 ms, a sixth of the whole daemon, for a
process whose only sockets are local. asyncio itself copes with an interpreter built without ssl; this makes
its import see one. A rediss:// URL needs ssl, so then this must not be called.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress


def import_asyncio_without_ssl() -> None:
    """Import asyncio as if there were no ssl module; ``import ssl`` works again afterwards."""
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]  # how import is told that a module does not exist
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]


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
