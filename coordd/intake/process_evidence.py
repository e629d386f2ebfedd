"""Make evidence of processes: tell what observations name, and take over what becomes of it.

It stands between the agents (agents.py) and those who look at processes (processes.py). What is told of a
process, and what follows:

=====================================  ================================================================
told                                   what follows
=====================================  ================================================================
it lives, and counts                   its agent has it, if its workspace's registrations are trusted
a session's source saw it alive        its agent has it at once; its end is waited for
it has ended                           its source is read once more, and the end is judged, once; while the
                                       source cannot be read, nothing can be said
nothing can be said                    it proves neither life nor death
a beat comes after the end             it was not the agent's: the agent has none, the workspace's
                                       registrations are distrusted (distrust.py)
the registration is taken away         its process counts until it ends, and that is in order then
=====================================  ================================================================

After a restart a process of the records is taken for the agent's without a question, and looked at at once:
one that is gone by :meth:`ProcessEvidence.first_look` has ended while coordd was down.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from coordd.agents.declared import declares_end
from coordd.agents.distrust import Distrust
from coordd.agents.observation import Observation, ObservationKey
from coordd.agents.process_claim import ProcessClaim, claim_of_registration
from coordd.agents.process_end import ProcessEnd, judge_end
from coordd.agents.seen_process import End, SeenProcess
from coordd.agents.source import SourceName, SourceState
from coordd.agents.traces import Registration
from coordd.host.process_facts import Process
from coordd.intake.agents import AgentIntake
from coordd.intake.processes import ProcessIntake
from coordd.runtime.clocks import Moment
from coordd.runtime.schedule import now

log = logging.getLogger(__name__)


class _Unjudged(NamedTuple):
    """An end that is to be judged once its source can be read: when it was told.

    ``recorded`` has its place if it is of the last run; see ``ProcessEvidence``.
    """

    process: Process
    moment: Moment
    recorded: Mapping[ObservationKey, float | None]


class ProcessEvidence:
    """Take note of the processes that observations name; it implements both ends: claims and listener.

    Args:
        agents: holds the observations.
        processes: looks at processes and waits for their ends.
        reread: reads agents of a source again.
        sources: all sources.
        boot: when this machine was started, in epoch seconds.
        changed: is called after anything has changed.
    """

    def __init__(
        self,
        *,
        agents: AgentIntake,
        processes: ProcessIntake,
        reread: Callable[[SourceName, Collection[str]], Awaitable[None]],
        sources: Mapping[SourceName, SourceState],
        boot: float,
        changed: Callable[[], None],
    ) -> None:
        self._agents = agents
        self._processes = processes
        self._reread = reread
        self._sources = sources
        self._boot = boot
        self._changed = changed
        self._distrust = Distrust()
        self._unjudged: dict[ObservationKey, _Unjudged] = {}
        self._recorded: dict[ObservationKey, float | None] = {}  # when, of processes of the last run
        self._gone: dict[ObservationKey, ProcessClaim] = {}  # what registrations named that are gone
        self._turn = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        agents.claims = self
        processes.listener = self

    # What is told of observations.

    def observed(self, old: Observation | None, new: Observation) -> Observation:
        """Follow the process that an observation names; return the observation as it is to be held."""
        traces = new.traces
        if traces is None:
            self._follow_restored(new)
            return new
        if not _names_process(new) and (old is None or not _names_process(old)):
            return new  # the usual case: each beat comes by here
        return self._of_registration(old, new) if traces.session is None else self._of_session(old, new)

    def _of_session(self, old: Observation | None, new: Observation) -> Observation:
        """Follow the process of a session, which its source has just looked at."""
        session = new.session
        if session is None or new.process is None or new.process.end is not None:
            return new
        if not session.lives:
            if (told := self._unjudged.pop(new.place, None)) and told.process == new.process.process:
                return self._judged(new, told.moment, told.recorded)
            down = old is None or old.traces is None
            return self._with_end(new, now(), watched=not down, recorded=self._recorded.get(new.place))
        seen = replace(new.process, clear=True)
        self._processes.claim(new.place, _certain(seen))
        return replace(new, process=seen)

    def removed(self, place: ObservationKey) -> None:
        """Follow nothing there any longer."""
        self._processes.release(place)
        self._unjudged.pop(place, None)
        self._gone.pop(place, None)
        self._recorded.pop(place, None)

    def read(self, source: SourceName) -> None:
        """Judge the ends that were told while a source could not be read."""
        for place, end in list(self._unjudged.items()):
            if place[0] == source:
                del self._unjudged[place]
                self._soon(self._end([place], end.process, end.moment, end.recorded))

    def refusal(self, place: ObservationKey) -> str | None:
        """Return why the process that an observation names does not count, in words; None where it does."""
        one = self._agents.observation(place)
        distrusted = one is not None and not self._distrust.trusted(one.workspace)
        if distrusted and self._processes.phase(place) == "alive":
            return "the pids that registrations of this workspace named were not those of agents"
        return self._processes.refusal(place)

    async def first_look(self) -> None:
        """Look at everything that was named so far, before anybody is judged."""
        await self._processes.look_now()
        await self.settled()
        self._recorded.clear()

    async def settled(self) -> None:
        """Return when everything that was told until now is taken over."""
        while tasks := set(self._tasks):
            await asyncio.gather(*tasks)
            # from Python 3.12 on, gathering what is done already gives no other callback its turn
            self._tasks -= tasks

    # What is told of processes.

    def alive(self, places: Collection[ObservationKey], process: Process) -> None:
        """Let agents have a process that counts."""
        trusted = []
        for place in places:
            one = self._agents.observation(place)
            if one is None:
                continue
            if one.session is None and (one.process is None or one.process.process != process):
                self._distrust.alive(one.workspace, one.agent_id, process)
                if not self._distrust.trusted(one.workspace):
                    continue
            trusted.append(place)
        self._soon(self._set(trusted, SeenProcess(process)))

    def ended(self, places: Collection[ObservationKey], process: Process) -> None:
        """Judge the end of a process, after its sources were read once more."""
        recorded = {place: self._recorded[place] for place in places if place in self._recorded}
        self._soon(self._end(places, process, now(), recorded))

    def refused(self, places: Collection[ObservationKey]) -> None:
        """Let agents have no process: what they name now does not count."""
        self._soon(self._refuse(places))

    def unclear(self, places: Collection[ObservationKey]) -> None:
        """Let the processes of these agents prove nothing for now."""
        self._soon(self._unclear(places))

    async def _set(self, places: Collection[ObservationKey], process: SeenProcess) -> None:
        found = {}
        for place in places:
            one = self._agents.observation(place)
            seen = one.process if one else None
            if one is None or self._processes.process(place) != process.process:
                continue  # it names another one by now
            same = seen is not None and seen.process == process.process
            if seen is not None and same and (seen.clear or seen.end):
                continue
            found[place] = replace(seen, clear=True) if seen is not None and same else process
        await self._agents.set_processes(found)

    async def _end(
        self,
        places: Collection[ObservationKey],
        process: Process,
        moment: Moment,
        recorded: Mapping[ObservationKey, float | None],
    ) -> None:
        by_source: dict[SourceName, list[str]] = {}
        for source, agent_id in places:
            by_source.setdefault(source, []).append(agent_id)
        await asyncio.gather(*(self._reread(source, ids) for source, ids in by_source.items()))
        found: dict[ObservationKey, SeenProcess | None] = {}
        for place in places:
            one = self._agents.observation(place)
            if one is None:
                continue
            if one.session is None:  # of one that is not believed in as well: its beats would restore trust
                self._distrust.ended(one.workspace, one.agent_id, process, moment.wall)
            if one.process is None or one.process.process != process or one.process.end:
                continue
            if self._is_unreadable(place[0]):
                of_last_run = {place: recorded[place]} if place in recorded else {}
                self._unjudged[place] = _Unjudged(process, moment, of_last_run)
                found[place] = replace(one.process, clear=False)
            else:
                found[place] = self._judged(one, moment, recorded).process
        await self._agents.set_processes(found)

    def _judged(
        self, one: Observation, moment: Moment, recorded: Mapping[ObservationKey, float | None]
    ) -> Observation:
        """Return an observation whose process has ended, with the end judged as it was told."""
        place = one.place
        return self._with_end(one, moment, watched=place not in recorded, recorded=recorded.get(place))

    def _is_unreadable(self, source: SourceName) -> bool:
        state = self._sources.get(source)
        return state is not None and state.state == "unreadable"

    async def _refuse(self, places: Collection[ObservationKey]) -> None:
        found: dict[ObservationKey, SeenProcess | None] = {}
        for place in places:
            one = self._agents.observation(place)
            if one is not None and one.process is not None and one.process.end is None:
                found[place] = None
        await self._agents.set_processes(found)

    async def _unclear(self, places: Collection[ObservationKey]) -> None:
        seen = {place: one.process for place in places if (one := self._agents.observation(place))}
        await self._agents.set_processes(
            {
                place: replace(process, clear=False)
                for place, process in seen.items()
                if process is not None and process.end is None
            }
        )

    def _follow_restored(self, new: Observation) -> None:
        if new.process is not None and new.process.end is None:
            self._recorded[new.place] = new.restored.wall if new.restored else None
            self._processes.claim(new.place, _certain(new.process))

    def _of_registration(self, old: Observation | None, new: Observation) -> Observation:
        """Follow the process that a registration names, unless a beat says that it was never the agent's."""
        place, registration = new.place, new.traces.registration if new.traces else None
        claim = claim_of_registration(registration, new.workspace)
        before = claim_of_registration(old.traces.registration, old.workspace) if old and old.traces else None
        if claim is None and new.process is not None and _says_nothing(registration) and not _is_mixed(old):
            if before is not None:
                self._gone[place] = before
            return new
        before = before or self._gone.pop(place, None)
        same = claim is not None and (before is None or claim.renews(before))
        if claim is None or not same:
            self._distrust.forget(new.workspace, new.agent_id)
            if new.process is not None and old is not None and (old.traces is not None or _is_mixed(old)):
                new = replace(new, process=None)
        if old is not None and new.beat_wall is not None and new.beat_at != old.beat_at and same:
            if new.process is not None and new.process.end is not None:  # the last run may have learned it
                self._distrust.alive(new.workspace, new.agent_id, new.process.process)
                self._distrust.ended(new.workspace, new.agent_id, new.process.process, new.process.end.wall)
            learned = self._distrust.beat(new.workspace, new.agent_id, new.beat_wall)
            if learned == "disproved":
                self._processes.release(place)
                return replace(new, process=None)
            if learned == "restored":
                self._soon(self._trust(new.workspace))
        if claim is None:
            self._processes.release(place)
        elif place in self._unjudged:
            return new
        elif new.process is not None and not new.process.clear and _may_mean(claim, new.process.process):
            self._processes.claim(place, _certain(new.process))  # the last run has asked
        else:
            self._processes.claim(place, claim)
        return new

    async def _trust(self, workspace: str) -> None:
        """Let the agents of a workspace have the processes that were not believed in."""
        await self._agents.set_processes(
            {
                place: SeenProcess(process)
                for place, process in self._processes.living()
                if (one := self._agents.observation(place)) is not None
                and one.workspace == workspace
                and one.process is None
            }
        )

    def _with_end(
        self, one: Observation, moment: Moment, *, watched: bool, recorded: float | None
    ) -> Observation:
        """Return an observation whose process has ended, with the end judged.

        Args:
            one: the observation.
            moment: when that was learned.
            watched: whether coordd ran when it ended.
            recorded: otherwise, when the last run saw it, in epoch seconds; None: that is not known.
        """
        seen = one.process
        if seen is None:
            return one
        session = one.session or self._agents.session_beside(one)
        registration = one.traces.registration if one.traces else None
        row = judge_end(
            ProcessEnd(
                kind=session.kind if session else None,
                # what was not read yet says nothing of that
                deregistered=session is None
                and one.traces is not None
                and (registration is None or declares_end(registration)),
                session_present=session is not None and session.present,
                in_turn=session is not None and session.turn is not None and session.turn.open is True,
                watched=watched,
                same_boot=recorded is None or recorded >= self._boot,
            )
        )
        log.debug("process %d of %s has ended: %s", seen.process.pid, one.agent_id, row.when)
        return replace(one, process=replace(seen, end=End(row.orderly, moment.wall, moment.mono), clear=True))

    def _soon(self, step: Coroutine[Any, Any, None]) -> None:
        """Take something over in its turn: what is told first counts first."""

        async def in_turn() -> None:
            async with self._turn:
                try:
                    await step
                except Exception:  # a bug must not stop what is told next
                    log.exception("taking over what was told of processes failed")
            self._changed()

        task = asyncio.get_running_loop().create_task(in_turn())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _names_process(one: Observation) -> bool:
    """Return whether an observation has a process, or its traces name one."""
    if one.process is not None:
        return True
    traces = one.traces
    if traces is None:
        return False
    registration = traces.registration
    return traces.session is not None or (registration is not None and registration.pid is not None)


def _certain(seen: SeenProcess) -> ProcessClaim:
    return ProcessClaim(pid=seen.process.pid, process=seen.process)


def _says_nothing(registration: Registration | None) -> bool:
    """Return whether a registration is gone, or only half written."""
    return registration is None or all(
        said is None
        for said in (registration.pid, registration.status, registration.started_at, registration.hostname)
    )


def _is_mixed(old: Observation | None) -> bool:
    """Return whether the process may be another source's: the records do not say which one told of it."""
    return old is not None and old.traces is None and old.restored is not None and old.restored.shared


def _may_mean(claim: ProcessClaim, process: Process) -> bool:
    """Return whether a registration may mean this process, whose pid may be another one in a container."""
    return claim.pid == process.pid or claim.proc_start == process.start
