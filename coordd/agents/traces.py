"""Define what is read of agents, claims and tasks: what sources/ produces and observation.py reduces.

Pure values. A trace says what an agent wrote and when the file was touched. It holds no verdict, because a
verdict depends on the moment of asking (liveness.py). ``None`` means unknown: absent, unreadable or
malformed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from coordd.agents.session import Session

WorkspaceState = Literal["read", "waiting", "unreadable"]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One reading of ``agents/<id>.heartbeat``, or of the key ``heartbeat:<id>``.

    ``written`` is the timestamp in it (epoch seconds), None where the content is empty or no timestamp.
    ``mtime`` is that of the file, in epoch seconds; a key has none, and the time at which its change was
    observed stands for it, None before the first change. ``identity`` changes whenever content, mtime or
    inode change, and with each push for a key: two readings with equal identity are the same beat. ``local``
    is the written time if that was this machine's local time, where nothing tells the zone; else None.
    """

    written: float | None
    mtime: float | None
    identity: tuple[object, ...] | int
    local: float | None = None


@dataclass(frozen=True, slots=True)
class Registration:
    """One reading of ``agents/<id>.active``, or of an agent's entry in ``agents:registry``.

    A field is None where it is absent or has a wrong type. ``updated_at`` is when the agent says that it
    wrote it, under any name (``last_update``, ``last_seen``, …). ``written`` is when it was written as coordd
    sees it (epoch seconds): the mtime of the file, or the time at which the change of an entry was
    observed, None before the first. ``owner`` is the uid of the file; an entry of the registry has none.
    ``identity`` changes whenever content, mtime or inode do. ``local`` is ``updated_at``, or without one
    ``started_at``, if that was local time, as in a heartbeat. ``proc_start`` is the start of the process in
    clock ticks since boot, as ``/proc/<pid>/stat`` has it.
    """

    started_at: float | None = None
    status: str | None = None
    hostname: str | None = None
    pid: int | None = None
    proc_start: float | None = None
    updated_at: float | None = None
    owner: int | None = None
    written: float | None = None
    identity: int = 0
    local: float | None = None


@dataclass(frozen=True, slots=True)
class AgentTraces:
    """Everything that one source, a workspace or Redis, holds of one agent.

    ``tasks`` is empty where there is no list of tasks and None where the list cannot be read;
    ``unnamed_tasks`` is the number of tasks beyond those named. ``listed`` is true when ``active.list`` names
    the agent. ``hidden`` says why its heartbeat, which exists, may not be read, None where it may.
    ``workspace`` is where the agent works, if the source names that for each agent; None: the source's own.
    ``session`` is what a coding agent's own files say of it, None where they are not read.
    """

    agent_id: str
    heartbeat: Heartbeat | None = None
    registration: Registration | None = None
    tasks: tuple[str, ...] | None = ()
    listed: bool = False
    unnamed_tasks: int = 0
    hidden: str | None = None
    workspace: str | None = None
    session: Session | None = None


class Rival(NamedTuple):
    """The holder and the end of a claim beside the one that counts; times as in :class:`Claim`."""

    agent_id: str
    claimed_at: float | None
    expires_at: float | None


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim of an agent on a task, as written; that the file or key exists is the claim, whatever it says.

    ``agent_id`` is None where no holder is named; times are epoch seconds. ``expires_at`` is the written
    time, or else ``claimed_at`` + ``ttl``. ``problem`` says why nothing of it may be read, None where it may.
    ``rivals`` are other claims of the same source on the task, of other holders.
    """

    task: str
    agent_id: str | None = None
    claimed_at: float | None = None
    expires_at: float | None = None
    status: str | None = None
    description: str | None = None
    problem: str | None = None
    rivals: tuple[Rival, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress that an agent reports for a task: ``percent`` 0..100, ``timestamp`` in epoch seconds.

    ``failed``: it said that the task failed, by a progress below 0.
    """

    task: str
    percent: float | None = None
    message: str | None = None
    timestamp: float | None = None
    failed: bool = False


@dataclass(frozen=True, slots=True)
class SourceTraces:
    """One full reading of a source; it corrects what hints missed. ``workspace`` is "" for Redis.

    ``state`` is ``read``; ``waiting`` while ``.claude/coordination`` does not exist, with ``error`` where not
    even the project does; or ``unreadable`` with
    ``error`` when it exists and cannot be read: ``agents`` then is empty and means nothing. ``gone`` is true
    when it is unreadable because the project directory, which existed, was removed. ``tasks_available``
    (sorted), ``claims`` and ``progress`` are empty where nothing exists and None where they exist and cannot
    be read; a task with a claim is not available. ``available_unnamed`` is the number of available tasks
    beyond those named. ``malformed`` maps the path of each trace that could not be used to the reason;
    ``malformed_unnamed`` is the number of further ones. ``over_limit`` maps each kind of trace (``agents``,
    ``claims``, …) of which more exist than are kept to a sentence that says so; claims and progress that are
    over a limit are None.
    """

    workspace: str
    state: WorkspaceState
    error: str | None = None
    agents: Mapping[str, AgentTraces] = field(default_factory=dict)
    malformed: Mapping[str, str] = field(default_factory=dict)
    tasks_available: tuple[str, ...] | None = ()
    claims: Mapping[str, Claim] | None = field(default_factory=dict)
    progress: Mapping[str, Progress] | None = field(default_factory=dict)
    gone: bool = False
    available_unnamed: int = 0
    malformed_unnamed: int = 0
    over_limit: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkChange:
    """A partial reading of claims, progress and available tasks: what has changed, by task.

    None stands for a claim or a progress that was removed; ``available`` says whether a task is available
    now. ``available_unnamed`` is the number of available tasks beyond those named, None where it is
    unchanged.
    """

    claims: Mapping[str, Claim | None] = field(default_factory=dict)
    progress: Mapping[str, Progress | None] = field(default_factory=dict)
    available: Mapping[str, bool] = field(default_factory=dict)
    available_unnamed: int | None = None

    def __bool__(self) -> bool:
        named = self.claims or self.progress or self.available
        return bool(named) or self.available_unnamed is not None


@dataclass(frozen=True, slots=True)
class AgentsChange:
    """A partial reading after a hint: the named agents as they are now, None for one without any trace.

    ``work`` has the changes of claims, tasks and progress. ``rescan_needed`` is true when a folder could not
    be read: the rest then is empty, and only a full reading can tell what happened.
    """

    workspace: str
    agents: Mapping[str, AgentTraces | None]
    malformed: Mapping[str, str] = field(default_factory=dict)
    rescan_needed: bool = False
    work: WorkChange = field(default_factory=WorkChange)
