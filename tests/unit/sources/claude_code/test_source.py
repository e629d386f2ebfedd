"""Sessions of a home as they come, work, go on in others and end: with real files and processes."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sessions import Home, StandIn
from sources import Follower
from waiting import until

from coordd.agents.beats import Restored
from coordd.agents.key import AgentKey
from coordd.agents.observation import Observation
from coordd.agents.session import Session
from coordd.host.process_facts import Process, ProcessFacts
from coordd.host.processes import glance
from coordd.runtime.worker import Worker
from coordd.sources.base import POLL, RESCAN, UNREADABLE, Following, SourceLost
from coordd.sources.claude_code import awaiting as awaiting_module
from coordd.sources.claude_code import sessions as sessions_module
from coordd.sources.claude_code.projects import ProjectFolders
from coordd.sources.claude_code.source import ClaudeCodeSource, FolderHint, RecordHint
from coordd.sources.sessions import looks as looks_module
from coordd.sources.sessions import places as places_module
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.watch import Watch
from coordd.sources.sessions.work_tree import Place, place_of
from coordd.util.inotify import LibcBackend
from coordd.util.timestamps import format_utc


class LimitedBackend(LibcBackend):
    """An inotify that makes no new watches while it is ``full``."""

    def __init__(self) -> None:
        super().__init__()
        self.full = False
        self._there: set[int] = set()

    def add(self, path: str, mask: int) -> int:
        watch = super().add(path, mask)
        if self.full and watch not in self._there:
            self.remove(watch)
            raise OSError(errno.ENOSPC, "No space left on device")
        self._there.add(watch)
        return watch


class World:
    """A home, what reads it, and who follows that."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.wanted: Callable[[Place], bool] = lambda _: True
        self.workers = Worker("homes", replaceable=True), Worker("places", replaceable=True)
        self.watch = Watch()
        self.watch.start(asyncio.get_running_loop())
        self.resolve = place_of
        self.source = self.another()
        self.follower = Follower(self.source)

    def another(self) -> ClaudeCodeSource:
        """Return a source of the same home, as after a restart."""
        places = Places(
            worker=self.workers[1],
            configured=lambda: {},
            resolve=self._resolve,
        )
        return ClaudeCodeSource(
            str(self.home.path),
            named=True,
            worker=self.workers[0],
            places=places,
            watch=self.watch,
            look=glance,
            wanted=self._is_wanted,
            remote=lambda _: None,
        )

    def _resolve(self, cwd: str, configured: Mapping[str, str]) -> Place:
        return self.resolve(cwd, configured)

    def _is_wanted(self, place: Place) -> bool:
        return self.wanted(place)

    def limit_watches(self) -> LimitedBackend:
        """Watch through an inotify of which the watches may run out."""
        self.watch.close()
        backend = LimitedBackend()
        self.watch = Watch(open_backend=lambda: backend)
        self.watch.start(asyncio.get_running_loop())
        self.source = self.another()
        self.follower = Follower(self.source)
        return backend

    async def read(self) -> None:
        self.follower.start()
        await self.follower.read()

    def session(self, agent_id: str) -> Session:
        one = self.follower.known[agent_id]
        assert one.traces is not None
        assert one.traces.session is not None
        return one.traces.session

    async def until(self, condition: Callable[[], object]) -> None:
        def holds() -> bool:
            try:
                return bool(condition())
            except (KeyError, AttributeError, AssertionError):
                return False

        await self.follower.catch_up(holds)

    async def close(self) -> None:
        await self.source.stop()
        self.watch.close()
        self.home.close()
        for worker in self.workers:
            worker.close()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(Home(tmp_path / "home"))
    yield world
    await world.close()


def named(tmp_path: Path, name: str) -> tuple[str, str]:
    """Return a program that sleeps under another name."""
    path = tmp_path / name
    shutil.copy(shutil.which("sleep") or "", path)
    return str(path), "1000"


# Which records are sessions.


