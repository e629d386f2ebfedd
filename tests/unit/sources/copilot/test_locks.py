"""Which process works on a session: asked of real processes that lock real folders."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from played_copilot import CopilotHome, PlayedCopilot, copilot_home

from coordd.host.process_facts import ProcessFacts
from coordd.host.processes import glance
from coordd.sources.copilot import locks as locks_module
from coordd.sources.copilot.locks import LATE, is_locked, lockers, works_on
from coordd.sources.copilot.programs import is_named_so, may_be

NOBODY = 65534

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it asks /proc")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[CopilotHome]:
    with copilot_home(Path(os.path.realpath(tmp_path)) / ".copilot") as one:
        yield one


def facts(one: PlayedCopilot) -> ProcessFacts:
    seen = glance(one.process.pid)
    assert seen is not None
    return seen


def works(one: PlayedCopilot) -> bool:
    return works_on(facts(one), str(one.folder))


def test_the_process_that_has_locked_the_folder(home: CopilotHome) -> None:
    one = home.session("s1")
    assert lockers(str(one.folder)) == [one.process.pid]
    assert is_locked(str(one.folder), one.process.pid) and works(one)
    one.unlock()
    assert lockers(str(one.folder)) == []
    assert not is_locked(str(one.folder), one.process.pid) and not works(one)


def test_a_lock_whose_hold_nobody_has_open_is_of_another_process(home: CopilotHome) -> None:
    """As one that was killed leaves it, once its pid is used again; or one of a container."""
    one = home.session("s1")
    one.holder.tell("close", one.hold_path)
    assert not works(one)
    elsewhere = home.path / "elsewhere.hold"
    one.holder.tell("open", elsewhere)
    assert not works(one)
    one.hold_path.unlink()
    one.hold_path.touch()  # another file by the name of the one that is open
    assert not works(one)


def test_without_a_hold_the_process_has_to_be_older_than_the_lock(home: CopilotHome) -> None:
    one = PlayedCopilot(home, "s1", home.holder())
    one.lock(holds=False)
    assert works(one)
    before = facts(one).started - LATE - 1
    os.utime(one.lock_path, (before, before))
    assert not works(one)


def test_without_a_hold_it_has_to_be_called_as_one_of_copilot_may_be(home: CopilotHome) -> None:
    one = PlayedCopilot(home, "s1", home.holder("vim"))
    one.lock(holds=False)
    assert not works(one)


def test_what_is_open_and_not_shown_leaves_the_age_of_the_process(
    home: CopilotHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = home.session("s1")
    one.holder.tell("close", one.hold_path)
    monkeypatch.setattr(locks_module, "_has_open", lambda *_: None)
    assert works(one)


def test_a_lock_of_another_user_says_nothing(home: CopilotHome) -> None:
    one = home.session("s1")
    assert not works_on(replace(facts(one), uid=os.geteuid() + 1), str(one.folder))


@pytest.mark.parametrize(
    "name", ["inuse.1.lock.tmp", "inuse.x.lock", "inuse.01.lock", "inuse.٣.lock", "inuse.1"]
)
def test_names_that_are_no_locks(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert lockers(str(tmp_path)) == []


def test_links_and_folders_are_no_locks(home: CopilotHome) -> None:
    one = home.session("s1")
    one.lock_path.rename(home.path / "away")
    one.lock_path.symlink_to(home.path / "away")
    assert not is_locked(str(one.folder), one.process.pid) and not works(one)
    one.lock_path.unlink()
    one.lock_path.mkdir()
    assert not is_locked(str(one.folder), one.process.pid) and not works(one)


@contextmanager
def program(folder: Path, user: int | None = None) -> Iterator[ProcessFacts]:
    """Run a program of that name, of a user."""
    path = folder / "copilot"
    shutil.copy("/bin/sleep", path)
    child = subprocess.Popen([path, "100"], user=user)
    try:
        seen = glance(child.pid)
        assert seen is not None
        yield seen
    finally:
        child.kill()
        child.wait()


def test_who_is_a_program(home: CopilotHome) -> None:
    assert is_named_so(facts(home.session("s1")))
    other = home.holder("MainThread")
    seen = glance(other.process.pid)
    assert seen is not None and may_be(seen) and not is_named_so(seen)  # of some other script of node


def test_a_program_that_names_its_thread_as_node_does_is_known_by_its_file(tmp_path: Path) -> None:
    with program(tmp_path) as seen:
        assert is_named_so(replace(seen, name="MainThread"))


@pytest.mark.root
@pytest.mark.parametrize(("whose", "asks", "told"), [(NOBODY, 0, True), (0, NOBODY, False)])
def test_of_another_user_only_who_may_look_into_processes_is_told(whose: int, asks: int, told: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to others
        os.chmod(folder, 0o755)
        with program(Path(folder), user=whose) as seen:
            child = os.fork()
            if child == 0:
                code = 2
                try:
                    os.setgroups([])
                    os.setgid(asks)
                    os.setuid(asks)
                    code = int(is_named_so(replace(seen, name="MainThread")))
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == told
