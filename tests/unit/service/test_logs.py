"""Test log lines: one for each record, with nothing in them that could pass for another line."""

from __future__ import annotations

import io
import logging
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordd.service import logs

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}(?:Z|[+-]\d\d:\d\d) (\w+) +(.*)")


@pytest.fixture
def root() -> Iterator[logging.Logger]:
    logger = logging.getLogger()
    handlers, level = logger.handlers[:], logger.level
    yield logger
    logger.handlers[:] = handlers
    logger.setLevel(level)


@pytest.fixture
def stderr(root: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logs.set_up("info", {})
    return stream


@pytest.mark.parametrize(
    ("zone", "end"),
    [("UTC0", "T12:00:00.250Z"), ("CET-1", "T13:00:00.250+01:00"), ("PST8", "T04:00:00.250-08:00")],
)
def test_times_are_local_and_say_how_far_from_utc(
    stderr: io.StringIO, monkeypatch: pytest.MonkeyPatch, zone: str, end: str
) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        record = logging.makeLogRecord({"msg": "x", "levelname": "INFO", "levelno": logging.INFO})
        record.created = 1_795_348_800.25
        logging.getLogger().handle(record)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert stderr.getvalue() == f"2026-11-22{end} info     x\n"


def test_a_record_is_a_line_with_its_time_and_level(stderr: io.StringIO) -> None:
    logging.getLogger("coordd").warning("workspace %s cannot be read", "/w")
    (line,) = stderr.getvalue().splitlines()
    match = LINE.fullmatch(line)
    assert match
    assert match.groups() == ("warning", "workspace /w cannot be read")


@pytest.mark.parametrize(
    "evil", ["a\nb", "a\r\nb", "a\u2028b", "a\x85b", "\x1b[31m", "\x00", "\u202e", "\udc80"]
)
def test_a_stranger_makes_no_lines_and_no_control_characters(stderr: io.StringIO, evil: str) -> None:
    logging.getLogger("coordd").warning("agent %s", evil)
    out = stderr.getvalue()
    assert out.count("\n") == 1
    assert out[:-1].isprintable()
    assert evil not in out
    out.encode()


def test_a_traceback_goes_below_its_record(stderr: io.StringIO) -> None:
    try:
        int("evil\x1b[2J")
    except ValueError:
        logging.getLogger("coordd").exception("it failed")
    first, *rest = stderr.getvalue().splitlines()
    assert LINE.fullmatch(first)
    assert rest[-1].strip().startswith("ValueError: ")
    assert stderr.getvalue().replace("\n", "").isprintable()
    assert all(line.startswith(" " * 20) for line in rest)


def test_the_level_can_change(stderr: io.StringIO) -> None:
    log = logging.getLogger("coordd")
    log.debug("no")
    logs.set_level("debug")
    log.debug("yes")
    logs.set_level("error")
    log.warning("no")
    assert [line.split()[-1] for line in stderr.getvalue().splitlines()] == ["yes"]


def test_the_journal_gets_priorities_instead_of_times(
    root: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open(tmp_path / "journal", "w+", encoding="utf-8") as stream:
        state = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{state.st_dev}:{state.st_ino}"}
        assert logs.to_journal(environ, stream.fileno())
        monkeypatch.setattr(sys, "stderr", stream)
        monkeypatch.setattr(logs, "to_journal", lambda _environ: True)
        logs.set_up("debug", environ)
        log = logging.getLogger("coordd")
        for level in ("debug", "info", "warning", "error", "critical"):
            getattr(log, level)("x\n<0>forged")
        stream.seek(0)
        assert stream.read() == "".join(f"<{n}>x\\n<0>forged\n" for n in (7, 6, 4, 3, 2))


def test_a_stream_that_is_not_the_journals_is_not(tmp_path: Path) -> None:
    with open(tmp_path / "other", "w", encoding="utf-8") as stream:
        assert not logs.to_journal({}, stream.fileno())
        assert not logs.to_journal({"JOURNAL_STREAM": "1:2"}, stream.fileno())
        closed = stream.fileno()
    assert not logs.to_journal({"JOURNAL_STREAM": "1:2"}, closed)
