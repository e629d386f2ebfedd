"""Test what an installed coordd contains: programs, types, and the files that ``coordd service`` writes."""

from __future__ import annotations

import os
from importlib.metadata import distribution, files
from pathlib import Path

import coordd
from coordd.installer.services import SERVICES
from coordd.installer.templates import template

PACKAGING = Path(__file__).resolve().parents[3] / "packaging"
TEMPLATES = [
    "systemd/sysusers.conf.in",
    "systemd/sysusers-alert.conf.in",
    "systemd/tmpfiles.conf.in",
    "systemd/coordd-read-homes.conf.in",
    *(
        name
        for one in SERVICES
        for name in (one.system_unit, one.user_unit, one.daemon_plist, one.agent_plist)
    ),
]


def test_every_file_of_the_service_comes_along() -> None:
    for name in TEMPLATES:
        assert template(name) == (PACKAGING / name).read_text(encoding="utf-8")
    there = {
        str(path.relative_to(PACKAGING))
        for kind in ("systemd", "launchd")
        for path in (PACKAGING / kind).iterdir()
    }
    assert there == set(TEMPLATES), "a template that no service names"


def test_the_commands_and_the_version() -> None:
    about = distribution("coordd")
    assert about.version == coordd.__version__
    scripts = {entry.name: entry.value for entry in about.entry_points if entry.group == "console_scripts"}
    assert scripts == {
        "coordd": "coordd.commands.main:main",
        "coordctl": "coordd.cli:main",
        "coordd-alert": "coordd.alerts.main:main",
    }
    assert (Path(coordd.__file__).parent / "py.typed").exists()


def test_a_wheel_has_manual_pages_where_man_looks() -> None:
    if not os.environ.get("EXPECT_COORDD_BELOW"):
        return  # in a source tree there is no wheel to look into
    installed = {str(path) for path in files("coordd") or []}
    for page in ("man1/coordctl.1", "man1/coordd.1", "man1/coordd-alert.1", "man5/coordd.toml.5"):
        assert any(path.endswith(f"share/man/{page}") for path in installed)
    assert not [path for path in installed if path.startswith(("tests/", "contrib/", "packaging/"))]
