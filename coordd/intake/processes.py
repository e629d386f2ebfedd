"""Follow the processes that agents name as their own: which of them count, and when they end.

What is named is a *claim*, at a place: one source's observation of an agent. These are its phases:

=========  =======================================================  =======================================
phase      meaning                                                  ends
=========  =======================================================  =======================================
queued     to be looked at, in a batch after :data:`BATCH`          with the answer
waiting    counts if its process is still there in a moment         with the next look
alive      its process counts, and is watched                       when it ends
ended      its process has ended                                    when another claim comes
refused    it does not count                                        when it is claimed anew
unclear    the look failed or hung: nothing is said                 with the next :meth:`check`
=========  =======================================================  =======================================

Looks are made in a worker's thread. One that hangs keeps nothing from the others, and is not repeated while
it hangs. It knows nothing of stores and verdicts; agents/process.py has the rules.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from coordd.agents.observation import ObservationKey
from coordd.agents.process import Counts, Here, Later, Look, Refused, judge_claim
from coordd.agents.process_claim import ProcessClaim
from coordd.host.process_facts import ProbeFailed, Process, ProcessFacts
from coordd.intake.process_probe import Answer, Machine, Prober, Wanted
from coordd.runtime.pace import Pace
from coordd.runtime.process_watch import ProcessWatch
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import Worker

BATCH = 0.05
"""Seconds for which claims are gathered before they are looked at."""
LONGEST_PAUSE = 2.0
"""Seconds between two batches at most, where looking takes long."""

Phase = Literal["queued", "waiting", "alive", "ended", "refused", "unclear"]


class ProcessListener(Protocol):
    """What is told of claims, on the loop; what is told of a place replaces what was told of it before."""

    def alive(self, places: Collection[ObservationKey], process: Process) -> None:
        """Take in that these claims mean this process, and that it lives."""

    def ended(self, places: Collection[ObservationKey], process: Process) -> None:
        """Take in that the process which these claims mean has ended; told once."""

    def refused(self, places: Collection[ObservationKey]) -> None:
        """Take in that no process counts for these claims."""

    def unclear(self, places: Collection[ObservationKey]) -> None:
        """Take in that nothing can be said of these claims for now."""


@dataclass(slots=True)
class _Claim:
    claim: ProcessClaim
    phase: Phase = "queued"
    process: Process | None = None  # that counts, or has to be there again
    reason: str | None = None
    had_ended: bool = False
    told_unclear: bool = False

    @property
    def wanted(self) -> Wanted:
        return Wanted(self.claim.pid, self.claim.proc_start)


@dataclass(slots=True)
class _Told:
    """What one batch has to tell, gathered before anybody is told."""

    alive: dict[ObservationKey, Process] = field(default_factory=dict)
    refused: list[ObservationKey] = field(default_factory=list)
    unclear: list[ObservationKey] = field(default_factory=list)


class ProcessIntake:
    """Follow the claims of all agents; ``listener`` has to be set before the first one.

    Args:
        machine: looks at processes.
        here: this machine's names, and coordd's own pid.
        worker: the thread that looks; it has to be replaceable.
        watch: tells when a process has ended.
        schedule: times batches and second looks.
    """

    listener: ProcessListener

    def __init__(
        self,
        *,
        machine: Machine,
        here: Here,
        worker: Worker,
        watch: ProcessWatch[Process],
        schedule: Schedule,
    ) -> None:
        self._prober = Prober(machine=machine, worker=worker)
        self._here = here
        self._watch = watch
        self._schedule = schedule
        self._claims: dict[ObservationKey, _Claim] = {}
        self._queue: dict[ObservationKey, None] = {}
        self._later: dict[ObservationKey, float] = {}
        self._places: dict[Process, set[ObservationKey]] = {}
        self._facts: dict[Process, ProcessFacts] = {}
        self._pace = Pace((BATCH, LONGEST_PAUSE))
        self._looking = False
        self._stopped = False

    def claim(self, place: ObservationKey, claim: ProcessClaim) -> None:
        """Follow what is claimed at a place, from now on in place of what was claimed there before.

        The same claim again changes nothing. One that was only written at another time is looked at again
        unless its process counts already.
        """
        old = self._claims.get(place)
        if old is not None:
            if old.claim == claim:
                return
            if claim.renews(old.claim):
                old.claim = claim
                if old.phase in ("ended", "refused"):
                    self._enqueue(place, old)
                return
            self.release(place)
        self._claims[place] = found = _Claim(claim)
        self._enqueue(place, found)

    def release(self, place: ObservationKey) -> None:
        """Follow nothing at a place any longer; nothing is told of it."""
        found = self._claims.pop(place, None)
        self._queue.pop(place, None)
        self._later.pop(place, None)
        if found is None or found.phase != "alive" or found.process is None:
            return
        places = self._places[found.process]
        places.discard(place)
        if not places:
            del self._places[found.process]
            self._facts.pop(found.process, None)
            self._watch.unwatch(found.process, self._ended)

    def facts(self, process: Process) -> ProcessFacts | None:
        """Return what the look told by which a process came to count; None for a session's."""
        return self._facts.get(process)

    def phase(self, place: ObservationKey) -> Phase | None:
        """Return the phase of the claim at a place, None where there is no claim."""
        found = self._claims.get(place)
        return None if found is None else found.phase

    def process(self, place: ObservationKey) -> Process | None:
        """Return the process that the claim at a place means, ended or not; None until it counts."""
        found = self._claims.get(place)
        return found.process if found is not None and found.phase in ("alive", "ended") else None

    def refusal(self, place: ObservationKey) -> str | None:
        """Return why the process that is claimed at a place does not count, in words; None where it does."""
        found = self._claims.get(place)
        return found.reason if found is not None and found.phase == "refused" else None

    async def check(self) -> None:
        """Look again at what nothing else tells of; to be called with each sample of the system."""
        for place, found in self._claims.items():
            if found.phase == "unclear" and not self._prober.hangs(found.wanted):
                self._queue[place] = None
        self._arm()
        await self._watch.check()

    async def look_now(self) -> None:
        """Look at what is queued without waiting for the schedule; ends found so are told at once."""
        await self._look()
        await asyncio.sleep(0)  # ends are told in their turn of the loop

    def living(self) -> list[tuple[ObservationKey, Process]]:
        """Return the places of the claims that count, with their processes."""
        return [(place, process) for process, places in self._places.items() for place in places]

    def stop(self) -> None:
        """Begin nothing any more, and tell nothing; the watch is closed by who opened it."""
        self._stopped = True
        self._schedule.cancel("processes.look")
        self._schedule.cancel("processes.again")

    def _enqueue(self, place: ObservationKey, found: _Claim) -> None:
        found.had_ended = found.phase == "ended"
        found.phase, found.process = "queued", None
        self._queue[place] = None
        self._arm()

    def _arm(self) -> None:
        idle = self._schedule.waiting("processes.look") is None and not self._looking
        if self._queue and idle and not self._stopped:
            delay = max(BATCH, self._pace.after - now().mono)
            self._schedule.once("processes.look", delay, self._look)

    async def _look(self) -> None:
        """Look at what is queued; one run at a time."""
        if self._looking:
            return
        self._looking, began = True, now().mono
        try:
            queue, self._queue = self._queue, {}
            told, by_wanted = _Told(), defaultdict(list)
            for place in queue:
                found = self._claims[place]
                if found.claim.process is not None:
                    told.alive[place] = found.claim.process
                else:
                    by_wanted[found.wanted].append(place)
            self._tell(told)
            wall = now().wall
            async for answers in self._prober.look(list(by_wanted)):
                self._take(answers, by_wanted, wall)
        finally:
            self._looking = False
            self._pace.ended(began, now().mono)
            self._arm()

    def _take(
        self, answers: Mapping[Wanted, Answer], by_wanted: Mapping[Wanted, list[ObservationKey]], wall: float
    ) -> None:
        """Judge claims by answers, and tell of them."""
        told = _Told()
        for wanted, answer in answers.items():
            for place in by_wanted[wanted]:
                found = self._claims.get(place)
                # meanwhile it may have been released, or claimed anew
                if found is not None and found.wanted == wanted and place not in self._queue:
                    self._judge(place, found, answer, wall, told)
        self._tell(told)

    def _judge(self, place: ObservationKey, found: _Claim, answer: Answer, wall: float, told: _Told) -> None:
        if isinstance(answer, ProbeFailed):
            found.phase = "ended" if found.had_ended else "unclear"
            if found.phase == "unclear" and not found.told_unclear:
                found.told_unclear = True
                told.unclear.append(place)
            return
        match judge_claim(Look(found.claim, answer, self._here, wall, found.process)):
            case Counts(process):
                told.alive[place] = process
                if answer is not None:
                    self._facts[process] = answer
            case Refused(reason):
                # a registration that is renewed after the end still means the process that ended
                found.phase, found.process, found.reason = "refused", None, reason
                if found.had_ended:
                    found.phase = "ended"
                else:
                    told.refused.append(place)
            case Later(process, after):
                found.phase, found.process = "waiting", process
                self._later[place] = now().mono + after
                self._arm_again()

    def _tell(self, told: _Told) -> None:
        """Watch what counts, and tell of everything."""
        by_process: dict[Process, list[ObservationKey]] = defaultdict(list)
        for place, process in told.alive.items():
            found = self._claims[place]
            found.phase, found.process, found.reason = "alive", process, None
            found.had_ended = found.told_unclear = False
            by_process[process].append(place)
        if self._stopped:
            return
        for process, places in by_process.items():
            lives = True
            if process not in self._places:
                self._places[process] = set()
                lives = self._watch.watch(process, self._ended)
            self._places[process].update(places)
            # one of the last run was not looked at, and its end is told next
            seen = [place for place in places if lives or self._claims[place].claim.process is None]
            if seen:
                self.listener.alive(seen, process)
        if told.refused:
            self.listener.refused(told.refused)
        if told.unclear:
            self.listener.unclear(told.unclear)

    def _ended(self, process: Process) -> None:
        places = self._places.pop(process, set())
        self._facts.pop(process, None)
        for place in places:
            self._claims[place].phase = "ended"
        if places and not self._stopped:
            self.listener.ended(sorted(places), process)

    def _arm_again(self) -> None:
        """Have second looks made once the earliest of them is due, with those due shortly after."""
        if self._later and not self._stopped:
            begin = min(self._later.values()) + BATCH
            waiting = self._schedule.waiting("processes.again")
            if waiting is None or waiting > begin:
                self._schedule.once("processes.again", begin - now().mono, self._again)

    async def _again(self) -> None:
        mono = now().mono
        for place in [place for place, due in self._later.items() if due <= mono]:
            del self._later[place]
            self._queue[place] = None
        self._arm_again()
        await self._look()
