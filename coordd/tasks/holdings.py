"""What each agent holds, in whichever source, and whether it makes progress with it.

An agent's progress is a change of a claim it holds, of the progress told of one of its tasks, or of its list
of tasks. One that lives, holds a task and has made none for ``stall_after`` is stalled; time in which its
source could not be read, or coordd did not run, does not count. Time is passed in; no clock is read.
"""

from __future__ import annotations

from collections.abc import Iterable

from coordd.agents.reducer import Key
from coordd.agents.roster import Place, place_of
from coordd.agents.store import AgentStore
from coordd.model import Status
from coordd.runtime.clocks import Moment
from coordd.runtime.deadlines import Deadlines
from coordd.tasks.event_buffer import EventBuffer, TaskEvent
from coordd.tasks.work import AgentHoldings, SourceTasks


class Holdings:
    """The hands in all ``rooms``, which the board fills; ``stalled`` has the agents where they are shown.

    ``running``: what is found now is news. ``version`` is another number whenever ``stalled`` is another.
    """

    def __init__(
        self, *, rooms: dict[str, SourceTasks], store: AgentStore, news: EventBuffer, stall_after: float
    ) -> None:
        self.stall_after = stall_after
        self.stalled: set[Place] = set()
        self.running = True
        self.version = 0
        self._rooms = rooms
        self._store = store
        self._news = news
        self._due: set[Place] = set()
        self._deadlines: Deadlines[Place] = Deadlines(wanted=self._lives)

    def look_at(self, places: Iterable[Place]) -> None:
        """Judge these, by the source in which they hold something, at the next settling."""
        self._due.update(places)

    def look_at_all(self, path: str) -> None:
        """Judge all of one source."""
        self._due.update((path, agent_id) for agent_id in self._rooms[path].hands)

    def moved(self, path: str) -> None:
        """Something moved in a source: who is stalled there may be so no more."""
        room = self._rooms[path]
        self._due.update((path, place[1]) for place in self.stalled if place[1] in room.hands)

    def drop(self, path: str) -> None:
        """The source is no longer one of ours."""
        self.stalled = {place for place in self.stalled if place[0] != path}

    def settle(self, now: Moment) -> None:
        """Bring everything up to this moment."""
        self._due.update(self._deadlines.take(now.mono))
        due, self._due = self._due, set()
        for path, agent_id in due:
            self._judge(path, agent_id, now)

    def next_deadline(self) -> float | None:
        """Monotonic time of the next possible change; may be too early, never too late after a settling."""
        return self._deadlines.first()

    def knows(self, place: Place) -> bool:
        """Whether it can be told what this agent holds, and whether it makes progress."""
        sources = self._sources(place)
        if any(self._has_unnamed(path, place[1]) for path in sources):
            return False  # of tasks that have no name here nobody can tell the progress
        rooms = [self._rooms.get(path) for path in sources]
        return all(room is not None and room.knows_claims and room.knows_progress for room in rooms)

    def _has_unnamed(self, path: str, agent_id: str) -> bool:
        agent = self._store.observation((path or None, agent_id))
        return agent is not None and agent.traces is not None and agent.traces.unnamed_tasks > 0

    def knows_claims(self, place: Place) -> bool:
        """Whether it can be told what this agent claims."""
        rooms = [self._rooms.get(path) for path in self._sources(place)]
        return all(room is not None and room.knows_claims for room in rooms)

    def holdings(self, place: Place) -> tuple[str, ...]:
        """The tasks that an agent claims or lists as its own, sorted."""
        return tuple(sorted({task for _, hand in self.of(place) for task in hand.holds()}))

    def idle(self, place: Place, now: Moment) -> float:
        """Seconds since the last progress of an agent that holds something."""
        return min(self._rooms[path].idle(hand, self._judged(path, now)) for path, hand in self.of(place))

    def of(self, place: Place) -> list[tuple[str, AgentHoldings]]:
        """What the agent that is shown at this place holds, in each source where it holds something."""
        agent_id = place[1]
        return [
            (path, room.hands[agent_id])
            for path, room in self._rooms.items()
            if agent_id in room.hands and self._place(path, agent_id) == place
        ]

    def holder(self, path: str, agent_id: str | None) -> Status | None:
        """The verdict on an agent that a claim in this source names; None where it left no trace."""
        if agent_id is None:
            return None
        return self._store.status_of(self._store.resolve(path, agent_id))

    def agent_changed(self, key: Key, now: Moment) -> list[Place]:
        """The verdict on an agent or its list of tasks is another one, or it came or went.

        Returns:
            The claims that are to be judged anew for that: source and task.
        """
        agent_id = key[1]
        if self._store.status_of(key) is None:
            self.stalled.discard(place_of(key))
        claims = []
        # What Redis has of a workspace's agent is its own, too; and an agent of Redis alone may be the one
        # that a claim in any workspace names.
        for path in dict.fromkeys([key[0], ""] if key[0] else ["", *self._rooms]):
            hand = self._changed_in(path, agent_id, now)
            if hand is not None:
                claims += [(path, task) for task in hand.claims]
        return claims

    def _changed_in(self, path: str, agent_id: str, now: Moment) -> AgentHoldings | None:
        agent = self._store.get((path or None, agent_id))
        tasks = agent.traces.tasks if agent and agent.traces else None if agent else ()
        room = self._rooms.get(path)
        if room is None:
            if not tasks or path not in self._store.workspaces:
                return None
            room = self._rooms[path] = SourceTasks()
        if not tasks and agent_id not in room.hands:
            return None
        hand = room.hand(agent_id)
        observed = self._store.workspaces[path].clock.now(now.mono)
        status = self.holder(path, agent_id)
        if status == "active" and hand.status == "inactive":
            hand.moved = observed  # whoever comes back gets its time anew
        if tasks is not None and tasks != hand.tasks:
            if self.running and (hand.tasks is not None or tasks):
                hand.moved = observed
            hand.tasks = tasks
        hand.status = status
        self._due.add((path, agent_id))
        return hand

    def _judge(self, path: str, agent_id: str, now: Moment) -> None:
        place = self._place(path, agent_id)
        if place != (path, agent_id):
            self.stalled.discard((path, agent_id))
        hands = []
        for where, hand in self.of(place):
            if hand.holds():
                hands.append((where, hand))
            else:
                del self._rooms[where].hands[agent_id]
        stalled = False
        if hands and hands[0][1].status == "active" and self.knows(place):
            idle = self.idle(place, now)
            stalled = idle >= self.stall_after
            if not stalled:
                self._deadlines.put((hands[0][0], agent_id), now.mono + self.stall_after - idle)
            elif place not in self.stalled and self.running:
                held = self.holdings(place)
                news = TaskEvent("agent.stalled", place[0] or None, agent_id, tasks=held, idle=round(idle, 3))
                self._news.tell(news)
        if stalled != (place in self.stalled):
            self.version += 1
            (self.stalled.add if stalled else self.stalled.discard)(place)

    def _sources(self, place: Place) -> set[str]:
        """Where the agent is seen, or holds something."""
        held = [path for path, _ in self.of(place)]
        return {place[0], *held, *self._store.sources_of((place[0] or None, place[1]))}

    def _place(self, path: str, agent_id: str) -> Place:
        return place_of(self._store.resolve(path, agent_id))

    def _lives(self, place: Place) -> bool:
        room = self._rooms.get(place[0])
        return room is not None and place[1] in room.hands

    def _judged(self, path: str, now: Moment) -> float:
        return self._store.workspaces[path].clock.now(self._store.horizon(now.mono))
