"""rediss:// with a private authority, client certificates, and everything that is wrong with one, in words.

Redis speaks TLS itself where it was built with it (Debian's is); Valkey of the test extra is not, and has a
TLS port in front of it.
"""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from badredis import passing_on, serving, silent
from certificates import Authority, encrypted
from redisd import KINDS, RedisServer, free_port, redis_server

from coordd.redislink.session import RedisLost, RedisSession


class Certificates:
    """All that the tests need, made once."""

    def __init__(self, directory: Path) -> None:
        self.ours = Authority(directory, "ours")
        self.others = Authority(directory, "others")
        self.server = self.ours.sign("server", "DNS:localhost", "IP:127.0.0.1")
        self.elsewhere = self.ours.sign("elsewhere", "DNS:elsewhere.test")
        self.client = self.ours.sign("client")
        self.stranger = self.others.sign("stranger")
        self.closed = encrypted(self.client[1])


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@contextlib.asynccontextmanager
async def tls_port(
    directory: Path, kind: str, certificates: Certificates, pair: tuple[Path, Path], *, ask: bool = False
) -> AsyncIterator[int]:
    """A Redis of this kind behind TLS; with ``ask`` it wants client certificates of our authority."""
    port = free_port()
    options = (
        *("--tls-port", str(port), "--tls-cert-file", str(pair[0]), "--tls-key-file", str(pair[1])),
        *("--tls-ca-cert-file", str(certificates.ours.file), "--tls-auth-clients", "yes" if ask else "no"),
    )
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(redis_server(directory / "tls", *options, kind=kind))
        except RuntimeError:  # built without TLS
            server = stack.enter_context(redis_server(directory / "plain", kind=kind))
        else:
            yield port
            return
        async with _in_front(server, certificates, pair, ask=ask) as port:
            yield port


@contextlib.asynccontextmanager
async def _in_front(
    server: RedisServer, certificates: Certificates, pair: tuple[Path, Path], *, ask: bool
) -> AsyncIterator[int]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificates.ours.file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as Redis's own
    context.load_cert_chain(*pair)
    context.verify_mode = ssl.CERT_REQUIRED if ask else ssl.CERT_NONE
    async with serving(passing_on(server.port), context) as (port, _):
        yield port


async def why(url: str) -> str:
    """What is wrong with this URL; empty where nothing is."""
    try:
        wire = await RedisSession.open(url)
        assert await wire.call(("PING",)) == [b"PONG"]
        await wire.close()
    except RedisLost as lost:
        return str(lost)
    return ""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_private_authority_and_names(kind: str, tmp_path: Path, certificates: Certificates) -> None:
    ours, others = f"ssl_ca_certs={certificates.ours.file}", f"ssl_ca_certs={certificates.others.file}"
    async with tls_port(tmp_path, kind, certificates, certificates.server) as port:
        assert await why(f"rediss://localhost:{port}/1?{ours}") == ""
        assert await why(f"rediss://127.0.0.1:{port}?{ours}") == ""
        assert await why(f"rediss://localhost:{port}?ssl_cert_reqs=none") == ""
        for unknown in ("", others):
            found = await why(f"rediss://localhost:{port}?{unknown}")
            assert found.startswith("cannot be trusted: ")
            assert "ssl_ca_certs= in the URL names the authority" in found
        assert await why(f"redis://127.0.0.1:{port}") in (
            "speaks TLS there: rediss:// is for such a port",
            "closed the connection",
            "reset the connection",
        )


@pytest.mark.parametrize("kind", KINDS)
async def test_a_certificate_for_another_name(kind: str, tmp_path: Path, certificates: Certificates) -> None:
    async with tls_port(tmp_path, kind, certificates, certificates.elsewhere) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={certificates.ours.file}"
        found = await why(url)
        assert found.startswith("shows a certificate for another name: ")
        assert "'localhost'" in found
        assert await why(f"{url}&ssl_check_hostname=false") == ""
        assert (await why(f"{url}&ssl_check_hostname=true")) == found


@pytest.mark.parametrize("kind", KINDS)
async def test_client_certificates(kind: str, tmp_path: Path, certificates: Certificates) -> None:
    async with tls_port(tmp_path, kind, certificates, certificates.server, ask=True) as port:
        url = f"rediss://localhost:{port}?ssl_ca_certs={certificates.ours.file}"
        certificate, key = certificates.client
        assert await why(f"{url}&ssl_certfile={certificate}&ssl_keyfile={key}") == ""
        found = await why(url)
        # the port in front, Python's, closes without the alert that says why
        assert found.startswith("wants a client certificate: ") or (
            kind == "valkey" and found == "closed the connection"
        )
        certificate, key = certificates.stranger
        found = await why(f"{url}&ssl_certfile={certificate}&ssl_keyfile={key}")
        assert found.startswith("refuses the client certificate") or (
            kind == "valkey" and found == "closed the connection"
        )


async def test_a_port_that_speaks_no_tls(tmp_path: Path) -> None:
    with redis_server(tmp_path / "r") as server:
        found = await why(f"rediss://localhost:{server.port}?ssl_cert_reqs=none")
        assert "redis:// is for a port without it" in found
    async with serving(silent) as (port, _):
        assert (await why(f"rediss://localhost:{port}")).startswith("does not answer in time")


async def test_files_that_cannot_be_used(tmp_path: Path, certificates: Certificates) -> None:
    """Looked at when they are needed, and again at the next try: they may have come."""
    certificate, key = certificates.client
    junk = tmp_path / "junk.pem"
    junk.write_text("no certificate")
    os.mkfifo(tmp_path / "fifo")
    stranger = certificates.stranger[1]
    for options, words in {
        f"ssl_ca_certs={tmp_path}/none.pem": f"ssl_ca_certs {tmp_path}/none.pem: No such file or directory",
        f"ssl_ca_certs={tmp_path}": "is no regular file",
        f"ssl_ca_certs={junk}": "holds no certificate in PEM form",
        f"ssl_ca_path={junk}": "is no directory",
        f"ssl_certfile={certificate}&ssl_keyfile={tmp_path}/none": "ssl_keyfile",
        f"ssl_certfile={certificate}": "hold no certificate with its key",
        f"ssl_certfile={certificate}&ssl_keyfile={stranger}": "belongs to another certificate",
        f"ssl_certfile={certificate}&ssl_keyfile={certificates.closed}": "wants a pass phrase",
        f"ssl_keyfile={key}": "ssl_keyfile without ssl_certfile",
        f"ssl_ca_certs={tmp_path}/fifo": "is no regular file",
    }.items():
        found = await why(f"rediss://localhost:1?{options}")
        assert words in found, options
        assert found.startswith("cannot be ")
    good = f"ssl_ca_certs={certificates.ours.file}&ssl_certfile={certificate}&ssl_keyfile={key}"
    assert "refuses connections" in await why(f"rediss://localhost:{free_port()}?{good}")
