"""Reading one workspace: the agents' traces, and by way of work.py the tasks and claims.

Synchronous, for one dedicated worker thread: a network file system may hang any call here. Nothing is ever
written, and no error comes out: what cannot be read is part of the answer.

``.claude`` and ``.claude/coordination`` may be symbolic links, for git worktrees share one coordination
folder that way, and so may the workspace as the user named it. Below them nothing is followed: not
``agents``, ``claims``, ``tasks``, ``status``, nor any file. Each folder is opened once a reading and its
files relative to it, so swapping it half-way redirects nothing. No descriptor is kept between readings: one
would keep a deleted folder alive and a file system mounted.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from itertools import islice

from coordd.agents.traces import (
    AgentsChange,
    AgentTraces,
    Heartbeat,
    Registration,
    WorkChange,
    WorkspaceTraces,
)
from coordd.sources.bounds import Bounds, TextShelf
from coordd.sources.file.folder import MAX_ENTRIES, FileKind, Folder
from coordd.sources.file.hints import Hint, Signal, WorkFile
from coordd.sources.file.parse import (
    ACTIVE_LIST,
    MAX_ID,
    TaskIds,
    agent_id_of,
    parse_active_list,
    parse_heartbeat,
    parse_registration,
    parse_tasks,
)
from coordd.sources.file.work import Work, WorkReader
from coordd.util.fields import Malformed, Parsed, jsonable
from coordd.util.untrusted_folder import FOLDER_FLAGS, explain_unreadable, open_folder

HEARTBEAT = ".heartbeat"
TASKS = ".tasks"
REGISTRATION = ".active"
SUFFIXES = (HEARTBEAT, TASKS, REGISTRATION)

COORDINATION = ".claude/coordination"
MAX_MALFORMED = 1000

_Trace = Heartbeat | Registration | TaskIds | frozenset[str]


class _AgentShelf(TextShelf[_Trace]):
    """Keeps the names in lists of tasks, and in ``active.list``, as far as there is room; the rest counts."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds.text)
        self._listed = bounds.listed

    def admit(self, value: _Trace) -> _Trace | None:
        """Book a value; of a list what finds room."""
        if isinstance(value, TaskIds):
            count = self._listed.take_some(len(value.named))
            return TaskIds(value.named[:count], value.unnamed + len(value.named) - count)
        if isinstance(value, frozenset):
            count = self._listed.take_some(len(value))
            return value if count == len(value) else frozenset(islice(value, count))
        return super().admit(value)

    def release(self, value: _Trace) -> None:
        """Give back what was booked."""
        if isinstance(value, TaskIds):
            self._listed.give(len(value.named))
        elif isinstance(value, frozenset):
            self._listed.give(len(value))
        else:
            super().release(value)


