"""Find the folders in which hooks of Claude Code leave what they tell, as soon as there are any.

A hook writes below ``$XDG_STATE_HOME`` of the agent that it runs in, which may be another than the daemon's:
so the usual place counts as well.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence

from coordd.agents.source import SourceName
from coordd.runtime.worker import DeadlineMissed, Worker
from coordd.sources.base import RESCAN, UNREADABLE, Source
from coordd.sources.hooks.source import READ_DEADLINE, HooksSource, watch_folder
from coordd.sources.sessions.watch import GONE, Watch
from coordd.util import inotify as ino


def folders_of(environ: Mapping[str, str]) -> tuple[str, ...]:
    """Return where hooks may leave their files, by the environment of this user."""
    home = environ.get("HOME") or os.path.expanduser("~")
    state = environ.get("XDG_STATE_HOME", "")
    places = (place for place in (state, os.path.join(home, ".local", "state")) if os.path.isabs(place))
    return tuple(dict.fromkeys(os.path.join(place, "coordd", "hooks") for place in places))


class HooksFinder:
    """Find the folders that there are.

    Args:
        folders: where they would be; none: hooks are not read.
        worker: the thread that looks for them.
        watch: tells of changes.
        folder_worker: makes the thread that reads one.
        remote: returns the type of a path's file system if other machines write to it, else None.
    """

    def __init__(
        self,
        *,
        folders: Sequence[str],
        worker: Worker,
        watch: Watch,
        folder_worker: Callable[[], Worker] = lambda: Worker("coordd-hooks", replaceable=True),
        remote: Callable[[str], str | None] = lambda _: None,
    ) -> None:
        self._folders = folders
        self._worker = worker
        self._watch = watch
        self._folder_worker = folder_worker
        self._remote = remote
        self._changed: Callable[[], None] = lambda: None
        self._sources: dict[str, HooksSource] = {}
        self._announced = True

    def start(self, changed: Callable[[], None]) -> None:
        """Begin to listen for folders that appear."""
        self._changed = changed
        if self._folders:
            self._watch.start(asyncio.get_running_loop())

    def stop(self) -> None:
        """Stop listening."""
        self._changed = lambda: None
        if self._folders:
            self._watch.close()

    async def find(self) -> Mapping[SourceName, Source] | None:
        """Return the folders that there are now; None where that cannot be told in time."""
        if not self._folders:
            return {}
        try:
            found = await self._worker.run(self._look, deadline=READ_DEADLINE)
        except DeadlineMissed as missed:
            missed.future.add_done_callback(lambda _late: self._changed())
            return None
        self._sources = {
            path: one for path, one in self._sources.items() if path in found and not one.stopped
        }
        for path in found:
            if path not in self._sources:
                self._sources[path] = HooksSource(
                    path, worker=self._folder_worker(), watch=self._watch, remote=self._remote
                )
        return {source.state.name: source for source in self._sources.values()}

    @property
    def interval(self) -> float:
        """Seconds until the next look: short where one may appear that nothing announces."""
        return RESCAN if self._announced or not self._folders else UNREADABLE

    def _look(self) -> list[str]:
        """Return the canonical paths of the folders that there are, and watch for the others."""
        found = []
        announced = self._watch.reason is None
        for path in self._folders:
            owner = (HooksFinder, path)
            # watched before it is looked for: what appears in between is told
            error = watch_folder(self._watch, owner, path, self._teller(path))
            announced = announced and error is None and self._remote(path) is None
            if os.path.lexists(path):
                found.append(os.path.realpath(path))
                self._watch.forget(owner)
        self._announced = announced
        return list(dict.fromkeys(found))

    def _teller(self, path: str) -> Callable[[int, str], None]:
        names = set(path.split(os.sep))

        def tell(mask: int, name: str) -> None:
            if mask & (GONE | ino.Q_OVERFLOW) or name in names:
                self._changed()

        return tell
