"""Make a private authority and sign certificates with openssl(1), for the tests of one session."""

from __future__ import annotations

import subprocess
from pathlib import Path

PASS_PHRASE = "a pass phrase"


class Authority:
    """A certificate authority; ``file`` is its certificate."""

    def __init__(self, directory: Path, name: str) -> None:
        self._directory = directory
        self._name = name
        self.file = directory / f"{name}.crt"
        self._key = directory / f"{name}.key"
        _openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN={name}"),
            *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),  # Python 3.13 asks for it
            *("-keyout", str(self._key), "-out", str(self.file)),
        )

    def sign(self, name: str, *alternatives: str, days: int = 30) -> tuple[Path, Path]:
        """Return a certificate for these names (``DNS:…``, ``IP:…``), and its key; -1 day: it has expired."""
        base = self._directory / f"{self._name}-{name}"
        key, request, signed, extensions = (base.with_suffix(s) for s in (".key", ".csr", ".crt", ".ext"))
        _openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", str(key), "-out", str(request)),
        )
        names = f"subjectAltName={','.join(alternatives)}\n" if alternatives else ""
        extensions.write_text(f"authorityKeyIdentifier=keyid\n{names}")
        _openssl(
            *("x509", "-req", "-in", str(request), "-CA", str(self.file), "-CAkey", str(self._key)),
            *("-CAcreateserial", "-days", str(days), "-extfile", str(extensions), "-out", str(signed)),
        )
        return signed, key


def encrypted(key: Path) -> Path:
    """Return the key with a pass phrase."""
    closed = key.with_suffix(".closed")
    _openssl("rsa", "-aes256", "-passout", f"pass:{PASS_PHRASE}", "-in", str(key), "-out", str(closed))
    return closed


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