async def test_a_session_is_seen_with_nothing_set_up(world: World) -> None:
    one = world.home.session("s1")
    one.prompt()
    one.call()
    await world.read()
    session = world.session("s1")
    assert (session.kind, session.session_id, session.process) == ("claude-code", "s1", one.process)
    assert (session.present, session.declared, session.version) == (True, "idle", "2.1.197")
    assert session.turn is not None
    assert world.follower.known["s1"].workspace == str(world.home.work)
    assert session.project == str(world.home.work)


async def test_the_ghost_of_a_killed_process_makes_no_agent(world: World) -> None:
    world.home.session("s1").kill()
    await world.read()
    assert world.follower.known == {}
    assert world.follower.malformed == {}


async def test_a_process_that_waits_to_be_buried_has_ended(world: World) -> None:
    one = world.home.session("s1")
    await world.read()
    one._child.kill()  # and nobody waits for it
    await until(lambda: glance(one.process.pid) is None)
    await world.follower.reread("s1")
    assert (world.session("s1").present, world.source.lives) == (True, False)


async def test_a_pid_that_means_another_process_makes_no_agent(world: World) -> None:
    """As the record of a container that shares the home."""
    world.home.session("s1", procStart="12345")
    world.home.session("s2", procStart="Mon Jan  2 10:00:00 2017")
    await world.read()
    assert world.follower.known == {}


async def test_a_record_of_an_older_build_needs_a_process_of_that_name(world: World, tmp_path: Path) -> None:
    world.home.session("s1", procStart=None)
    for session_id, name in (("s2", "claude"), ("s3", "2.1.289"), ("s4", "claude.exe"), ("s5", "clauded")):
        world.home.session(session_id, program=named(tmp_path, name), procStart=None)
    await world.read()
    assert set(world.follower.known) == {"s2", "s3", "s4"}


async def test_an_older_record_than_its_process_is_of_another(world: World, tmp_path: Path) -> None:
    one = world.home.session("s1", program=named(tmp_path, "claude"), procStart=None)
    os.utime(one.record, (1_700_000_000, 1_700_000_000))
    await world.read()
    assert world.follower.known == {}


async def test_a_process_that_only_serves_others_is_no_agent(world: World) -> None:
    program = (sys.executable, "-c", "import time; time.sleep(1000)", "--bg-spare")
    world.home.session("s1", program=program)
    await world.read()
    assert world.follower.known == {}


async def test_a_front_end_that_has_parked_leaves(world: World) -> None:
    one = world.home.session("s1")
    world.home.session("s2", parkedJobId="job")
    await world.read()
    assert set(world.follower.known) == {"s1"}
    job = world.home.session("s1", kind="bg")
    await world.until(lambda: len(world.follower.known) == 2)
    one.write(parkedJobId="job")
    await world.until(lambda: set(world.follower.known) == {f"s1~{job.process.pid}"})


async def test_junk_is_passed_over_in_silence(world: World) -> None:
    for name in ("pid-5.json", "5.json.tmp", "x.json", "05.json", "99999999999.json", ".5.json"):
        (world.home.sessions / name).write_text("junk")
    world.home.session("s1")
    await world.read()
    assert (set(world.follower.known), world.follower.malformed) == ({"s1"}, {})


@pytest.mark.parametrize("kind", ["fifo", "link", "large", "folder", "text"])
async def test_a_record_that_is_none_is_malformed_and_said_once(world: World, kind: str) -> None:
    one = world.home.session("s1")
    one.record.unlink()
    if kind == "fifo":
        os.mkfifo(one.record)
    elif kind == "link":
        one.record.symlink_to("/etc/passwd")
    elif kind == "folder":
        one.record.mkdir()
    else:
        one.record.write_text("x" * (100_000 if kind == "large" else 10))
    world.home.session("s2")
    await world.read()
    assert set(world.follower.known) == {"s2"}
    assert list(world.follower.malformed) == [str(one.record)]


async def test_more_sessions_than_are_read_are_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 2)
    for number in range(3):
        world.home.session(f"s{number}")
    world.follower.start()
    traces = await world.follower.read()
    assert len(traces.agents) == 2
    assert set(traces.over_limit) == {"sessions"}


