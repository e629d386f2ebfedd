"""Test hints from the real inotify, drained by a real loop; Linux only."""

# ruff: noqa: ASYNC230, ASYNC240  each test is alone on its loop, so it may as well block it

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from coordd.sources.file.hints import Hint, Signal, WorkFile
from coordd.sources.file.watch import Followed, Watcher
from coordd.util import inotify as ino

BEAT = "2026-11-21T12:00:00Z\n"
DEADLINE = 10.0


class Hints:
    """Collect the watcher's hints; an agent's heartbeat counts as its stem alone."""

    def __init__(self) -> None:
        self.all: list[tuple[str, Hint]] = []

    def __call__(self, workspace: str, hint: Hint) -> None:
        stem = hint.removesuffix(".heartbeat") if isinstance(hint, str) else hint
        self.all.append((workspace, stem))

    async def wait(self, workspace: object, hint: Hint) -> None:
        until = time.monotonic() + DEADLINE
        while (str(workspace), hint) not in self.all:
            assert time.monotonic() < until, f"{hint} did not come; these did: {self.all}"
            await asyncio.sleep(0.005)

    def clear(self) -> None:
        self.all.clear()


@pytest.fixture
def hints() -> Hints:
    return Hints()


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    path = tmp_path / "p" / ".claude" / "coordination" / "agents"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def project(agents: Path) -> Path:
    return agents.parents[2]


def watching(hints: Hints, work: Callable[[Watcher], Coroutine[Any, Any, None]], **options: Any) -> None:
    """Run ``work`` with a started watcher on a loop of its own."""

    async def main() -> None:
        watcher = Watcher(on_hint=hints, remote=lambda _: None, **options)
        watcher.start(asyncio.get_running_loop())
        try:
            await work(watcher)
        finally:
            watcher.close()

    asyncio.run(main())


async def quiet(hints: Hints, mark: Path) -> None:
    """Wait until everything that came before now has been drained: events keep their order."""
    mark.touch()
    await hints.wait(*_marked(mark))
    mark.unlink()


def _marked(mark: Path) -> tuple[str, str]:
    return str(mark.parents[3]), mark.name.removesuffix(".heartbeat")


def rewrite(path: Path) -> None:
    path.write_text(BEAT)


def rename(path: Path) -> None:
    other = path.with_name(path.name + ".tmp")
    other.write_text(BEAT)
    other.rename(path)


def touch(path: Path) -> None:
    path.touch()


def utime(path: Path) -> None:
    os.utime(path, (1, 1))


def delete(path: Path) -> None:
    path.unlink()


def move_away(path: Path) -> None:
    path.rename(path.parents[1] / "away")


def chmod(path: Path) -> None:
    path.chmod(0)


@pytest.mark.parametrize("beat", [rewrite, rename, touch, utime, delete, move_away, chmod])
def test_each_kind_of_change_of_a_heartbeat_is_seen(
    hints: Hints, agents: Path, project: Path, beat: Callable[[Path], None]
) -> None:
    (agents / "a.heartbeat").touch()

    async def work(watcher: Watcher) -> None:
        assert watcher.arm(str(project)) == Followed("inotify")
        beat(agents / "a.heartbeat")
        await hints.wait(project, "a")
        assert {hint for _, hint in hints.all} == {"a"}

    watching(hints, work)


def test_hints_say_which_agent_and_leave_out_half_written_files(
    hints: Hints, agents: Path, project: Path
) -> None:
    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        for name in (
            ".a.heartbeat",
            "b.heartbeat.tmp",
            "c.tasks.swp",
            "d.active.bak",
            "README",
            ".heartbeat",
        ):
            (agents / name).write_text(BEAT)
        (agents / "e.tasks").touch()
        (agents / "f.g.active").touch()
        (agents / "active.list").touch()
        with open(os.fsencode(agents) + b"/\xff\n.heartbeat", "w"):
            pass
        await hints.wait(project, "\udcff\n")
        assert {hint for _, hint in hints.all} == {"e.tasks", "f.g.active", "\udcff\n", Signal.LIST}

    watching(hints, work)


