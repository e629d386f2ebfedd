"""Reach a socket that others may have made, and say why it refuses. Imported by client.py when needed."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat

from coordd.util.directories import open_directory
from coordd.util.text import escape

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
    try:
        owner = pwd.getpwuid(status.st_uid).pw_name
    except KeyError:
        owner = f"uid {status.st_uid}"
    advice = f"ask as the user {escape(owner)}"
    if status.st_mode & group_bit:
        try:
            group = grp.getgrgid(status.st_gid).gr_name
        except KeyError:
            group = f"gid {status.st_gid}"
        advice = f"join the group {escape(group)}, or {advice}"
    return f"{escape(path)}: permission denied by {escape(barrier)}: {advice}."
