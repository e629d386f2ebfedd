"""Where a client comes from: the address that it counts as, or its user behind a Unix socket."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
import sys
from contextlib import suppress

from coordd.protocol.admission import Caller

_IPV6_NETWORK = 64
"""Bits of an IPv6 address that a network hands out: whoever has one such network has all of its addresses."""


def caller_of(transport: asyncio.BaseTransport) -> Caller:
    """Who is at the other end of an accepted connection; behind loopback all are the same."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return _user(sock)
    peer = transport.get_extra_info("peername")
    return Caller(network_of(peer[0]) if isinstance(peer, tuple) and peer else None, None)


def network_of(address: str) -> str:
    """The address of IPv4, the network of IPv6."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, _IPV6_NETWORK), strict=False))
    return str(found)


def _user(sock: socket.socket) -> Caller:
    """Uid and pid by the kernel's word (SO_PEERCRED, unix(7)), where it tells."""
    with suppress(OSError, struct.error):
        if sys.platform == "linux":
            raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
            pid, uid, _gid = struct.unpack("iII", raw)
            return Caller(f"uid {uid}", pid)
    return Caller("unix", None)
