"""Read the folder in which hooks leave empty files: names and times, nothing is ever opened.

Synchronous, for a thread: a home may lie on a file system that hangs. What is there may be anything, for
whoever runs as this user can write there; the number of files that are looked at is bounded.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from itertools import islice

from coordd.agents.hooks import EVENTS
from coordd.agents.traces import AgentTraces
from coordd.sources.hook_files import SESSION_ID, HookFile, beat_of, hooks_of
from coordd.util.untrusted_folder import irregular

MAX_FILES = 50_000
"""Names in the folder that are looked at."""
MAX_MALFORMED = 1000
MODE = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NONBLOCK

_NAME = re.compile(rf"({SESSION_ID.pattern})\.({'|'.join(EVENTS)})", re.ASCII)


class HookFolder:
    """Remember the files of each session, as they were read last.

    ``malformed`` maps the path of what lies in a file's place to what it is, ``over_limit`` says that there
    is more than is read, None where there is not. ``boot`` is when this machine was started (epoch seconds),
    None while other machines may write there.

    Args:
        path: the folder.
        max_files: names that are looked at.
    """

    def __init__(self, path: str, *, max_files: int = MAX_FILES) -> None:
        self.path = path
        self.malformed: dict[str, str] = {}
        self.over_limit: str | None = None
        self.boot: float | None = None
        self._max_files = max_files
        self._agents: dict[str, AgentTraces] = {}

    def read_all(self) -> Mapping[str, AgentTraces]:
        """Read everything; return the sessions by id.

        Raises:
            OSError: the folder cannot be read, or is not there any more.
        """
        folder = os.open(self.path, MODE)
        try:
            with os.scandir(folder) as entries:
                names = [one.name for one in islice(entries, self._max_files + 1)]
            self.over_limit = None
            if len(names) > self._max_files:
                del names[self._max_files :]
                self.over_limit = f"more than {self._max_files} files of hooks; the rest is not read"
            files: dict[str, list[str]] = {}
            for name in names:
                found = _NAME.fullmatch(name)
                if found is not None:
                    files.setdefault(found[1], []).append(found[2])
            self.malformed = {}
            agents = {session: self._session(folder, session, events) for session, events in files.items()}
        finally:
            os.close(folder)
        self._agents = {session: one for session, one in agents.items() if one is not None}
        return dict(self._agents)

    def read(self, sessions: Iterable[str]) -> dict[str, AgentTraces | None]:
        """Read all files of some sessions; None for one without any.

        Raises:
            OSError: the folder cannot be read, or is not there any more.
        """
        folder = os.open(self.path, MODE)
        changed: dict[str, AgentTraces | None] = {}
        try:
            for session in sessions:
                known = session in self._agents
                if not is_session(session) or (not known and len(self._agents) >= self._max_files):
                    changed[session] = None
                    continue
                traces = changed[session] = self._session(folder, session, EVENTS)
                if traces is None:
                    self._agents.pop(session, None)
                else:
                    self._agents[session] = traces
        finally:
            os.close(folder)
        return changed

    def _session(self, folder: int, session: str, events: Collection[str]) -> AgentTraces | None:
        files: dict[str, HookFile] = {}
        for event in events:
            name = f"{session}.{event}"
            try:
                state = os.stat(name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                self.malformed.pop(f"{self.path}/{name}", None)
                continue
            reason = _unlike_a_hook(state)
            if reason is None:
                files[event] = HookFile(state.st_mtime_ns / 1e9, hash((state.st_mtime_ns, state.st_ino)))
                self.malformed.pop(f"{self.path}/{name}", None)
            elif len(self.malformed) < MAX_MALFORMED:
                self.malformed[f"{self.path}/{name}"] = reason
        before = self._agents.get(session)
        beat = beat_of(files, before)
        if beat is None:
            return None
        traces = AgentTraces(session, beat, hooks=hooks_of(session, files, self.boot))
        return before if traces == before else traces


def _unlike_a_hook(state: os.stat_result) -> str | None:
    """Return why a file cannot have been left by a hook; None if it may have been."""
    if not stat.S_ISREG(state.st_mode):
        return irregular(state.st_mode) or "no file"
    return None if state.st_size == 0 else "not empty, as all that hooks leave is"


def session_named(name: str) -> str | None:
    """Return the session that a file's name stands for, None for any other name."""
    found = _NAME.fullmatch(name)
    return found[1] if found is not None else None


def is_session(session: str) -> bool:
    """Return whether a text may be the id of a session."""
    return session_named(f"{session}.heartbeat") == session
