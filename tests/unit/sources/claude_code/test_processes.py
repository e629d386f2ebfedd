"""Which record is a process's own, and which process has a session of its own."""

from __future__ import annotations

import subprocess

import pytest

from coordd.host.process_facts import Process, ProcessFacts
from coordd.sources.claude_code.processes import fits, is_helper, is_named_so, serves_others


def seen(name: str | None = "claude", started: float = 1000.0) -> ProcessFacts:
    return ProcessFacts(Process(5, 82245), 1, started, name=name)


@pytest.mark.parametrize(
    ("name", "so"),
    [
        ("claude", True),
        ("claude.exe", True),
        ("2.1.289", True),
        ("2.1", False),
        ("sleep", False),
        ("claude-x", False),
        (None, False),
    ],
)
def test_a_name_that_claude_code_gives_itself(name: str | None, so: bool) -> None:
    assert is_named_so(seen(name)) is so


@pytest.mark.parametrize(
    ("written", "own"),
    [
        ("82245", True),
        ("82246", False),
        ("Thu Jan  1 00:16:40 1970", True),
        ("Thu Jan  1 00:16:50 1970", False),
        ("soon", False),
        ("", False),
    ],
)
def test_a_start_is_compared_as_its_platform_writes_it(written: str, own: bool) -> None:
    assert fits(written, seen()) is own


@pytest.mark.parametrize(
    ("command", "serves"),
    [
        (b"claude\0daemon\0run\0", True),
        (b"claude\0--bg-pty-host\0", True),
        (b"claude\0bg-pty-host\0", True),
        (b"claude\0--bg-spare\0x\0", True),
        (b"claude\0-p\0daemon run\0", False),
        (b"claude\0--resume\0", False),
        (b"--bg-spare\0", False),
        (b"", False),
    ],
)
def test_a_process_that_serves_others_is_known_by_its_words(command: bytes, serves: bool) -> None:
    assert serves_others(command) is serves


def test_a_process_that_is_gone_serves_nobody() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert not is_helper(child.pid)
