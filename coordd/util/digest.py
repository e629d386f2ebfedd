"""Compute SHA-256 without OpenSSL.

hashlib loads OpenSSL, a tenth of the daemon's memory; CPython's own SHA-256 is slower, and fast enough for a
few lines.
"""

from __future__ import annotations

import sys

_MODULES = ("_sha2", "_sha256", "hashlib")
"""Where a SHA-256 may be: CPython from 3.12 on, before it, elsewhere."""


def sha256_hex(data: bytes) -> str:
    """Return the SHA-256 of the bytes as 64 hexadecimal digits.

    Raises:
        ImportError: this Python has no SHA-256.
    """
    for name in _MODULES:
        try:
            __import__(name)
            return str(sys.modules[name].sha256(data).hexdigest())
        except (ImportError, AttributeError):
            continue
    raise ImportError("this Python has no SHA-256")
