"""Find the address or user under which a client is counted."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import struct
import sys
from contextlib import suppress

from coordd.protocol.admission import Caller

_IPV6_NETWORK = 64
"""Bits of an IPv6 network's prefix: whoever has such a network has all of its addresses."""


def caller_of(transport: asyncio.BaseTransport) -> Caller:
    """Return who is at the other end of an accepted connection; all clients on loopback count as one."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        return _user(sock)
    peer = transport.get_extra_info("peername")
    return Caller(network_of(peer[0]) if isinstance(peer, tuple) and peer else None, None)


def network_of(address: str) -> str:
    """Return an IPv4 address as it is, of an IPv6 address its network."""
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
    """Return uid and pid from the kernel (SO_PEERCRED, unix(7)), if it tells."""
    with suppress(OSError, struct.error):
        if sys.platform == "linux":
            raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
            pid, uid, _gid = struct.unpack("iII", raw)
            return Caller(f"uid {uid}", pid)
    return Caller("unix", None)
