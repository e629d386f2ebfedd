"""Try what a user may do, in a child process that takes this user's uid, groups and capabilities.

So ACLs, file servers and security modules are taken into account. Only root can try as another user. A child
that hangs in a mount is killed and not waited for, since such a process cannot die.
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import stat
import sys
import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

from coordd.cli.doctor.access import SEARCH, AccessObstacle, Credentials, FileRights, primary_group, process
from coordd.errors import CannotTell
from coordd.util.regular_files import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import NoReturn

DEADLINE = 5.0
"""Seconds for one trial."""

LOOP = "a symbolic link that leads to itself"
_PR_SET_KEEPCAPS = 8  # linux/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h


def as_user(user: Credentials, act: Callable[[], object], *, seconds: float = DEADLINE) -> Any:
    """Return what ``act`` returns, which JSON has to be able to carry, when this user calls it.

    Raises:
        CannotTell: it cannot be tried.
        OSError: it hangs, or ``act`` raised OSError or ValueError.
    """
    if os.geteuid() not in (0, user.uid):
        raise CannotTell(f"only root can try what {user.name} may do")
    me = process(os.getpid())
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # of other threads, such as the one that waits for a check: the child takes no lock of theirs
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        _child(user, me, act, writer)
    os.close(writer)
    try:
        answer = b"".join(_until_end(reader, seconds))
    except TimeoutError:
        os.kill(child, signal.SIGKILL)
        raise TimeoutError(f"no answer within {seconds:g} s; does the file system hang?") from None
    finally:
        os.close(reader)
    os.waitpid(child, 0)
    try:
        said = json.loads(answer)
    except ValueError:
        raise CannotTell("it could not be tried") from None
    if isinstance(said, str):
        raise OSError(said)
    return said[0]


def first_obstacle(path: str, user: Credentials, wanted: int) -> AccessObstacle | None:
    """Return the first component on the way to a path that refuses a user; None if none does.

    Every directory above needs the right to search, the path itself the wanted rights.

    Raises:
        CannotTell, OSError: as :func:`as_user`.
    """
    return find_obstacle(user, partial(obstacle_on_the_way, path, wanted))


def find_obstacle(user: Credentials, find: Callable[[], AccessObstacle | None]) -> AccessObstacle | None:
    """Return the obstacle that ``find`` meets when this user calls it; raises as :func:`as_user`."""
    said = as_user(user, find)
    if said is None:
        return None
    path, wanted, rights, *rest = said
    return AccessObstacle(path, wanted, rights and FileRights(*rights), *rest)


def obstacle_on_the_way(path: str, wanted: int) -> AccessObstacle | None:
    """Return the same as :func:`first_obstacle`, for the user of this process."""
    real = os.path.realpath(path)
    steps = [(above, SEARCH) for above in _above(real)]
    for step, needed in [*steps, (real, wanted)]:
        found = obstacle_on(step, needed)
        if step != real and (found is None or found.errno is None):
            found = no_directory(step) or found
        if found is not None and found.errno == errno.ELOOP:
            return found._replace(kind=LOOP)
        if found is not None:
            return found
    return None


def no_directory(path: str, *, follow: bool = True) -> AccessObstacle | None:
    """Return the obstacle that something else than a directory is at a path; None where nothing else is."""
    try:
        mode = os.stat(path, follow_symlinks=follow).st_mode
    except OSError as error:
        if error.errno == errno.ELOOP:
            return AccessObstacle(path, SEARCH, errno=error.errno, kind=LOOP)
        return None
    if stat.S_ISDIR(mode):
        return None
    return AccessObstacle(path, SEARCH, errno=errno.ENOTDIR, kind=kind_of(mode))


def obstacle_on(path: str, wanted: int) -> AccessObstacle | None:
    """Return what keeps the user of this process from these rights on a path that can be looked at."""
    try:
        state = os.stat(path)
    except OSError as error:
        return AccessObstacle(path, wanted, errno=error.errno)
    # by the effective ids: only so do capabilities count
    if os.access(path, wanted, effective_ids=os.access in os.supports_effective_ids):
        return None
    return AccessObstacle(path, wanted, FileRights(state.st_mode, state.st_uid, state.st_gid))


def _child(user: Credentials, me: Credentials | None, act: Callable[[], object], writer: int) -> NoReturn:
    try:
        if os.geteuid() == 0 and user != me:
            _become(user, user.capabilities & (me.capabilities if me else 0))
        try:
            said: object = [act()]
        except (OSError, ValueError) as error:  # ValueError: a path with a zero byte in it
            said = str(error)
        os.write(writer, json.dumps(said).encode())
    finally:
        os._exit(0)


def _become(user: Credentials, capabilities: int) -> None:
    capset = None
    if sys.platform == "linux":
        import ctypes

        libc = ctypes.CDLL(None, use_errno=True)
        capset, words = libc.capset, ctypes.c_uint32
        libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)  # setuid would drop them, and root would keep all
    os.setgroups(sorted(user.gids))
    os.setgid(primary_group(user))
    os.setuid(user.uid)
    if capset is not None:
        low, high = capabilities & 0xFFFFFFFF, capabilities >> 32
        if capset((words * 2)(_CAPABILITY_VERSION_3, 0), (words * 6)(low, low, 0, high, high, 0)):
            raise OSError(ctypes.get_errno(), "capset")


def _until_end(reader: int, seconds: float) -> Iterator[bytes]:
    deadline = time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([reader], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError
        block = os.read(reader, 65536)
        if not block:
            return
        yield block


def _above(path: str) -> Iterator[str]:
    """Yield the directories above a path: ``/``, ``/home`` for ``/home/ann``."""
    parts = path.split(os.sep)
    for count in range(1, len(parts)):
        yield os.sep.join(parts[:count]) or os.sep
