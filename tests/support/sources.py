"""Drive sources of every kind alike: let agents leave traces, break what is read, and follow what is told."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Collection, Hashable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from played_codex import CodexHome, PlayedCodex
from played_copilot import CopilotHome, PlayedCopilot
from redisd import RedisServer
from redisproxy import Proxy, proxy_to
from redisreading import emptied
from sessions import Home, StandIn
from toy.source import ToySource
from waiting import until

from coordd.agents.beats import Reading
from coordd.agents.observation import Observation, observe
from coordd.agents.source import SourceName
from coordd.agents.traces import AgentsChange, AgentTraces, Heartbeat, SourceTraces
from coordd.host.process_facts import Process, ProcessFacts
from coordd.host.processes import glance, lives
from coordd.redislink import connection as redis_connection
from coordd.redislink.connection import RedisConnection
from coordd.runtime.schedule import now
from coordd.runtime.worker import Worker
from coordd.sources.base import Following, OneSource, Source, SourceFinder, SourceLost
from coordd.sources.claude_code import source as claude_code_source
from coordd.sources.claude_code.finder import ClaudeCodeFinder
from coordd.sources.codex import sessions as codex_sessions
from coordd.sources.codex import source as codex_source
from coordd.sources.codex.finder import CodexFinder
from coordd.sources.copilot import sessions as copilot_sessions
from coordd.sources.copilot import source as copilot_source
from coordd.sources.copilot.finder import CopilotFinder
from coordd.sources.fake import FakeSource
from coordd.sources.file import source as file_source
from coordd.sources.file.backend import FileBackend
from coordd.sources.file.finder import FileFinder
from coordd.sources.file.found import ResolvedWorkspace
from coordd.sources.file.hints import Hint, Signal, WorkFile
from coordd.sources.file.reader import WorkspaceReader
from coordd.sources.file.watch import Followed
from coordd.sources.hooks import source as hooks_source
from coordd.sources.hooks.finder import HooksFinder
from coordd.sources.process import source as process_source
from coordd.sources.process.families import SeenProgram
from coordd.sources.process.finder import ProcessFinder
from coordd.sources.process.looking import look_at
from coordd.sources.process.programs import Program
from coordd.sources.process.source import ProcessSource
from coordd.sources.redis.reader import RedisReader
from coordd.sources.redis.source import RedisSource
from coordd.sources.sessions import source as sessions_source
from coordd.sources.sessions.homes import HomesWanted
from coordd.sources.sessions.keyed import SessionKey
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.watch import Watch
from coordd.util import inotify

_beats = count(1)


def later() -> float:
    """Return the present time in epoch seconds, later than the last one by a millisecond at least."""
    return round(time.time(), 3) + next(_beats) / 1000


class Driver(Protocol):
    """A place with one source, before that is started; ``announces``: changes are told.

    ``stray`` are hints that name nothing. :meth:`begin` lets the source be reached, after it was started or
    before; ``hangs`` and ``stands_still`` say whether :meth:`hang` and :meth:`stand_still` are possible.
    ``beats``: an agent shows that it lives each time that it says something; ``spoils``: a trace may be one
    that cannot be used. ``keeps``: what has vanished stays, as ended, for as long as it is known. ``tasks``:
    it knows of tasks.
    """

    finder: SourceFinder
    announces: bool
    stray: Collection[Hashable]
    hangs: bool
    stands_still: bool
    keeps: bool
    tasks: bool
    beats: bool
    spoils: bool

    def beat(self, agent_id: str, *tasks: str) -> None: ...
    def remove(self, agent_id: str) -> None: ...
    def spoil(self, agent_id: str) -> None: ...
    def break_(self) -> None: ...
    def hang(self) -> None: ...
    def mend(self) -> None: ...
    def stand_still(self, still: bool) -> None: ...
    async def begin(self) -> None: ...


class FakeDriver:
    """The fake."""

    stray = ("nobody", b"foreign", 7)
    hangs = stands_still = tasks = beats = spoils = True
    keeps = False

    def __init__(self, *, announces: bool) -> None:
        self.announces = announces
        self.source = FakeSource(SourceName("fake"), announces=announces, deadline=0.3)
        self.finder = OneSource(self.source)

    def beat(self, agent_id: str, *tasks: str) -> None:
        at = later()
        self.source.put(AgentTraces(agent_id, Heartbeat(at, None, (at,)), tasks=tasks))

    def remove(self, agent_id: str) -> None:
        self.source.remove(agent_id)

    def spoil(self, agent_id: str) -> None:
        self.source.spoil(agent_id, "not a timestamp")

    def break_(self) -> None:
        self.source.break_("it is broken")

    def hang(self) -> None:
        self.source.hang()

    def mend(self) -> None:
        self.source.mend()

    def stand_still(self, still: bool) -> None:
        self.source.stand_still("is full" if still else None)

    async def begin(self) -> None:
        pass


class ToyDriver:
    """A source that takes nothing but a folder of its own and a line where sources are built."""

    announces = hangs = stands_still = keeps = tasks = False
    beats = spoils = True
    stray = ("nobody",)

    def __init__(self, path: Path) -> None:
        self._path = path
        self._path.parent.mkdir(exist_ok=True)
        self._lines: dict[str, str] = {}
        self.finder = OneSource(ToySource(path))
        self.mend()

    def beat(self, agent_id: str, *_tasks: str) -> None:
        self._lines[agent_id] = f"{later():.3f}"
        self.mend()

    def remove(self, agent_id: str) -> None:
        del self._lines[agent_id]
        self.mend()

    def spoil(self, agent_id: str) -> None:
        self._lines[agent_id] = "soon"
        self.mend()

    def break_(self) -> None:
        self._path.unlink()

    def hang(self) -> None:
        raise NotImplementedError

    def mend(self) -> None:
        self._path.write_text("".join(f"{agent_id} {at}\n" for agent_id, at in self._lines.items()))

    def stand_still(self, still: bool) -> None:
        raise NotImplementedError

    async def begin(self) -> None:
        pass


class _HangingReader:
    """A reader of a file system that may not answer, though not for ever: a loop that it blocks goes on."""

    def __init__(self, reader: WorkspaceReader, answers: threading.Event) -> None:
        self._reader, self._answers = reader, answers

    @property
    def moved(self) -> bool:
        return self._reader.moved

    def scan(self, wall: float) -> SourceTraces:
        self._answers.wait(5)
        return self._reader.scan(wall)

    def read(self, hints: Collection[Hint]) -> AgentsChange:
        self._answers.wait(5)
        return self._reader.read(hints)


class _HangingBackend(FileBackend):
    def __init__(self, path: Path, *, announces: bool) -> None:
        super().__init__(entries=(str(path),))
        self.answers = threading.Event()
        self.answers.set()
        self._announces = announces

    def start(
        self,
        on_hint: Callable[[str, Hint], None],
        on_search: Callable[[], None],
        on_maybe_link: Callable[[str], None] = lambda _: None,
    ) -> None:
        if self._announces:
            super().start(on_hint, on_search, on_maybe_link)

    def reader(self, found: ResolvedWorkspace) -> Any:
        return _HangingReader(super().reader(found), self.answers)

    def follow(self, path: str, folder: str | None = None) -> Followed:
        self.answers.wait(5)
        return super().follow(path, folder)


class FileDriver:
    """A workspace."""

    hangs = tasks = beats = spoils = True
    stands_still = keeps = False
    stray = (
        "nobody.heartbeat",
        "nobody",
        "",
        "../agents/a",
        WorkFile("claims", "none.claim"),
        Signal.LIST,
        Signal.RESCAN,
    )

    def __init__(self, root: Path, *, announces: bool) -> None:
        self.announces = announces
        self._agents = root / ".claude" / "coordination" / "agents"
        self._agents.mkdir(parents=True)
        self._away = self._agents.with_name("away")
        self.backend = _HangingBackend(root, announces=announces)
        self.workers = Worker("local", replaceable=True), Worker("remote", replaceable=True)
        self.finder = FileFinder(backend=self.backend, local=self.workers[0], remote=self.workers[1])
        self._deadline = file_source.READ_DEADLINE

    def beat(self, agent_id: str, *tasks: str) -> None:
        (self._agents / f"{agent_id}.tasks").write_text("\n".join(tasks))
        (self._agents / f"{agent_id}.heartbeat").write_text(f"{later():.3f}")

    def remove(self, agent_id: str) -> None:
        (self._agents / f"{agent_id}.tasks").unlink()
        (self._agents / f"{agent_id}.heartbeat").unlink()

    def spoil(self, agent_id: str) -> None:
        (self._agents / f"{agent_id}.heartbeat").write_text("soon")

    def break_(self) -> None:
        self._agents.rename(self._away)
        self._agents.symlink_to(self._away)

    def hang(self) -> None:
        file_source.READ_DEADLINE = 0.3
        self.backend.answers.clear()

    def mend(self) -> None:
        if self._away.exists():
            self._agents.unlink()
            self._away.rename(self._agents)
        self.backend.answers.set()
        file_source.READ_DEADLINE = self._deadline

    def stand_still(self, still: bool) -> None:
        raise NotImplementedError

    async def begin(self) -> None:
        pass


class RedisDriver:
    """A Redis behind a proxy; where it announces nothing, the user may not ask for it."""

    hangs = stands_still = tasks = beats = spoils = True
    keeps = False
    stray = (b"heartbeat:nobody", b"foreign", b"", b"heartbeat:", b"heartbeat:\xff", b"agent:tasks:nobody")

    def __init__(self, server: RedisServer, proxy: Proxy, *, announces: bool) -> None:
        self.announces = announces
        self._proxy = proxy
        self._client = emptied(server)
        self._client.execute_command(
            *("ACL", "SETUSER", "reader", "on", ">secret", "allkeys", "allchannels", "+@all"),
            *(() if announces else ("-client|tracking",)),
        )
        url = f"redis://reader:secret@127.0.0.1:{proxy.port}/0"
        self.connection = RedisConnection(url=url, random=random.random)
        self.source = RedisSource(
            url=url,
            reader=RedisReader(mono=lambda: now().mono),
            broken=self.connection.report_lost,
            flushed=lambda: None,
        )
        self.connection.users.append(self.source)
        self.connection.exchanged.append(self.source.exchanged)
        self.finder = OneSource(self.source)

    def beat(self, agent_id: str, *tasks: str) -> None:
        self._client.hset("agents:registry", agent_id, json.dumps({"status": "active"}))
        self._client.delete(f"agent:tasks:{agent_id}")
        if tasks:
            self._client.sadd(f"agent:tasks:{agent_id}", *tasks)
        self._client.set(f"heartbeat:{agent_id}", f"{later():.3f}")

    def remove(self, agent_id: str) -> None:
        self._client.delete(f"heartbeat:{agent_id}", f"agent:tasks:{agent_id}")
        self._client.hdel("agents:registry", agent_id)

    def spoil(self, agent_id: str) -> None:
        self._client.set(f"heartbeat:{agent_id}", "soon")

    def break_(self) -> None:
        self._proxy.reset()

    def hang(self) -> None:
        self._proxy.swallow()

    def mend(self) -> None:
        self._proxy.mend()

    def stand_still(self, still: bool) -> None:
        self._client.config_set("maxmemory-policy", "noeviction")
        self._client.config_set("maxmemory", 1 if still else 0)
        self.connection.check_soon()

    async def begin(self) -> None:
        self.connection.load()
        self.connection.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await self.connection.first_check()

    async def close(self) -> None:
        self._client.config_set("maxmemory", 0)
        await self.connection.stop()
        self._client.close()


class ClaudeCodeDriver:
    """A home of Claude Code; a process that only sleeps stands for each session."""

    hangs = keeps = beats = spoils = True
    stands_still = tasks = False
    stray = (
        "nobody",
        7,
        claude_code_source.RecordHint(1),
        claude_code_source.TranscriptHint(Process(1, 1)),
        claude_code_source.AppearedHint("nobody.jsonl"),
        claude_code_source.FolderHint("nowhere"),
        claude_code_source.FolderHint("../../.."),
    )

    def __init__(self, root: Path, *, announces: bool) -> None:
        self.announces = announces
        self.home = Home(root)
        self.sessions: dict[str, StandIn] = {}
        self.answers = threading.Event()
        self.answers.set()
        self.workers = Worker("homes", replaceable=True), Worker("places", replaceable=True)
        self._deadline = sessions_source.READ_DEADLINE
        self.finder = ClaudeCodeFinder(
            enabled=True,
            homes=HomesWanted(configured=(str(root),)),
            wanted=lambda _: True,
            workspaces=lambda: (),
            worker=self.workers[0],
            places=self.workers[1],
            watch=Watch() if announces else Watch(open_backend=_no_inotify),
            process=self._look,
            running=lambda: (),
            remote=self._remote,
        )

    def _look(self, pid: int) -> ProcessFacts | None:
        self.answers.wait(5)
        return glance(pid)

    def _remote(self, _path: str) -> None:
        self.answers.wait(5)

    def beat(self, agent_id: str, *_tasks: str) -> None:
        if agent_id not in self.sessions:
            self.sessions[agent_id] = self.home.session(agent_id)
        self.sessions[agent_id].prompt(later())

    def remove(self, agent_id: str) -> None:
        self.sessions.pop(agent_id).exit()

    def spoil(self, agent_id: str) -> None:
        if agent_id not in self.sessions:
            self.sessions[agent_id] = self.home.session(agent_id)
        self.sessions[agent_id].record.write_text("{")

    def break_(self) -> None:
        self.home.sessions.rename(self.home.path / "away")
        self.home.sessions.symlink_to(self.home.path / "away")

    def hang(self) -> None:
        sessions_source.READ_DEADLINE = 0.3
        self.answers.clear()

    def mend(self) -> None:
        away = self.home.path / "away"
        if away.exists():
            self.home.sessions.unlink()
            away.rename(self.home.sessions)
        self.answers.set()
        sessions_source.READ_DEADLINE = self._deadline

    def stand_still(self, still: bool) -> None:
        raise NotImplementedError

    async def begin(self) -> None:
        for worker in self.workers:  # their threads are not the source's
            await worker.run(os.getpid, deadline=5)


class PlayedHomeDriver:
    """A home of a coding agent whose processes hold what belongs to their sessions.

    Args:
        home: plays it.
        finder: the type of what finds such homes.
        folder: the name that a home of that kind has.
    """

    hangs = keeps = beats = spoils = True
    stands_still = tasks = False

    def __init__(self, home: Any, finder: Any, *, folder: str, announces: bool) -> None:
        self.announces = announces
        self.home = home
        self.sessions: dict[str, Any] = {}
        self.answers = threading.Event()
        self.answers.set()
        self.workers = Worker("homes", replaceable=True), Worker("places", replaceable=True)
        self._deadline = sessions_source.READ_DEADLINE
        self.finder = finder(
            enabled=True,
            homes=HomesWanted(configured=(str(home.path),), folder=folder, beside=False),
            wanted=lambda _: True,
            workspaces=lambda: (),
            worker=self.workers[0],
            places=self.workers[1],
            watch=Watch() if announces else Watch(open_backend=_no_inotify),
            process=self._look,
            running=lambda: (),
            remote=self._remote,
        )

    def _look(self, pid: int) -> ProcessFacts | None:
        self.answers.wait(5)
        return glance(pid)

    def _remote(self, _path: str) -> None:
        self.answers.wait(5)

    def beat(self, agent_id: str, *_tasks: str) -> None:
        if agent_id not in self.sessions:
            self.sessions[agent_id] = self.home.session(agent_id)
        self.sessions[agent_id].prompt(later())

    def remove(self, agent_id: str) -> None:
        self.sessions.pop(agent_id).exit()

    def break_(self) -> None:
        self.home.sessions.rename(self.home.path / "away")
        self.home.sessions.symlink_to(self.home.path / "away")

    def hang(self) -> None:
        sessions_source.READ_DEADLINE = 0.3
        self.answers.clear()

    def mend(self) -> None:
        away = self.home.path / "away"
        if away.exists():
            self.home.sessions.unlink()
            away.rename(self.home.sessions)
        self.answers.set()
        sessions_source.READ_DEADLINE = self._deadline

    def close(self) -> None:
        self.mend()
        self.home.close()
        for worker in self.workers:
            worker.close()

    def stand_still(self, still: bool) -> None:
        raise NotImplementedError

    async def begin(self) -> None:
        self.home.start(1)
        for worker in self.workers:  # their threads are not the source's
            await worker.run(os.getpid, deadline=5)


class CodexDriver(PlayedHomeDriver):
    """A home of Codex; processes of that name hold its rollouts open."""

    stray = (
        "nobody",
        7,
        codex_source.RolloutHint(SessionKey(Process(1, 1), "nobody")),
        codex_source.LookHint(folders=True),
        codex_source.LookHint(folders=False),
    )

    def __init__(self, root: Path, *, announces: bool) -> None:
        super().__init__(CodexHome(root), CodexFinder, folder=".codex", announces=announces)
        self._held = codex_sessions.held_by
        codex_sessions.held_by = self._hold  # type: ignore[assignment]  # the same, once it answers

    def _hold(self, seen: ProcessFacts, home: str, known: Any) -> object:
        self.answers.wait(5)
        return self._held(seen, home, known)

    def spoil(self, agent_id: str) -> None:
        if agent_id in self.sessions:
            self.sessions[agent_id].holder.kill()
            self.sessions[agent_id].path.unlink()
        self.sessions[agent_id] = one = PlayedCodex(self.home, agent_id, self.home.holder())
        one.path.write_text("{\n")
        one.holder.tell("open", one.path)

    def close(self) -> None:
        codex_sessions.held_by = self._held
        super().close()


class CopilotDriver(PlayedHomeDriver):
    """A home of Copilot; processes of that name lock its folders."""

    stray = ("nobody", 7, copilot_source.SessionHint("nobody"), copilot_source.SessionHint("../nobody"))

    def __init__(self, root: Path, *, announces: bool) -> None:
        super().__init__(CopilotHome(root), CopilotFinder, folder=".copilot", announces=announces)
        self._lockers = copilot_sessions.lockers
        copilot_sessions.lockers = self._listed  # the same, once it answers

    def _listed(self, folder: str) -> list[int]:
        self.answers.wait(5)
        return self._lockers(folder)

    def spoil(self, agent_id: str) -> None:
        if agent_id in self.sessions:
            self.sessions.pop(agent_id).exit()
        self.sessions[agent_id] = one = PlayedCopilot(self.home, agent_id, self.home.holder())
        one.path.unlink(missing_ok=True)
        one.path.mkdir()
        one.lock()

    def close(self) -> None:
        copilot_sessions.lockers = self._lockers
        super().close()


class HooksDriver:
    """The folder of a user's hooks; a test touches files as they do."""

    hangs = beats = spoils = True
    stands_still = keeps = tasks = False
    stray = (
        "nobody",
        7,
        hooks_source.SessionHint("nobody"),
        hooks_source.SessionHint("../hooks/a"),
        hooks_source.SessionHint(""),
        hooks_source.SessionHint("a\nb"),
    )

    def __init__(self, root: Path, *, announces: bool) -> None:
        self.announces = announces
        self.folder = root / "state" / "coordd" / "hooks"
        self.folder.mkdir(parents=True)
        self._away = self.folder.with_name("away")
        self._deadline = hooks_source.READ_DEADLINE
        self.answers = threading.Event()
        self.answers.set()
        self.workers = [Worker("finder", replaceable=True)]
        self.finder = HooksFinder(
            folders=(str(self.folder),),
            worker=self.workers[0],
            watch=Watch() if announces else Watch(open_backend=_no_inotify),
            folder_worker=self._worker,
        )

    def _worker(self) -> Worker:
        """Return a worker that waits while nothing answers, though not for ever."""
        answers = self.answers

        class Hanging(Worker):
            async def run(self, fn: Callable[..., Any], *args: Any, deadline: float) -> Any:
                def call(*about: Any) -> Any:
                    answers.wait(5)
                    return fn(*about)

                return await super().run(call, *args, deadline=deadline)

        self.workers.append(Hanging("hooks", replaceable=True))
        return self.workers[-1]

    def beat(self, agent_id: str, *_tasks: str) -> None:
        at = later()
        file = self.folder / f"{agent_id}.heartbeat"
        file.touch()
        os.utime(file, (at, at))

    def remove(self, agent_id: str) -> None:
        (self.folder / f"{agent_id}.heartbeat").unlink()

    def spoil(self, agent_id: str) -> None:
        file = self.folder / f"{agent_id}.heartbeat"
        file.unlink(missing_ok=True)
        os.mkfifo(file)
        os.utime(file)

    def break_(self) -> None:
        self.folder.rename(self._away)
        self.folder.touch()

    def hang(self) -> None:
        hooks_source.READ_DEADLINE = 0.3
        self.answers.clear()

    def mend(self) -> None:
        if self._away.exists():
            self.folder.unlink()
            self._away.rename(self.folder)
        self.answers.set()
        hooks_source.READ_DEADLINE = self._deadline

    def stand_still(self, still: bool) -> None:
        raise NotImplementedError

    async def begin(self) -> None:
        await self.workers[0].run(os.getpid, deadline=5)  # its thread is not the source's