def test_a_write_that_is_not_closed_is_no_hint_yet(hints: Hints, agents: Path, project: Path) -> None:
    (agents / "a.heartbeat").touch()

    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        with (agents / "a.heartbeat").open("w") as file:
            file.write(BEAT)
            file.flush()
            await quiet(hints, agents / "mark.heartbeat")
            assert (str(project), "a") not in hints.all
        await hints.wait(project, "a")

    watching(hints, work)


def test_a_new_agent_is_hinted_though_its_file_stays_open_or_is_a_link(
    hints: Hints, agents: Path, project: Path
) -> None:
    (agents.parent / "draft").write_text(BEAT)

    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        with (agents / "a.heartbeat").open("w"):
            await hints.wait(project, "a")
        os.link(agents.parent / "draft", agents / "b.active")
        await hints.wait(project, "b.active")

    watching(hints, work)


@pytest.mark.parametrize("folder", ["claims", "tasks", "status"])
def test_work_is_hinted_too_even_a_claim_made_by_a_link(
    hints: Hints, agents: Path, project: Path, folder: str
) -> None:
    path = agents.parent / folder
    path.mkdir()
    (agents.parent / "draft").write_text("{}")

    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        os.link(agents.parent / "draft", path / "t.claim")
        await hints.wait(project, WorkFile(folder, "t.claim"))
        hints.clear()
        (path / "t.claim").unlink()
        await hints.wait(project, WorkFile(folder, "t.claim"))
        hints.clear()
        (path / "x.tmp").touch()
        await quiet(hints, agents / "mark.heartbeat")
        assert not any(isinstance(hint, WorkFile) for _, hint in hints.all)

    watching(hints, work)


def test_a_project_that_comes_to_be_is_noticed_step_by_step(hints: Hints, tmp_path: Path) -> None:
    project = tmp_path / "src" / "p"
    steps = [
        tmp_path / "src",
        project,
        project / ".claude",
        project / ".claude" / "coordination",
        project / ".claude" / "coordination" / "agents",
    ]

    async def work(watcher: Watcher) -> None:
        for step in steps:
            assert watcher.arm(str(project)) == Followed("inotify")
            hints.clear()
            step.mkdir()
            await hints.wait(project, Signal.RESCAN)
        watcher.arm(str(project))
        (steps[-1] / "a.heartbeat").touch()
        await hints.wait(project, "a")

    watching(hints, work)


def test_a_missing_project_is_waited_for_without_hearing_its_neighbours(hints: Hints, tmp_path: Path) -> None:
    async def work(watcher: Watcher) -> None:
        watcher.arm(str(tmp_path / "p" / "q"))
        (tmp_path / "other").mkdir()
        (tmp_path / "file").touch()
        (tmp_path / "p").mkdir()
        await hints.wait(tmp_path / "p" / "q", Signal.RESCAN)
        assert len(hints.all) == 1

    watching(hints, work)


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_a_folder_that_goes_and_returns_is_followed(
    hints: Hints, agents: Path, project: Path, tmp_path: Path, depth: int
) -> None:
    path = [agents, *agents.parents][depth]
    away = tmp_path / "away"

    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        for leave in (os.rename, copy_away):
            hints.clear()
            leave(path, away)
            await hints.wait(project, Signal.RESCAN)
            watcher.arm(str(project))
            hints.clear()
            os.rename(away, path)
            await hints.wait(project, Signal.RESCAN)
            watcher.arm(str(project))
            hints.clear()
            (agents / "a.heartbeat").write_text(BEAT)
            await hints.wait(project, "a")

    watching(hints, work)


def copy_away(path: Path, away: Path) -> None:
    shutil.copytree(path, away)
    shutil.rmtree(path)


