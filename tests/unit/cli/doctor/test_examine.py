"""All checks together, and which configuration the doctor believes in."""

from __future__ import annotations

import os
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from doctor_facts import ROOT, STRANGER, facts, workspace
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli.common import DaemonTarget
from coordd.cli.doctor.command import examine
from coordd.cli.doctor.daemon import (
    check_config,
)
from coordd.cli.doctor.facts import gather
from coordd.cli.doctor.findings import Finding, failed, finding_lines
from coordd.cli.doctor.service_command import ConfigAnswer
from coordd.cli.doctor.storage import check_directories
from coordd.cli.doctor.trust import believable
from coordd.errors import DaemonNotRunning


def test_a_strangers_words_are_escaped() -> None:
    lines = finding_lines([Finding("sink", "fail", "a\x1b[2Jb\nc", "rm '\u202e'")], colour=True)
    assert lines[0].endswith("a\\x1b[2Jb\\nc")
    assert lines[1].endswith("rm '\\u202e'")
    assert lines[-1] == "0 ok, 0 warnings, 1 failure"


def test_warnings_fail_only_when_asked_to() -> None:
    warned = [Finding("a", "ok", ""), Finding("b", "warn", "", "fix")]
    assert (failed(warned, strict=False), failed(warned, strict=True)) == (False, True)
    assert failed([Finding("a", "fail", "", "fix")], strict=False)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = ("daemon", "redis", "sinks", "workspaces", "traces_malformed", "problems", "health", "timestamp")


@given(st.dictionaries(st.sampled_from(SECTIONS), json_values), json_values)
def test_any_answer_of_a_daemon_can_be_examined(status: Any, version: Any) -> None:
    found = examine(facts(status=status, ping={"version": version, "pid": version}, daemon=ROOT))
    assert {finding.result for finding in found} <= {"ok", "warn", "fail"}
    assert all(finding.fix for finding in found if finding.result != "ok")


def test_gathering_without_any_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith(("COORDD_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    root = workspace(tmp_path)
    (root / ".claude" / "coordd.toml").write_text("[sampling]\ninterval = '5s'\n")
    monkeypatch.chdir(root)
    before = time.time()
    about = gather(DaemonTarget(str(tmp_path / "none.sock")))
    assert isinstance(about.error, DaemonNotRunning)
    assert about.config.code == 0
    assert about.config.file == str(root / ".claude" / "coordd.toml")
    assert about.interval == 5.0
    assert about.directory("metrics_dir") == str(root / ".claude" / "metrics")
    assert before <= about.asked_at <= time.time()
    names = {finding.name: finding.result for finding in examine(about)}
    assert (names["socket"], names["config"], names["workspace"]) == ("fail", "ok", "ok")


def test_a_package_in_the_current_directory_is_never_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "coordd").mkdir()
    for name in ("__init__", "__main__"):
        (tmp_path / "coordd" / f"{name}.py").write_text("open('pwned', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert gather(DaemonTarget(str(tmp_path / "none.sock"))).config.code == 0
    assert not (tmp_path / "pwned").exists()


NAMED = {"layout": "user", "config_file": "/tmp/named.toml", "socket": "/tmp/s"}


def test_the_word_of_a_daemon_of_ones_own_or_of_roots_leads_to_its_configuration() -> None:
    for by, me in ((1000, 1000), (0, 1000), (1000, 0), (None, 0)):
        assert believable(NAMED, left_at=None, by=by, me=me) == NAMED


def test_the_word_of_another_user_leads_to_no_file_but_roots(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.toml"
    theirs.touch()
    if os.geteuid() == 0:
        os.chown(theirs, STRANGER.uid, -1)
    for by in (1000, None):
        for file in (str(theirs), "/nowhere", "a\0b"):
            found = believable({**NAMED, "config_file": file}, left_at=None, by=by, me=STRANGER.uid)
            assert found == {"layout": "user", "socket": "/tmp/s"}
        passwd = {**NAMED, "config_file": "/etc/passwd"}
        assert believable(passwd, left_at=None, by=by, me=STRANGER.uid) == passwd


def test_a_snapshot_is_believed_in_the_users_and_systems_own_place_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for own in ("/home/ann/.local/state/coordd/snapshot.json", "/var/lib/coordd/snapshot.json"):
        assert believable(NAMED, left_at=own, by=None, me=1000) == NAMED
    found = believable(NAMED, left_at="/src/app/.claude/run/snapshot.json", by=None, me=1000)
    assert found == {"layout": "project", "socket": "/src/app/.claude/run/coordd.sock"}
    assert believable(NAMED, left_at="/tmp/snapshot.json", by=None, me=1000) == {}


def test_what_check_config_passed_over_is_a_warning() -> None:
    answer = ConfigAnswer(0, "/app/.claude/coordd.toml", warnings=("one", "two"))
    found = list(check_config(facts(config=answer)))
    assert [(f.result, f.message) for f in found] == [("warn", "one"), ("warn", "two")]


def test_a_fix_quotes_what_a_snapshot_says(tmp_path: Path) -> None:
    path = tmp_path / "x; touch pwned"
    path.touch()
    status = {"daemon": {"metrics_dir": str(path)}}
    found = next(f for f in check_directories(facts(status=status, daemon=ROOT)) if f.result == "fail")
    assert found.fix is not None
    assert shlex.split(found.fix.partition(": ")[2]) == ["mv", str(path), f"{path}.other"]