def _no_inotify() -> inotify.Backend:
    raise OSError(errno.EMFILE, "as if there were too many")


@asynccontextmanager
async def _claude(path: Path, _server: RedisServer, announces: bool) -> AsyncIterator[Driver]:
    driver = ClaudeCodeDriver(path / "home", announces=announces)
    try:
        yield driver
    finally:
        driver.mend()
        driver.home.close()
        for worker in driver.workers:
            worker.close()


class ProcessDriver:
    """Processes that only sleep, and are taken for agents; each is told as the system's sample tells it."""

    announces = hangs = keeps = True
    stands_still = tasks = beats = spoils = False
    stray = ("nobody", 7, process_source.StartedHint(Process(1, 1)))

    def __init__(self, root: Path) -> None:
        self.work = root
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.names: dict[Process, str] = {}
        self.answers = threading.Event()
        self.answers.set()
        self.shown = True
        self._deadline = process_source.READ_DEADLINE
        self.worker, self.places = Worker("programs", replaceable=True), Worker("places", replaceable=True)
        self.finder = ProcessFinder(
            ProcessSource(
                shows=self._shows,
                running=self._running,
                watched=lambda one: one.process in self.names,
                look=self._look,
                lives=self._lives,
                wanted=lambda _: True,
                places=Places(worker=self.places, configured=dict),
                worker=self.worker,
            )
        )

    def _shows(self) -> bool:
        self.answers.wait(5)
        return self.shown

    def _running(self) -> list[ProcessFacts]:
        self.answers.wait(5)
        pids = [os.getpid(), *(one.pid for one in self.names)] if self.shown else []
        return [seen for pid in pids if (seen := glance(pid)) is not None]

    def _look(self, seen: ProcessFacts) -> SeenProgram | None:
        self.answers.wait(5)
        found = look_at(seen, everyone=True)
        assert found is None  # it only sleeps
        program = Program("toy", ("toy",))
        name = self.names[seen.process]
        return _Named(program, seen.process, 0, seen.started, "ann", str(self.work), name=name)

    def _lives(self, process: Process) -> bool | None:
        self.answers.wait(5)
        if not self.shown:
            raise SourceLost("the system shows no processes")
        return lives(process)

    def beat(self, agent_id: str, *_tasks: str) -> None:
        if agent_id not in self.children:
            self.children[agent_id] = child = subprocess.Popen(("sleep", "1000"), stdin=subprocess.DEVNULL)
            seen = glance(child.pid)
            assert seen is not None
            self.names[seen.process] = agent_id
            self.finder.started([seen])

    def remove(self, agent_id: str) -> None:
        child = self.children.pop(agent_id)
        child.kill()
        child.wait()

    def spoil(self, agent_id: str) -> None:
        raise NotImplementedError

    def break_(self) -> None:
        self.shown = False

    def hang(self) -> None:
        process_source.READ_DEADLINE = 0.3
        self.answers.clear()

    def mend(self) -> None:
        self.shown = True
        self.answers.set()
        process_source.READ_DEADLINE = self._deadline
        self.finder.resolve_again()

    def stand_still(self, still: bool) -> None:
        raise NotImplementedError

    async def begin(self) -> None:
        await self.places.run(os.getpid, deadline=5)  # its thread is not the source's