def test_a_folder_that_was_moved_away_is_heard_no_more(
    hints: Hints, agents: Path, project: Path, tmp_path: Path
) -> None:
    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        agents.rename(tmp_path / "away")
        agents.mkdir()
        await hints.wait(project, Signal.RESCAN)
        watcher.arm(str(project))
        await quiet(hints, agents / "mark.heartbeat")
        hints.clear()
        (tmp_path / "away" / "stale.heartbeat").write_text(BEAT)
        await quiet(hints, agents / "mark.heartbeat")
        assert (str(project), "stale") not in hints.all

    watching(hints, work)


def test_a_shared_folder_behind_a_link_is_watched_and_so_is_the_link(
    hints: Hints, agents: Path, project: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / ".claude").symlink_to(project / ".claude")

    async def work(watcher: Watcher) -> None:
        for path in (project, tree):
            watcher.arm(str(path))
        (agents / "a.heartbeat").touch()
        await hints.wait(project, "a")
        await hints.wait(tree, "a")
        watcher.forget(str(project))
        hints.clear()
        (agents / "b.heartbeat").touch()
        await hints.wait(tree, "b")
        assert str(project) not in {workspace for workspace, _ in hints.all}
        hints.clear()
        (tree / ".claude").unlink()
        await hints.wait(tree, Signal.RESCAN)

    watching(hints, work)


def test_a_linked_agents_folder_is_not_followed(
    hints: Hints, agents: Path, project: Path, tmp_path: Path
) -> None:
    agents.rename(tmp_path / "far")
    agents.symlink_to(tmp_path / "far")

    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        (tmp_path / "far" / "a.heartbeat").touch()
        agents.unlink()
        await hints.wait(project, Signal.RESCAN)
        assert (str(project), "a") not in hints.all

    watching(hints, work)


def test_a_change_of_rights_is_noticed(hints: Hints, agents: Path, project: Path) -> None:
    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        agents.chmod(0o700)
        await hints.wait(project, Signal.RESCAN)

    watching(hints, work)


def test_a_busy_project_root_is_not_listened_to_once_the_folders_are_there(
    hints: Hints, tmp_path: Path
) -> None:
    project = tmp_path / "p"
    project.mkdir()

    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        agents = project / ".claude" / "coordination" / "agents"
        agents.mkdir(parents=True)
        for name in ("claims", "tasks", "status"):
            (agents.parent / name).mkdir()
        await hints.wait(project, Signal.RESCAN)
        watcher.arm(str(project))
        await quiet(hints, agents / "mark.heartbeat")
        seen: list[str] = []
        parse = ino.parse_events

        def spy(buffer: bytes) -> list[ino.RawEvent]:
            events = parse(buffer)
            seen.extend(name for _, _, name in events)
            return events

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ino, "parse_events", spy)
            (project / "main.py").write_text("pass")
            (agents.parent / "log").write_text("pass")
            await quiet(hints, agents / "last.heartbeat")
        assert set(seen) == {"mark.heartbeat", "last.heartbeat"}

    watching(hints, work)


def test_forgetting_ends_the_watches(hints: Hints, agents: Path, project: Path) -> None:
    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        other = agents.parents[3] / "q" / ".claude" / "coordination" / "agents"
        other.mkdir(parents=True)
        watcher.arm(str(other.parents[2]))
        assert watched(watcher) == 8
        watcher.forget(str(project))
        assert watched(watcher) == 4
        (agents / "a.heartbeat").touch()
        await quiet(hints, other / "mark.heartbeat")
        assert {workspace for workspace, _ in hints.all} == {str(other.parents[2])}

    watching(hints, work)


def watched(watcher: Watcher) -> int:
    """The watches that the kernel keeps for it."""
    backend = watcher._backend
    assert backend is not None
    return Path(f"/proc/self/fdinfo/{backend.fd}").read_text().count("inotify wd:")


