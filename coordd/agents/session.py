"""Define what a coding agent's own files say of one session: what sources/ produces, and the join shows.

Pure values. Ids, times, types and counts: no prompt, answer, command or path of a call is ever among them.
None is unknown. Times are epoch seconds as the agent wrote them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from coordd.host.process_facts import Process

DeclaredActivity = Literal["waiting", "working", "idle"]
Refusal = Literal["rate-limit", "overload", "authentication", "billing", "other"]


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A tool call that has begun and not ended: the tool's name, when it began, whether it asks a human."""

    name: str
    since: float | None
    asks: bool = False


@dataclass(frozen=True, slots=True)
class BackgroundWork:
    """Work that goes on beside the turn: a shell, or a subagent; ``seen`` is when it last showed progress."""

    kind: Literal["shell", "subagent"]
    since: float | None
    seen: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider refuses the session: why, since which record, and at which record last."""

    why: Refusal
    since: float
    last: float


@dataclass(frozen=True, slots=True)
class TokenCounts:
    """Tokens since coordd first read the transcript, each message counted once; ``since`` is that moment."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """What a transcript says of the session now.

    ``open`` is whether a turn is going on, None where the transcript does not tell (yet); ``since`` is when
    it began, or when the last one was over. ``last`` is the time of the last record that has one. ``calls``
    are the open calls, the oldest first. ``recognised`` is False where records keep coming and none of them
    is of a kind that coordd knows.
    """

    open: bool | None = None
    since: float | None = None
    last: float | None = None
    calls: tuple[OpenCall, ...] = ()
    background: tuple[BackgroundWork, ...] = ()
    refused: Refused | None = None
    model: str | None = None
    context_tokens: int | None = None
    tokens: TokenCounts | None = None
    recognised: bool = True


@dataclass(frozen=True, slots=True)
class Session:
    """What a source tells of one session of one process.

    ``session_id`` is None where nothing is known but a process: of which kind of agent it is, and whose
    (``user``, the name). What any other source says of that process goes before.

    ``process`` is the session's, seen alive by the source when it first told of the session; ``lives`` is
    whether it did at this reading. ``present`` is
    whether the session's own record lies there: a program takes it away when it ends in order, and never when
    it is killed; of a Codex it is whether its rollout is held open. ``project`` is the main work tree of the
    workspace.

    ``declared`` is the activity that the session gives itself, None where it gives none, and ``declared_at``
    since when; ``undeclarable`` is a word for it that coordd does not know. ``waiting_for`` is a known
    phrase. ``shell`` is whether it says that a background shell works. ``ties`` is whether other traces that
    name this session id mean this agent: of two processes of one session, the later one's is False.
    """

    kind: str
    session_id: str | None
    process: Process | None
    present: bool = True
    lives: bool = True
    project: str | None = None
    name: str | None = None
    version: str | None = None
    started_at: float | None = None
    declared: DeclaredActivity | None = None
    declared_at: float | None = None
    undeclarable: str | None = None
    waiting_for: str | None = None
    shell: bool = False
    ties: bool = True
    tty: str | None = None
    turn: Turn | None = None
    user: str | None = None

    @property
    def process_only(self) -> bool:
        """Whether nothing is known but its process."""
        return self.session_id is None
