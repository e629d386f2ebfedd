"""Know where running daemons leave word of themselves, for ``coordctl daemons``, and what they write there.

One file a daemon, in a folder of its user beside the usual socket; its name is made of the socket's path, so
that a daemon replaces what one before it left there. A file is a hint alone: a daemon runs where its socket
is answered by a process of this user or of root.
"""

from __future__ import annotations

import os

from coordd.protocol.paths import system_paths, user_paths
from coordd.util import fastjson
from coordd.util.digest import sha256_hex
from coordd.util.directories import open_directory
from coordd.util.regular_files import read_owned

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

FOLDER = "daemons"
ENDING = ".json"
MOST = 1000
"""Files that are read at most: those of daemons that were killed stay until the machine is restarted."""
_BYTES = 256 * 1024


class Registered:
    """What a daemon wrote of itself: its socket, its layout, and its project (None: it has none).

    ``about`` is all of it, and ``owner`` the uid that wrote it.
    """

    __slots__ = ("about", "layout", "owner", "root", "socket")

    def __init__(
        self, socket: str, layout: str, root: str | None, *, about: dict[str, object], owner: int
    ) -> None:
        self.socket = socket
        self.layout = layout
        self.root = root
        self.about = about
        self.owner = owner


def registry_folder(layout: str, environ: Mapping[str, str], platform: str) -> str:
    """Return the folder for daemons of a layout: the system's beside its socket, all others by their user."""
    paths = system_paths(platform) if layout == "system" else user_paths(environ, platform)
    return os.path.join(os.path.dirname(paths["socket"]), FOLDER)


def registry_folders(environ: Mapping[str, str], platform: str) -> list[str]:
    """Return where a client looks: as daemons do, with and without ``XDG_RUNTIME_DIR``, and the system's."""
    bare = {name: value for name, value in environ.items() if name != "XDG_RUNTIME_DIR"}
    return list(
        dict.fromkeys(
            [
                registry_folder("user", environ, platform),
                registry_folder("user", bare, platform),
                registry_folder("system", environ, platform),
            ]
        )
    )


def file_name(socket: str) -> str:
    """Return the name of the file of the daemon with this socket."""
    return sha256_hex(os.fsencode(os.path.abspath(socket)))[:16] + ENDING


def registered(folder: str) -> Iterator[Registered]:
    """Return what the files of a folder say; those of other users, and what is damaged, do not count."""
    try:
        directory = open_directory(folder)
    except OSError:
        return
    with directory:
        try:
            names = sorted(name for name in os.listdir(directory.fd) if name.endswith(ENDING))[:MOST]
        except OSError:
            return
        for name in names:
            found = _read(name, directory.fd)
            if found is not None:
                yield found


def registered_at(socket: str, environ: Mapping[str, str], platform: str) -> Registered | None:
    """Return what the daemon with this socket wrote of itself and did not take away at its end."""
    named = os.path.abspath(socket)
    for folder in registry_folders(environ, platform):
        try:
            with open_directory(folder) as directory:
                found = _read(file_name(named), directory.fd)
        except OSError:
            continue
        if found is not None and found.socket == named:
            return found
    return None


def _read(name: str, directory: int) -> Registered | None:
    try:
        data, owner = read_owned(name, _BYTES, directory=directory)
        document = fastjson.loads(data.decode())
    except (OSError, ValueError, RecursionError):
        return None
    if owner not in (0, os.geteuid()) or not isinstance(document, dict):
        return None
    socket, layout, root = (document.get(key) for key in ("socket", "layout", "root"))
    if not isinstance(socket, str) or not os.path.isabs(socket) or not isinstance(layout, str):
        return None
    project = root if isinstance(root, str) and os.path.isabs(root) else None
    return Registered(socket, layout, project, about=document, owner=owner)
