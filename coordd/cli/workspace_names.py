"""Find the workspace that a directory on the command line means, for several paths may lead to one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from coordd.errors import CoorddError
from coordd.util.untyped import as_dict, as_list, dicts

if TYPE_CHECKING:
    from coordd.cli.common import DaemonTarget


def workspace_named(target: DaemonTarget, directory: str | None) -> str | None:
    """Return the name of the workspace to which a directory leads; the directory where it leads to none.

    The daemon knows the names. One that does not answer leaves the directory as it is: whatever is asked for
    says so itself, or is read from files.
    """
    if not directory:
        return directory
    try:
        with target.connect() as client:
            workspaces = dicts(as_dict(client.call("status")).get("workspaces"))
    except CoorddError:
        return directory
    for path in dict.fromkeys((directory, os.path.realpath(directory))):
        for one in workspaces:
            name = one.get("path")
            if isinstance(name, str) and path in (name, *as_list(one.get("aliases"))):
                return name
    return directory
