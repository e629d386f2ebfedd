"""Find the proxy that the environment names for an address, as curl and most programs read it."""

from __future__ import annotations

from typing import NamedTuple

from coordd.alerts.actions.address import Address, address_of

_LOCAL = ("localhost", "::1")


class ProxyUnknown(Exception):
    """A proxy of a kind that is not known; the text says so without its address."""


class Proxy(NamedTuple):
    """A plain HTTP proxy; ``userinfo`` is ``user:password`` or empty."""

    host: str
    port: int
    userinfo: str


def proxy_for(address: Address) -> Proxy | None:
    """Return the proxy for an address, None where it is asked directly.

    Raises:
        ProxyUnknown: the environment names something else than a plain HTTP proxy.
    """
    from urllib import request

    if address.host in _LOCAL or address.host.startswith("127."):
        return None
    proxies = request.getproxies_environment()
    url = proxies.get("https" if address.tls else "http")
    # typeshed does not have the second one
    bypass = request.proxy_bypass_environment  # type: ignore[attr-defined]
    if not url or bypass(f"{address.host}:{address.port}", proxies):
        return None
    scheme, separator, _ = url.partition("://")
    if separator and scheme.lower() != "http":
        raise ProxyUnknown("the environment names a proxy that is no plain HTTP proxy (http://HOST:PORT)")
    try:
        proxy = address_of(url if separator else f"http://{url}")
    except ValueError:
        raise ProxyUnknown("the environment names a proxy that is no address (http://HOST:PORT)") from None
    return Proxy(proxy.host, proxy.port, proxy.userinfo)
