"""Open a transport to a Redis: look up names and load certificates in a thread, then connect.

The first step may hang for half a minute (a name server, a file system), and neither the loop nor the end of
the process may wait for that; asyncio's own lookups run in threads that are joined at exit. A thread that
hangs is abandoned, and no second one is started beside it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, TypeVar

from coordd.redislink.target import RedisTarget, Tls
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.util.regular_files import open_regular

if TYPE_CHECKING:
    import ssl

P = TypeVar("P", bound=asyncio.Protocol)

MAX_ADDRESSES = 4
"""Number of a host's addresses that are tried, within one deadline."""


class CannotDial(Exception):
    """Raised internally when no connection can be begun; the text says of "Redis" why."""


async def dial(target: RedisTarget, protocol: P, *, deadline: float) -> P:
    """Connect ``protocol`` to the target, and return it.

    Args:
        deadline: seconds for the lookup and the certificates, and as many again for connecting.

    Raises:
        CannotDial: a certificate cannot be used, or the lookup hangs.
        OSError: the system or TLS reports an error.
        TimeoutError: no address answers in time.
    """
    addresses, context = await _prepared(target, deadline)
    loop = asyncio.get_running_loop()
    if target.path is not None:
        async with asyncio.timeout(deadline):
            await loop.create_unix_connection(lambda: protocol, target.path)
        return protocol
    name = target.host if context is not None else None
    until = loop.time() + deadline
    for left in range(len(addresses), 0, -1):
        try:
            async with asyncio.timeout_at(loop.time() + (until - loop.time()) / left):
                await loop.create_connection(
                    lambda: protocol,
                    addresses[-left],
                    target.port,
                    ssl=context,
                    server_hostname=name,
                )
        except OSError:  # TimeoutError is one
            if left == 1:
                raise
        else:
            break
    return protocol


async def _prepared(target: RedisTarget, deadline: float) -> tuple[list[str], ssl.SSLContext | None]:
    if target.path is not None or (target.tls is None and _is_address(target.host)):
        return [target.host], None
    if _Hung.future is not None and _Hung.future.get_loop() is asyncio.get_running_loop():
        if not _Hung.future.done():
            raise CannotDial(_LATE)
        _Hung.future = None
    worker = Worker("coordd-dial")
    try:
        return await worker.run(_prepare, target, deadline=deadline)
    except DeadlineMissed as late:
        _Hung.future = late.future
        raise CannotDial(_LATE) from None
    finally:
        worker.close()


class _Hung:
    future: asyncio.Future[object] | None = None


_LATE = "cannot be found: looking up its host name, or reading its certificates, does not come to an end"


def _prepare(target: RedisTarget) -> tuple[list[str], ssl.SSLContext | None]:
    context = None if target.tls is None else make_context(target.tls)
    found = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))[:MAX_ADDRESSES], context


def make_context(tls: Tls) -> ssl.SSLContext:
    """Return the TLS context for the options of a URL; a private authority replaces the system's.

    Raises:
        CannotDial: a file is missing, may not be read, or has the wrong content.
    """
    import ssl

    for option, path in (
        ("ssl_ca_certs", tls.ca_certs),
        ("ssl_certfile", tls.certfile),
        ("ssl_keyfile", tls.keyfile),
    ):
        if path is not None:
            _check_readable(option, path)
    if tls.ca_path is not None and not os.path.isdir(tls.ca_path):
        raise CannotDial(f"cannot be used as configured: ssl_ca_path {tls.ca_path} is no directory")
    try:
        context = ssl.create_default_context(cafile=tls.ca_certs, capath=tls.ca_path)
    except (ssl.SSLError, OSError):
        raise CannotDial(
            f"cannot be used as configured: ssl_ca_certs {tls.ca_certs} holds no certificate in PEM form"
        ) from None
    if tls.ca_certs is not None or tls.ca_path is not None:
        # Python 3.13 began to refuse authorities without a key usage, which most private ones lack
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.check_hostname = tls.check_hostname
    if not tls.verify:
        context.verify_mode = ssl.CERT_NONE
    if tls.certfile is None:
        if tls.keyfile is not None:
            raise CannotDial("cannot be used as configured: ssl_keyfile without ssl_certfile")
        return context
    try:
        context.load_cert_chain(tls.certfile, tls.keyfile, password=_no_pass_phrase)
    except (ssl.SSLError, OSError) as error:
        key = tls.keyfile or tls.certfile
        reason = str(getattr(error, "reason", None) or "")
        words = {
            "KEY_VALUES_MISMATCH": f"the key in {key} belongs to another certificate than {tls.certfile}",
        }.get(reason, f"{tls.certfile} and {key} hold no certificate with its key in PEM form")
        raise CannotDial(f"cannot be used as configured: {words}") from None
    return context


def _no_pass_phrase() -> str:
    raise CannotDial("cannot be used as configured: its ssl_keyfile wants a pass phrase; give one without")


def _check_readable(option: str, path: str) -> None:
    def refuse(_kind: str) -> CannotDial:
        return CannotDial(f"cannot be used as configured: {option} {path} is no regular file")

    try:
        os.close(open_regular(path, os.O_RDONLY, refuse=refuse, follow=True))
    except OSError as error:
        raise CannotDial(f"cannot be used as configured: {option} {path}: {error.strerror}") from None


def _is_address(host: str) -> bool:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return True
    return False
