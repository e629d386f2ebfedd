"""Write the events of what agents do, once it has held: that one waits, is blocked or stalled, or many fell.

A change of activity is recorded and shown at once (agents.py); an event waits until it has held for a moment,
for many prompts answer themselves. agents/attention.py has these times.
"""

from __future__ import annotations

import math

from coordd.agents.attention import TABLE
from coordd.agents.doing import Doing
from coordd.agents.join import Agent, label_of, place_words
from coordd.agents.key import AgentKey
from coordd.agents.session import OpenCall
from coordd.agents.store import AgentStore
from coordd.agents.work import waiting_for
from coordd.model import Activity
from coordd.runtime.schedule import Schedule, now
from coordd.sinks.recorder import Recorder
from coordd.tasks.needs import Needs
from coordd.util.timestamps import format_utc

_HOLD: dict[str, float] = {row.kind: row.hold for row in TABLE}
_ANNOUNCED: tuple[Activity, ...] = ("waiting", "blocked", "stalled")
MASS_AFTER = 1.0
"""Seconds after an agent went inactive at which it is seen whether many did."""
MOST = 10_000
"""The number of changes that may wait to have held; further ones make no event."""


class Announcer:
    """Announce changes of activity that have held; :meth:`start` begins.

    Args:
        store: all agents.
        recorder: takes the events.
        schedule: times them.
        needs: tells which agents fell together.
    """

    def __init__(self, *, store: AgentStore, recorder: Recorder, schedule: Schedule, needs: Needs) -> None:
        self._store = store
        self._recorder = recorder
        self._schedule = schedule
        self._needs = needs
        self._running = False
        self._waiting: dict[AgentKey, tuple[float, Doing]] = {}
        self._masses: set[str] = set()

    def start(self) -> None:
        """Announce what happens from now on, and what was found; the last run announced what it saw."""
        self._running = True
        for activity in _ANNOUNCED:
            for key in self._store.with_activity(activity):
                agent = self._store.get(key)
                if agent is not None and agent.doing.noticed != -math.inf:
                    self.doing(agent)
        self._masses = {one.id for one in self._needs.all_entries(now()) if one.kind == "mass"}

    def stop(self) -> None:
        """Announce nothing any more."""
        self._running = False
        for job in ("agents.announce", "agents.mass"):
            self._schedule.cancel(job)

    def doing(self, agent: Agent) -> None:
        """Note that an agent does something else than before."""
        doing = agent.doing
        self._waiting.pop(agent.key, None)
        if not self._running or doing.activity not in _ANNOUNCED or len(self._waiting) >= MOST:
            return
        self._waiting[agent.key] = doing.noticed + _HOLD[doing.activity], doing
        self._arm()

    def changed(self, key: AgentKey) -> None:
        """Note that an agent appeared, left, or changed its status."""
        fell = self._store.status_of(key) == "inactive"
        if self._running and fell and self._schedule.waiting("agents.mass") is None:
            self._schedule.once("agents.mass", MASS_AFTER, self._announce_masses)

    def _arm(self) -> None:
        due = min((at for at, _ in self._waiting.values()), default=None)
        if due is None:
            return
        waiting = self._schedule.waiting("agents.announce")
        if waiting is None or waiting > due:
            self._schedule.once("agents.announce", max(0.0, due - now().mono), self._announce)

    async def _announce(self) -> None:
        mono = now().mono
        for key in [key for key, (due, _) in self._waiting.items() if due <= mono]:
            _, doing = self._waiting.pop(key)
            agent = self._store.get(key)
            if agent is not None and agent.doing == doing:
                self._record(agent)
        self._arm()

    def _record(self, agent: Agent) -> None:
        doing, session = agent.doing, agent.session
        turn = session.turn if session else None
        call = turn.calls[0] if turn is not None and turn.calls else None
        wanted = (waiting_for(session) if session else None) or "input"
        refusal = turn.refused.why.replace("-", " ") if turn is not None and turn.refused else "no reason"
        words = {
            "waiting": f"waits for a human: {wanted}",
            "blocked": f"is refused by its provider ({refusal})",
            "stalled": f"is stalled{_in_call(call)}",
        }[str(doing.activity)]
        detail = {
            "workspace": agent.key.recorded_workspace,
            "since": None if doing.since is None else format_utc(doing.since),
            "waiting_for": wanted if doing.activity == "waiting" else None,
            "tool": call.name if call else None,
        }
        message = f"agent {label_of(agent)} {place_words(agent)} {words}"
        self._recorder.event(f"agent.{doing.activity}", agent.key.agent_id, message, detail)

    async def _announce_masses(self) -> None:
        found = [one for one in self._needs.all_entries(now()) if one.kind == "mass"]
        for one in found:
            if one.id not in self._masses:
                message = f"{one.text} in {one.workspace or 'Redis'}"
                self._recorder.event("agents.mass", one.subject, message, {"workspace": one.workspace})
        self._masses = {one.id for one in found}


def _in_call(call: OpenCall | None) -> str:
    return "" if call is None else f" in a call of {call.name}"