@dataclass(frozen=True, slots=True)
class _Named(SeenProgram):
    name: str = ""

    @property
    def agent_id(self) -> str:
        return self.name


@asynccontextmanager
async def _process(path: Path, _server: RedisServer, announces: bool) -> AsyncIterator[Driver]:
    assert announces
    driver = ProcessDriver(path)
    try:
        yield driver
    finally:
        driver.mend()
        for agent_id in list(driver.children):
            driver.remove(agent_id)
        for worker in (driver.worker, driver.places):
            worker.close()


@asynccontextmanager
async def _codex(path: Path, _server: RedisServer, announces: bool) -> AsyncIterator[Driver]:
    driver = CodexDriver(path / "home", announces=announces)
    try:
        yield driver
    finally:
        driver.close()


@asynccontextmanager
async def _copilot(path: Path, _server: RedisServer, announces: bool) -> AsyncIterator[Driver]:
    driver = CopilotDriver(path / "home", announces=announces)
    try:
        yield driver
    finally:
        driver.close()


@asynccontextmanager
async def _hooks(path: Path, _server: RedisServer, announces: bool) -> AsyncIterator[Driver]:
    driver = HooksDriver(path / "home", announces=announces)
    try:
        yield driver
    finally:
        driver.mend()
        for worker in driver.workers:
            worker.close()


