"""Import asyncio without OpenSSL, for services that use no TLS: it would be a sixth of their memory."""

from __future__ import annotations

import sys


def import_asyncio_without_ssl() -> None:
    """Import asyncio as if there were no ssl module; ``import ssl`` works again afterwards.

    asyncio works in an interpreter built without ssl, and is made to believe that it is in one.
    """
    if "asyncio" in sys.modules or "ssl" in sys.modules:
        return
    sys.modules["ssl"] = None  # type: ignore[assignment]  # how import is told that a module does not exist
    try:
        import asyncio  # noqa: F401
    finally:
        del sys.modules["ssl"]
