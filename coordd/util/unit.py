"""Tell which service of coordd's a process belongs to, by its control group (Linux) or launchd's variable."""

from __future__ import annotations

from collections.abc import Mapping

LAUNCHD = "org.coordd."
"""What the labels of coordd's jobs begin with."""


def unit_of(pid: int) -> str | None:
    """Return the unit that runs a process as coordd's service; None where it was started otherwise."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            last = file.read().strip().rpartition("/")[2]
    except OSError:
        return None
    return last if last.startswith("coordd") and last.endswith(".service") else None


def is_service(pid: int, environ: Mapping[str, str]) -> bool:
    """Return whether a process with this environment was started as coordd's service."""
    return unit_of(pid) is not None or environ.get("XPC_SERVICE_NAME", "").startswith(LAUNCHD)
