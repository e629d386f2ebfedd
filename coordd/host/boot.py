"""Tell one run of the machine from another: which boot this is, and when it was."""

from __future__ import annotations

import sys
from time import time

from coordd.runtime.clock_watch import uptime

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def boot_id() -> str | None:
    """Return the id of this boot, which no other has; None where the system does not tell.

    It is random(4)'s ``boot_id`` on Linux and ``kern.bootsessionuuid`` on macOS.
    """
    return _by_sysctl("kern.bootsessionuuid") if sys.platform == "darwin" else _by_file(_BOOT_ID)


def boot_time() -> float:
    """Return when the machine was started, in epoch seconds by the wall clock as it is set now.

    It is the wall clock less CLOCK_BOOTTIME, in which the kernel counts the starts of processes too.
    ``btime`` in ``/proc/stat`` is the same cut to whole seconds, by which a process could seem a second
    older; and containers often show a ``/proc/stat`` and a ``/proc/uptime`` of their own.
    """
    return time() - uptime()


def _by_file(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read(64).strip() or None
    except (OSError, ValueError):
        return None


def _by_sysctl(name: str) -> str | None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    value = ctypes.create_string_buffer(64)
    size = ctypes.c_size_t(len(value))
    try:
        failed = libc.sysctlbyname(name.encode(), value, ctypes.byref(size), None, ctypes.c_size_t(0))
    except AttributeError:
        return None
    return None if failed else value.value.decode("ascii", "replace") or None
