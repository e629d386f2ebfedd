"""Tell what the hooks of a session have left among the trace files of agents. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from coordd.agents.hooks import Hooks
from coordd.agents.traces import AgentTraces, Heartbeat
from coordd.sources.file.agent_files import HEARTBEAT, AgentTrace
from coordd.sources.file.trace_file import Entry
from coordd.sources.hook_files import EVENT_SUFFIXES, SESSION_ID, HookFile, beat_of, hooks_of


def hook_files(stem: str, entries: Mapping[str, Entry[AgentTrace]]) -> dict[str, HookFile] | None:
    """Return the files that only hooks leave, of one session, by event; None for who is no session."""
    if not SESSION_ID.fullmatch(stem):
        return None
    found = {suffix[1:]: entries.get(stem + suffix) for suffix in EVENT_SUFFIXES}
    return {
        event: entry.value
        for event, entry in found.items()
        if entry is not None and isinstance(entry.value, HookFile)
    }


def hooked(
    session_id: str,
    files: Mapping[str, HookFile],
    beat: Heartbeat | None,
    before: AgentTraces | None,
    boot: float | None,
) -> tuple[Heartbeat | None, Hooks]:
    """Return the last sign of life of a session, and what its hooks tell.

    Args:
        session_id: its id.
        files: the files that hooks alone have left.
        beat: the heartbeat as its own file has it, which hooks touch as well; None for no such file.
        before: the traces as they were read before.
        boot: when the machine was started on which hooks run, in epoch seconds; None: that is not known.
    """
    changed = beat.mtime if beat is not None else None
    if beat is None or changed is None:
        return beat_of(files, before), hooks_of(session_id, files, boot)
    last = beat_of(files, before)
    every = {**files, HEARTBEAT[1:]: HookFile(changed, 0)}
    later = last is not None and last.mtime is not None and last.mtime > changed
    return last if later else beat, hooks_of(session_id, every, boot)
