"""Define the records and documents that coordd writes and answers, field by field as a reader meets them.

Frozen, slotted dataclasses; the field order is the order in JSON. Timestamps are text
(``2026-11-22T06:05:00.123Z``), sizes are bytes, durations seconds, shares percent 0..100; None is unknown.
Pure values: nothing here reads, measures or decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Status = Literal["active", "inactive", "unknown"]
Reason = Literal["ended", "killed", "process", "heartbeat", "unreachable", "quiet", "silent", "no-heartbeat"]
Activity = Literal["waiting", "blocked", "stalled", "unknown", "working", "idle"]
Cause = Literal["heartbeat", "progress", "verdict", "activity", "appeared", "removed", "tasks", "start"]
CoordMode = Literal["redis", "file"]
SinkState = Literal["ok", "failing"]
ClaimState = Literal["held", "expired", "orphaned"]
TaskState = Literal["available", "held", "expired", "orphaned"]

WorkspaceState = Literal["inotify", "poll", "waiting", "unreadable"]

STATUSES: tuple[Status, ...] = get_args(Status)
ACTIVITIES: tuple[Activity, ...] = get_args(Activity)
"""In the order of need: who needs a human comes first."""
TASK_STATES: tuple[TaskState, ...] = get_args(TaskState)
WORKSPACE_STATES: tuple[WorkspaceState, ...] = get_args(WorkspaceState)
"""How a workspace is followed, or why it is not."""

SCHEMA = 1
"""The version carried by every ``--json`` document; it grows only when a field changes its meaning."""


@dataclass(frozen=True, slots=True)
class AgentCounts:
    """The number of agents with each status."""

    active: int = 0
    inactive: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class SelfUsage:
    """The cost of coordd itself: percent of one CPU since the last sample, bytes, a count, milliseconds."""

    cpu_percent: float | None
    rss: int | None
    open_fds: int | None
    loop_lag_ms: float | None


@dataclass(frozen=True, slots=True)
class CgroupUsage:
    """The limits of the control group that coordd runs in, such as a container's, and what is used of them.

    Of nested groups the least limit counts; None is no limit. ``memory_used`` is ``memory_current`` without
    the cache of files that the kernel gives up first, and ``memory_percent`` its share of ``memory_max``.
    ``cpu_max`` is in processors, and ``cpu_percent`` the share of it that was used since the last sample.
    """

    memory_current: int | None
    memory_used: int | None
    memory_max: int | None
    memory_percent: float | None
    cpu_max: float | None
    cpu_percent: float | None


@dataclass(frozen=True, slots=True)
class HostReading:
    """The measurements of the host for one system sample; a part that this machine does not give is None.

    ``memory_usage`` holds all fields of psutil.virtual_memory(); ``disk_usage`` is that of ``/``; ``disk_io``
    (``{"read", "write"}``) and ``network_io`` (``{"sent", "received"}``) are bytes a second since the reading
    before.
    """

    cpu_percent: float | None
    memory_usage: Mapping[str, int | float] | None
    disk_usage: Mapping[str, int | float] | None
    load_average: tuple[float, float, float] | None
    cpu_count: int | None
    swap_usage: Mapping[str, int | float] | None
    disk_io: Mapping[str, float] | None
    network_io: Mapping[str, float] | None
    own_cpu_percent: float | None
    own_cpu_seconds: float | None
    own_rss: int | None
    own_open_fds: int | None
    cgroup: CgroupUsage | None = None


@dataclass(frozen=True, slots=True)
class SystemSample:
    """One line of ``system_DATE.jsonl``; ``cgroup`` is None where no limit holds for coordd."""

    timestamp: str
    host: str
    cpu_percent: float | None
    memory_usage: Mapping[str, int | float] | None
    disk_usage: Mapping[str, int | float] | None
    load_average: tuple[float, float, float] | None
    cpu_count: int | None
    swap_usage: Mapping[str, int | float] | None
    disk_io: Mapping[str, float] | None
    network_io: Mapping[str, float] | None
    coord_mode: CoordMode
    agents: AgentCounts
    self: SelfUsage
    cgroup: CgroupUsage | None = None


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of a session since coordd first read its transcript, which was at ``since``."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    since: str | None


@dataclass(frozen=True, slots=True)
class AccountLimit:
    """What a provider has told of one window of an account's limits; an entry of ``limits`` in ``status``.

    ``kind`` is that of its agents, ``account`` the home that uses it, ``name`` the provider's word for the
    limit, null for its usual one. ``window`` is in seconds. ``used_percent`` is null where nobody has told of
    the window that goes on now, for what was told of one that is over says nothing of the next. ``seen_at``
    is when it was told.
    """

    kind: str
    account: str
    name: str | None
    window: float | None
    used_percent: float | None
    resets_at: str | None
    seen_at: str


@dataclass(frozen=True, slots=True)
class AgentSample:
    """One line of ``agent_DATE.jsonl``. The key of an agent is (workspace, agent_id).

    ``project`` is the main work tree of the workspace. ``activity`` is that of an active agent;
    of one that is quiet only that it was ``waiting`` when its last hook ran.
    ``background`` is the number of open background shells and subagents. ``proc_start`` tells the process
    from a later one with the same pid, and ``ended_at`` is when it ended. ``user`` is the name of the user
    whose process it is, where nothing is known of the agent but its process. ``processes``,
    ``cpu_percent`` and ``rss`` are those of its whole process tree.
    """

    timestamp: str
    host: str
    workspace: str | None
    agent_id: str
    status: Status
    reason: Reason
    cause: Cause
    active_tasks: int | None
    uptime: float | None
    last_heartbeat: str | None
    declared_status: str | None
    sources: tuple[str, ...]
    project: str | None = None
    name: str | None = None
    kind: str | None = None
    session_id: str | None = None
    activity: Activity | None = None
    activity_since: str | None = None
    waiting_for: str | None = None
    tool: str | None = None
    tool_since: str | None = None
    background: int | None = None
    last_progress: str | None = None
    model: str | None = None
    context_tokens: int | None = None
    tokens: Tokens | None = None
    pid: int | None = None
    proc_start: int | None = None
    tty: str | None = None
    user: str | None = None
    processes: int | None = None
    cpu_percent: float | None = None
    rss: int | None = None
    ended_at: str | None = None


@dataclass(frozen=True, slots=True)
class AgentView(AgentSample):
    """An agent at the moment of asking: the fields of its sample, and the seconds since its last beat.

    ``inactive_since`` is when it was killed, ended or fell silent; None of one that is not inactive.
    """

    last_heartbeat_age: float | None = None
    inactive_since: str | None = None


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """The row of a table that decided, the verdict's or the activity's, and its condition in words."""

    row: int
    when: str


AttentionKind = Literal["waiting", "killed", "stalled", "blocked", "mass", "orphaned", "split"]


@dataclass(frozen=True, slots=True)
class AttentionEntry:
    """One thing that needs a human, as ``attention`` in the status document has it.

    ``subject`` is the agent's id, the task's for claims, the workspace for ``mass``. ``since`` is a
    timestamp. ``text`` says what in words, ``command`` is the next thing to type. ``id`` is what ``ack``
    takes: it is another one as soon as the entry is about something else.
    """

    kind: AttentionKind
    workspace: str | None
    subject: str
    since: str | None
    text: str
    command: str | None
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentInFull(AgentView):
    """An agent at the moment of asking, with why it has its status and what it holds.

    ``verdict_rows`` and ``activity_rows`` are the rows of both tables, each with the value, the age and the
    threshold that it looked at, and what would change it; those of the activity for an agent that has one.
    ``tasks`` and ``claims`` are None where they are unknown.
    """

    verdict: VerdictRow
    verdict_rows: Sequence[Mapping[str, Any]]
    activity_row: VerdictRow | None
    activity_rows: Sequence[Mapping[str, Any]]
    stalled: bool | None
    evidence: Sequence[Mapping[str, Any]]
    tasks: tuple[str, ...] | None
    claims: Sequence[TaskView] | None


@dataclass(frozen=True, slots=True)
class OrphanView:
    """A process that outlived its agent, as ``orphans.list`` has it; None is unknown.

    ``name`` is what the process calls itself. ``agent_id``, ``agent_name``, ``kind``, ``session_id``,
    ``workspace`` and ``project`` are those of the agent; where coordd was told of it by the environment of
    the process alone, its session id is all that is known. ``cpu_percent`` is the share of one processor
    since the look before, at least five seconds ago, and at first over its life. ``ports`` are those of TCP
    on which it listens.
    """

    pid: int
    proc_start: int
    name: str | None
    agent_id: str | None
    agent_name: str | None
    kind: str | None
    session_id: str | None
    workspace: str | None
    project: str | None
    started_at: str | None
    age: float | None
    cpu_seconds: float
    cpu_percent: float | None
    rss: int
    ports: tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class TaskCounts:
    """The number of available tasks and of claims; ``claimed`` counts the claims of all three states."""

    available: int | None = None
    claimed: int | None = None
    expired: int | None = None
    orphaned: int | None = None


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task at the moment of asking: available, or claimed with its holder; and its reported progress.

    ``agent_id`` is the holder and ``holder_status`` its status now, None where no such agent is known.
    ``problem`` says why the claim may not be read, and its holder is not known; None where it may.
    ``progress`` is in percent, None where it is unknown; ``failed``: it was told that the task failed.
    """

    task_id: str
    workspace: str | None
    state: TaskState
    agent_id: str | None
    claimed_at: str | None
    expires_at: str | None
    description: str | None
    progress: float | None
    failed: bool
    message: str | None
    progress_at: str | None
    holder_status: Status | None
    sources: tuple[str, ...]
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One line of ``event_DATE.jsonl``."""

    timestamp: str
    host: str
    kind: str
    subject: str
    message: str
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PerformanceRow:
    """One line of ``performance_DATE.csv``; None is written as ``N/A``."""

    timestamp: float
    cpu: float | None
    memory: float | None
    redis_memory: int | None
    redis_keys: int | None
    coord_mode: CoordMode


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """The state of a sink: the number of records written, waiting and dropped; ``error`` while it fails.

    ``warning`` is trouble in words that stops no record. ``unproven`` is the number of files with names of
    records that are not proven to be coordd's and are therefore left alone.
    """

    state: SinkState = "ok"
    written: int = 0
    backlog: int = 0
    dropped: int = 0
    error: str | None = None
    warning: str | None = None
    unproven: int = 0


RecordTopic = Literal["event", "agent", "system"]
"""The topics whose notifications are records: lines of the files."""
Topic = Literal[RecordTopic, "task", "attention"]

RECORD_TOPICS: tuple[RecordTopic, ...] = get_args(RecordTopic)
TOPICS: tuple[Topic, ...] = get_args(Topic)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskChange(TaskView):
    """A notification of ``task``: a task that ``appeared``, ``changed`` its state or holder, or is ``gone``.

    It is the task as ``tasks.list`` has it. Of one that is gone, ``state`` and ``agent_id`` are the last
    ones, and what else depends on the moment is None.
    """

    timestamp: str
    change: Literal["appeared", "changed", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedEntry(AttentionEntry):
    """An entry that is off the list of what needs a human: it is over, or somebody has acknowledged it."""

    why: Literal["over", "acknowledged"]


@dataclass(frozen=True, slots=True)
class AttentionChange:
    """A notification of ``attention``: what has changed of the list of what needs a human.

    ``opened`` are entries that are new on the list, ``changed`` those of which something but the ``id`` is
    another, ``closed`` those that are off it. ``total`` is the number of entries on the list then.
    """

    timestamp: str
    opened: Sequence[AttentionEntry]
    changed: Sequence[AttentionEntry]
    closed: Sequence[ClosedEntry]
    total: int


@dataclass(slots=True)
class OwnCost:
    """The CPU seconds of coordd since its start and its resident bytes, as last measured."""

    cpu_seconds: float | None = None
    rss: int | None = None
