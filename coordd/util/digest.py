"""Compute SHA-256 without OpenSSL.

hashlib loads OpenSSL, a tenth of the daemon's memory; CPython's own SHA-256 is slower, and fast enough for a
few lines.
"""

from __future__ import annotations

import sys
from functools import cache

_MODULES = ("_sha2", "_sha256", "hashlib")
"""Where a SHA-256 may be: CPython from 3.12 on, before it, elsewhere."""


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of the bytes as 64 hexadecimal digits.

    Raises:
        ImportError: this Python has no SHA-256.
    """
    return str(sys.modules[_module()].sha256(data).hexdigest())


@cache  # a search for a module that is not there takes longer than the digest
def _module() -> str:
    for name in _MODULES:
        try:
            __import__(name)
        except ImportError:
            continue
        if hasattr(sys.modules[name], "sha256"):
            return name
    raise ImportError("this Python has no SHA-256")
