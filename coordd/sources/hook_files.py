"""Tell what the files of hooks mean: ``<session>.<event>``, empty, whose times of change are all they say.

Shared by the sources that meet such files: a project's traces, and the folder of the user's own hooks. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from coordd.agents.hooks import EVENTS, Hooks
from coordd.agents.traces import AgentTraces, Heartbeat

SESSION_ID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)
"""What a session of Claude Code is called; the hook script takes nothing else for one."""
HEARTBEAT = "heartbeat"
EVENT_SUFFIXES = tuple(f".{event}" for event in EVENTS if event != HEARTBEAT)
"""How the files of hooks end that only hooks leave."""


class HookFile(NamedTuple):
    """One file of a hook: when it was touched (epoch seconds), and what changes whenever it is."""

    at: float
    identity: int


def hooks_of(session_id: str, files: Mapping[str, HookFile], boot: float | None = None) -> Hooks:
    """Return what the hooks of a session tell by their files, each by the name of its event.

    ``boot`` is when the machine on which they run was started, in epoch seconds: a session that told nothing
    since has ended then. None: that is not known, for other machines may write there too.
    """
    hooks = Hooks(session_id, **{EVENTS[event]: file.at for event, file in files.items()})
    if boot is None or not hooks.told or hooks.last is None or hooks.last >= boot:
        return hooks
    return replace(hooks, end=boot)


def beat_of(files: Mapping[str, HookFile], before: AgentTraces | None) -> Heartbeat | None:
    """Return the heartbeat that the last touched of these files is; None for no file.

    That files are gone is no beat: then the one that was told before stays.
    """
    last = max(files.values(), default=None)
    told = before.heartbeat if before is not None else None
    if last is None or (told is not None and told.mtime is not None and told.mtime > last.at):
        return told if last is not None else None
    return Heartbeat(None, last.at, last.identity)
