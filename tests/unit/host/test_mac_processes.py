"""Test looking at processes by psutil, as on macOS; psutil says the same of real processes here."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest
from real_processes import sleeper, zombie

from coordd.host import mac_processes
from coordd.host.process_facts import ProbeFailed, Process


def test_a_process_is_seen_by_psutil(tmp_path: Path) -> None:
    with sleeper(cwd=tmp_path) as child:
        facts = mac_processes.look(child.pid)
        assert facts is not None
        assert facts.process == Process(child.pid, mac_processes.start_of(child.pid) or 0)
        assert (facts.parent, facts.uid, facts.inner_pid) == (os.getpid(), os.geteuid(), child.pid)
        assert (facts.cwd, facts.commanded, facts.inner) == (str(tmp_path), True, False)
        assert abs(facts.started - time.time()) < 60
        assert abs(facts.process.start - mac_processes.start_at(facts.started)) <= 1
        use = next(use for use in mac_processes.uses() if use.pid == child.pid)
        assert (use.start, use.parent, use.ended) == (facts.process.start, os.getpid(), False)
        assert use.rss > 1_000_000
        assert mac_processes.find_contained([facts.process]) == {}
    assert mac_processes.look(child.pid) is None
    assert mac_processes.start_of(child.pid) is None


def test_a_zombie_is_gone() -> None:
    with zombie() as process:
        assert mac_processes.look(process.pid) is None
        assert mac_processes.start_of(process.pid) is None
        assert next(use.ended for use in mac_processes.uses() if use.pid == process.pid)


def test_what_is_refused_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise psutil.AccessDenied(os.getpid())

    for ask in ("cwd", "cmdline", "uids", "terminal"):
        monkeypatch.setattr(psutil.Process, ask, refuse)
    facts = mac_processes.look(os.getpid())
    assert facts is not None
    assert (facts.cwd, facts.commanded, facts.uid, facts.tty) == (None, None, None, None)
    monkeypatch.setattr(psutil.Process, "status", refuse)
    for look in (mac_processes.look, mac_processes.start_of):
        with pytest.raises(ProbeFailed):
            look(os.getpid())


@pytest.mark.parametrize(
    "failure", [psutil.NoSuchProcess(1), psutil.ZombieProcess(1), psutil.AccessDenied(1)]
)
def test_a_process_that_ends_or_is_refused_during_the_look(
    monkeypatch: pytest.MonkeyPatch, failure: psutil.Error
) -> None:
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr(psutil.Process, "create_time", fail)
    for look in (mac_processes.look, mac_processes.start_of):
        if isinstance(failure, psutil.NoSuchProcess):
            assert look(os.getpid()) is None
        else:
            with pytest.raises(ProbeFailed):
                look(os.getpid())
