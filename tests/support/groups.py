"""Make real control groups with limits for tests, of whichever version the machine has; needs root."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from waiting import eventually

from coordd.host.cgroup_files import GroupPlace, place_of

ENTER = (
    'for group; do test "$group" = -- && break; echo 0 >"$group/cgroup.procs" || exit; shift; done; '
    'shift; exec "$@"'
)


def entering(groups: Mapping[str, Path]) -> tuple[str, ...]:
    """Return the beginning of a command line that runs the rest of it in these groups."""
    folders = dict.fromkeys(str(folder) for folder in groups.values())
    return ("sh", "-c", ENTER, "sh", *folders, "--") if folders else ()


@contextlib.contextmanager
def limited(*, memory: int, cpu: float) -> Iterator[dict[str, Path]]:
    """Have groups with these limits, bytes and processors; none where this user or machine may not.

    They are empty at the end of the block, or will be: what runs in them has to be told to end by then.
    """
    membership, mounts = Path("/proc/self/cgroup").read_text(), Path("/proc/self/mountinfo").read_text()
    made: dict[str, Path] = {}
    try:
        with contextlib.suppress(OSError):
            for controller in ("memory", "cpu", "cpuacct"):
                place = place_of(controller, membership, mounts)
                if place is not None:
                    made[controller] = _made(place, controller)
            _limit(made, "memory", {"memory.limit_in_bytes": memory, "memory.max": memory})
            quota = int(cpu * 100_000)
            _limit(made, "cpu", {"cpu.cfs_quota_us": quota, "cpu.max": f"{quota} 100000"})
        yield made
    finally:
        for folder in set(made.values()):
            eventually(lambda folder=folder: _removed(folder), what=f"{folder} is empty")


def _made(place: GroupPlace, controller: str) -> Path:
    folder = Path(place.top) / f"coordd-test-{os.getpid()}"
    if place.version == 2:
        (Path(place.top) / "cgroup.subtree_control").write_text(f"+{controller}")
    folder.mkdir(exist_ok=True)
    return folder


def _limit(made: Mapping[str, Path], controller: str, files: Mapping[str, object]) -> None:
    for name, value in files.items():
        if (made[controller] / name).exists():
            (made[controller] / name).write_text(str(value))


def _removed(folder: Path) -> bool:
    folder.rmdir()
    return True
