"""Keep what is to be done when, in two heaps: the table of jobs behind the schedule.

The rule: a job is due from one moment on and has to begin by another (``latest``); what is due by the time
another job has to begin is taken with it. So jobs that can wait share the wake-ups of those that cannot.
Pure: monotonic time is passed in.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import count

LONGEST = 10 * 365 * 86400.0
"""Seconds, the longest delay: a longer one, or none that is a number, becomes this; dates end in 9999."""

SPARE = 100
"""The number of replaced and cancelled jobs that are kept without a sweep."""


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One job: what to call, the monotonic time from which on it is due, and by when it has to begin.

    ``interval`` are the seconds between two runs, None for a job that runs once.
    """

    name: str
    run: Callable[[], Awaitable[None]]
    due: float
    slack: float = 0.0
    interval: float | None = None

    @property
    def latest(self) -> float:
        """Return the moment by which it has to begin."""
        return self.due + self.slack


def bounded(seconds: float) -> float:
    """Return the seconds, at least 0 and at most :data:`LONGEST`, which stands for NaN as well."""
    return max(0.0, seconds) if seconds < LONGEST else LONGEST


def next_run(due: float, interval: float, mono: float) -> float:
    """Return the first moment after ``mono`` that lies whole intervals behind ``due``; others are skipped."""
    interval = max(interval, 1e-6)
    missed = max(0.0, (mono - due) // interval)
    following = due + (missed + 1) * interval
    return following if following > mono else mono + interval  # too fine for the numbers


class Timetable:
    """Hold jobs by name; a job replaces the one of its name."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._number = count()
        self._by_latest: list[tuple[float, int, Job]] = []
        self._patient: list[tuple[float, int, Job]] = []  # those with slack, by when they are due

    def put(self, job: Job) -> None:
        """Add a job."""
        self._jobs[job.name] = job
        self._push(job)
        if len(self._by_latest) > SPARE + 2 * len(self._jobs):
            self._sweep()

    def get(self, name: str) -> Job | None:
        """Return the job of that name, None when there is none."""
        return self._jobs.get(name)

    def remove(self, name: str) -> None:
        """Remove the job of that name, if there is one."""
        self._jobs.pop(name, None)

    def next_wakeup(self) -> float:
        """Return the moment by which a job has to begin; infinity when there is no job."""
        while self._by_latest and not self._waits(self._by_latest[0][2]):
            heapq.heappop(self._by_latest)
        return self._by_latest[0][0] if self._by_latest else math.inf

    def take(self, mono: float) -> list[Job]:
        """Remove and return the jobs that are due, the most urgent first; repeated ones wait again."""
        found = []
        for heap in (self._by_latest, self._patient):
            while heap and heap[0][0] <= mono:
                job = heapq.heappop(heap)[2]
                if self._waits(job):
                    del self._jobs[job.name]
                    found.append(job)
        for job in found:
            if job.interval is not None:
                self.put(replace(job, due=next_run(job.due, job.interval, mono)))
        return found

    def forgive(self, mono: float) -> None:
        """Let what is overdue be due at ``mono``: nothing could run before."""
        for job in list(self._jobs.values()):
            if job.due < mono:
                self.put(replace(job, due=mono))

    def _waits(self, job: Job) -> bool:
        return self._jobs.get(job.name) is job

    def _push(self, job: Job) -> None:
        heapq.heappush(self._by_latest, (job.latest, next(self._number), job))
        if job.slack:
            heapq.heappush(self._patient, (job.due, next(self._number), job))

    def _sweep(self) -> None:
        """Forget the jobs that were replaced or cancelled."""
        self._by_latest.clear()
        self._patient.clear()
        for job in self._jobs.values():
            self._push(job)