async def test_a_session_too_many_is_said_at_once_and_read_when_there_is_room(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 2)
    one = world.home.session("s0")
    world.home.session("s1")
    await world.read()
    world.follower.told.clear()
    world.home.session("s2")
    await world.until(lambda: world.follower.full == 2)
    assert (await world.follower.read()).over_limit.keys() == {"sessions"}
    assert set(world.follower.known) == {"s0", "s1"}
    assert world.source.interval == UNREADABLE
    one.kill()
    await world.follower.reread("s0")
    assert (await world.follower.read()).over_limit == {}
    assert set(world.follower.known) == {"s0", "s1", "s2"}
    assert world.source.interval == RESCAN


async def test_sessions_that_have_ended_give_way_to_new_ones(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions_module, "MAX_SESSIONS", 2)
    monkeypatch.setattr(sessions_module, "MAX_ENDED", 2)
    await world.read()
    for number in range(5):
        one = world.home.session(f"s{number}")
        await world.until(lambda number=number: world.session(f"s{number}"))  # type: ignore[misc]  # bound now
        one.kill()
        await world.follower.reread(f"s{number}")
        assert not world.session(f"s{number}").lives
    assert set(world.follower.known) == {"s3", "s4"}


async def test_of_two_processes_of_a_session_the_second_keeps_its_own_id_whoever_ends_first(
    world: World,
) -> None:
    first, second = world.home.session("s1"), world.home.session("s1")
    await world.read()
    later = f"s1~{second.process.pid}"
    assert (world.session("s1").ties, world.session(later).ties) == (True, False)
    first.exit()
    await world.follower.reread("s1")
    await world.until(lambda: not world.session("s1").lives)
    assert not world.session(later).ties, "or the first, which has ended, would be the second"


async def test_a_home_without_sessions_waits_and_tells_when_it_has_some(world: World) -> None:
    world.home.sessions.rmdir()
    world.follower.start()
    assert (await world.follower.read()).state == "waiting"
    world.home.sessions.mkdir()
    world.home.session("s1")
    await world.until(lambda: world.session("s1"))


async def test_sessions_that_were_there_and_are_gone_cannot_be_read(world: World) -> None:
    world.home.session("s1")
    await world.read()
    shutil.rmtree(world.home.sessions)
    with pytest.raises(SourceLost, match="was there and is gone"):
        await world.follower.read()


# How sessions go on and end.


async def test_a_change_of_status_is_told_at_once(world: World) -> None:
    one = world.home.session("s1", status="busy")
    await world.read()
    full = world.follower.full
    one.write(status="waiting", waitingFor="sandbox request")
    await world.until(lambda: world.session("s1").declared == "waiting")
    assert world.session("s1").waiting_for == "permission prompt"
    assert world.follower.full == full


@pytest.mark.parametrize("status", ["busy", "waiting", "dancing"])
async def test_an_activity_without_a_time_is_as_old_as_its_first_sight(world: World, status: str) -> None:
    undated = {"status": status, "statusUpdatedAt": None, "updatedAt": None}
    before = time.time()
    one = world.home.session("s1", **undated)
    await world.read()
    first = world.session("s1").declared_at
    assert first is not None
    assert before <= first <= time.time()
    one.write(**undated, name="another", nameSource="user")
    await world.until(lambda: world.session("s1").name == "another")
    assert world.session("s1").declared_at == first
    one.write(**(undated | {"status": "idle"}))
    await world.until(lambda: world.session("s1").declared == "idle")
    again = world.session("s1").declared_at
    assert again is not None
    assert again > first
    one.write(**(undated | {"status": None}))
    await world.until(lambda: world.session("s1").declared is None)
    assert world.session("s1").declared_at is None


