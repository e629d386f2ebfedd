"""One booted box for all of these tests, with coordd installed as a new user would: pip, then its installer.

People of the box: ann, whose agents live below /home/ann/src; bob, a member of the group coordd; carol, a
stranger to both.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from box import Box, booted, install_wheel, make_wheels
from waiting import eventually

WORKSPACE = "/home/ann/src/app"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give whichever test comes first the time to build wheels, boot and install, on a busy machine too."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """coordd's wheel and all it needs."""
    directory = tmp_path_factory.mktemp("wheels")
    make_wheels(directory)
    return directory


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory, wheels: Path) -> Iterator[Box]:
    """The box with its people and coordd's programs; the service is not yet installed."""
    assert os.geteuid() == 0, "a box needs root"
    assert subprocess.run(["systemd-nspawn", "--version"], capture_output=True, check=False).returncode == 0
    with booted(tmp_path_factory.mktemp("box"), wheels=wheels) as box:
        for name in ("ann", "bob", "carol"):
            box.run("useradd", "--create-home", "--shell", "/bin/sh", name)
        box.run("chmod", "0750", "/home/ann")
        # network_io leaves the loopback out, and there is nothing else here
        box.shell("ip link add eth0 type veth peer name eth1")
        box.run("mkdir", "-p", f"{WORKSPACE}/.claude/coordination/agents", user="ann")
        install_wheel(box)
        yield box


@pytest.fixture(scope="session")
def installed(machine: Box) -> Box:
    """The service as installed, reading ann's projects through her group."""
    machine.run("coordd", "service", "install", "--system", "-w", "/home/ann/src/*")
    machine.run("usermod", "-aG", "coordd", "bob")
    machine.run("usermod", "-aG", "ann", "coordd")
    return machine


@pytest.fixture
def box(installed: Box) -> Iterator[Box]:
    """The service as a test may find it: running, healthy, without drop-ins, and left that way."""
    config = installed.path("/etc/coordd/coordd.toml").read_text()
    _settle(installed)
    yield installed
    installed.path("/etc/coordd/coordd.toml").write_text(config)
    if installed.path("/etc/systemd/system/coordd.service.d").exists():
        installed.run("rm", "-r", "/etc/systemd/system/coordd.service.d")
        installed.run("systemctl", "daemon-reload")
    installed.try_("systemctl", "stop", "coordd")


def _settle(box: Box) -> None:
    box.try_("systemctl", "reset-failed", "coordd")
    box.run("systemctl", "restart", "coordd")
    eventually(lambda: box.rpc("ping"), what="coordd answers in the box")
