"""Control groups: what is parsed of them, and what is measured in real ones with limits."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from groups import entering, limited

from coordd.host import cgroup
from coordd.host.cgroup import GroupReading, read_groups, usage_of
from coordd.host.cgroup_files import GroupPlace, field_in, limit_in, place_of, processors_in
from coordd.host.process import CpuUse
from coordd.model import CgroupUsage

MIB = 1 << 20
V2 = "30 23 0:26 {root} {top} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = (
    "35 30 0:31 {root} {top}/memory rw - cgroup cgroup rw,memory\n"
    "36 30 0:32 {root} {top}/cpu rw - cgroup cgroup rw,cpu,cpuacct"
)
UNIT = "/system.slice/app.service"


@pytest.mark.parametrize(
    ("membership", "mounts", "place"),
    [
        ("0::/", V2.format(root="/", top="/sys/fs/cgroup"), (2, "/sys/fs/cgroup", "/sys/fs/cgroup")),
        (f"0::{UNIT}", V2.format(root="/", top="/cg"), (2, "/cg", f"/cg{UNIT}")),
        # a container with the host's name of its group, which is mounted as the root
        ("0::/docker/a1", V2.format(root="/docker/a1", top="/cg"), (2, "/cg", "/cg")),
        ("0::/docker/a1/inner", V2.format(root="/docker/a1", top="/cg"), (2, "/cg", "/cg/inner")),
        ("0::/docker/a12", V2.format(root="/docker/a1", top="/cg"), (2, "/cg", "/cg")),
        ("0::/../other", V2.format(root="/", top="/cg"), (2, "/cg", "/cg")),
        ("0::/", V2.format(root="/", top="/c\\040g"), (2, "/c g", "/c g")),
        ("4:memory:/a/b\n0::/x", V1.format(root="/", top="/cg"), (1, "/cg/memory", "/cg/memory/a/b")),
        # both versions at once: the controller is where version 1 has it
        ("4:memory:/a\n0::/x", f"{V2.format(root='/', top='/u')}\n{V1.format(root='/', top='/c')}",
         (1, "/c/memory", "/c/memory/a")),
        ("1:name=systemd:/a\n0::/x", V2.format(root="/", top="/u"), (2, "/u", "/u/x")),
        ("", V2.format(root="/", top="/cg"), None),
        ("0::/", "", None),
        ("0::/", "no mount at all\n - \n", None),
        ("nonsense", "nonsense", None),
    ],
)  # fmt: skip
def test_where_a_group_lies(membership: str, mounts: str, place: tuple[int, str, str] | None) -> None:
    assert place_of("memory", membership, mounts) == (None if place is None else GroupPlace(*place))


def test_the_groups_around_a_group() -> None:
    assert GroupPlace(2, "/cg", "/cg/a/b").levels() == ["/cg/a/b", "/cg/a", "/cg"]
    assert GroupPlace(2, "/cg", "/cg").levels() == ["/cg"]


@pytest.mark.parametrize(
    ("content", "limit"),
    [("max\n", None), ("536870912\n", 512 * MIB), ("9223372036854771712", None), ("", None), ("-1", None)],
)
def test_a_limit_that_is_none_is_none(content: str, limit: int | None) -> None:
    assert limit_in(content) == limit


@pytest.mark.parametrize(
    ("quota", "period", "processors"),
    [("150000", "100000\n", 1.5), ("max", "100000", None), ("-1\n", "100000", None), ("5", "0", None)],
)
def test_processors_of_a_quota(quota: str, period: str, processors: float | None) -> None:
    assert processors_in(quota, period) == processors


def test_a_field_of_many() -> None:
    assert field_in("cache 5\ninactive_file 7\nodd\n", "total_inactive_file", "inactive_file") == 7
    assert field_in("cache 5", "usage_usec") is None


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files as a kernel with version 2 shows them; the process is in ``/team/agent``."""
    monkeypatch.setattr(cgroup, "_MEMBERSHIP", str(tmp_path / "membership"))
    monkeypatch.setattr(cgroup, "_MOUNTS", str(tmp_path / "mounts"))
    (tmp_path / "membership").write_text("0::/team/agent\n")
    (tmp_path / "mounts").write_text(V2.format(root="/", top=tmp_path / "cg") + "\n")
    (tmp_path / "cg/team/agent").mkdir(parents=True)
    return tmp_path / "cg"


def group(folder: Path, **files: object) -> None:
    for name, content in files.items():
        (folder / name.replace("_", ".", 1)).write_text(f"{content}\n")


