"""Test the log file: it rotates, follows no link, and never ends the daemon."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from coordd.config.build import Config
from coordd.config.layout import Layout, choose_layout
from coordd.errors import StartError
from coordd.service import log_file, logs
from coordd.util import log_limit
from coordd.util.log_limit import Limited


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level, loud = logger.handlers[:], logger.level, logging.raiseExceptions
    yield logger
    for handler in logger.handlers:
        handler.close()
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logging.raiseExceptions = loud


def test_lines_go_into_the_file_which_rotates(
    root: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_file, "MAX_BYTES", 4096)
    monkeypatch.setattr(log_file, "KEPT", 2)
    monkeypatch.setattr(log_limit, "MOST", 1000)
    path = tmp_path / "coordd.log"
    logs.set_up("info", {"JOURNAL_STREAM": "1:2"}, file=str(path), mode=0o640)
    for number in range(500):
        root.info("line %d é\ud800", number)
    logs_there = list(tmp_path.glob("coordd.log*"))
    assert sorted(p.name for p in logs_there) == ["coordd.log", "coordd.log.1", "coordd.log.2"]
    assert all(p.stat().st_size <= 4096 for p in logs_there)
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o640 for p in tmp_path.iterdir())
    last = path.read_text().splitlines()[-1]
    assert last[:2] == "20"
    assert last.endswith("line 499 é\\ud800")


def test_it_goes_on_where_the_last_one_ended(root: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "coordd.log"
    path.write_text("before\n")
    logs.set_up("info", {}, file=str(path))
    root.info("after")
    assert path.read_text().startswith("before\n2")


def test_a_link_and_what_is_no_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "link").symlink_to("precious")
    (tmp_path / "folder").mkdir()
    for name in ("link", "folder", "missing/coordd.log"):
        with pytest.raises(StartError, match="--log-file"):
            log_file.LogFile(str(tmp_path / name), mode=0o600)
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_full_disk_ends_nothing(
    root: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(log_file, "MAX_BYTES", 200)
    path = tmp_path / "coordd.log"
    logs.set_up("info", {}, file=str(path))
    (limited,) = root.handlers
    assert isinstance(limited, Limited)
    handler = limited.target
    assert isinstance(handler, log_file.LogFile)
    descriptor = handler.stream.fileno()
    whole = os.dup(descriptor)
    full = os.open("/dev/full", os.O_WRONLY)
    os.dup2(full, descriptor)
    os.close(full)
    for _ in range(10):
        root.info("lost %s", "x" * 50)
    os.dup2(whole, descriptor)
    os.close(whole)
    for _ in range(10):
        root.info("there is room again, and it rotates")
    assert path.read_text().endswith("and it rotates\n")
    assert (tmp_path / "coordd.log.1").exists()
    assert capsys.readouterr() == ("", "")


def test_copies_that_are_somebody_elses_stay(
    root: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_limit, "MOST", 1000)
    monkeypatch.setattr(log_file, "MAX_BYTES", 1024)
    monkeypatch.setattr(log_file, "KEPT", 2)
    for name in ("coordd.log.1", "coordd.log.3"):
        (tmp_path / name).write_text("mine\n")
    (tmp_path / "coordd.log.4").symlink_to("precious")
    logs.set_up("info", {}, file=str(tmp_path / "coordd.log"))
    for number in range(200):
        root.info("line %d", number)
    names = sorted(path.name for path in tmp_path.glob("coordd.log*"))
    assert names == ["coordd.log", *(f"coordd.log.{number}" for number in range(1, 6))]
    for name in ("coordd.log.1", "coordd.log.3"):
        assert (tmp_path / name).read_text() == "mine\n"
    assert os.readlink(tmp_path / "coordd.log.4") == "precious"
    assert "line" in (tmp_path / "coordd.log.2").read_text()
    assert "line" in (tmp_path / "coordd.log.5").read_text()
    assert not (tmp_path / "precious").exists()


@pytest.fixture
def project(tmp_path: Path) -> tuple[Layout, Config]:
    layout = choose_layout(name=None, workspaces=[str(tmp_path)], cwd="/", environ={}, platform="linux")
    storage = SimpleNamespace(metrics_dir=layout.metrics_dir, log_dir=layout.log_dir)
    return layout, cast("Config", SimpleNamespace(storage=storage))


def test_a_log_that_is_somebody_elses_is_not_written_to(
    root: logging.Logger, tmp_path: Path, project: tuple[Layout, Config]
) -> None:
    folder = tmp_path / ".claude" / "logs"
    folder.mkdir(parents=True)
    (folder / "coordd.log").write_text("mine\n")
    (folder / "coordd.2.log").symlink_to("precious")
    for _ in range(2):
        path = log_file.default_log_file(*project)
        assert path == str(folder / "coordd.3.log")
        logs.set_up("info", {}, file=path)
        root.info("hello")
        root.handlers[0].close()
    assert (folder / "coordd.3.log").read_text().count("hello") == 2
    assert (folder / "coordd.log").read_text() == "mine\n"


def test_a_link_that_takes_the_directorys_place_is_not_followed(
    root: logging.Logger, tmp_path: Path, project: tuple[Layout, Config], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_limit, "MOST", 1000)
    monkeypatch.setattr(log_file, "MAX_BYTES", 1024)
    path = Path(log_file.default_log_file(*project))
    logs.set_up("info", {}, file=str(path), root=str(tmp_path))
    outside = tmp_path / "outside"
    outside.mkdir()
    path.parent.rename(tmp_path / "moved")
    path.parent.symlink_to(outside)
    for _ in range(100):
        root.info("somewhere")
    assert list(outside.iterdir()) == []
    assert "somewhere" in (tmp_path / "moved" / "coordd.log").read_text()
    path.parent.unlink()
    path.parent.mkdir()
    root.info("in place again")
    assert "in place again" in path.read_text()
