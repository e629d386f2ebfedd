"""Let root touch what is in somebody else's project with that one's rights alone.

A project's owner can put a link in the place of any folder in it, at any moment. What root reads and writes
there with all its rights could so be led anywhere; with the owner's rights it leads to nothing that the owner
could not have done. What is made that way belongs to the owner.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class Owner(NamedTuple):
    """A user and a group by their numbers."""

    uid: int
    gid: int


def owner_among(paths: Iterable[str]) -> Owner | None:
    """Return the first owner of these paths that is not root; None if there is none, or this is not root.

    A path that does not exist is passed over, and of a link its own owner counts.
    """
    if os.geteuid() != 0:
        return None
    for path in paths:
        try:
            state = os.lstat(path)
        except OSError:
            continue
        if state.st_uid != 0:
            return Owner(state.st_uid, state.st_gid)
    return None


@contextmanager
def acting_as(owner: Owner | None) -> Iterator[None]:
    """Act with the rights of an owner while the context lasts; None changes nothing.

    Raises:
        OSError: root may not do that here, as in some containers.
    """
    if owner is None:
        yield
        return
    groups, gid = os.getgroups(), os.getegid()
    try:
        os.setgroups([])
        os.setegid(owner.gid)
        os.seteuid(owner.uid)
        yield
    finally:
        os.seteuid(0)
        os.setegid(gid)
        os.setgroups(groups)