def test_the_least_limit_of_nested_groups_counts_with_its_usage(tree: Path) -> None:
    group(tree / "team/agent", memory_max="max", memory_current=MIB, cpu_max="200000 100000")
    group(tree / "team", memory_max=512 * MIB, memory_current=300 * MIB, memory_stat="inactive_file 1048576")
    group(tree / "team", cpu_max="50000 100000", cpu_stat="usage_usec 2000000")
    group(tree, memory_max=600 * MIB, memory_current=400 * MIB)
    found = read_groups(7.0, memory=1 << 40, cpus=64)
    assert found == GroupReading(300 * MIB, 299 * MIB, 512 * MIB, 0.5, str(tree / "team"), CpuUse(7.0, 2.0))


def test_a_limit_that_the_machine_is_within_is_none(tree: Path) -> None:
    group(tree / "team", memory_max=512 * MIB, memory_current=MIB, cpu_max="200000 100000")
    assert read_groups(0.0, memory=512 * MIB, cpus=2) is None
    assert read_groups(0.0, memory=513 * MIB, cpus=2) == GroupReading(MIB, MIB, 512 * MIB)


def test_a_service_of_coordds_own_says_nothing_of_the_agents(tree: Path, tmp_path: Path) -> None:
    (tree / "team/coordd.service").mkdir()
    (tmp_path / "membership").write_text("0::/team/coordd.service\n")
    group(tree / "team/coordd.service", memory_max=MIB, memory_current=1, cgroup_procs=os.getpid())
    assert read_groups(0.0, memory=1 << 40, cpus=64) is None
    group(tree / "team/coordd.service", cgroup_procs=f"{os.getpid()}\n999999")  # a reload is under way
    assert read_groups(0.0, memory=1 << 40, cpus=64) is None
    group(tree / "team", memory_max=9 * MIB, memory_current=5 * MIB)
    assert read_groups(0.0, memory=1 << 40, cpus=64) == GroupReading(5 * MIB, 5 * MIB, 9 * MIB)
    # what started it is in it, and so are the agents that this starts as well
    group(tree / "team/coordd.service", cgroup_procs=f"{os.getpid()}\n{os.getppid()}")
    assert read_groups(0.0, memory=1 << 40, cpus=64) == GroupReading(1, 1, MIB)


def test_what_is_used_of_the_limits() -> None:
    before = GroupReading(cpu_max=0.5, cpu_of="/a", cpu=CpuUse(10.0, 1.0))
    now = GroupReading(300, 256, 512, 0.5, "/a", CpuUse(20.0, 3.0))
    assert usage_of(before, now) == CgroupUsage(300, 256, 512, 50.0, 0.5, 40.0)
    assert usage_of(None, now) == CgroupUsage(300, 256, 512, 50.0, 0.5, None)
    elsewhere = GroupReading(cpu_max=0.5, cpu_of="/b", cpu=CpuUse(10.0, 1.0))
    assert usage_of(elsewhere, now) == CgroupUsage(300, 256, 512, 50.0, 0.5, None)
    assert usage_of(now, None) is None


@pytest.mark.skipif(sys.platform != "linux", reason="control groups are Linux's")
def test_the_real_groups_of_this_machine_can_be_read() -> None:
    found = read_groups(0.0, memory=1 << 60, cpus=1 << 20)
    assert found is None or found.memory_max is not None or found.cpu_max is not None


WITHIN = """
import time
from coordd.host.sampler import HostSampler
held = bytearray(24 << 20)
sampler = HostSampler()
sampler.prime(time.monotonic())
end = time.process_time() + 0.3
while time.process_time() < end:
    pass
got = sampler.read(time.monotonic())
assert sampler.errors == {}, sampler.errors
c = got.cgroup
assert c is not None and c.memory_max == 64 << 20, c
assert c.memory_used is not None and len(held) <= c.memory_used <= c.memory_current <= c.memory_max, c
assert c.memory_percent == round(100 * c.memory_used / c.memory_max, 1), c
assert c.cpu_max == 0.5, c
assert c.cpu_percent is not None and c.cpu_percent > 0, c
assert got.memory_usage["total"] > 64 << 20  # the machine's is told beside it
"""


@pytest.mark.root
def test_a_real_group_with_limits() -> None:
    with limited(memory=64 * MIB, cpu=0.5) as groups:
        assert {"memory", "cpu"} <= groups.keys()
        done = subprocess.run(
            [*entering(groups), sys.executable, "-c", WITHIN],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
