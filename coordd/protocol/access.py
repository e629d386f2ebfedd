"""Reach a socket that others may have made, and say why it refuses. Imported by client.py when needed."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat

from coordd.util.directories import open_directory
from coordd.util.shell import shell_word
from coordd.util.text import escape

_PRIVILEGED = frozenset(
    (
        "adm",
        "admin",
        "audio",
        "dialout",
        "disk",
        "docker",
        "incus-admin",
        "input",
        "kmem",
        "kvm",
        "libvirt",
        "lxd",
        "netdev",
        "nobody",
        "nogroup",
        "operator",
        "plugdev",
        "podman",
        "render",
        "root",
        "shadow",
        "staff",
        "sudo",
        "systemd-journal",
        "tty",
        "utmp",
        "video",
        "wheel",
        "wireshark",
    )
)
_STATIC = 100
"""Groups below this number come with the system, for rights of its own."""

_LINK = "a link or a file stands in the way there; in a project no link is followed"


def open_socket(path: str, root: str) -> int | None:
    """Open a socket in the project ``root`` without following a link; None where sockets cannot be opened.

    The descriptor is the caller's to close; where there is no O_PATH, the path was only checked.

    Raises:
        OSError: ELOOP where a link or a file stands in the way, ENOTSOCK for anything but a socket; or as
            open(2).
    """
    folder, name = os.path.split(path)
    try:
        directory = open_directory(folder, root=root)
    except NotADirectoryError as error:
        raise OSError(errno.ELOOP, _LINK, error.filename) from None
    with directory:
        mode = os.lstat(name, dir_fd=directory.fd).st_mode
        if stat.S_ISLNK(mode):
            raise OSError(errno.ELOOP, _LINK, path)
        if not stat.S_ISSOCK(mode):
            raise OSError(errno.ENOTSOCK, "not a socket", path)
        if not hasattr(os, "O_PATH"):
            return None
        return os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory.fd)


def denial(path: str) -> str:
    """Return why this user may not connect, and who may: the socket refuses, or a directory above it."""
    barrier, group_bit = path, 0o020  # connecting needs write permission on the socket, unix(7)
    while True:
        try:
            status = os.stat(barrier)
            break
        except OSError:
            parent = os.path.dirname(os.path.abspath(barrier))
            if parent == barrier:
                return f"{escape(path)}: permission denied."
            barrier, group_bit = parent, 0o010
    advice = ask_as(status.st_uid, path, "status")
    if status.st_mode & group_bit and may_be_joined(status.st_gid):
        advice = f"{joining(status.st_gid)}; or {advice}"
    # no full stop behind a command, which is to be copied
    return f"{escape(path)}: permission denied by {escape(barrier)}: {advice}"


def ask_as(uid: int, socket: str, command: str) -> str:
    """Return how to ask the daemon behind a socket as another user, for whom another may be found first."""
    try:
        owner = pwd.getpwuid(uid).pw_name
    except KeyError:
        owner = f"uid {uid}"
        user = f"'#{uid}'"  # sudo(8)
    else:
        user = shell_word(owner)
    asked = f"coordctl --socket {shell_word(os.path.abspath(socket))} {command}"
    return f"ask as the user {escape(owner)}: sudo -u {user} {asked}"


def may_be_joined(gid: int) -> bool:
    """Return whether a person may be told to join a group: not one that gives rights over the machine."""
    try:
        return gid >= _STATIC and grp.getgrgid(gid).gr_name not in _PRIVILEGED
    except KeyError:
        return gid >= _STATIC


def joining(gid: int) -> str:
    """Return how this user comes to have the rights of a group."""
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        return f"join the group {gid}"
    try:
        me = pwd.getpwuid(os.geteuid())
        member = gid in os.getgrouplist(me.pw_name, me.pw_gid)
    except KeyError:
        return f"join the group {escape(group)}"
    if member:
        again = f"log in again, or: newgrp {shell_word(group)}"
        return f"you are in the group {escape(group)}, but not yet where this session began: {again}"
    command = f"sudo usermod -aG {shell_word(group)} {shell_word(me.pw_name)}"
    return f"join the group {escape(group)} ({command}, then log in again)"
