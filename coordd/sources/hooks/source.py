"""Read what hooks of Claude Code leave in the user's state directory, as a source: in a worker.

A hook knows neither pid nor directory: what it tells is of a session, in whatever workspace. It is followed
by inotify; what is told, and what is read then:

==========================================  ==================================================================
a file of a session has changed             all files of that session
the folder has gone, or events were lost    everything
(something cannot be watched, or other      everything, every :data:`POLL` seconds
machines write there)
==========================================  ==================================================================

Nothing here blocks the loop: until a call returns after all that has missed its deadline, the folder counts
as unreadable. A folder that has gone is no source any more (finder.py).
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Hashable, Mapping
from typing import Any, NamedTuple, TypeVar

from coordd.agents.observation import Observation
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import AgentsChange, SourceTraces
from coordd.host.boot import boot_time
from coordd.runtime.clocks import ObservedClock
from coordd.runtime.schedule import now
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.base import POLL, RESCAN, UNREADABLE, Following, SourceListener, SourceLost
from coordd.sources.hooks.folder import HookFolder, session_named
from coordd.sources.sessions.watch import APPEARED, GONE, VANISHED, Tell, Watch, explain
from coordd.util import inotify as ino
from coordd.util.untrusted_folder import explain_unreadable

T = TypeVar("T")

KIND = "hooks"
"""The name of this kind of source, as records have it."""
RANK = 30
READ_DEADLINE = 5.0
"""Seconds after which the file system counts as hung."""


class SessionHint(NamedTuple):
    """A file of a session's hooks has changed."""

    session_id: str


class HooksSource:
    """The hooks of one user.

    Args:
        path: the folder that they touch files in.
        worker: the thread that reads it.
        watch: tells of changes.
        remote: returns the type of a path's file system if other machines write to it, else None.
    """

    patience = READ_DEADLINE

    def __init__(
        self, path: str, *, worker: Worker, watch: Watch, remote: Callable[[str], str | None]
    ) -> None:
        self.state = SourceState(
            name=SourceName(KIND, path), clock=ObservedClock(blind_since=now().mono), rank=RANK
        )
        self.stopped = False
        self._path = path
        self._folder = HookFolder(path)
        self._worker = worker
        self._watch = watch
        self._remote = remote
        self._listener: SourceListener | None = None
        self._following = Following("poll", "poll")
        self._hung = False

    def start(self, listener: SourceListener, known: Mapping[str, Observation]) -> None:  # noqa: ARG002  # they are files
        """Begin to tell of changes; everything can be read at once."""
        self._listener = listener
        listener.readable()

    async def follow(self) -> Following:
        """Watch the folder as it is now, so that what changes from here on is announced."""
        await self._run(self._follow)
        return self._following

    async def read_all(self) -> SourceTraces:
        """Read everything."""
        agents = await self._run(self._folder.read_all)
        over_limit = self._folder.over_limit
        return SourceTraces(
            self.state.workspace,
            "read",
            agents=agents,
            malformed=dict(self._folder.malformed),
            over_limit={} if over_limit is None else {"sessions": over_limit},
        )

    async def read_some(self, hints: Collection[Hashable]) -> AgentsChange:
        """Read the files of the sessions that the hints name."""
        return await self.reread({hint.session_id for hint in hints if isinstance(hint, SessionHint)})

    async def reread(self, agent_ids: Collection[str]) -> AgentsChange:
        """Read the files of these sessions."""
        found = await self._run(self._folder.read, agent_ids) if agent_ids else {}
        return AgentsChange(self.state.workspace, found, dict(self._folder.malformed))

    def lost(self, trouble: str) -> None:
        """Keep the watches: they tell when the folder can be read again."""

    async def stop(self) -> None:
        """Stop listening for changes."""
        self.stopped, self._listener = True, None
        self._watch.forget(self)
        self._worker.close()

    @property
    def interval(self) -> float:
        """Seconds until the next full reading: short where nothing announces changes."""
        if self.state.state == "unreadable":
            return UNREADABLE
        return POLL if self._following.how == "poll" else RESCAN

    @property
    def due(self) -> None:
        """None: every change is announced."""
        return

    def _changed(self, mask: int, name: str) -> None:
        """Note an event in the folder, or in one above that is watched while there is none."""
        session = session_named(name)
        if session is not None and not mask & (GONE | ino.Q_OVERFLOW):
            self._tell((SessionHint(session),))
        elif mask & (GONE | ino.Q_OVERFLOW) or name in self._path.split(os.sep):
            self._tell(None)

    def _tell(self, hints: Collection[Hashable] | None) -> None:
        if self._listener is not None:
            self._listener.changed(hints)

    def _follow(self) -> None:
        fstype = self._remote(self._path)
        self._folder.boot = boot_time() if fstype is None else None
        error = watch_folder(self._watch, self, self._path, self._changed)
        if self.stopped:
            self._watch.forget(self)
            return
        reason = self._watch.reason
        if fstype is not None:
            reason = f"{fstype}: inotify does not see what other machines write"
        elif reason is None and error is not None:
            reason = explain(error)
        self._following = (
            Following("push", "inotify") if reason is None else Following("poll", "poll", reason)
        )

    async def _run(self, call: Callable[..., T], *about: Any) -> T:
        """Call something in the worker; raises SourceLost while the folder cannot be read."""
        if not self._hung:
            try:
                return await self._worker.run(call, *about, deadline=READ_DEADLINE)
            except DeadlineMissed as missed:
                self._hung = True
                missed.future.add_done_callback(self._answers_again)
            except OSError as error:
                gone = isinstance(error, FileNotFoundError)
                raise SourceLost(explain_unreadable(error, self._path), gone=gone) from None
        raise SourceLost(f"the file system does not answer ({READ_DEADLINE:g} s)")

    def _answers_again(self, _late: asyncio.Future[Any]) -> None:
        self._hung = False
        if self.stopped:
            self._watch.forget(self)  # it may have been about to follow
        elif self._listener is not None:
            self._listener.readable()


def watch_folder(watch: Watch, owner: Hashable, path: str, tell: Tell) -> Exception | None:
    """Watch a folder, or while it is not there the nearest one above; for a thread.

    Returns why that could not be watched, None where it is, or nothing can be watched at all.
    """
    path = os.path.realpath(path)
    # what is no file (a FIFO, a link) is created, and then neither closed nor touched
    mask = ino.CLOSE_WRITE | ino.ATTRIB | APPEARED | VANISHED
    while True:
        error = watch.arm(owner, [(path, mask | GONE | ino.ONLYDIR)], tell)
        above = os.path.dirname(path)
        if error is not None or above == path or watch.reason is not None or owner in watch.owners:
            return error
        path, mask = above, APPEARED
