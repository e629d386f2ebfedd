"""Rights on a path by modes and ACLs, as the kernel has them."""

from __future__ import annotations

import errno
import json
import os
import stat
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from doctor_facts import ROOT, STRANGER, facts
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli.doctor.access import (
    READ,
    SEARCH,
    WRITE,
    AccessObstacle,
    Credentials,
    FileRights,
    allows,
    first_obstacle,
    grant,
    in_letters,
    parse_acl,
    process,
    rights_of,
)


@given(st.integers(0, 0o777), st.integers(0, 7))
def test_the_owner_has_the_owners_bits_and_no_others(mode: int, wanted: int) -> None:
    rights = FileRights(stat.S_IFREG | mode, 10, 20)
    assert allows(rights, Credentials(10, frozenset([20])), wanted) == ((mode >> 6) & wanted == wanted)
    assert allows(rights, Credentials(11, frozenset([20, 3])), wanted) == ((mode >> 3) & wanted == wanted)
    assert allows(rights, Credentials(11, frozenset([3])), wanted) == (mode & wanted == wanted)


def test_capabilities_read_all_and_write_only_with_override() -> None:
    closed = FileRights(stat.S_IFDIR, 10, 20)
    reader = Credentials(0, frozenset(), 0b100)
    assert allows(closed, reader, READ | SEARCH)
    assert not allows(closed, reader, WRITE)
    assert allows(closed, ROOT, READ | WRITE | SEARCH)
    assert not allows(FileRights(stat.S_IFREG | 0o644, 10, 20), ROOT, SEARCH)  # to run it, one x is needed
    assert not allows(closed, Credentials(0, frozenset()), READ)  # root without capabilities is a user


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NONE = 0xFFFFFFFF


def test_an_acl_decides_before_the_mode() -> None:
    entries = parse_acl(
        acl(
            (USER_OBJ, 6, NONE),
            (USER, 5, 30),
            (GROUP_OBJ, 4, NONE),
            (GROUP, 7, 40),
            (MASK, 5, NONE),
            (OTHER, 0, NONE),
        )
    )
    rights = FileRights(stat.S_IFDIR | 0o650, 10, 20, entries)
    assert allows(rights, Credentials(30, frozenset()), READ | SEARCH)
    assert not allows(rights, Credentials(30, frozenset([40])), WRITE)  # the named user's entry, and masked
    assert allows(rights, Credentials(31, frozenset([40])), READ | SEARCH)
    assert allows(rights, Credentials(31, frozenset([20])), READ)
    assert not allows(rights, Credentials(31, frozenset([20])), SEARCH)
    assert not allows(rights, Credentials(31, frozenset([1])), READ)
    assert allows(rights, Credentials(10, frozenset()), READ | WRITE)  # no mask for the owner


@pytest.mark.parametrize("data", [b"", b"\x02\0\0\0\1", struct.pack("<I", 1)])
def test_what_is_no_acl(data: bytes) -> None:
    with pytest.raises(ValueError, match="another version"):
        parse_acl(data)


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


# The kernel's own verdict on files of many modes and owners, as several users.
ASK = r"""
import json, os, sys
answers = []
for uid, gid, groups in json.loads(sys.argv[2]):
    if os.fork() == 0:
        os.setgroups(groups); os.setresgid(gid, gid, gid); os.setresuid(uid, uid, uid)
        got = {p: sum(b for b in (4, 2, 1) if os.access(p, b)) for p in json.loads(sys.argv[1])}
        os.write(1, json.dumps([uid, gid, groups, got]).encode() + b"\n"); os._exit(0)
    os.wait()
"""


@pytest.mark.root
def test_rights_are_what_the_kernel_grants(open_directory: Path) -> None:
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
    users = [(4001, 5001, []), (4002, 5002, [5001]), (4003, 5003, [5002]), (4004, 5004, []), (0, 0, [])]
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(paths), json.dumps(users)],
        text=True,
        capture_output=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(users)
    own = process(os.getpid())
    assert own is not None
    for uid, gid, groups, granted in lines:
        who = Credentials(uid, frozenset([gid, *groups]), own.capabilities if uid == 0 else 0)
        for path, bits in granted.items():
            mine = sum(bit for bit in (READ, WRITE, SEARCH) if allows(rights_of(path), who, bit))
            assert mine == bits, (path, who, rights_of(path))