@pytest.mark.parametrize("inner_first", [True, False])
def test_two_workspaces_that_meet_in_one_directory_keep_what_each_wants_to_hear(
    hints: Hints, agents: Path, project: Path, inner_first: bool
) -> None:
    inner = project / "sub" / "q"
    for name in ("claims", "tasks", "status"):
        (agents.parent / name).mkdir()

    async def work(watcher: Watcher) -> None:
        for path in (inner, project) if inner_first else (project, inner):
            watcher.arm(str(path))
        (project / "sub").mkdir()
        await hints.wait(inner, Signal.RESCAN)
        assert str(project) not in {workspace for workspace, _ in hints.all}
        hints.clear()
        watcher.forget(str(inner))
        project.chmod(0o700)
        await hints.wait(project, Signal.RESCAN)

    watching(hints, work)


def test_reading_the_descriptor_never_blocks() -> None:
    backend = ino.LibcBackend()
    try:
        assert not os.get_blocking(backend.fd)
    finally:
        backend.close()
        backend.close()


def test_arming_again_and_again_neither_grows_nor_loses_anything(
    hints: Hints, agents: Path, project: Path
) -> None:
    async def work(watcher: Watcher) -> None:
        for _ in range(20):
            watcher.arm(str(project))
        assert watched(watcher) == 4
        (agents / "a.heartbeat").touch()
        await hints.wait(project, "a")

    watching(hints, work)


def test_a_burst_is_drained_whole_and_the_loop_turns_in_between(
    hints: Hints, agents: Path, project: Path
) -> None:
    async def work(watcher: Watcher) -> None:
        watcher.arm(str(project))
        turns = 0
        for number in range(5000):  # more than one read holds
            (agents / f"{number}.heartbeat").touch()

        def turn() -> None:
            nonlocal turns
            turns += 1
            asyncio.get_running_loop().call_soon(turn)

        turn()
        await hints.wait(project, "4999")
        assert turns > 2
        assert {hint for _, hint in hints.all} == {str(number) for number in range(5000)}

    watching(hints, work)


class FakeBackend:
    """A pipe in the place of the inotify descriptor."""

    def __init__(self) -> None:
        self.fd, self._out = os.pipe()
        os.set_blocking(self.fd, False)
        self.error: OSError | None = None
        self.removed: list[int] = []
        self._wds: dict[tuple[int, int], int] = {}

    def add(self, path: str, mask: int) -> int:
        if self.error is not None:
            raise self.error
        state = os.stat(path)
        return self._wds.setdefault((state.st_dev, state.st_ino), len(self._wds) + 1)

    def remove(self, wd: int) -> None:
        self.removed.append(wd)

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)
            os.close(self._out)
            self.fd = -1

    def event(self, wd: int, mask: int, name: bytes = b"") -> None:
        os.write(self._out, struct.pack("iIII", wd, mask, 0, len(name)) + name)


_: type[ino.Backend] = FakeBackend


def faked(hints: Hints, work: Callable[[Watcher, FakeBackend], Awaitable[None]]) -> None:
    backend = FakeBackend()
    opened = iter((backend, FakeBackend()))  # the second is for what is above

    async def with_backend(watcher: Watcher) -> None:
        await work(watcher, backend)

    watching(hints, with_backend, open_backend=lambda: next(opened))


def test_lost_events_mean_reading_everything_again(hints: Hints, agents: Path, project: Path) -> None:
    async def work(watcher: Watcher, backend: FakeBackend) -> None:
        watcher.arm(str(project))
        watcher.arm(str(project / "other"))
        backend.event(-1, ino.Q_OVERFLOW)
        await hints.wait(project, Signal.RESCAN)
        await hints.wait(project / "other", Signal.RESCAN)

    faked(hints, work)


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "fs.inotify.max_user_watches"), (errno.EACCES, "Permission denied")],
)
def test_where_no_watch_can_be_had_it_says_poll_and_why_and_recovers(
    hints: Hints, agents: Path, project: Path, number: int, words: str
) -> None:
    async def work(watcher: Watcher, backend: FakeBackend) -> None:
        backend.error = OSError(number, os.strerror(number))
        followed = watcher.arm(str(project))
        assert followed.state == "poll"
        assert words in (followed.reason or "")
        backend.error = None
        assert watcher.arm(str(project)) == Followed("inotify")

    faked(hints, work)


