"""Parse what Linux says of control groups: where a process's groups lie, and what is in their files. Pure.

Both versions of cgroups(7) are known; a machine may have both at once, each with other controllers. Sizes are
bytes. A limit that is none (``max``, -1, nearly 2^63) is None.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

_OCTAL = re.compile(r"\\([0-7]{3})")
_ENDLESS = 1 << 60
"""Bytes from which on a limit of version 1 is none: it then says the greatest number of whole pages."""


@dataclass(frozen=True, slots=True)
class GroupPlace:
    """Where the files of a group lie: ``directory`` and all directories above it down to ``top``."""

    version: int
    top: str
    directory: str

    def levels(self) -> list[str]:
        """Return the directories of the group and of those that it is part of, the innermost first."""
        found, here = [self.directory], self.directory
        while here != self.top and len(here) > len(self.top):
            here = os.path.dirname(here)
            found.append(here)
        return found


def place_of(controller: str, membership: str, mounts: str) -> GroupPlace | None:
    """Return where the files of a controller (``memory``, ``cpu``) lie for a process; None for nowhere.

    Args:
        controller: its name.
        membership: the content of ``/proc/<pid>/cgroup``.
        mounts: the content of ``/proc/<pid>/mountinfo``.
    """
    for version in (1, 2):
        path = _path(controller, membership, version)
        mounted = _mount(controller, mounts, version)
        if path is not None and mounted is not None:
            root, top = mounted
            return GroupPlace(version, top, _below(top, root, path))
    return None


def _path(controller: str, membership: str, version: int) -> str | None:
    for line in membership.splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controller in controllers.split(",") if version == 1 else number == "0" and not controllers:
            return path
    return None


def _mount(controller: str, mounts: str, version: int) -> tuple[str, str] | None:
    """Return which group is the root of the mount, and where it is mounted."""
    for line in mounts.splitlines():
        left, _, right = line.partition(" - ")
        fields, described = left.split(), right.split()
        if len(fields) < 5 or len(described) < 3:
            continue
        wanted = described[0] == "cgroup2" if version == 2 else described[0] == "cgroup"
        if wanted and (version == 2 or controller in described[2].split(",")):
            return _unescaped(fields[3]), _unescaped(fields[4])
    return None


def _below(top: str, root: str, path: str) -> str:
    """Return the directory of a group; the top where only a part of the tree is mounted, without the group.

    A container often has its own group mounted as the root, under a path that only the host has.
    """
    inner = path if root == "/" else path.removeprefix(root) if f"{path}/".startswith(f"{root}/") else ""
    return os.path.normpath(top + inner) if ".." not in inner.split("/") and inner.strip("/") else top


def _unescaped(field: str) -> str:
    return _OCTAL.sub(lambda found: chr(int(found[1], 8)), field)


def limit_in(content: str) -> int | None:
    """Return the limit in ``memory.max`` or ``memory.limit_in_bytes``; None for none."""
    value = whole_number(content)
    return None if value is None or value >= _ENDLESS else value


def whole_number(content: str) -> int | None:
    """Return the number that a file holds; None for a word, such as ``max``."""
    text = content.strip()
    return int(text) if text.isascii() and text.isdigit() else None


def field_in(content: str, *names: str) -> int | None:
    """Return the first of these fields that a file such as ``memory.stat`` has."""
    found = dict(line.split(maxsplit=1) for line in content.splitlines() if len(line.split()) == 2)
    return next((value for name in names if (value := whole_number(found.get(name, ""))) is not None), None)


def processors_in(quota: str, period: str) -> float | None:
    """Return how many processors a quota of CPU time in each period is; None where there is no limit."""
    allowed, length = whole_number(quota), whole_number(period)
    return None if allowed is None or not length else allowed / length
