"""The hardened unit: what it must not be able to do, tried from inside, and what it needs, all there."""

from __future__ import annotations

import json

import pytest
from box import REPOSITORY, Box, beat
from live import utc_now
from sandbox_probe import PROBE
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("box")]

WORKSPACE = "/home/ann/src/app"


def test_nothing_can_be_done_that_is_not_needed(box: Box) -> None:
    box.path("/opt/coordd/probe.py").write_text(PROBE)
    for place in ("/etc", "/usr", "/srv", "/home/ann", "/var/lib", "/run"):
        box.run("install", "-d", "-m", "0777", f"{place}/open")
    box.drop_in("[Service]\nExecStartPost=/opt/coordd/bin/python /opt/coordd/probe.py\n")
    box.run("systemctl", "restart", "coordd")
    outcome = json.loads(box.path("/var/lib/coordd/probe.json").read_text())
    box.path("/var/lib/coordd/probe.json").unlink()
    assert len(outcome) > 30
    assert {name for name, said in outcome.items() if said == "SUCCEEDED"} == set()


def test_no_capability_no_new_privilege_seccomp(box: Box) -> None:
    status = box.path(f"/proc/{box.main_pid()}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(fields[name], 16) == 0, name
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert set(fields["Uid"].split()) == {box.shell("id -u coordd").strip()}


def test_the_kernel_tells_it_of_a_set_clock_and_of_moved_directories(box: Box) -> None:
    """The filter of system calls leaves it timerfd and inotify: it does not have to look at intervals."""
    about = box.shell(f"cat /proc/{box.main_pid()}/fdinfo/*")
    assert "settime flags: 03" in about  # TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET
    links = box.shell(f"ls -l /proc/{box.main_pid()}/fd")
    # of the traces, what lies above them, homes of coding agents, and its own files
    assert links.count("inotify") == 4


def test_the_sample_from_inside_has_every_field(box: Box) -> None:
    sample = box.rpc("system.latest")
    missing = [name for name, value in sample.items() if value is None]
    assert missing == ["cgroup"], "the limits of its own unit say nothing of agents"
    assert [name for name, value in sample["self"].items() if value is None] == []
    assert {"total", "available", "percent", "buffers", "cached"} <= set(sample["memory_usage"])
    assert sample["load_average"] is not None
    assert not [m for m in box.journal() if "cannot be measured" in str(m["MESSAGE"])]


def test_other_users_processes_are_visible_to_it(box: Box) -> None:
    box.drop_in(
        "[Service]\nExecStartPost=sh -c 'ls -d /proc/[0-9]* >/var/lib/coordd/seen; "
        "cat /proc/1/stat >>/var/lib/coordd/seen'\n"
    )
    box.run("systemctl", "restart", "coordd")
    seen = box.path("/var/lib/coordd/seen").read_text()
    box.path("/var/lib/coordd/seen").unlink()
    assert "/proc/1\n" in seen
    assert "(systemd)" in seen


def test_another_users_heartbeat_in_their_home_is_seen_at_once(box: Box) -> None:
    assert box.shell("stat -c %a /home/ann").strip() == "750"  # readable through the group alone
    beat(box, WORKSPACE, "neighbour", "ann")
    eventually(lambda: box.rpc("agents.get", {"agent_id": "neighbour"})["status"] == "active")
    (workspace,) = box.rpc("status")["workspaces"]
    assert (workspace["path"], workspace["state"]) == (WORKSPACE, "inotify")


@pytest.mark.parametrize("url", ["redis://localhost:6379/0", "unix:///run/redis/redis.sock"])
def test_a_redis_is_reached_from_inside(box: Box, url: str) -> None:
    at = "--unixsocket /run/redis/redis.sock --unixsocketperm 777"
    serve = f"mkdir -p /run/redis; exec redis-server --save '' {at}"
    box.run("systemd-run", "--unit=redis-test", "sh", "-c", serve)
    try:
        eventually(lambda: "PONG" in box.try_("redis-cli", "ping").stdout)
        box.run("redis-cli", "set", "heartbeat:far", utc_now())
        path = box.path("/etc/coordd/coordd.toml")
        path.write_text(f'[coordination]\nredis_url = "{url}"\n')
        box.run("systemctl", "restart", "coordd")
        eventually(lambda: box.rpc("status")["redis"]["connected"])
        eventually(lambda: box.rpc("agents.get", {"agent_id": "far"})["sources"] == ["redis"])
        eventually(lambda: "metrics:system:" in box.run("redis-cli", "--scan"))
    finally:
        box.run("systemctl", "stop", "redis-test")


def test_the_units_have_no_fault(box: Box) -> None:
    for unit, manager in (("coordd.service", "--system"), ("coordd-user.service", "--user")):
        path = f"/tmp/{unit.replace('-user', '')}" if manager == "--user" else f"/etc/systemd/system/{unit}"
        if manager == "--user":
            box.path(path).write_text(box.run("coordd", "service", "print", "--user"))
        done = box.try_(
            "systemd-analyze", "verify", "--man=no", manager, path, env={"XDG_RUNTIME_DIR": "/run"}
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_exposure_is_small(box: Box) -> None:
    unit = "/etc/systemd/system/coordd.service"
    done = box.try_("systemd-analyze", "security", "--offline=true", "--threshold=15", unit)
    assert done.returncode == 0, done.stdout
    assert box.run("coordd", "service", "print", "--system") == box.path(unit).read_text()


def test_every_directive_that_is_left_out_has_its_reason(box: Box) -> None:
    said = box.run(
        *("systemd-analyze", "security", "--offline=true", "--json=short"),
        "/etc/systemd/system/coordd.service",
    )
    text = (REPOSITORY / "packaging/systemd/coordd.service.in").read_text()
    comments = "\n".join(line for line in text.splitlines() if line.startswith("#"))
    for row in json.loads(said):
        directive = (row["name"] or row["json_field"]).partition("=")[0]
        if float(row["exposure"] or 0) > 0:
            assert directive in comments, f"{row['name']} is exposed, and no comment says why"
