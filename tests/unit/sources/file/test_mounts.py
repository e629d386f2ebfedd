"""Test which file systems are polled."""

from __future__ import annotations

import pytest

from coordd.sources.file.mounts import fstype_of, is_remote, is_remote_type, parse_mountinfo, remote_type

TABLE = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /home rw,relatime - ext4 /dev/vdb rw
31 30 0:44 / /home/u/far\040away rw shared:9 master:3 - nfs4 server:/x rw,vers=4.2
32 22 0:45 / /mnt rw - ext4 /dev/vdc rw
33 32 0:46 / /mnt rw - fuse.sshfs u@h:/ rw
34 22 0:47 / /homework rw - cifs //s/x rw
damaged line
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "ext4"),
        ("/home/u", "ext4"),
        ("/home/u/far away", "nfs4"),
        ("/home/u/far away/src/app", "nfs4"),
        ("/home/u/far awayness", "ext4"),
        ("/mnt/x", "fuse.sshfs"),
        ("/homework", "cifs"),
        ("/home", "ext4"),
    ],
)
def test_the_longest_and_last_mount_point_holds_a_path(path: str, expected: str) -> None:
    assert fstype_of(path, parse_mountinfo(TABLE)) == expected


def test_nothing_is_known_of_an_empty_table() -> None:
    assert fstype_of("/x", parse_mountinfo("")) is None


@pytest.mark.parametrize("fstype", ["nfs", "nfs4", "cifs", "smb3", "9p", "fuse", "fuse.sshfs", "virtiofs"])
def test_what_others_write_to_is_remote(fstype: str) -> None:
    assert is_remote_type(fstype)


@pytest.mark.parametrize("fstype", ["ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "apfs", "zfs"])
def test_what_only_this_machine_writes_to_is_not(fstype: str) -> None:
    assert not is_remote_type(fstype)


def test_this_machine_is_asked() -> None:
    assert not is_remote("/proc/self")
    assert remote_type("/proc/self/does/not/exist") is None