@asynccontextmanager
async def _fake(_path: Path, _server: RedisServer, announces: bool) -> AsyncIterator[Driver]:
    yield FakeDriver(announces=announces)


@asynccontextmanager
async def _toy(path: Path, _server: RedisServer, announces: bool) -> AsyncIterator[Driver]:
    assert not announces
    yield ToyDriver(path / "beats")


@asynccontextmanager
async def _file(path: Path, _server: RedisServer, announces: bool) -> AsyncIterator[Driver]:
    driver = FileDriver(path / "project", announces=announces)
    try:
        yield driver
    finally:
        driver.mend()
        for worker in driver.workers:
            worker.close()


@asynccontextmanager
async def _redis(_path: Path, server: RedisServer, announces: bool) -> AsyncIterator[Driver]:
    pauses = redis_connection.PAUSE, redis_connection.CHECK_EVERY
    redis_connection.PAUSE, redis_connection.CHECK_EVERY = 0.05, 0.2
    with proxy_to(server.port) as proxy:
        driver = RedisDriver(server, proxy, announces=announces)
        try:
            yield driver
        finally:
            await driver.close()
            redis_connection.PAUSE, redis_connection.CHECK_EVERY = pauses


_MAKERS = {
    "fake": _fake,
    "toy": _toy,
    "file": _file,
    "redis": _redis,
    "claude": _claude,
    "codex": _codex,
    "copilot": _copilot,
    "process": _process,
    "hooks": _hooks,
}
KINDS = (
    *("fake", "fake-polled", "toy-polled", "file", "file-polled", "redis", "redis-polled"),
    *("claude", "claude-polled", "codex", "codex-polled", "copilot", "copilot-polled"),
    *("process", "hooks", "hooks-polled"),
)
"""Every kind of source, by whether it announces changes or is polled."""


