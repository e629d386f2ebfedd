from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from coordd.util import digest
from coordd.util.digest import sha256_hex


@pytest.mark.parametrize("data", [b"", b"a line", bytes(range(256)) * 1000])
def test_the_digest_is_sha_256(data: bytes) -> None:
    assert sha256_hex(data) == hashlib.sha256(data).hexdigest()


def test_a_python_without_its_own_sha_256_uses_hashlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_MODULES", ("no_such_module", "sys", "hashlib"))
    assert sha256_hex(b"a line") == hashlib.sha256(b"a line").hexdigest()


def test_a_python_without_any_sha_256_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_MODULES", ("no_such_module",))
    monkeypatch.setattr(digest, "_module", digest._module.__wrapped__)  # which keeps what it finds
    with pytest.raises(ImportError, match="no SHA-256"):
        sha256_hex(b"a line")


def test_openssl_is_not_loaded() -> None:
    code = (
        "import sys; from coordd.util.digest import sha256_hex; sha256_hex(b''); "
        "sys.exit('_hashlib' in sys.modules or 'hashlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
