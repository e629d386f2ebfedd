"""Choose one of the three layouts, and the paths that follow from it.

A layout that was named wins. One workspace, named or found above the current directory, means the project
layout; several or none mean the user layout. The paths come from coordd/protocol/paths.py, which the clients
use as well. Chooses and checks; makes nothing (coordd/util/directories.py does), and knows nothing of
configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from coordd.errors import StartError
from coordd.protocol.paths import project_paths, system_paths, user_paths, workspace_above
from coordd.util.shell import shell_word

LayoutName = Literal["project", "user", "system"]


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a daemon finds its configuration and keeps its files; each path is absolute.

    ``root`` is the workspace of the project layout by its canonical path, None otherwise. ``metrics_dir``,
    ``log_dir`` and ``socket`` are defaults that a configuration may replace.
    """

    name: LayoutName
    root: str | None
    config_file: str
    socket: str
    metrics_dir: str
    log_dir: str
    snapshot: str

    @property
    def defaults(self) -> dict[str, object]:
        """The values of those keys of the configuration that the layout decides."""
        return {
            "coordination.workspaces": () if self.root is None else (self.root,),
            "storage.metrics_dir": self.metrics_dir,
            "storage.log_dir": self.log_dir,
            "control.socket": self.socket,
        }


def choose_layout(
    *, name: str | None, workspaces: Sequence[str], cwd: str, environ: Mapping[str, str], platform: str
) -> Layout:
    """Return the layout for what was asked on the command line.

    Args:
        name: ``--layout`` or COORDD_LAYOUT; None or empty where neither was given.
        workspaces: those named by ``--workspace``, as given: relative ones are taken from ``cwd``.
        cwd: the current directory, absolute.
        environ: HOME and the XDG directories.
        platform: ``sys.platform``.

    Raises:
        StartError: an unknown name, or the project layout for several workspaces.
    """
    if name == "system":
        return Layout(name="system", root=None, **system_paths(platform))
    if name == "user":
        return Layout(name="user", root=None, **user_paths(environ, platform))
    if name not in ("project", None, ""):
        raise StartError(f"no layout is called {name!r}: use project, user or system")
    root = _project_root(asked=name == "project", workspaces=workspaces, cwd=cwd, environ=environ)
    if root is None:
        return Layout(name="user", root=None, **user_paths(environ, platform))
    root = os.path.realpath(root)  # resolved once; no link is followed below it
    return Layout(name="project", root=root, **project_paths(root))


def check_project_directories(layout: Layout) -> None:
    """Refuse a project in which ``.claude``, or a folder in it that coordd writes, is a symbolic link.

    A stranger may have written the project: a symbolic link in it would decide which of the user's files
    coordd creates, appends to and deletes. The root itself may be reached by any path; it is canonical by
    now. The other two layouts are not checked.

    Raises:
        StartError: one of these is a link.
    """
    if layout.root is None:
        return
    claude = os.path.join(layout.root, ".claude")
    for path in (claude, *(os.path.join(claude, part) for part in ("run", "metrics", "logs"))):
        try:
            target = os.readlink(path)
        except OSError:  # not a link; other errors are reported when it is opened
            continue
        real = os.path.realpath(path)
        owner = os.path.dirname(real) if path == claude and os.path.basename(real) == ".claude" else None
        watch = (
            "" if owner is None else f" or watch that project, coordd run --workspace {shell_word(owner)},"
        )
        raise StartError(
            f"{path} is a symbolic link (to {target}), and below a project coordd follows none: a clone "
            f"would decide where it writes. Remove the link,{watch} or use --layout user."
        )


def _project_root(
    *, asked: bool, workspaces: Sequence[str], cwd: str, environ: Mapping[str, str]
) -> str | None:
    if len(workspaces) == 1:
        root = os.path.abspath(os.path.join(cwd, _without_tilde(workspaces[0], environ)))
        if not any(c in root for c in "*?[") or os.path.isdir(root):
            return root
    if workspaces:
        if asked:
            raise StartError("the project layout has one workspace: use --layout user for several")
        return None
    above = workspace_above(cwd)
    return os.path.abspath(cwd) if above is None and asked else above


def _without_tilde(path: str, environ: Mapping[str, str]) -> str:
    # the shell leaves the tilde of --workspace=~/src/app alone
    home = environ.get("HOME")
    return home + path[1:] if home and (path == "~" or path.startswith("~/")) else path
