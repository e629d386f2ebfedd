"""Checks of hooks: whether they are installed, can be called, and when they last told anything."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from doctor_facts import STRANGER, facts
from fake_coordd import status_document

from coordd.cli.app import app as coordctl
from coordd.cli.doctor.findings import Finding
from coordd.cli.doctor.hooks import check_hooks
from coordd.cli.hooks import script, switches
from coordd.cli.hooks.edit import with_hooks

SESSION = "321e2ec7-0b1c-4a57-9a38-0f6b0de0a5c1"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_DATA_HOME", "XDG_STATE_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(switches, "MANAGED", str(tmp_path / "etc"))
    (tmp_path / ".claude").mkdir()
    return tmp_path


def install(home: Path, settings: str = ".claude/settings.json") -> Path:
    path = home / ".local/share/coordd/hook"
    script.install(str(path))
    (home / settings).parent.mkdir(parents=True, exist_ok=True)
    (home / settings).write_text(with_hooks("", str(path)))
    return path


def found(**changes: object) -> list[Finding]:
    return list(check_hooks(facts(**changes)))


def test_without_hooks_it_says_what_they_are_for(home: Path) -> None:
    (one,) = found()
    assert (one.result, one.fix) == ("ok", None)
    assert "hooks of Claude Code are not installed" in one.message
    assert "'coordctl hooks install'" in one.message


def test_installed_and_silent_so_far(home: Path) -> None:
    install(home)
    (one,) = found()
    assert one.result == "ok"
    assert one.message.startswith(
        "hooks are installed in ~/.claude/settings.json; none has told anything yet"
    )


def test_the_last_sign_is_told_with_its_age(home: Path) -> None:
    install(home)
    folder = home / ".local/state/coordd/hooks"
    folder.mkdir(parents=True)
    for name, age in (("heartbeat", 300), ("Stop", 900)):
        (folder / f"{SESSION}.{name}").touch()
        os.utime(folder / f"{SESSION}.{name}", (time.time() - age, time.time() - age))
    (folder / "deeper").mkdir()
    (one,) = found()
    assert one.message.endswith("the last one told something 5 min ago")


def test_a_script_that_is_gone_or_of_another_coordd(home: Path) -> None:
    path = install(home)
    path.write_text("#!/bin/sh\n")
    warning, _ = found()
    assert (warning.result, warning.fix) == ("warn", "coordctl hooks install")
    assert warning.message.endswith("call is that of another coordd")
    path.unlink()
    (warning,) = found()
    assert warning.result == "warn"
    assert warning.message.endswith("call is missing, or cannot be run")
    script.install(str(path))
    path.chmod(0o600)
    (warning,) = found()
    assert warning.message.endswith("call is missing, or cannot be run")


def test_hooks_of_another_coordd_and_hooks_that_are_disabled(home: Path) -> None:
    path = install(home)
    settings = home / ".claude/settings.json"
    document = json.loads(settings.read_text())
    del document["hooks"]["StopFailure"]
    settings.write_text(json.dumps({**document, "disableAllHooks": True}))
    other, disabled = found()
    assert (other.result, other.fix) == ("warn", "coordctl hooks install")
    assert disabled.result == "warn"
    assert disabled.message == (
        "disableAllHooks is set in ~/.claude/settings.json: "
        "the hooks in ~/.claude/settings.json are not called"
    )
    settings.write_text(with_hooks("", "/opt/old/coordd/hook"))
    warning, _ = found()
    assert "are not those of this coordd" in warning.message
    assert path.exists()


def switch(settings: Path, value: object, name: str = "disableAllHooks") -> None:
    settings.parent.mkdir(parents=True, exist_ok=True)
    document = json.loads(settings.read_text()) if settings.exists() else {}
    settings.write_text(json.dumps({**document, name: value}))


def test_hooks_that_are_disabled_are_one_line_that_says_so(home: Path) -> None:
    install(home)
    switch(home / ".claude/settings.json", True)
    (one,) = found()
    assert (one.result, one.fix) == ("warn", "take it out of there")
    switch(home / ".claude/settings.json", False)
    (one,) = found()
    assert one.message.startswith("hooks are installed in ~/.claude/settings.json; ")


@pytest.mark.parametrize(
    ("name", "value", "called"),
    [
        ("disableAllHooks", True, False),
        ("allowManagedHooksOnly", True, False),
        ("strictPluginOnlyCustomization", True, False),
        ("strictPluginOnlyCustomization", ["skills", "hooks"], False),
        ("strictPluginOnlyCustomization", ["skills"], True),
        ("disableAllHooks", "yes", True),
        ("disableAllHooks", False, True),
    ],
)
@pytest.mark.parametrize("file", ["managed-settings.json", "managed-settings.d/10-hooks.json"])
def test_what_the_machine_allows(home: Path, name: str, value: object, called: bool, file: str) -> None:
    install(home)
    switch(home / "etc" / file, value, name)
    (one,) = found()
    assert one.result == ("ok" if called else "warn")
    assert one.message.startswith(f"{name} is set in ~/etc/{file}: ") is not called


def test_homes_without_hooks_are_named(home: Path) -> None:
    install(home)
    for name in ("sessions", "projects"):
        (home / ".claude-work" / name).mkdir(parents=True)
    (one,) = found()
    assert one.result == "ok"
    assert one.message.startswith(
        "hooks are installed in ~/.claude/settings.json, but not in ~/.claude-work/settings.json "
    )
    install(home, ".claude-work/settings.json")
    switch(home / ".claude/settings.json", True)
    off, called = found()
    assert "the hooks in ~/.claude/settings.json are not called" in off.message
    assert called.message.startswith("hooks are installed in ~/.claude-work/settings.json; ")


@pytest.mark.parametrize("file", ["settings.json", "settings.local.json"])
def test_a_project_that_disables_the_users_hooks(home: Path, file: str) -> None:
    install(home)
    switch(home / "app/.claude" / file, True)
    watched = status_document(workspaces=[{"path": str(home / "app"), "state": "inotify"}])
    off, called = found(status=watched)
    assert off.message == f"disableAllHooks is set in ~/app/.claude/{file}: no hook is called in that project"
    assert (off.result, called.result) == ("warn", "ok")
    if file == "settings.json":
        switch(home / "app/.claude/settings.local.json", False)
        (one,) = found(status=watched)
        assert one.result == "ok"


def test_hooks_of_a_project_that_the_users_settings_disable(home: Path) -> None:
    install(home, "app/.claude/settings.local.json")
    switch(home / ".claude/settings.json", True)
    watched = status_document(workspaces=[{"path": str(home / "app"), "state": "inotify"}])
    (off,) = found(status=watched)
    assert off.message == (
        "disableAllHooks is set in ~/.claude/settings.json: "
        "the hooks in ~/app/.claude/settings.local.json are not called"
    )
    switch(home / "app/.claude/settings.json", False)
    (one,) = found(status=watched)
    assert one.result == "ok"


def test_hooks_of_a_project(home: Path, tmp_path: Path) -> None:
    install(home, "app/.claude/settings.local.json")
    (home / ".claude/settings.json").write_text("{")
    watched = status_document(workspaces=[{"path": str(home / "app"), "state": "inotify"}])
    (one,) = found(status=watched)
    assert "hooks are installed in ~/app/.claude/settings.local.json" in one.message
    (home / "app/.claude/settings.local.json").write_text(with_hooks("", "/opt/old/coordd/hook"))
    warning, _ = found(status=watched)
    assert warning.fix == "coordctl hooks install --project"


def test_hooks_in_settings_that_no_variable_names_any_more(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(home / "cc"))
    done = CliRunner().invoke(coordctl, ["hooks", "install"])
    assert done.exit_code == 0, done.output
    (home / ".local/state/coordd/hooks-undo/x.json").write_text("{")
    (home / ".claude/settings.json").unlink()
    monkeypatch.delenv("CLAUDE_CONFIG_DIR")
    (one,) = found()
    assert one.message.startswith(
        "hooks are installed in ~/cc/settings.json, but not in ~/.claude/settings.json "
        "('coordctl hooks install'); "
    )


def test_a_folder_that_is_another_users(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(home)
    (home / ".local/state/coordd/hooks").mkdir(parents=True)
    monkeypatch.setattr("coordd.cli.doctor.hooks.os.access", lambda path, mode: not path.endswith("hooks"))
    (one,) = found()
    assert (one.result, "may not write to ~/.local/state/coordd/hooks" in one.message) == ("warn", True)
    assert one.fix is not None
    assert one.fix.startswith(f"sudo chown -R {os.geteuid()} ")


def test_of_another_users_daemon_nothing_is_said(home: Path) -> None:
    install(home)
    assert found(daemon=STRANGER) == []
