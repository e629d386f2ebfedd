"""What was read of the agents: the values that coordination/ produces and state.py reduces.

Pure values. A trace says what a stranger wrote and when the file was touched; it holds no verdict, for a
verdict depends on the moment of asking (liveness.py). ``None`` is "unknown": absent, unreadable or malformed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

WorkspaceState = Literal["read", "waiting", "unreadable"]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One reading of ``agents/<id>.heartbeat``, or of the key ``heartbeat:<id>``.

    ``written`` is the timestamp in it (epoch seconds), None where it is empty or no timestamp. ``mtime`` is
    the file's, in epoch seconds; of a key, which has none, it is when its change was observed, None while
    none was. ``identity`` changes whenever content, mtime or inode change, and with each push for a key: two
    readings with equal identity are the same beat.
    """

    written: float | None
    mtime: float | None
    identity: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Registration:
    """What ``agents/<id>.active``, or ``agents:registry``, says of the agent.

    A field is None where absent or of a wrong type. ``updated_at`` is the registry's ``last_update``.
    """

    started_at: float | None = None
    status: str | None = None
    capabilities: tuple[str, ...] | None = None
    project_type: str | None = None
    hostname: str | None = None
    pid: int | None = None
    proc_start: float | None = None
    updated_at: float | None = None


@dataclass(frozen=True, slots=True)
class AgentTraces:
    """All that one source, a workspace or Redis, holds of one agent.

    ``tasks`` is empty where there is no list of tasks and None where there is one that cannot be read;
    ``unnamed_tasks`` is how many more there are than it names. ``listed`` says that ``active.list`` names the
    agent. ``hidden``: there is a heartbeat, and coordd has no right to read it.
    """

    agent_id: str
    heartbeat: Heartbeat | None = None
    registration: Registration | None = None
    tasks: tuple[str, ...] | None = ()
    listed: bool = False
    unnamed_tasks: int = 0
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Claim:
    """An agent's hold on a task, as its file says; the file's being there is the claim, whatever it says.

    ``agent_id`` is None where the file does not tell; times are epoch seconds. ``expires_at`` is the written
    one, else ``claimed_at`` + ``ttl``.
    """

    task: str
    agent_id: str | None = None
    claimed_at: float | None = None
    expires_at: float | None = None
    status: str | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """What an agent says of how far it is: ``percent`` 0..100, ``timestamp`` in epoch seconds."""

    task: str
    percent: float | None = None
    message: str | None = None
    timestamp: float | None = None


@dataclass(frozen=True, slots=True)
class WorkspaceTraces:
    """One full reading of a workspace, or of Redis (``workspace`` is then ""): the truth that hints only
    anticipate.

    ``state``: ``read``; ``waiting`` when ``.claude/coordination`` does not exist (yet); ``unreadable`` with
    ``error`` when something is there that cannot be read: then ``agents`` is empty and means nothing.
    ``gone`` says that it is unreadable because the project directory itself was there and is no more.
    ``tasks_available`` (sorted), ``claims`` and ``progress`` are empty where nothing is there and None where
    something is that cannot be read; a task that has a claim is not available. ``available_unnamed`` is how
    many more tasks are available than are named.
    ``malformed`` maps the path of each trace that could not be used to the reason; ``malformed_unnamed`` is
    how many more there are. ``crowded`` says in words, by the kind of trace (``agents``, ``claims``, …), of
    what there is more than is kept; of claims and progress nothing is told then.
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
    crowded: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WorkChange:
    """A partial reading of claims, progress and available tasks: what differs now, by task.

    None stands for a claim or a progress that is no more; ``available`` says whether a task now is.
    ``available_unnamed`` is how many more are available than are named, None where that is as before.
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
    """A partial reading after a hint: the named agents as they are now, None for one that left no trace.

    ``work`` is what hints of claims, tasks and progress led to. ``rescan_needed`` says that a folder could
    not be read, so that nothing is known: the rest is empty, and only a full reading tells what happened.
    """

    workspace: str
    agents: Mapping[str, AgentTraces | None]
    malformed: Mapping[str, str] = field(default_factory=dict)
    rescan_needed: bool = False
    work: WorkChange = field(default_factory=WorkChange)
