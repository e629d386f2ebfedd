"""As a new user does it, on a fresh root: install, ask, upgrade, boot again, uninstall, purge."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from box import NEXT, Box, beat, booted, install_wheel, make_root
from waiting import eventually

from coordd import __version__

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("fresh")]

UNIT = "/etc/systemd/system/coordd.service"
TOKEN = "/etc/coordd/dashboard.token"
CONFIG = "/etc/coordd/coordd.toml"


@pytest.fixture
def fresh(tmp_path: Path, wheels: Path) -> Iterator[Box]:
    root = tmp_path / "root"
    make_root(root)
    try:
        with booted(tmp_path / "fresh", wheels=wheels, lower=str(root), target="multi-user.target") as box:
            yield box
    finally:
        shutil.rmtree(root)


def files(box: Box) -> set[str]:
    """What there is on the disk, but for what pip makes and what any boot writes."""
    found = box.shell("find / -xdev -not -path '/opt/*' -not -path '/var/log/journal*' -not -path '/root/*'")
    return {
        line
        for line in found.splitlines()
        if not line.startswith(("/tmp/", "/var/tmp/", "/var/lib/systemd/"))
    }


@pytest.mark.timeout(400)  # a whole Debian is made first
def test_install_ask_upgrade_boot_uninstall_purge(fresh: Box) -> None:
    fresh.run("useradd", "--create-home", "--shell", "/bin/sh", "dev")
    fresh.run("mkdir", "-p", "/home/dev/src/app/.claude/coordination/agents", user="dev")
    fresh.run("chmod", "0700", "/home/dev")
    before = files(fresh)

    install_wheel(fresh, f"coordd[dashboard,alerts]<{NEXT}")
    said = fresh.run(
        *("coordd", "service", "install", "--system", "--dashboard", "--alerts", "-w", "/home/*/src/*"),
        env={"SUDO_USER": "dev"},
    )
    assert f"answers    coordd {__version__} on /run/coordd/coordd.sock" in said
    assert f"answers    coordd-dashboard {__version__} on http://127.0.0.1:8000/" in said
    assert f"answers    coordd-alert {__version__} on /var/lib/coordd-alert/alerts.sock" in said
    assert "fix:" in said
    # what it says to do is done, word by word
    member = re.search(r"usermod -aG coordd dev", said)
    assert member
    fresh.shell(member[0])
    for _ in range(5):
        fix = re.search(r"fix: (?:setfacl .* or: )?(ch.*)", said)
        if fix is None:
            break
        fresh.shell(fix[1])
        said = fresh.run("coordd", "service", "install", "--system")
    assert "/home/dev/src/app is readable for coordd" in said

    beat(fresh, "/home/dev/src/app", "first", "dev")
    fresh.run("systemctl", "reload", "coordd")  # the pattern is looked at anew
    eventually(lambda: "first" in fresh.run("coordctl", "agents", user="dev"))
    assert '"layout": "system"' in fresh.run("coordctl", "status", "--json", user="dev")

    fresh.run("sed", "-i", 's/^#stall_after = .*/stall_after = "20m"/', CONFIG)
    config = fresh.path(CONFIG).read_text()
    install_wheel(fresh, f"coordd=={NEXT}")
    upgraded = fresh.run("coordd", "service", "install", "--system")
    assert f"answers    coordd {NEXT}" in upgraded
    assert f"answers    coordd-dashboard {NEXT}" in upgraded
    assert f"answers    coordd-alert {NEXT}" in upgraded
    assert fresh.path(CONFIG).read_text() == config
    assert json.loads(fresh.run("coordctl", "status", "--json"))["daemon"]["version"] == NEXT
    assert "first" in fresh.run("coordctl", "agents"), "an upgrade forgets nothing"

    fresh.reboot()
    eventually(fresh.active, what="coordd runs after the boot")
    eventually(lambda: fresh.active("coordd-dashboard"), what="its dashboard runs after the boot")
    eventually(lambda: fresh.active("coordd-alert"), what="coordd-alert runs after the boot")
    token = fresh.path(TOKEN).read_text()
    assert "first" in fresh.run("coordctl", "agents", user="dev")

    gone = fresh.run("coordd", "service", "uninstall", "--system")
    assert f"removed    {UNIT}" in gone
    assert "--purge" in gone
    assert "removed    /etc/systemd/system/coordd-dashboard.service" in gone
    assert "removed    /etc/systemd/system/coordd-alert.service" in gone
    assert fresh.try_("coordctl", "status", user="dev").returncode in (3, 4)
    assert fresh.path(TOKEN).read_text() == token
    assert fresh.path(CONFIG).read_text() == config
    assert list(fresh.path("/var/lib/coordd/metrics").glob("agent_*.jsonl"))
    assert "not-found" in fresh.show("coordd", "LoadState")["LoadState"]

    # back, with all that it knew; then away for good
    again = fresh.run("coordd", "service", "install", "--system", "--dashboard", "--alerts")
    assert f"kept       {CONFIG}" in again
    assert f"kept       {TOKEN}" in again
    assert "first" in fresh.run("coordctl", "agents")
    fresh.run("coordd", "service", "uninstall", "--system", "--purge")
    left = {path for path in files(fresh) - before if "coordd" in path}
    assert left == set()
    assert "coordd" not in fresh.path("/etc/passwd").read_text() + fresh.path("/etc/group").read_text()
    assert fresh.path("/home/dev/src/app/.claude/coordination/agents/first.heartbeat").exists()
    assert "nothing to do" in fresh.run("coordd", "service", "uninstall", "--system")
