"""Rights on a path, as the kernel has them, and the words for what is missing."""

from __future__ import annotations

import errno
import os
import signal
import stat
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from doctor_facts import ROOT, STRANGER, facts

from coordd.cli.doctor.access import (
    READ,
    SEARCH,
    WRITE,
    AccessObstacle,
    Credentials,
    FileRights,
    grant,
    in_letters,
    process,
)
from coordd.cli.doctor.trying import as_user, first_obstacle, obstacle_on_the_way
from coordd.errors import CannotTell


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NONE = 0xFFFFFFFF


@pytest.mark.root
def test_the_first_closed_component_is_named(open_directory: Path) -> None:
    deep = open_directory / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for path in (open_directory / "a", open_directory / "a" / "b", deep):
        path.chmod(0o755)
    assert first_obstacle(str(deep), STRANGER, READ | SEARCH) is None
    deep.chmod(0o711)
    found = first_obstacle(str(deep), STRANGER, READ | SEARCH)
    assert found is not None
    assert (found.path, found.wanted) == (str(deep), READ | SEARCH)
    (open_directory / "a").chmod(0o700)
    (open_directory / "link").symlink_to(deep)
    found = first_obstacle(str(open_directory / "link"), STRANGER, READ | SEARCH)
    assert found is not None
    assert (found.path, found.wanted) == (str(open_directory / "a"), SEARCH)
    missing = first_obstacle(str(deep / "nothing"), facts().me, READ)
    assert missing is not None
    assert (missing.path, missing.missing) == (str(deep / "nothing"), True)


def test_a_grant_is_as_narrow_as_it_can_be() -> None:
    theirs = AccessObstacle("/home/ann x", SEARCH, FileRights(stat.S_IFDIR | 0o700, 1, 2))
    assert grant(theirs, STRANGER) == "setfacl -m u:4000001:x '/home/ann x'   or: chmod o+x '/home/ann x'"
    assert grant(theirs, Credentials(9, frozenset([2]))).endswith("or: chmod g+x '/home/ann x'")
    assert grant(theirs, Credentials(1, frozenset())) == "chmod u+x '/home/ann x'"
    assert in_letters(READ | WRITE | SEARCH) == "rwx"


def test_a_process_is_who_the_kernel_says() -> None:
    me = process(os.getpid())
    assert me is not None
    assert me.uid == os.geteuid()
    assert me.gids == frozenset([os.getegid(), *os.getgroups()])
    assert process(2**22 + 1) is None


@pytest.mark.root
def test_a_process_is_the_user_it_acts_as() -> None:
    act = "import os, sys; os.setegid(4002); os.seteuid(4001); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", act], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as acting:
        assert acting.stdout is not None
        acting.stdout.readline()
        who = process(acting.pid)
        acting.communicate()
    assert who is not None
    assert (who.uid, 4002 in who.gids, who.capabilities) == (4001, True, 0)


def own_rights(paths: list[str]) -> dict[str, int]:
    """What this process may do with files, by opening them."""
    found = {}
    for path in paths:
        found[path] = 0
        for bit, flag in ((READ, os.O_RDONLY), (WRITE, os.O_WRONLY)):
            try:
                os.close(os.open(path, flag))
            except PermissionError:
                continue
            found[path] |= bit
    return found


def judged_rights(paths: list[str]) -> dict[str, int]:
    """What this process may do with files, as the doctor finds out."""
    return {path: sum(bit for bit in (READ, WRITE) if not obstacle_on_the_way(path, bit)) for path in paths}


@pytest.mark.root
def test_rights_are_what_the_kernel_grants(open_directory: Path) -> None:
    """What can be opened has no obstacle, and the other way round: modes, ACLs, groups, capabilities."""
    paths = []
    for mode in (0, 0o400, 0o040, 0o004, 0o750, 0o705, 0o057, 0o644, 0o711, 0o777, 0o070, 0o007):
        for uid, gid in ((0, 0), (4001, 5001), (4002, 5002)):
            path = open_directory / f"{mode:o}-{uid}"
            path.touch()
            os.chown(path, uid, gid)
            path.chmod(mode)
            paths.append(str(path))
    for index, path in enumerate(paths[:12]):
        entries = [(USER_OBJ, 6, NONE), (USER, index % 8, 4001), (GROUP_OBJ, 4, NONE)]
        entries += [(GROUP, 7 - index % 8, 5002), (MASK, 5, NONE), (OTHER, index % 3, NONE)]
        try:
            os.setxattr(path, "system.posix_acl_access", acl(*entries))
        except OSError as error:
            assert error.errno == errno.ENOTSUP  # this file system has none
    users = [
        *(Credentials(4001, frozenset([5001])), Credentials(4002, frozenset([5002, 5001]))),
        *(Credentials(4003, frozenset([5003, 5002])), Credentials(4004, frozenset([5004]))),
        *(Credentials(0, frozenset([0])), ROOT, Credentials(0, frozenset([0]), 0b100)),
        *(Credentials(4004, frozenset([5004]), 0b100), Credentials(4004, frozenset([5004]), 0b010)),
    ]
    for who in users:
        granted, judged = as_user(who, lambda: (own_rights(paths), judged_rights(paths)))
        assert judged == granted, who
    closed = str(open_directory / "0-4001")
    everything, nothing = READ | WRITE, 0
    assert as_user(ROOT, lambda: own_rights([closed])) == {closed: everything}
    assert as_user(Credentials(4004, frozenset(), 0b100), lambda: own_rights([closed])) == {closed: READ}
    assert as_user(Credentials(0, frozenset([0])), lambda: own_rights([closed])) == {closed: nothing}


def test_a_trial_that_hangs_or_dies_is_no_answer() -> None:
    me = process(os.getpid())
    assert me is not None

    def hang() -> None:
        time.sleep(600)

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(TimeoutError, match="does the file system hang"):
        as_user(me, hang, seconds=0.2)
    with pytest.raises(CannotTell, match="could not be tried"):
        as_user(me, die)
    with pytest.raises(CannotTell, match="could not be tried"):
        as_user(me, lambda: 1 // 0)
    with pytest.raises(OSError, match="null"):
        as_user(me, lambda: os.stat("\0"))
    assert as_user(me, lambda: "why") == "why"
    assert as_user(me, lambda: None) is None


@pytest.mark.root
def test_only_root_can_try_as_another_user() -> None:
    def from_there() -> str | None:
        try:
            as_user(ROOT, lambda: None)
        except CannotTell as error:
            return str(error)
        return None

    assert as_user(STRANGER, from_there) == "only root can try what root may do"
    assert as_user(STRANGER, lambda: as_user(STRANGER, os.geteuid)) == STRANGER.uid
