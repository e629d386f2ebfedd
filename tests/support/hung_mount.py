"""Mount a file system that never answers, until a test ends it; root on Linux."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_DETACH = 2  # MNT_DETACH of umount2(2)


@contextmanager
def hung_mount(where: Path) -> Iterator[None]:
    """Have every call below a directory hang until the end of the block; then those that wait fail.

    It is a FUSE whose server never reads a request, as an NFS whose server is gone.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    where.mkdir(exist_ok=True)
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={server},rootmode=40000,user_id=0,group_id=0".encode()
        if libc.mount(b"hung", os.fsencode(where), b"fuse", 0, options):
            raise OSError(ctypes.get_errno(), "mount", str(where))
        try:
            yield
        finally:
            os.close(server)
            server = -1
            libc.umount2(os.fsencode(where), _DETACH)
    finally:
        if server >= 0:
            os.close(server)