def driver_of(kind: str, path: Path, server: RedisServer) -> AbstractAsyncContextManager[Driver]:
    """Return a place of this kind, in an empty directory or an emptied server; it ends with the context."""
    name, _, polled = kind.partition("-")
    return _MAKERS[name](path, server, not polled)


class Follower:
    """Follow one source as SourceIntake does, one call at a time, and keep what it tells.

    ``known`` is what was read last, ``told`` every call of the listener by name, ``traces`` the last full
    reading and ``full`` the number of them.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.told: list[str] = []
        self.troubles: list[str] = []
        self.hints: set[Hashable] = set()
        self.anything = False
        self.known: dict[str, Observation] = {}
        self.following: Following | None = None
        self.full = 0
        self.malformed: dict[str, str] = {}

    def start(self) -> None:
        self.source.start(self, MappingProxyType(self.known))

    def changed(self, hints: Collection[Hashable] | None) -> None:
        self.told.append("changed")
        self.hints.update(hints or ())
        self.anything = self.anything or hints is None

    def readable(self) -> None:
        self.told.append("readable")
        self.anything = True

    def lost(self, trouble: str) -> None:
        self.told.append("lost")
        self.troubles.append(trouble)
        self.anything = False
        self.source.lost(trouble)

    def standstill_changed(self) -> None:
        self.told.append("standstill")

    async def read(self) -> SourceTraces:
        """Read in full, after following anew."""
        self.hints.clear()
        self.anything = False
        self.following = await self.source.follow()
        traces = await self.source.read_all()
        self.full += 1
        self.malformed = dict(traces.malformed)
        self._take({**dict.fromkeys(self.known), **traces.agents})
        return traces

    async def read_some(self) -> AgentsChange:
        """Read what was told."""
        hints, self.hints = self.hints, set()
        return self._took(await self.source.read_some(hints))

    async def reread(self, *agent_ids: str) -> AgentsChange:
        return self._took(await self.source.reread(agent_ids))

    async def catch_up(self, done: Callable[[], bool]) -> None:
        """Read whatever is told, or is due, until a condition holds."""
        while not done():
            await until(self._has_to_read)
            if self.anything or self._is_polled:
                await self.read()
                await asyncio.sleep(0.01)
            else:
                await self.read_some()

    async def recover(self) -> None:
        """Read in full as soon as that is possible; what fails is lost, and tried again."""
        while True:
            try:
                await self.read()
            except SourceLost as lost:
                self.source.lost(str(lost))
                await asyncio.sleep(0.01)
            else:
                return

    @property
    def _is_polled(self) -> bool:
        return self.following is None or self.following.how == "poll"

    def _has_to_read(self) -> bool:
        due = self.source.due
        return bool(self.hints) or self.anything or self._is_polled or (due is not None and due <= now().mono)

    def _took(self, change: AgentsChange) -> AgentsChange:
        self.anything = self.anything or change.rescan_needed
        self.malformed |= change.malformed
        self._take(change.agents)
        return change

    def _take(self, agents: Mapping[str, AgentTraces | None]) -> None:
        moment = now()
        reading = Reading(
            wall=moment.wall, mono=moment.mono, observed=moment.mono, since=moment.mono, timeout=120.0
        )
        for agent_id, traces in agents.items():
            if traces is None:
                self.known.pop(agent_id, None)
            else:
                place = self.source.state.name, agent_id
                self.known[agent_id] = observe(
                    self.known.get(agent_id), place, self.source.state.workspace, traces, reading
                )

    def is_present(self, agent_id: str) -> bool:
        """Return whether the record of a session lies there."""
        one = self.known[agent_id]
        return one.traces is not None and one.traces.session is not None and one.traces.session.present

    def beat_of(self, agent_id: str) -> float | None:
        """Return the time of an agent's last beat, or of a session's last record; None: there is none."""
        one = self.known.get(agent_id)
        session = one.traces.session if one is not None and one.traces is not None else None
        if session is not None:
            return session.turn.last if session.turn is not None else None
        return None if one is None else one.beat_wall


def held() -> dict[str, object]:
    """Return what this process holds: descriptors, watches of inotify, tasks and threads."""
    watches = 0
    for name in os.listdir("/dev/fd"):
        with suppress(OSError):
            watches += Path(f"/proc/self/fdinfo/{name}").read_text().count("inotify wd:")
    return {
        "descriptors": len(os.listdir("/dev/fd")),
        "watches": watches,
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
    }
