"""Say what an observation, and coordd's records before it, know of a session. Pure."""

from __future__ import annotations

from coordd.agents.key import NO_WORKSPACE
from coordd.agents.observation import Observation
from coordd.host.process_facts import Process
from coordd.sources.claude_code.sessions import Known


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