class WorkspaceReader:
    """Reads one workspace, and remembers what it read so that the next time costs less.

    Args:
        workspace: absolute path; the key that its traces carry.
        max_entries: directory entries of one folder beyond this are not looked at.
        bounds: what may be kept, shared by all readers.
        breathe: is called now and then while a scan goes on, which takes long and hangs not.
    """

    def __init__(
        self,
        workspace: str,
        *,
        max_entries: int = MAX_ENTRIES,
        bounds: Bounds | None = None,
        breathe: Callable[[], None] = lambda: None,
    ) -> None:
        self.workspace = workspace
        self._bounds = bounds or Bounds()
        self._beyond: set[str] = set()
        self._coordination = os.path.join(workspace, COORDINATION)
        self._agents_path = f"{self._coordination}/agents"
        self._folder: Folder[_Trace] = Folder(
            path=self._agents_path,
            kind_of=_agents_kind,
            max_entries=max_entries,
            files=self._bounds.files,
            shelf=_AgentShelf(self._bounds),
            breathe=breathe,
        )
        self._work = WorkReader(
            path=self._coordination, max_entries=max_entries, bounds=self._bounds, breathe=breathe
        )
        self._agents: dict[str, AgentTraces] = {}
        self._listed: frozenset[str] = frozenset()
        self._stems: dict[str, str] = {}  # of the ids whose files are called otherwise, being no UTF-8
        self._seen_workspace = False
        self._seen_coordination = False
        self._seen_agents = False

    def scan(self, now: float) -> WorkspaceTraces:
        """Read everything: the truth.

        Args:
            now: wall clock, epoch seconds; tells which files were changed so lately that their state may
                hide another change.
        """
        try:
            coordination = os.open(self._coordination, FOLDER_FLAGS)
        except FileNotFoundError:
            return self._absent()
        except OSError as error:
            return self._unreadable(explain_unreadable(error, self._coordination))
        try:
            self._seen_workspace = self._seen_coordination = True
            return self._scan(coordination, now)
        except Malformed as error:
            return self._unreadable(f"{error}: {jsonable(self._agents_path)}")
        except OSError as error:
            return self._unreadable(explain_unreadable(error, self._agents_path))
        finally:
            os.close(coordination)

    def read(self, hints: Collection[Hint]) -> AgentsChange:
        """Read the hinted agents and work, and ``active.list`` where that is hinted.

        An agent may be hinted by its file's stem or by its id. A heartbeat is read whether or not its file's
        state differs. ``Signal.RESCAN`` asks for more than this does; it is left out.
        """
        files = [hint for hint in hints if isinstance(hint, WorkFile)]
        work = self._read_work(files) if files else WorkChange()
        if work is None:
            return AgentsChange(self.workspace, {}, rescan_needed=True)
        malformed = dict(islice(self._work.problems_of(files), MAX_MALFORMED))
        if len(files) == len(hints):
            return AgentsChange(self.workspace, {}, malformed, work=work)
        return self._read_agents(hints, malformed, work)

    def _read_work(self, files: Collection[WorkFile]) -> WorkChange | None:
        try:
            coordination = os.open(self._coordination, FOLDER_FLAGS)
        except OSError:
            return None
        try:
            return self._work.read(coordination, files)
        finally:
            os.close(coordination)

    def _read_agents(
        self, hints: Collection[Hint], malformed: dict[str, str], work: WorkChange
    ) -> AgentsChange:
        try:
            fd = os.open(self._agents_path, FOLDER_FLAGS | os.O_NOFOLLOW)
        except OSError:
            return AgentsChange(self.workspace, {}, rescan_needed=True)
        hinted: dict[str, str] = {}
        changed: dict[str, str] = {}
        try:
            for hint in hints:
                if isinstance(hint, str):
                    stem, suffixes = _named(hint)
                    agent_id = jsonable(stem)
                    if 1 <= len(agent_id) <= MAX_ID:
                        stem = hinted[agent_id] = self._stems.get(stem, stem)
                        if "/" not in stem and self._refresh(fd, stem, suffixes, malformed):
                            changed[agent_id] = stem
                elif hint is Signal.LIST:
                    if self._folder.refresh(fd, ACTIVE_LIST):
                        changed.update(self._listing_changed())
                    self._note(ACTIVE_LIST, malformed)
        finally:
            os.close(fd)
        self._rebuild(changed)
        agents = {agent_id: self._agents.get(agent_id) for agent_id in {**hinted, **changed}}
        return AgentsChange(self.workspace, agents, malformed, work=work)

    def _refresh(self, fd: int, stem: str, suffixes: tuple[str, ...], malformed: dict[str, str]) -> bool:
        """Look at these files of one agent; whether any of them means something else now."""
        folder, changed = self._folder, False
        for suffix in suffixes:
            name = stem + suffix
            if folder.refresh(fd, name, force=suffix is HEARTBEAT):
                changed = True
            if name in folder.entries:
                self._note(name, malformed)
        return changed

    def _note(self, name: str, malformed: dict[str, str]) -> None:
        entry = self._folder.entries.get(name)
        if entry is not None and entry.problem is not None and len(malformed) < MAX_MALFORMED:
            malformed[f"{self._agents_path}/{jsonable(name)}"] = entry.problem

    def _scan(self, coordination: int, now: float) -> WorkspaceTraces:
        fd = open_folder("agents", coordination)
        if fd is None:
            if self._seen_agents:
                return self._unreadable(f"{jsonable(self._agents_path)} was there and is gone")
            changed = self._folder.clear()
        else:
            self._seen_agents = True
            try:
                changed = self._folder.scan(fd, now)
            finally:
                os.close(fd)
        self._apply(changed)
        work = self._work.scan(coordination, now)
        return self._answer(work)

    def _answer(self, work: Work) -> WorkspaceTraces:
        problems = self._problems()
        malformed = dict(islice(problems, MAX_MALFORMED))
        more = sum(1 for _ in problems)
        crowded = dict(work.crowded)
        if self._folder.crowded is not None:
            crowded["agents"] = self._folder.crowded
        elif self._beyond:
            crowded["agents"] = f"{len(self._beyond)} more than there is room for; they are not shown"
        return WorkspaceTraces(
            self.workspace,
            "read",
            agents=dict(self._agents),
            malformed=malformed,
            tasks_available=work.available,
            claims=work.claims,
            progress=work.progress,
            available_unnamed=work.unnamed,
            malformed_unnamed=more + self._folder.bad_unnamed + self._work.unnamed_problems(),
            crowded=crowded,
        )

    def _absent(self) -> WorkspaceTraces:
        try:
            os.stat(self.workspace)
        except FileNotFoundError:
            if not self._seen_workspace:
                return WorkspaceTraces(self.workspace, "waiting")
            return self._unreadable(f"the project directory is gone: {jsonable(self.workspace)}", gone=True)
        except OSError as error:
            return self._unreadable(explain_unreadable(error, self.workspace))
        self._seen_workspace = True
        if not self._seen_coordination:
            return WorkspaceTraces(self.workspace, "waiting")
        return self._unreadable(f"{jsonable(self._coordination)} was there and is gone")

    def _unreadable(self, error: str, *, gone: bool = False) -> WorkspaceTraces:
        return WorkspaceTraces(
            self.workspace,
            "unreadable",
            error,
            tasks_available=None,
            claims=None,
            progress=None,
            gone=gone,
        )

    def _apply(self, changed: Collection[str]) -> None:
        touched: dict[str, str] = {}
        for name in changed:
            if name == ACTIVE_LIST:
                touched.update(self._listing_changed())
                continue
            stem = name[: name.rindex(".")]
            touched[jsonable(stem)] = stem
        if self._beyond and self._bounds.agents.left:
            touched.update((agent_id, self._stems.get(agent_id, agent_id)) for agent_id in self._beyond)
        self._rebuild(touched)

    def _listing_changed(self) -> dict[str, str]:
        """Take over ``active.list``; the agents that it now lists or no longer does, with their stems."""
        entry = self._folder.entries.get(ACTIVE_LIST)
        if entry is not None and not isinstance(entry.value, frozenset):
            return {}  # it is there and cannot be read: what it said last stands
        before, self._listed = self._listed, entry.value if entry is not None else frozenset()  # type: ignore[assignment]
        return {agent_id: self._stems.get(agent_id, agent_id) for agent_id in before ^ self._listed}

    def _rebuild(self, touched: dict[str, str]) -> None:
        for agent_id, stem in touched.items():
            traces = self._traces(agent_id, stem)
            if traces is None:
                if self._agents.pop(agent_id, None) is not None:
                    self._bounds.agents.give(1)
                self._beyond.discard(agent_id)
                self._stems.pop(agent_id, None)
                continue
            if agent_id not in self._agents and not self._bounds.agents.take(1):
                self._beyond.add(agent_id)
                continue
            self._beyond.discard(agent_id)
            self._agents[agent_id] = traces
            if agent_id != stem:
                self._stems[agent_id] = stem

    def _traces(self, agent_id: str, stem: str) -> AgentTraces | None:
        entries = self._folder.entries
        beat, tasks, active = (entries.get(stem + suffix) for suffix in SUFFIXES)
        listed = agent_id in self._listed
        if not listed and not any(entry is not None and entry.counts for entry in (beat, tasks, active)):
            return None
        heartbeat = beat.value if beat is not None else None
        registration = active.value if active is not None else None
        task_ids = tasks.value if tasks is not None else TaskIds()
        known = task_ids if isinstance(task_ids, TaskIds) else None
        return AgentTraces(
            agent_id,
            heartbeat if isinstance(heartbeat, Heartbeat) else None,
            registration if isinstance(registration, Registration) else None,
            None if known is None else known.named,
            listed,
            0 if known is None else known.unnamed,
        )

    def _problems(self) -> Iterator[tuple[str, str]]:
        for name, reason in self._folder.problems():
            yield f"{self._agents_path}/{jsonable(name)}".rstrip("/"), reason
        yield from self._work.problems()