async def test_a_record_that_names_another_users_process_makes_no_agent(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process counts for the owner of the record alone, whoever runs coordd."""
    one, two = world.home.session("s1"), world.home.session("s2")

    def glance_as_other(pid: int) -> ProcessFacts | None:
        facts = glance(pid)
        if facts is None or pid != one.process.pid:
            return facts
        return replace(facts, uid=os.geteuid() + 1)

    world.source._reader.sessions._look = glance_as_other
    await world.read()
    assert set(world.follower.known) == {"s2"}
    assert world.follower.malformed == {
        str(one.record): "it names a process of another user than its own",
    }
    one.write(procStart="5")  # nor is anything said of one that means another process
    await world.follower.read()
    assert world.follower.malformed == {}
    assert two.record.stat().st_uid == os.geteuid()


async def test_a_missing_record_is_no_death(world: World) -> None:
    """A container that shares the home takes all others' records away."""
    one = world.home.session("s1", status="busy")
    one.prompt()
    await world.read()
    one.record.unlink()
    await world.until(lambda: not world.session("s1").present)
    assert world.session("s1").declared is None, "what it said is of no time any more"
    one.call()
    await world.until(lambda: world.session("s1").turn.calls)  # type: ignore[union-attr]
    await world.follower.read()
    assert "s1" in world.follower.known
    one.write()
    await world.until(lambda: world.session("s1").present)


async def test_a_killed_session_leaves_its_record_and_one_that_ended_does_not(world: World) -> None:
    killed, ended = world.home.session("s1"), world.home.session("s2")
    await world.read()
    killed.kill()
    ended.exit()
    await world.follower.reread("s1", "s2")
    assert (world.session("s1").present, world.session("s2").present) == (True, False)
    assert world.session("s1").process == killed.process
    killed.record.unlink()  # as the next start of the program does
    await world.follower.read()
    assert world.session("s1").present, "it is judged once"


async def test_the_last_lines_of_a_killed_session_are_read(world: World) -> None:
    one = world.home.session("s1")
    one.prompt()
    await world.read()
    one.call("t1")
    one.kill()
    await world.follower.reread("s1")
    turn = world.session("s1").turn
    assert turn is not None
    assert (turn.open, len(turn.calls)) == (True, 1)
    await world.follower.read()
    assert world.session("s1").turn == turn


async def test_a_session_that_ends_before_its_transcript_was_found_is_read_once(world: World) -> None:
    one = world.home.session("s1")
    await world.read()
    one.prompt()
    one.answer()
    one.exit()
    await world.follower.reread("s1")
    turn = world.session("s1").turn
    assert turn is not None
    assert turn.open is False
    await world.follower.read()
    assert world.session("s1").turn == turn


async def test_what_is_forgotten_or_silent_for_too_long_is_told_of_no_more(world: World) -> None:
    world.home.session("s1").kill()
    for number in (2, 3):
        world.home.session(f"s{number}")
    await world.read()
    for one in world.home._started:
        one.kill()
    await world.follower.read()
    assert set(world.follower.known) == {"s2", "s3"}
    old = world.follower.known["s2"]
    world.follower.known["s2"] = Observation(old.source, old.key, old.traces, dormant=True)
    await world.follower.read()
    assert set(world.follower.known) == {"s3"}


async def test_after_clear_the_agent_is_the_same_in_another_session(world: World) -> None:
    one = world.home.session("s1")
    one.prompt()
    one.call()
    await world.read()
    one.session_id = "s2"
    one.write(status="busy")
    await world.until(lambda: world.session("s1").session_id == "s2")
    turn = world.session("s1").turn
    assert turn is None or turn.calls == ()
    one.prompt()
    one.call("t2", "Read")
    await world.until(lambda: world.session("s1").turn.calls[0].name == "Read")  # type: ignore[union-attr]
    assert set(world.follower.known) == {"s1"}


async def test_of_two_processes_of_a_session_the_later_one_is_another_agent(world: World) -> None:
    first, second = world.home.session("s1"), world.home.session("s1")
    await world.read()
    later = f"s1~{second.process.pid}"
    assert set(world.follower.known) == {"s1", later}
    assert (world.session("s1").process, world.session("s1").ties) == (first.process, True)
    assert (world.session(later).session_id, world.session(later).ties) == ("s1", False)
    second.write(sessionId="s2")  # /clear: from here on it is the only one of its session
    await world.until(lambda: world.session(later).ties)
    assert set(world.follower.known) == {"s1", later}


async def test_a_killed_session_that_is_resumed_is_the_same_agent(world: World) -> None:
    first = world.home.session("s1")
    first.prompt()
    first.call()
    await world.read()
    first.kill()
    await world.follower.reread("s1")
    second = world.home.session("s1", status=None)
    await world.until(lambda: world.session("s1").process == second.process)
    assert set(world.follower.known) == {"s1"}
    await world.follower.read()
    assert set(world.follower.known) == {"s1"}
    assert set(world.source._reader.sessions.live) == {second.process}, "the one before is forgotten"


async def test_a_call_that_a_killed_process_left_open_is_not_the_next_ones(world: World) -> None:
    one = world.home.session("s1", status=None)
    one.prompt(at=1_795_000_000.0)
    one.call(at=1_795_000_001.0)
    await world.read()
    turn = world.session("s1").turn
    assert turn is not None
    assert (turn.open, turn.calls) == (None, ())


# Restarts of coordd.


@dataclass(frozen=True, slots=True)
class RestoredSession(Restored):
    process: Process | None = None
    session_id: str | None = None


def restored(world: World, agent_id: str, one: StandIn, session_id: str | None = None) -> None:
    world.follower.known[agent_id] = Observation(
        world.source.state.name,
        AgentKey("/somewhere", agent_id),
        None,
        restored=RestoredSession(process=one.process, session_id=session_id),
    )


async def test_after_a_restart_an_agent_is_known_by_its_process(world: World) -> None:
    one = world.home.session("s2")
    restored(world, "s1", one, "s2")
    await world.read()
    assert set(world.follower.known) == {"s1"}
    assert world.session("s1").session_id == "s2"
    assert world.follower.known["s1"].workspace == str(world.home.work)


async def test_after_a_restart_a_session_without_a_record_is_known_all_the_same(world: World) -> None:
    one = world.home.session("s1")
    one.record.unlink()
    restored(world, "s1", one, "s1")
    await world.read()
    assert (world.session("s1").present, world.source.lives) == (False, True)


@pytest.mark.parametrize("how", ["killed", "ended"])
async def test_of_what_ended_meanwhile_it_is_said_whether_its_record_lies_there(
    world: World, how: str
) -> None:
    one = world.home.session("s1")
    (one.kill if how == "killed" else one.exit)()
    restored(world, "s1", one)
    await world.read()
    assert (world.session("s1").present, world.session("s1").process) == (how == "killed", one.process)
    assert world.follower.known["s1"].workspace == "/somewhere"
    await world.follower.read()
    assert "s1" in world.follower.known


async def test_a_record_that_another_process_wrote_meanwhile_is_not_that_of_the_one_before(
    world: World,
) -> None:
    one = world.home.session("s1")
    one.kill()
    one.write(procStart=str(one.process.start + 500), sessionId="s2")
    restored(world, "s1", one)
    await world.read()
    assert not world.session("s1").present


# Transcripts.


async def test_a_transcript_that_appears_later_is_found_wherever_it_lies(world: World) -> None:
    one = world.home.session("s1")
    await world.read()
    assert world.session("s1").turn is None
    one.folder = world.home.projects / "-some-other-name"
    one.prompt()
    one.call()
    await world.until(lambda: world.session("s1").turn.last)  # type: ignore[union-attr]
    assert not world.source._reader.missing
    assert not any(owner[1] == "projects" for owner in world.watch.owners)  # type: ignore[index]


async def test_of_many_folders_the_likely_one_is_watched(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awaiting_module, "MAX_WATCHED", 2)
    monkeypatch.setattr(looks_module, "PAUSES", (1000.0, 1000.0))
    for number in range(5):
        (world.home.projects / f"-a{number}").mkdir()
    likely = world.home.projects / "-z-work-tree"
    likely.mkdir()
    os.utime(likely, (1_700_000_000, 1_700_000_000))
    await world.read()
    for name in ("s1", "s2"):  # the first that is missing, and another one beside it
        one = world.home.session(name, cwd="/z/work.tree", status=None)
        await world.until(lambda name=name: world.session(name))  # type: ignore[misc]  # bound now
        one.folder = likely
        if name == "s2":
            one.prompt()
            await world.until(lambda: world.session("s2").turn.open)  # type: ignore[union-attr]
    assert world.follower.full == 1


async def test_of_many_folders_those_that_are_not_watched_are_looked_into(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(awaiting_module, "MAX_WATCHED", 2)
    monkeypatch.setattr(looks_module, "PAUSES", (0.05, 0.1))
    for number in range(5):
        (world.home.projects / f"-a{number}").mkdir()
        os.utime(world.home.projects / f"-a{number}", (1_700_000_000 + number, 1_700_000_000 + number))
    one = world.home.session("s1", status=None)
    await world.read()
    assert world.source.due is not None
    one.folder = world.home.projects / "-a0"
    one.prompt()
    await world.until(lambda: world.session("s1").turn.open)  # type: ignore[union-attr]
    assert world.follower.full == 1
    await world.follower.read_some()
    assert world.source.due is None


async def test_what_appears_elsewhere_below_projects_costs_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[tuple[str, ...] | None] = []
    find_all = ProjectFolders.find_all

    def spy(self: ProjectFolders, names: Collection[str], folders: Any = None) -> dict[str, str]:
        looked.append(None if folders is None else tuple(folders))
        return find_all(self, names, folders)

    (world.home.projects / "-a").mkdir()
    one = world.home.session("s1")
    await world.read()
    assert world.source.due is None
    monkeypatch.setattr(ProjectFolders, "find_all", spy)
    world.follower.told.clear()
    (world.home.projects / "-a" / "folder").mkdir()
    (world.home.projects / "-a" / "other.jsonl").write_text("{}")
    (world.home.projects / "-b").mkdir()  # its event comes after those
    await until(lambda: world.follower.hints)
    assert world.follower.hints == {FolderHint("-b")}
    await world.follower.read_some()
    assert looked == [("-b",)]
    one.write(status="busy")
    await world.until(lambda: world.session("s1").declared == "working")
    assert looked == [("-b",)]
    one.folder = world.home.projects / "-b"
    one.prompt()
    await world.until(lambda: world.session("s1").turn.open)  # type: ignore[union-attr]


async def test_a_folder_that_was_removed_and_made_again_is_watched(world: World) -> None:
    folder = world.home.projects / "-work"
    folder.mkdir()
    one = world.home.session("s1", status=None)
    await world.read()
    folder.rmdir()
    folder.mkdir()
    await world.until(lambda: not world.follower.hints)
    await until(lambda: world.follower.hints)
    await world.follower.read_some()
    one.prompt()
    await world.until(lambda: world.session("s1").turn.open)  # type: ignore[union-attr]
    assert world.follower.full == 1


async def test_what_is_no_transcript_is_not_looked_at_over_and_over(world: World) -> None:
    one = world.home.session("s1", status=None)
    one.folder.mkdir()
    one.transcript.mkdir()
    await world.read()
    await world.follower.read_some()
    assert world.source.due is None
    assert list(world.follower.malformed) == [str(one.transcript)]
    one.transcript.rmdir()
    one.prompt()
    await world.until(lambda: world.session("s1").turn.open)  # type: ignore[union-attr]
    assert world.follower.full == 1


async def test_tokens_of_a_transcript_that_appears_later_count_from_its_beginning(world: World) -> None:
    one = world.home.session("s1")
    await world.read()
    one.prompt()
    one.answer()
    await world.until(lambda: world.session("s1").turn.tokens.output == 5)  # type: ignore[union-attr]


async def test_tokens_of_before_the_first_reading_do_not_count(world: World) -> None:
    one = world.home.session("s1")
    one.prompt(time.time() - 2)
    one.answer(at=time.time() - 1)  # written times are rounded
    await world.read()
    turn = world.session("s1").turn
    assert turn is not None
    assert turn.tokens is not None
    assert (turn.tokens.output, turn.context_tokens) == (0, 110)


async def test_a_transcript_that_moves_is_followed(world: World) -> None:
    one = world.home.session("s1", status=None)
    one.prompt()
    await world.read()
    old = one.transcript
    one.folder = world.home.projects / "-worktree"
    one.folder.mkdir()
    old.rename(one.transcript)
    one.call()
    await world.until(lambda: world.session("s1").turn.calls)  # type: ignore[union-attr]
    one.answer()
    await world.until(lambda: world.session("s1").turn.open is False)  # type: ignore[union-attr]


async def test_a_transcript_that_is_removed_is_found_when_it_is_there_again(world: World) -> None:
    one = world.home.session("s1", status=None)
    one.prompt()
    await world.read()
    one.transcript.unlink()
    await world.until(lambda: world.source._reader.missing)
    assert world.session("s1").turn is not None, "what it said last stays"
    one.prompt()
    one.call()
    await world.until(lambda: world.session("s1").turn.calls)  # type: ignore[union-attr]


async def test_a_transcript_that_is_no_file_is_malformed(world: World) -> None:
    one = world.home.session("s1")
    one.folder.mkdir()
    os.mkfifo(one.transcript)
    await world.read()
    assert list(world.follower.malformed) == [str(one.transcript)]
    assert world.session("s1").turn is None


async def test_a_session_id_is_no_pattern(world: World) -> None:
    world.home.session("a@b+c")
    other = world.home.session("a")
    other.prompt()
    await world.read()
    assert world.session("a@b+c").turn is None
    assert world.session("a").turn is not None


async def test_a_busy_transcript_is_read_once_a_second(world: World) -> None:
    one = world.home.session("s1", status="busy")
    one.prompt()
    await world.read()
    readings = []
    real = world.source._reader._read

    def counted(live: object, wall: float) -> None:
        readings.append(asyncio.get_running_loop)
        real(live, wall)  # type: ignore[arg-type]

    world.source._reader._read = counted  # type: ignore[method-assign,assignment]
    for number in range(40):
        one.call(f"t{number}")
        await asyncio.sleep(0.05)
        if world.follower.hints or (world.source.due or float("inf")) <= asyncio.get_running_loop().time():
            await world.follower.read_some()
    await world.until(lambda: len(world.session("s1").turn.calls) == 40)  # type: ignore[union-attr]
    assert len(readings) <= 6


async def test_a_transcript_that_cannot_be_watched_has_the_home_polled_at_once(world: World) -> None:
    """As when inotify watches run out: nothing would tell that it grows."""
    backend = world.limit_watches()
    one = world.home.session("s1")
    one.prompt()
    await world.read()
    assert world.follower.following == Following("push", "inotify")
    backend.full = True
    world.follower.told.clear()
    two = world.home.session("s2", status=None, statusUpdatedAt=None, updatedAt=None)
    two.prompt()
    await world.until(lambda: world.session("s2").turn.open)  # type: ignore[union-attr]
    await until(lambda: world.follower.anything)
    await world.follower.read()
    reason = "out of inotify watches: raise fs.inotify.max_user_watches"
    assert world.follower.following == Following("poll", "poll", reason)
    assert world.source.interval == POLL
    two.answer()
    await world.follower.read()
    assert world.session("s2").turn.open is False  # type: ignore[union-attr]
    backend.full = False
    await world.follower.read()
    await world.follower.read()
    assert world.follower.following == Following("push", "inotify")
    assert world.source.interval == RESCAN


async def test_folders_that_cannot_be_watched_have_the_home_polled_at_once(world: World) -> None:
    backend = world.limit_watches()
    await world.read()
    backend.full = True
    world.home.session("s1")
    await world.until(lambda: world.session("s1"))
    await until(lambda: world.follower.anything)
    await world.follower.read()
    assert world.source.interval == POLL


async def test_progress_of_a_subagent_is_seen_in_its_own_transcript(world: World) -> None:
    one = world.home.session("s1", status="busy")
    one.prompt()
    one.call("toolu_1", "Agent")
    folder = one.folder / "s1" / "subagents"
    folder.mkdir(parents=True)
    (folder / "agent-a1.meta.json").write_text(json.dumps({"toolUseId": "toolu_1", "description": "secret"}))
    own = folder / "agent-a1.jsonl"
    own.write_text('{"type":"user","isSidechain":true,"timestamp":"2026-11-27T21:00:00.000Z"}\n')
    os.mkfifo(folder / "agent-a2.jsonl")
    await world.read()

    def seen() -> float | None:
        turn = world.session("s1").turn
        return turn.background[0].seen if turn is not None else None

    before = seen()
    with own.open("a") as file:
        line = {"type": "assistant", "isSidechain": True, "timestamp": format_utc(time.time())}
        file.write(json.dumps(line) + "\n")
    await world.until(lambda: seen() != before)


async def test_the_question_of_an_open_call_says_what_is_waited_for(world: World) -> None:
    one = world.home.session("s1", status="waiting", waitingFor="permission prompt")
    two = world.home.session("s2", status=None)
    for session in (one, two):
        session.prompt()
        session.call("t", "AskUserQuestion")
    await world.read()
    assert (world.session("s1").waiting_for, world.session("s2").waiting_for) == ("question", "question")


async def test_an_idle_session_has_no_open_call_from_before(world: World) -> None:
    """The record is written at once and the transcript later, and Esc may write nothing at all."""
    one = world.home.session("s1", status="busy")
    one.prompt()
    one.call()
    await world.read()
    assert world.session("s1").turn.open is True  # type: ignore[union-attr]
    one.write(status="idle")
    await world.until(lambda: world.session("s1").declared == "idle")
    turn = world.session("s1").turn
    assert turn is not None
    assert (turn.open, turn.calls) == (False, ())
    one.prompt()
    await world.until(lambda: world.session("s1").turn.open)  # type: ignore[union-attr]


# What is shown, and where it works.


async def test_only_what_is_wanted_is_shown_and_read(world: World, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    ours, theirs = world.home.session("s1"), world.home.session("s2", cwd=str(other))
    for one in (ours, theirs):
        one.prompt()
    world.wanted = lambda place: place.project == str(world.home.work)
    await world.read()
    assert set(world.follower.known) == {"s1"}
    theirs.exit()
    await world.follower.source.read_some([RecordHint(theirs.process.pid)])
    await world.follower.read()
    assert {one.session_id for one in world.source._reader.sessions.live.values()} == {"s1"}


async def test_a_project_that_hangs_hides_no_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places_module, "DEADLINE", 0.1)
    answers = threading.Event()
    real = world.resolve

    def hanging(cwd: str, configured: object) -> Place:
        answers.wait(20)
        return Place("/resolved", "/resolved")

    world.resolve = hanging  # type: ignore[assignment]
    world.home.session("s1")
    await world.read()
    assert world.follower.known["s1"].workspace == str(world.home.work)
    answers.set()
    await world.until(lambda: world.follower.known["s1"].workspace == "/resolved")
    world.resolve = real


async def test_what_is_not_understood_is_reported_with_its_version(world: World) -> None:
    world.home.session("s1", status="pondering", version="9.9.9")
    strange = world.home.session("s2", version="9.9.8")
    for _ in range(30):
        strange.line("event.turn")
    await world.read()
    assert world.session("s1").undeclarable == "pondering"
    report = world.source.report
    assert (report.home, report.following, report.sessions) == (str(world.home.path), "inotify", 2)
    assert report.statuses == {"9.9.9": {"pondering"}}
    assert report.unrecognised == {"9.9.8"}


async def test_at_the_end_nothing_is_watched(world: World) -> None:
    world.home.session("s1").prompt()
    world.home.session("s2")
    await world.read()
    assert world.watch.owners
    await world.source.stop()
    await until(lambda: not world.watch.owners)
