"""Find which component of a path refuses a user, by modes and POSIX ACLs.

access(2) answers for the process that asks; the doctor asks for the daemon, another user, and wants to know
which component refuses. Rules: path_resolution(7), acl(5), capabilities(7). Limits that no mode shows (a
sandbox, a mount, NFS's root squash, SELinux) are not found here; the daemon's own report in ``status`` covers
them.
"""

from __future__ import annotations

import grp
import os
import pwd
import shlex
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass

READ, WRITE, SEARCH = 4, 2, 1

_DAC_OVERRIDE, _DAC_READ_SEARCH = 1 << 1, 1 << 2  # linux/capability.h
_USER_OBJ, _USER, _GROUP_OBJ, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32  # linux/posix_acl_xattr.h
_ACL_VERSION = 2

Acl = tuple[tuple[int, int, int], ...]
"""ACL entries: tag, permission bits, and the uid or gid of a named entry."""


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


@dataclass(frozen=True, slots=True)
class FileRights:
    """The rights on one file, by stat(2) and its ACL."""

    mode: int
    uid: int
    gid: int
    acl: Acl | None = None


@dataclass(frozen=True, slots=True)
class AccessObstacle:
    """The component that ended a walk along a path, and the missing rights (READ | WRITE | SEARCH).

    ``error`` is set if this process could not look, so that the other user's rights are unknown.
    """

    path: str
    wanted: int
    rights: FileRights | None = None
    error: OSError | None = None

    @property
    def missing(self) -> bool:
        """Return whether there is nothing at this path."""
        return isinstance(self.error, (FileNotFoundError, NotADirectoryError))


def user_of(uid: int) -> Credentials:
    """Return a user from the user database, with all its groups; uid 0 may do anything."""
    try:
        entry = pwd.getpwuid(uid)
        gids = frozenset(os.getgrouplist(entry.pw_name, entry.pw_gid))
    except KeyError:
        gids = frozenset()
    return Credentials(uid, gids, _DAC_OVERRIDE | _DAC_READ_SEARCH if uid == 0 else 0)


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


def allows(rights: FileRights, user: Credentials, wanted: int) -> bool:
    """Return whether a user has all wanted rights on a file: capabilities first, then the rules of acl(5)."""
    if _overridden(rights, user, wanted):
        return True
    entries = rights.acl or _entries_of_mode(rights)
    mask = next((bits for tag, bits, _ in entries if tag == _MASK), READ | WRITE | SEARCH)
    if user.uid == rights.uid:
        return _first(entries, _USER_OBJ) & wanted == wanted
    for tag, bits, identity in entries:
        if tag == _USER and identity == user.uid:
            return bits & mask & wanted == wanted
    groups = [
        bits & mask
        for tag, bits, identity in entries
        if (tag == _GROUP_OBJ and rights.gid in user.gids) or (tag == _GROUP and identity in user.gids)
    ]
    if groups:
        return any(bits & wanted == wanted for bits in groups)
    return _first(entries, _OTHER) & wanted == wanted


def rights_of(path: str) -> FileRights:
    """Return the rights on a path; symbolic links are followed.

    Raises:
        OSError: as stat(2).
    """
    status = os.stat(path)
    return FileRights(status.st_mode, status.st_uid, status.st_gid, _acl(path))


def first_obstacle(path: str, user: Credentials, wanted: int) -> AccessObstacle | None:
    """Return the first component on the way to a path that refuses a user; None if none does.

    Every directory above needs the right to search, the path itself the wanted rights.
    """
    steps = [(above, SEARCH) for above in _above(os.path.realpath(path))]
    for step, needed in [*steps, (os.path.realpath(path), wanted)]:
        try:
            rights = rights_of(step)
        except OSError as error:
            return AccessObstacle(step, needed, error=error)
        if not allows(rights, user, needed):
            return AccessObstacle(step, needed, rights)
    return None


def grant(obstacle: AccessObstacle, user: Credentials) -> str:
    """Return commands that give a user the missing rights; the one that gives least comes first."""
    letters = in_letters(obstacle.wanted)
    path = shlex.quote(obstacle.path)
    whose = user_class(obstacle.rights, user)
    if whose == "u":
        return f"chmod u+{letters} {path}"  # for an owner only the owner's bits count
    return f"setfacl -m u:{user.name}:{letters} {path}   or: chmod {whose}+{letters} {path}"


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


def parse_acl(data: bytes) -> Acl:
    """Parse the extended attribute ``system.posix_acl_access``.

    It is a version, then tag, permissions and id of each entry.

    Raises:
        ValueError: it has another version or shape.
    """
    if len(data) % 8 != 4 or struct.unpack_from("<I", data)[0] != _ACL_VERSION:
        raise ValueError("an access control list of another version")
    return tuple(struct.iter_unpack("<HHI", data[4:]))


def _acl(path: str) -> Acl | None:
    if not hasattr(os, "getxattr"):
        return None
    try:
        return parse_acl(os.getxattr(path, "system.posix_acl_access"))
    except (OSError, ValueError):
        return None  # no ACL, or a file system without ACLs: only the mode counts


def _overridden(rights: FileRights, user: Credentials, wanted: int) -> bool:
    if user.capabilities & _DAC_OVERRIDE:
        return bool(stat.S_ISDIR(rights.mode) or not wanted & SEARCH or rights.mode & 0o111)
    if user.capabilities & _DAC_READ_SEARCH:
        return not wanted & WRITE and (stat.S_ISDIR(rights.mode) or wanted == READ)
    return False


def _entries_of_mode(rights: FileRights) -> Acl:
    mode = rights.mode
    return (_USER_OBJ, mode >> 6 & 7, 0), (_GROUP_OBJ, mode >> 3 & 7, 0), (_OTHER, mode & 7, 0)


def _first(entries: Acl, wanted: int) -> int:
    return next((bits for tag, bits, _ in entries if tag == wanted), 0)


def _above(path: str) -> Iterator[str]:
    """Yield the directories above a path: ``/``, ``/home`` for ``/home/ann``."""
    parts = path.split(os.sep)
    for count in range(1, len(parts)):
        yield os.sep.join(parts[:count]) or os.sep
