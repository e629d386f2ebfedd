"""Ask the kernel which user and process are at the other end of a Unix socket."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
from dataclasses import dataclass

_LOCAL_PEERCRED = 0x001  # macOS, <sys/un.h>: struct xucred { u_int version; uid_t uid; short ngroups; ... }


@dataclass(frozen=True, slots=True)
class Peer:
    """A client's uid and pid; None where the kernel does not tell."""

    uid: int | None
    pid: int | None = None

    def may_control(self, own_uid: int) -> bool:
        """Return whether this client may do more than read: root and the daemon's own user may."""
        return self.uid is not None and self.uid in (0, own_uid)


def peer_of(connection: socket.socket) -> Peer:
    """Return the peer's credentials (SO_PEERCRED, unix(7); macOS: LOCAL_PEERCRED), None where unknown."""
    uid: int | None = None
    pid: int | None = None
    with contextlib.suppress(OSError, struct.error):
        if sys.platform == "linux":
            raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
            pid, uid, _gid = struct.unpack("iII", raw)
        elif sys.platform == "darwin":
            raw = connection.getsockopt(0, _LOCAL_PEERCRED, 76)
            uid = struct.unpack_from("=II", raw)[1]
    return Peer(uid=uid, pid=pid)
