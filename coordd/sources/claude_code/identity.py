"""Give each process of a session the id that its agent has for as long as the process lives.

Pure. It is the first session id that coordd saw of the process, kept over ``/clear`` and resume. Where a
living process has that id, or that session, already, it is ``<session id>~<pid>``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from coordd.host.process_facts import Process


class Holder(NamedTuple):
    """A living process of a session: the id of its agent, and that of the session that it is in now."""

    process: Process
    agent_id: str
    session_id: str


def agent_id_of(process: Process, session_id: str, others: Iterable[Holder]) -> str:
    """Return the id of a new process's agent; ``others`` are the living processes that have theirs."""
    if any(session_id in (one.agent_id, one.session_id) for one in others):
        return f"{session_id}~{process.pid}"
    return session_id


def ties(one: Holder, holders: Iterable[Holder]) -> bool:
    """Return whether traces that name the session mean this process: it is the first in that session."""
    return one.process == min(
        (other.process for other in holders if other.session_id == one.session_id),
        key=lambda process: (process.start, process.pid),
        default=one.process,
    )


def session_of(agent_id: str) -> str:
    """Return the session id that an agent's id was made of."""
    return agent_id.rpartition("~")[0] or agent_id
