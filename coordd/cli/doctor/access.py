"""Name users and rights: who a process or user is, which rights are missing where, and what grants them.

trying.py finds out what is missing; modes and owners here only explain it.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from dataclasses import dataclass
from typing import NamedTuple

from coordd.util.shell import shell_word

READ, WRITE, SEARCH = os.R_OK, os.W_OK, os.X_OK

READ_ALL = 0b100
"""CAP_DAC_READ_SEARCH, linux/capability.h."""
_DAC = 0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH, linux/capability.h


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user as the kernel sees its processes; ``capabilities`` as in CapEff of /proc/PID/status."""

    uid: int
    gids: frozenset[int]
    capabilities: int = 0

    @property
    def name(self) -> str:
        """Return the user's name, or its number without a name."""
        return user_name(self.uid)


class FileRights(NamedTuple):
    """The mode and owner of one file."""

    mode: int
    uid: int
    gid: int


class AccessObstacle(NamedTuple):
    """The component that ended a walk along a path, and the missing rights (READ | WRITE | SEARCH).

    ``errno`` is set if nobody could look at it, so that its rights are unknown; ``more`` is the number of
    further places that are closed as well. ``kind`` says what is there in place of a directory, and that no
    right would help.
    """

    path: str
    wanted: int
    rights: FileRights | None = None
    errno: int | None = None
    more: int = 0
    kind: str = ""

    @property
    def missing(self) -> bool:
        """Return whether there is nothing at this path."""
        return self.errno in (errno.ENOENT, errno.ENOTDIR) and not self.kind


def user_of(uid: int) -> Credentials:
    """Return a user from the user database, with all its groups; uid 0 may do anything."""
    try:
        entry = pwd.getpwuid(uid)
        gids = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    except KeyError:
        gids = frozenset()
    return Credentials(uid, gids, _DAC if uid == 0 else 0)


def process(pid: int) -> Credentials | None:
    """Return the user a process acts as, with its real groups and capabilities; None if unknown."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            fields = dict(line.split(":", 1) for line in file if ":" in line)
        # real, effective, saved, file system: for files the last one counts
        uid, gid = (int(fields[name].split()[3]) for name in ("Uid", "Gid"))
        groups = frozenset([gid, *map(int, fields["Groups"].split())])
        return Credentials(uid, groups, int(fields["CapEff"], 16))
    except (OSError, KeyError, IndexError, ValueError):
        return None


def primary_group(user: Credentials) -> int:
    """Return the group that a new process of this user begins with."""
    try:
        return pwd.getpwuid(user.uid).pw_gid
    except KeyError:
        return min(user.gids, default=65534)


def grant(obstacle: AccessObstacle, user: Credentials) -> str:
    """Return commands that give a user the missing rights; the one that gives least comes first."""
    path = shell_word(obstacle.path)
    if obstacle.kind:
        return f"name the right path, or see what is there: ls -ld {path}"
    letters = in_letters(obstacle.wanted)
    whose = user_class(obstacle.rights, user)
    if whose == "u":
        return f"chmod u+{letters} {path}"  # for an owner only the owner's bits count
    return f"setfacl -m u:{user.name}:{letters} {path}   or: chmod {whose}+{letters} {path}"


def ask_as(user: Credentials, ask: str = "coordctl doctor") -> str:
    """Return what to do where only this user, or root, can tell; ``ask`` is the command that asks again."""
    return f"ask as root, or as {user.name}: sudo -u {shell_word(user.name)} {ask}"


def user_class(rights: FileRights | None, user: Credentials) -> str:
    """Return the letter of chmod(1) for the bits that count for a user: u, g or o."""
    if rights is not None and rights.uid == user.uid:
        return "u"
    return "g" if rights is not None and rights.gid in user.gids else "o"


def in_letters(wanted: int) -> str:
    """Return rights in letters: ``rx`` for READ | SEARCH."""
    return "".join([letter for bit, letter in ((READ, "r"), (WRITE, "w"), (SEARCH, "x")) if wanted & bit])


def owner_and_mode(rights: FileRights) -> str:
    """Return owner, group and mode as ``ann:staff drwxr-x---``."""
    return f"{user_name(rights.uid)}:{group_name(rights.gid)} {stat.filemode(rights.mode)}"


def user_name(uid: int) -> str:
    """Return a user's name, or its number without a name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def group_name(gid: int) -> str:
    """Return a group's name, or its number without a name."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)
