"""List what needs a human at this moment, from all agents and from the claims that went wrong.

agents/attention.py decides; this finds what it has to look at: who is not well, and of a workspace in which
several fell everybody. The list is kept until something of that changes, or time alone may change it, so that
asking costs nothing while all is well. Pure state: time is passed in.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from coordd.agents.acknowledged import Acknowledged
from coordd.agents.attention import attention, next_change, problems
from coordd.agents.beats import started_at
from coordd.agents.join import Agent
from coordd.agents.key import AgentKey
from coordd.agents.shown import ShownAgent
from coordd.agents.store import AgentStore
from coordd.agents.subject import OrphanedClaim, SplitClaim, Subject
from coordd.agents.work import session_among
from coordd.model import Activity, AttentionEntry
from coordd.runtime.clocks import Moment
from coordd.tasks.board import Board
from coordd.tasks.views import TaskList
from coordd.tasks.work import TaskKey

_NEEDING: tuple[Activity, ...] = ("waiting", "blocked", "stalled")


_SHARE = 20.0
"""How many times longer than making the list took nothing of it is made anew."""
_CHEAP = 0.003
"""Seconds of CPU that a list may cost and be made anew with each change."""


@dataclass(frozen=True, slots=True)
class _Fallen:
    """An agent that is inactive, as it was looked at once."""

    agent: Agent
    subject: Subject
    at: float
    version: int


class Needs:
    """List what needs a human; ``acknowledged`` holds what of it somebody has seen.

    Args:
        store: all agents.
        board: all claims.
        tasks: says in words what an agent holds.
        clock: tells what making the list costs, in seconds of CPU; one that costs much is made less often.
    """

    def __init__(
        self,
        *,
        store: AgentStore,
        board: Board,
        tasks: TaskList,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.acknowledged = Acknowledged()
        self._store = store
        self._board = board
        self._tasks = tasks
        self._clock = clock
        self._versions: tuple[int, int] | None = None
        self._not_before = -math.inf
        self._valid_until = -math.inf
        self._entries: list[AttentionEntry] = []
        self._subjects: list[Subject] = []
        self._shown: tuple[list[AttentionEntry], list[str]] | None = None
        self._acks = 0
        self._fallen: dict[AgentKey, _Fallen] = {}
        self._found_split: dict[tuple[str, str, tuple[AgentKey, ...]], float] = {}

    def all_entries(self, now: Moment) -> list[AttentionEntry]:
        """Return every entry, those that were acknowledged among them, in the order of need."""
        self._board.settle(now)
        versions = self._store.needs_version, self._board.version
        due = versions != self._versions or now.mono >= self._valid_until
        if due and now.mono >= self._not_before:
            began = self._clock()
            standing = None if self._versions is None else {one.id for one in self._entries}
            self._subjects = self._look(now)
            self._entries = attention(
                self._subjects, self._orphaned(now), self._split(now), standing=standing
            )
            change = next_change(self._subjects)
            self._valid_until = now.mono + min(math.inf if change is None else change, self._rivals_end(now))
            self._versions, self._shown = versions, None
            cost = self._clock() - began
            self._not_before = now.mono + (_SHARE * cost if cost > _CHEAP else 0.0)
        return self._entries

    def entries(self, now: Moment) -> list[AttentionEntry]:
        """Return the entries that nobody has acknowledged."""
        return self._look_at(now)[0]

    def problems(self, now: Moment) -> list[str]:
        """Return the entries that are problems, as sentences; one that was acknowledged is none."""
        return self._look_at(now)[1]

    def _look_at(self, now: Moment) -> tuple[list[AttentionEntry], list[str]]:
        entries = self.all_entries(now)
        if self._shown is None:
            unseen = self.acknowledged.unseen(entries)
            self._shown = unseen, problems(unseen, self._subjects)
        return self._shown

    @property
    def version(self) -> tuple[int, int, int]:
        """Numbers that are others once anything but time may have changed the list."""
        return self._store.needs_version, self._board.version, self._acks

    def next_deadline(self, now: Moment) -> float:
        """Return the monotonic time at which the list may be another one by itself; infinite for never.

        Time alone may change it, or what has changed may be looked at again by then.
        """
        self.all_entries(now)
        waits = self._versions != (self._store.needs_version, self._board.version)
        return max(now.mono if waits else self._valid_until, self._not_before)

    def ack(self, entry: str | None, now: Moment) -> int:
        """Take an entry off the list until it changes, or all of them; return how many those were."""
        entries = self.entries(now)
        wanted = [one.id for one in entries if entry in (None, one.id)]
        for one in wanted:
            self.acknowledged.ack(one, entries)
        self._shown = None
        self._acks += 1
        return len(wanted)

    def _look(self, now: Moment) -> list[Subject]:
        """Return who is not well, and who lives where several fell."""
        store = self._store
        store.expire(now.mono)
        inactive = store.inactive()
        keys = {key for activity in _NEEDING for key in store.with_activity(activity)} | set(inactive)
        fallen = Counter(key.workspace for key in inactive)
        for workspace in (place for place, count in fallen.items() if count > 1):
            keys.update(store.keys_in(workspace))
        agents = [agent for key in sorted(keys) if (agent := store.get(key)) is not None]
        kept, self._fallen = self._fallen, {}
        return [self._subject_of(agent, kept.get(agent.key), now) for agent in agents]

    def _subject_of(self, agent: Agent, fallen: _Fallen | None, now: Moment) -> Subject:
        """Return an agent as it is now; of one that fell and is the same since, time alone has gone on."""
        if fallen is None or fallen.agent is not agent or fallen.version != self._board.version:
            subject = self._subject(self._store.look(agent, now.mono, now.wall), now)
            fallen = _Fallen(agent, subject, now.mono, self._board.version)
        if fallen.subject.status == "inactive" and self._store.status_of(agent.key) == "inactive":
            self._fallen[agent.key] = fallen
            passed = now.mono - fallen.at
            if passed and fallen.subject.inactive_for is not None:
                return replace(fallen.subject, inactive_for=fallen.subject.inactive_for + passed)
        elif fallen.at != now.mono:
            return self._subject(self._store.look(agent, now.mono, now.wall), now)
        return fallen.subject

    def _subject(self, shown: ShownAgent, now: Moment) -> Subject:
        agent, verdict, doing = shown.agent, shown.verdict, shown.doing
        one = session_among(agent.observations) or next(
            (other for other in agent.observations if other.session is not None), None
        )
        session = one.session if one else None
        turn = session.turn if session else None
        process = agent.process
        started = started_at(agent.traces, now.wall)
        over = turn.since if turn is not None and turn.open is False else None
        held = self._tasks.held_words(agent.key)
        return Subject(
            key=agent.key,
            status=verdict.status,
            reason=verdict.reason,
            name=session.name if session else None,
            activity=doing.activity,
            activity_since=doing.since,
            held_for=max(0.0, now.mono - doing.noticed),
            waiting_for=shown.waiting_for,
            tool=turn.calls[0].name if turn is not None and turn.calls else None,
            refusal=turn.refused.why if turn is not None and turn.refused else None,
            held=held,
            turn_over_for=None if over is None else max(0.0, now.wall - over),
            inactive_since=shown.fell,
            inactive_for=_fallen_for(shown, now),
            alive_since=agent.run_since if started is None else started,
            pid=process.process.pid if process else None,
            tty=session.tty if session else None,
        )

    def _orphaned(self, now: Moment) -> list[OrphanedClaim]:
        found = []
        for path, task in sorted(self._board.orphans):
            source = self._board.source_tasks[path]
            if not source.knows_claims:
                continue
            held = source.claims[task]
            key = self._store.resolve(path, held.claim.agent_id or "")
            agent = self._store.get(key)
            shown = self._store.look(agent, now.mono) if agent else None
            since = held.orphaned_at if shown is None else shown.fell
            reason = shown.verdict.reason if shown else None
            found.append(OrphanedClaim(workspace=path, task=task, holder=key, reason=reason, since=since))
        return found

    def _split(self, now: Moment) -> list[SplitClaim]:
        """Return the tasks that several agents hold at once: in one source, or in a workspace and Redis."""
        redis = self._board.source_tasks.get("")
        shared: set[TaskKey] = set()
        for path, source in self._board.source_tasks.items():
            if path and redis is not None and redis.knows_claims and source.knows_claims:
                shared.update((path, task) for task in redis.claims.keys() & source.claims.keys())
        rivalled = {
            (path, task) for path, task in self._board.rivalled if self._board.source_tasks[path].knows_claims
        }
        found = []
        for path, task in sorted(shared | rivalled):
            if not path and self._board.is_duplicate(path, task):
                continue  # it is told of with the workspace that shares it
            holders = self._holders(task, ("", path) if (path, task) in shared else (path,), now)
            if len(holders) > 1:
                found.append((path, task, holders))
        self._found_split = {one: self._split_at(*one, now) for one in found}
        return [
            SplitClaim(workspace=path, task=task, holders=holders, since=since)
            for (path, task, holders), since in self._found_split.items()
        ]

    def _split_at(self, path: str, task: str, holders: tuple[AgentKey, ...], now: Moment) -> float:
        """Return since when a task is split: since the later claim when it is found, whatever is renewed."""
        known = self._found_split.get((path, task, holders))
        if known is not None:
            return known
        held = [
            self._board.source_tasks[place].claims.get(task)
            for place in dict.fromkeys(("", path))
            if place in self._board.source_tasks
        ]
        claims = [one.claim for one in held if one is not None]
        told = [claim.claimed_at for claim in claims]
        told += [rival.claimed_at for claim in claims for rival in claim.rivals]
        times = [one for one in told if one is not None]
        return min(max(times, default=now.wall), now.wall)

    def _holders(self, task: str, paths: Iterable[str], now: Moment) -> tuple[AgentKey, ...]:
        keys = []
        for path in paths:
            held = self._board.source_tasks[path].claims[task]
            if held.state == "held" and held.claim.agent_id is not None:
                keys.append(self._store.resolve(path, held.claim.agent_id))
            for rival in held.claim.rivals:
                key = self._store.resolve(path, rival.agent_id)
                lasts = rival.expires_at is None or rival.expires_at > now.wall
                if lasts and self._store.status_of(key) in ("active", "unknown"):
                    keys.append(key)
        return tuple(dict.fromkeys(keys))

    def _rivals_end(self, now: Moment) -> float:
        """Return the seconds until the next rival's claim ends; infinite where none does."""
        ends = [
            rival.expires_at - now.wall
            for path, task in self._board.rivalled
            for rival in self._board.source_tasks[path].claims[task].claim.rivals
            if rival.expires_at is not None and rival.expires_at > now.wall
        ]
        return min(ends, default=math.inf)


def _fallen_for(shown: ShownAgent, now: Moment) -> float | None:
    """Return the seconds since an inactive agent fell.

    One that fell silent did so with its last beat: so it is together with one that was killed then.
    """
    process = shown.agent.process
    if shown.fell is None:
        return None
    if shown.verdict.reason != "silent" and process is not None and process.end is not None:
        return max(0.0, now.mono - process.end.mono)
    return shown.evidence.silence
