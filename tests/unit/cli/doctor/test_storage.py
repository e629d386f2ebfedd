"""Checks of the record directories and of the machine."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from doctor_facts import NOW, facts, only
from fake_coordd import status_document

from coordd.cli.doctor import machine as doctor_machine
from coordd.cli.doctor import storage as doctor_storage
from coordd.cli.doctor.access import (
    Credentials,
)
from coordd.cli.doctor.facts import DoctorFacts
from coordd.util.timestamps import format_utc


@pytest.mark.parametrize(
    ("free", "inodes", "all_inodes", "result"),
    [
        (10 << 30, 900, 1000, "ok"),
        (10 << 30, 0, 0, "ok"),  # btrfs counts none
        (500 << 20, 900, 1000, "warn"),
        (10 << 30, 40, 1000, "warn"),
        (1 << 20, 900, 1000, "fail"),
        (10 << 30, 0, 1000, "fail"),
    ],
)
def test_room(free: int, inodes: int, all_inodes: int, result: str) -> None:
    found = doctor_storage.room_left("/var", free, 100 << 30, inodes, all_inodes)
    assert (found.result, found.fix is None) == (result, result == "ok")


def records(tmp_path: Path, age: float) -> DoctorFacts:
    metrics = tmp_path / "metrics"
    metrics.mkdir(exist_ok=True)
    (metrics / "system_2026-11-22.jsonl").write_text(json.dumps({"timestamp": format_utc(NOW - age)}) + "\n")
    status = status_document(timestamp=format_utc(NOW))
    status["daemon"] |= {"metrics_dir": str(metrics), "log_dir": str(tmp_path / "logs")}
    return facts(status=status)


@pytest.mark.parametrize(
    ("age", "result"), [(0, "ok"), (119, "ok"), (121, "fail"), (-59, "ok"), (-61, "warn")]
)
def test_freshness_is_two_intervals(tmp_path: Path, age: float, result: str) -> None:
    assert only(doctor_storage.check_records(records(tmp_path, age))).result == result


def test_without_any_sample_or_with_a_torn_one(tmp_path: Path) -> None:
    about = records(tmp_path, 0)
    part = tmp_path / "metrics" / "system_2026-11-22.jsonl"
    for content in ("", "{torn", "[]\n"):
        part.write_text(content)
        assert only(doctor_storage.check_records(about)).result == "fail"


def test_links_lead_to_the_newest_part(tmp_path: Path) -> None:
    about = records(tmp_path, 0)
    metrics = tmp_path / "metrics"
    link = metrics / "system.jsonl"
    assert "is missing" in only(doctor_storage.check_links(about)).message
    link.symlink_to("system_2026-11-22.jsonl")
    assert only(doctor_storage.check_links(about)).result == "ok"
    (metrics / "system_2026-11-22.2.jsonl").touch()
    found = only(doctor_storage.check_links(about))
    assert (found.result, "current file is system_2026-11-22.2.jsonl" in found.message) == ("warn", True)
    link.unlink()
    link.touch()
    found = only(doctor_storage.check_links(about))
    assert "is no symlink" in found.message
    assert str(found.fix).startswith(f"mv {link} {link}.other"), "and never rm"
    link.unlink()
    link.symlink_to("notes.txt")
    found = only(doctor_storage.check_links(about))
    assert (found.result, str(found.fix).startswith(f"mv {link} ")) == ("warn", True)


def test_files_that_are_not_coordds_are_told_of() -> None:
    status = status_document()
    status["sinks"] = {"jsonl": {"unproven": 40}, "csv": {"unproven": 5}}
    found = only(doctor_storage.check_strangers(facts(status=status)))
    assert (found.result, "45 files" in found.message) == ("ok", True)
    status["sinks"] = {"jsonl": {}}
    assert list(doctor_storage.check_strangers(facts(status=status))) == []


def test_directories(tmp_path: Path) -> None:
    about = records(tmp_path, 0)
    metrics, logs = doctor_storage.check_directories(about)
    assert (metrics.result, logs.result) == ("ok", "fail")
    (tmp_path / "metrics").chmod(0o500)
    plain = Credentials(os.geteuid(), frozenset())
    status: Any = about.status
    found = next(iter(doctor_storage.check_directories(facts(status=status, daemon=plain))))
    (tmp_path / "metrics").chmod(0o700)
    assert (found.result, "lacks rwx" in found.message) == ("fail", True)


def test_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "run_tool", lambda *_: "no\n")
    assert only(doctor_machine.check_clock(facts())).result == "warn"
    monkeypatch.setattr(doctor_machine, "run_tool", lambda *_: None)
    assert only(doctor_machine.check_clock(facts())).result == "ok"
    assert only(doctor_machine.check_clock(facts(asked_at=NOW + 5))).result == "warn"
    assert only(doctor_machine.check_clock(facts(asked_at=86400.0))).result == "fail"


def test_inotify_limits_warn_when_they_fill() -> None:
    limits = {"max_user_instances": 10, "max_user_watches": 100}
    low = doctor_machine.inotify_use(limits, {"max_user_instances": 8, "max_user_watches": 80}, "ann")
    assert (low.result, low.message) == ("ok", "ann uses 8 of 10 instances, 80 of 100 watches")
    full = doctor_machine.inotify_use(limits, {"max_user_instances": 1, "max_user_watches": 81}, "ann")
    assert (full.result, "max_user_watches" in str(full.fix)) == ("warn", True)