def _heartbeat(_: str, content: bytes, state: os.stat_result) -> Parsed[_Trace]:
    written, problem = None, None
    try:
        written = parse_heartbeat(content)
    except Malformed as error:
        problem = str(error)
    said: str | int = (
        content.decode("latin-1")
        if len(content) <= 64
        else hash(content)  # hashlib would load OpenSSL, 3.6 MB, for what is compared in this process alone
    )
    identity = (state.st_mtime_ns, state.st_ino, said)
    return Parsed(Heartbeat(written, state.st_mtime_ns / 1e9, identity), problem)


def _tasks(_: str, content: bytes, __: os.stat_result) -> Parsed[_Trace]:
    return Parsed(*parse_tasks(content))


def _registration(_: str, content: bytes, __: os.stat_result) -> Parsed[_Trace]:
    return Parsed(*parse_registration(content))


def _active_list(_: str, content: bytes, __: os.stat_result) -> Parsed[_Trace]:
    return Parsed(*parse_active_list(content))


_KINDS: dict[str, FileKind[_Trace]] = {
    HEARTBEAT: FileKind(64 * 1024, _heartbeat),
    TASKS: FileKind(1024 * 1024, _tasks),
    REGISTRATION: FileKind(64 * 1024, _registration),
}
_ACTIVE_LIST: FileKind[_Trace] = FileKind(64 * 1024, _active_list)


def _named(hint: str) -> tuple[str, tuple[str, ...]]:
    """The stem and the suffixes that a hint stands for: of one file, or of all that an agent can have."""
    for suffix in SUFFIXES:
        if hint.endswith(suffix):
            return hint[: -len(suffix)], (suffix,)
    return hint, SUFFIXES


def _agents_kind(name: str) -> FileKind[_Trace] | None:
    if name == ACTIVE_LIST:
        return _ACTIVE_LIST
    suffix = name[name.rfind(".") :]
    kind = _KINDS.get(suffix)
    return kind if kind is not None and agent_id_of(name, suffix) is not None else None
