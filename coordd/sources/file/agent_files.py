"""Define the trace files of agents in ``agents/``: names, limits, how each is parsed and kept.

Hooks leave further files there, each named after a session and an event. A file with such an ending is an
agent's only where it is named after a session: ``build.Stop`` is nobody's.

Pure, but for the budgets that are charged: trace_folder.py reads the files, reader.py makes agents of them.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import islice

from coordd.agents.traces import Heartbeat, Registration
from coordd.sources.bodies import parse_heartbeat, parse_registration
from coordd.sources.bounds import Bounds, TextQuota
from coordd.sources.file.parse import (
    ACTIVE_LIST,
    TaskIds,
    agent_id_of,
    parse_active_list,
    parse_tasks,
)
from coordd.sources.file.trace_file import FileKind, latest_change
from coordd.sources.hook_files import EVENT_SUFFIXES, SESSION_ID, HookFile
from coordd.util.fields import Malformed, Parsed

HEARTBEAT = ".heartbeat"
TASKS = ".tasks"
REGISTRATION = ".active"
SUFFIXES = (HEARTBEAT, TASKS, REGISTRATION)
ALL_SUFFIXES = (*SUFFIXES, *EVENT_SUFFIXES)

AgentTrace = Heartbeat | Registration | TaskIds | frozenset[str] | HookFile


class AgentQuota(TextQuota[AgentTrace]):
    """Keep the ids in task lists and in ``active.list`` as far as they fit; the rest is only counted."""

    def __init__(self, bounds: Bounds) -> None:
        super().__init__(bounds.text)
        self._listed = bounds.listed

    def admit(self, value: AgentTrace) -> AgentTrace | None:
        """Charge a value; of a list, keep what fits."""
        if isinstance(value, TaskIds):
            count = self._listed.take_some(len(value.named))
            return TaskIds(value.named[:count], value.unnamed + len(value.named) - count)
        if isinstance(value, frozenset):
            count = self._listed.take_some(len(value))
            return value if count == len(value) else frozenset(islice(value, count))
        return super().admit(value)

    def release(self, value: AgentTrace) -> None:
        """Give back what the value was charged."""
        if isinstance(value, TaskIds):
            self._listed.give(len(value.named))
        elif isinstance(value, frozenset):
            self._listed.give(len(value))
        else:
            super().release(value)


def _heartbeat(_: str, content: bytes, state: os.stat_result) -> Parsed[AgentTrace]:
    written, problem = None, None
    try:
        written = parse_heartbeat(content, state.st_mtime, latest_change(state))
    except Malformed as error:
        problem = str(error)
    return Parsed(Heartbeat(written, state.st_mtime_ns / 1e9, _identity(content, state)), problem)


def _tasks(_: str, content: bytes, __: os.stat_result) -> Parsed[AgentTrace]:
    return Parsed(*parse_tasks(content))


def _registration(_: str, content: bytes, state: os.stat_result) -> Parsed[AgentTrace]:
    registration, problem = parse_registration(content, state.st_mtime, latest_change(state))
    return Parsed(
        replace(
            registration,
            owner=state.st_uid,
            written=state.st_mtime_ns / 1e9,
            identity=_identity(content, state),
        ),
        problem,
    )


def _hook(_: str, __: bytes, state: os.stat_result) -> Parsed[AgentTrace]:
    return Parsed(HookFile(state.st_mtime_ns / 1e9, _identity(b"", state)), None)


def _active_list(_: str, content: bytes, __: os.stat_result) -> Parsed[AgentTrace]:
    return Parsed(*parse_active_list(content))


def _identity(content: bytes, state: os.stat_result) -> int:
    # a hash takes a third of the memory; hashlib would load OpenSSL, and it is compared in this process only
    return hash((state.st_mtime_ns, state.st_ino, content))


_KINDS: dict[str, FileKind[AgentTrace]] = {
    HEARTBEAT: FileKind(64 * 1024, _heartbeat),
    TASKS: FileKind(1024 * 1024, _tasks),
    REGISTRATION: FileKind(64 * 1024, _registration),
}
_HOOK: FileKind[AgentTrace] = FileKind(64 * 1024, _hook)
_ACTIVE_LIST: FileKind[AgentTrace] = FileKind(64 * 1024, _active_list)


def files_of_hint(hint: str) -> tuple[str, tuple[str, ...]]:
    """Return the stem and suffixes a hint stands for: one file, or all that an agent can have."""
    for suffix in SUFFIXES:
        if hint.endswith(suffix):
            return hint[: -len(suffix)], (suffix,)
    stem, dot, event = hint.rpartition(".")
    if dot and is_hook_file(stem, dot + event):
        return stem, (dot + event,)
    return hint, suffixes_of(hint)


def suffixes_of(agent_id: str) -> tuple[str, ...]:
    """Return the suffixes of all files that an agent can have."""
    return ALL_SUFFIXES if SESSION_ID.fullmatch(agent_id) else SUFFIXES


def is_hook_file(stem: str, suffix: str) -> bool:
    """Return whether a name, split before its last dot, is that of a file that only hooks leave."""
    return suffix in EVENT_SUFFIXES and SESSION_ID.fullmatch(stem) is not None


def agent_file_kind(name: str) -> FileKind[AgentTrace] | None:
    """Return how the file of this name is read; None for a name that is no agent's."""
    if name == ACTIVE_LIST:
        return _ACTIVE_LIST
    stem, suffix = name[: name.rfind(".")], name[name.rfind(".") :]
    if is_hook_file(stem, suffix):
        return _HOOK
    kind = _KINDS.get(suffix)
    return kind if kind is not None and agent_id_of(name, suffix) is not None else None