def test_a_descriptor_that_fails_ends_in_polling_and_a_rescan(
    hints: Hints, agents: Path, project: Path
) -> None:
    async def work(watcher: Watcher, backend: FakeBackend) -> None:
        watcher.arm(str(project))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "read", _failing)
            backend.event(1, 0)
            await hints.wait(project, Signal.RESCAN)
        assert watcher.followed == Followed("poll", "inotify: Input/output error")
        assert watcher.arm(str(project)).state == "poll"

    faked(hints, work)


def _failing(*_: object) -> bytes:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "fs.inotify.max_user_instances"),
        (AttributeError("undefined symbol: inotify_init1"), "inotify_init1"),
    ],
)
def test_without_inotify_it_says_poll_and_why(
    hints: Hints, project: Path, error: Exception, words: str
) -> None:
    def refuse() -> ino.Backend:
        raise error

    async def work(watcher: Watcher) -> None:
        assert watcher.followed.state == "poll"
        assert words in (watcher.followed.reason or "")
        assert watcher.arm(str(project)) == watcher.followed
        watcher.forget(str(project))

    watching(hints, work, open_backend=refuse)


def test_what_others_write_to_is_polled(hints: Hints, project: Path) -> None:
    async def main() -> None:
        watcher = Watcher(
            on_hint=hints, remote=lambda path: "nfs4" if path.startswith(str(project)) else None
        )
        watcher.start(asyncio.get_running_loop())
        try:
            followed = watcher.arm(str(project))
        finally:
            watcher.close()
        assert followed == Followed("poll", "nfs4: inotify does not see what other machines write")

    asyncio.run(main())


def test_before_the_start_and_after_the_end_it_polls(hints: Hints, project: Path) -> None:
    watcher = Watcher(on_hint=hints)
    assert watcher.arm(str(project)).state == "poll"
    watching(hints, _nothing)
    watcher.close()
    watcher.close()
    assert watcher.arm(str(project)) == Followed("poll", "stopped")


async def _nothing(_: Watcher) -> None:
    return


def test_a_real_limit_of_watches_is_met_with_polling(tmp_path: Path, agents: Path, project: Path) -> None:
    """In a user namespace of its own, whose limit is nobody else's; without namespaces there is no limit."""
    script = (
        "import asyncio, sys\n"
        "from coordd.sources.file.watch import Watcher\n"
        "async def main():\n"
        "    w = Watcher(on_hint=lambda *_: None)\n"
        "    w.start(asyncio.get_running_loop())\n"
        "    print(w.arm(sys.argv[1]))\n"
        "    w.close()\n"
        "asyncio.run(main())\n"
    )
    limited = ["unshare", "-U", "--map-root-user", "sh", "-c"]
    limit = "echo 2 >/proc/sys/user/max_inotify_watches"
    python = [sys.executable, "-c", script, str(project)]
    if subprocess.run([*limited, limit], capture_output=True, check=False).returncode == 0:
        command, expected = [*limited, f'{limit}; exec "$0" "$@"', *python], "max_user_watches"
    else:
        command, expected = python, "state='inotify'"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert expected in result.stdout, result.stderr


def test_events_are_decoded_as_the_kernel_packs_them() -> None:
    buffer = struct.pack("iIII", 3, ino.CLOSE_WRITE, 0, 16) + b"a.heartbeat".ljust(16, b"\0")
    buffer += struct.pack("iIII", -1, ino.Q_OVERFLOW, 0, 0)
    buffer += struct.pack("iIII", 4, ino.MOVED_TO, 7, 16) + b"\xff".ljust(16, b"\0")
    assert ino.parse_events(buffer) == [
        (3, ino.CLOSE_WRITE, "a.heartbeat"),
        (-1, ino.Q_OVERFLOW, ""),
        (4, ino.MOVED_TO, "\udcff"),
    ]
    assert ino.parse_events(b"") == []
