"""What the service manager is told, byte by byte, and that telling it never harms."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from coordd.util import sdnotify


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (sdnotify.ready("3 agents"), "READY=1\nSTATUS=3 agents"),
        (sdnotify.watchdog(), "WATCHDOG=1"),
        (
            sdnotify.reloading(12_345_678_999),
            "RELOADING=1\nMONOTONIC_USEC=12345678\nSTATUS=reading the configuration again",
        ),
        (sdnotify.stopping("writing the last records"), "STOPPING=1\nSTATUS=writing the last records"),
        (sdnotify.status_line("one\nREADY=1\x1b"), "STATUS=one?READY=1?"),
    ],
)
def test_messages(message: str, expected: str) -> None:
    assert message == expected


def test_a_long_status_is_cut() -> None:
    assert len(sdnotify.status_line("x" * 100_000)) < 500


@pytest.mark.parametrize("abstract", [False, True])
def test_a_message_reaches_the_manager(tmp_path: Path, abstract: bool) -> None:
    name = f"@coordd-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1))
        manager.settimeout(5)
        sdnotify.manager_of({"NOTIFY_SOCKET": name}).send("READY=1")
        assert manager.recv(100) == b"READY=1"


def test_a_manager_that_is_gone_or_does_not_read_costs_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = sdnotify.manager_of({"NOTIFY_SOCKET": str(tmp_path / "gone")})
    for _ in range(3):
        gone.send("WATCHDOG=1")
    assert len(caplog.records) == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "deaf"))
        deaf = sdnotify.manager_of({"NOTIFY_SOCKET": str(tmp_path / "deaf")})
        for _ in range(10_000):
            deaf.send("WATCHDOG=1")  # full at once, and never waits
    assert len(caplog.records) == 2


@pytest.mark.parametrize("address", ["", "relative", "@", "/"])
def test_without_a_manager_nothing_is_sent(address: str) -> None:
    assert isinstance(sdnotify.manager_of({"NOTIFY_SOCKET": address}), sdnotify.NoNotifier)
    sdnotify.manager_of({}).send("READY=1")


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "x"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_interval_of_the_watchdog(environ: dict[str, str], expected: float | None) -> None:
    assert sdnotify.watchdog_seconds(environ, 7) == expected
