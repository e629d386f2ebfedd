"""Read one workspace: the agents' traces, and through work.py the tasks and claims.

Synchronous, for one dedicated worker thread: a network file system may hang any call here. Nothing is
written, and nothing is raised: what cannot be read is part of the result.

No link is followed: not on the canonical path of the coordination folder, which coordination.py found, nor
in it. Where a link has taken the place of a part of that path, the reading fails and
:attr:`WorkspaceReader.moved` says so: the workspace has to be looked for anew. Each folder is opened once in
a reading and its files relative to it, so replacing it meanwhile redirects nothing. No descriptor is kept
between readings: it would keep a deleted folder alive and a file system mounted.
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
    SourceTraces,
    WorkChange,
)
from coordd.sources.bodies import MAX_ID
from coordd.sources.bounds import Bounds
from coordd.sources.coordination import COORDINATION
from coordd.sources.file.agent_files import (
    HEARTBEAT,
    SUFFIXES,
    AgentQuota,
    AgentTrace,
    agent_file_kind,
    files_of_hint,
)
from coordd.sources.file.hints import Hint, Signal, WorkFile
from coordd.sources.file.parse import ACTIVE_LIST, TaskIds, id_of_stem
from coordd.sources.file.trace_folder import MAX_ENTRIES, TraceFolder
from coordd.sources.file.work import Work, WorkReader
from coordd.util.directories import open_directory
from coordd.util.fields import Denied, Malformed, jsonable
from coordd.util.untrusted_folder import explain_unreadable, open_folder

MISSING = "there is no such directory"
"""What is said of a workspace that is configured, and does not exist: a mistake, or made later."""

MAX_MALFORMED = 1000


class WorkspaceReader:
    """Read one workspace, and remember what was read so that the next reading costs less.

    ``moved`` is true while a link stands on the way to the folder.

    Args:
        workspace: absolute path; the key that its traces carry.
        folder: canonical path of its coordination folder; None: below the workspace.
        max_entries: directory entries of one folder beyond this are not looked at.
        bounds: how much may be kept, shared by all readers.
        keepalive: called now and then during a scan, to show that it goes on and does not hang.
    """

    def __init__(
        self,
        workspace: str,
        *,
        folder: str | None = None,
        max_entries: int = MAX_ENTRIES,
        bounds: Bounds | None = None,
        keepalive: Callable[[], None] = lambda: None,
    ) -> None:
        self.workspace = workspace
        self._bounds = bounds or Bounds()
        self._left_out: set[str] = set()
        self.moved = False
        self._coordination = folder or os.path.join(workspace, COORDINATION)
        self._agents_path = f"{self._coordination}/agents"
        self._folder: TraceFolder[AgentTrace] = TraceFolder(
            path=self._agents_path,
            kind_of=agent_file_kind,
            max_entries=max_entries,
            files=self._bounds.files,
            quota=AgentQuota(self._bounds),
            keepalive=keepalive,
        )
        self._work = WorkReader(
            path=self._coordination, max_entries=max_entries, bounds=self._bounds, keepalive=keepalive
        )
        self._agents: dict[str, AgentTraces] = {}
        self._listed: frozenset[str] = frozenset()
        self._stems: dict[str, str] = {}  # of ids that are spelled otherwise: not UTF-8, or with white space
        self._seen_workspace = False
        self._seen_coordination = False
        self._seen_agents = False

    def lies_at(self, folder: str) -> None:
        """Read the coordination folder at this canonical path from now on."""
        self._coordination = folder
        self._agents_path = f"{folder}/agents"
        self._seen_coordination = self._seen_agents = False

    def scan(self, now: float) -> SourceTraces:
        """Read everything; the result replaces what was known.

        Args:
            now: wall clock, epoch seconds; tells which files changed so recently that another change could
                leave their state (stat) the same.
        """
        self.moved = False
        try:
            coordination = self._open()
        except FileNotFoundError:
            return self._absent()
        except OSError as error:
            self.moved = self._is_moved()
            if self.moved:
                words = f"a symbolic link has come onto the way to {jsonable(self._coordination)}"
                return self._unreadable(words, gone=True)
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
        """Read the agents and work files that are hinted, and ``active.list`` if that is hinted.

        An agent may be hinted by its file's stem or by its id. A heartbeat is read even if its file's state
        is the same. ``Signal.RESCAN`` is ignored: it asks for :meth:`scan`.
        """
        files = [hint for hint in hints if isinstance(hint, WorkFile)]
        work = self._read_work(files) if files else WorkChange()
        if work is None:
            return AgentsChange(self.workspace, {}, rescan_needed=True)
        malformed = dict(islice(self._work.problems_of(files), MAX_MALFORMED))
        if len(files) == len(hints):
            return AgentsChange(self.workspace, {}, malformed, work=work)
        return self._read_agents(hints, malformed, work)

    def _open(self) -> int:
        """Open the coordination folder, following no link on the way; raises OSError."""
        folder = open_directory(self._coordination, root="/")
        return folder.fd

    def _open_agents(self) -> int | None:
        coordination = self._open()
        try:
            return open_folder("agents", coordination)
        finally:
            os.close(coordination)

    def _is_moved(self) -> bool:
        return os.path.realpath(self._coordination) != self._coordination

    def _read_work(self, files: Collection[WorkFile]) -> WorkChange | None:
        try:
            coordination = self._open()
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
            fd = self._open_agents()
        except (OSError, Malformed):
            fd = None
        if fd is None:
            return AgentsChange(self.workspace, {}, rescan_needed=True)
        hinted: dict[str, str] = {}
        changed: dict[str, str] = {}
        try:
            for hint in hints:
                if isinstance(hint, str):
                    stem, suffixes = files_of_hint(hint)
                    agent_id = id_of_stem(stem)
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
        """Look at some files of one agent; return whether any of them changed its meaning."""
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

    def _scan(self, coordination: int, now: float) -> SourceTraces:
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

    def _answer(self, work: Work) -> SourceTraces:
        problems = self._problems()
        malformed = dict(islice(problems, MAX_MALFORMED))
        more = sum(1 for _ in problems)
        over_limit = dict(work.over_limit)
        if self._folder.over_limit is not None:
            over_limit["agents"] = self._folder.over_limit
        elif self._left_out:
            over_limit["agents"] = f"{len(self._left_out)} more than there is room for; they are not shown"
        return SourceTraces(
            self.workspace,
            "read",
            agents=dict(self._agents),
            malformed=malformed,
            tasks_available=work.available,
            claims=work.claims,
            progress=work.progress,
            available_unnamed=work.unnamed,
            malformed_unnamed=more + self._folder.bad_unnamed + self._work.unnamed_problems(),
            over_limit=over_limit,
        )

    def _absent(self) -> SourceTraces:
        try:
            os.stat(self.workspace)
        except FileNotFoundError:
            if not self._seen_workspace:
                return SourceTraces(self.workspace, "waiting", MISSING)
            return self._unreadable(f"the project directory is gone: {jsonable(self.workspace)}", gone=True)
        except OSError as error:
            return self._unreadable(explain_unreadable(error, self.workspace))
        self._seen_workspace = True
        if not self._seen_coordination:
            return SourceTraces(self.workspace, "waiting")
        return self._unreadable(f"{jsonable(self._coordination)} was there and is gone")

    def _unreadable(self, error: str, *, gone: bool = False) -> SourceTraces:
        return SourceTraces(
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
            touched[id_of_stem(stem)] = stem
        if self._left_out and self._bounds.agents.left:
            touched.update((agent_id, self._stems.get(agent_id, agent_id)) for agent_id in self._left_out)
        self._rebuild(touched)

    def _listing_changed(self) -> dict[str, str]:
        """Take over ``active.list``; return the agents that were added or dropped, with their stems."""
        entry = self._folder.entries.get(ACTIVE_LIST)
        if entry is not None and not isinstance(entry.value, frozenset):
            return {}  # it exists but cannot be read: its last content stays in force
        before, self._listed = self._listed, entry.value if entry is not None else frozenset()  # type: ignore[assignment]
        return {agent_id: self._stems.get(agent_id, agent_id) for agent_id in before ^ self._listed}

    def _rebuild(self, touched: dict[str, str]) -> None:
        for agent_id, spelled in touched.items():
            stem = spelled
            if stem != agent_id and any(agent_id + suffix in self._folder.entries for suffix in SUFFIXES):
                stem = agent_id  # both spellings exist: the plain one counts
            traces = self._traces(agent_id, stem)
            if traces is None:
                if self._agents.pop(agent_id, None) is not None:
                    self._bounds.agents.give(1)
                self._left_out.discard(agent_id)
                self._stems.pop(agent_id, None)
                continue
            if agent_id not in self._agents and not self._bounds.agents.take(1):
                self._left_out.add(agent_id)
                continue
            self._left_out.discard(agent_id)
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
            beat.problem if beat is not None and isinstance(beat.problem, Denied) else None,
        )

    def _problems(self) -> Iterator[tuple[str, str]]:
        for name, reason in self._folder.problems():
            yield f"{self._agents_path}/{jsonable(name)}".rstrip("/"), reason
        yield from self._work.problems()
