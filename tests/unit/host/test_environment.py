"""Test that what is asked for alone is read of the environment of a process, and only of the own user's."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from real_processes import process_of, sleeper

from coordd.host.environment import variables_of
from coordd.host.process_facts import Process


@contextmanager
def started(**environ: str) -> Iterator[Process]:
    with sleeper(env={"PATH": os.environ["PATH"], **environ}) as child:
        yield process_of(child.pid)


def test_the_value_is_that_of_the_start() -> None:
    with started(OTHER="x", WANTED="a-b", WANTED_TOO="y") as process:
        assert variables_of(process, ["WANTED", "ABSENT"]) == {"WANTED": "a-b"}


@pytest.mark.parametrize("value", ["x" * 300, "\xe9"])
def test_what_no_id_can_be_counts_as_none(value: str) -> None:
    with started(WANTED=value) as process:
        assert variables_of(process, ["WANTED"]) == {}


def test_another_process_with_the_pid_is_not_asked() -> None:
    with started(WANTED="a") as process:
        assert variables_of(Process(process.pid, process.start + 1), ["WANTED"]) == {}
    assert variables_of(process, ["WANTED"]) == {}


@pytest.mark.root
def test_of_another_users_process_nothing_is_read() -> None:
    command = ["setpriv", "--reuid", "4000001", "--clear-groups", "sleep", "1000"]
    child = subprocess.Popen(command, env={"PATH": os.environ["PATH"], "WANTED": "a"})
    try:
        process = process_of(child.pid)
        while os.stat(f"/proc/{child.pid}").st_uid != 4_000_001:
            pass
        assert variables_of(process, ["WANTED"]) == {}
    finally:
        child.kill()
        child.wait()
