"""Say what an observation, and coordd's records before it, know of a session. Pure."""

from __future__ import annotations

from typing import NamedTuple

from coordd.agents.key import NO_WORKSPACE
from coordd.agents.observation import Observation
from coordd.host.process_facts import Process


class Known(NamedTuple):
    """What is known of an agent elsewhere: its process and session by the last run, and its workspace.

    ``restored`` is whether it was not read since; ``dormant`` whether it was silent for too long.
    """

    process: Process | None = None
    session_id: str | None = None
    workspace: str | None = None
    restored: bool = False
    dormant: bool = False


def known_of(one: Observation) -> Known:
    """Return what is known of an agent's process and session."""
    if one.traces is not None:
        return Known(dormant=one.dormant)
    return Known(
        process=restored_process(one),
        session_id=getattr(one.restored, "session_id", None),
        workspace=one.workspace if one.workspace != NO_WORKSPACE else None,
        restored=True,
        dormant=one.dormant,
    )


def restored_process(one: Observation) -> Process | None:
    """Return the process that coordd's records name for an agent that was not read since its start."""
    process = getattr(one.restored, "process", None)
    return process if isinstance(process, Process) else None
