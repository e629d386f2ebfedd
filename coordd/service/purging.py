"""Forget an agent or a project: in the list, in all record files, in the snapshot, and in Redis.

A purge goes through these phases, each complete before the next one begins::

    phase      what is done                                        where
    forget     agents that are not alive leave the list            the loop
    count      every file is looked at; a dry run ends here        the thread of housekeeping
    close      the writer goes on in other parts where the         the writer thread
               current ones have such records
    cover      the snapshot is written: it covers what is closed   the fsync thread
    rewrite    file after file is replaced (sinks/purging.py)      the thread of housekeeping
    redis      samples that are still in Redis are deleted         the loop
    keep       the snapshot is written without them                the fsync thread

A kill in between leaves some files as they were, and the next purge does the rest. What an agent that is
alive leaves from then on is recorded as ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import islice
from typing import Protocol

from coordd.agents.ended_today import EndedToday
from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.protocol.jsonrpc import INVALID_PARAMS, SERVER_ERROR, Fault
from coordd.records.selection import RecordSelection
from coordd.runtime.schedule import now
from coordd.runtime.worker import DeadlineMissed
from coordd.sinks.purging import Purge, PurgeReport
from coordd.sinks.recorder import Recorder
from coordd.sinks.upkeep import Upkeep
from coordd.util.regular_files import explain
from coordd.util.timestamps import format_utc

log = logging.getLogger(__name__)

WAIT = 1.0
"""Seconds that an answer waits for the end, before it tells how far the purge is."""
SLICE = 500
"""Agents that are looked at before the event loop runs again."""
SAMPLES_LIVE = 86_400.0
"""Seconds for which a sample in Redis lives at the most (redis.ttl)."""
NAMED = 20
"""Agents that are named which live, and are recorded on."""


class SamplesInRedis(Protocol):
    """Delete samples in Redis; RedisService and NoRedis implement it."""

    async def forget(self, records: Sequence[tuple[object, ...]]) -> tuple[int, float] | None:
        """Return as :meth:`coordd.service.redis_service.RedisService.forget`."""
        ...


class _Job:
    """One purge, and what there is to say of it."""

    def __init__(self, number: int, *, dry_run: bool) -> None:
        self.number = number
        self.dry_run = dry_run
        self.purge: Purge | None = None
        self.task: asyncio.Task[None] | None = None
        self.report = PurgeReport()
        self.forgotten = 0
        self.alive: list[str] = []
        self.deleted: int | None = None
        self.expires: str | None = None
        self.error: str | None = None

    def document(self) -> dict[str, object]:
        """Return the answer of ``records.purge``."""
        report, purge = self.report, self.purge
        return {
            "job": self.number,
            "done": self.task is None or self.task.done(),
            "dry_run": self.dry_run,
            "looked_at": purge.done if purge else 0,
            "of": purge.total if purge else 0,
            "lines": report.lines,
            "files": report.files,
            "left": [{"path": one.path, "reason": one.why, "own": one.own} for one in report.left],
            "left_unnamed": report.left_unnamed,
            "similar": report.similar,
            "forgotten": self.forgotten,
            "alive": self.alive[:NAMED],
            "alive_unnamed": max(0, len(self.alive) - NAMED),
            "redis": {"deleted": self.deleted, "expire_by": self.expires},
            "error": self.error,
        }


class Purging:
    """Purge one after the other, and tell how far it is.

    Args:
        store: all agents.
        ended_today: the agents that ended, which the snapshot names.
        forget: takes one agent off the list.
        recorder, upkeep: write records, and keep their files.
        redis: has the samples.
        keep: writes the snapshot.
    """

    def __init__(
        self,
        *,
        store: AgentStore,
        ended_today: EndedToday,
        forget: Callable[[AgentKey], Awaitable[None]],
        recorder: Recorder,
        upkeep: Upkeep,
        redis: SamplesInRedis,
        keep: Callable[[], Awaitable[None]],
    ) -> None:
        self._store = store
        self._ended_today = ended_today
        self._forget = forget
        self._recorder = recorder
        self._upkeep = upkeep
        self._redis = redis
        self._keep = keep
        self._job: _Job | None = None
        self._jobs = 0

    async def purge(
        self, *, agent_id: str | None, place: str | None, dry_run: bool, job: int | None
    ) -> Mapping[str, object]:
        """Begin a purge, or with ``job`` ask for one; return how far it is, after a second at most.

        Raises:
            Fault: neither an agent nor a place is named, another purge is under way, the records cannot be
                written at present, or no such job is known.
        """
        if job is not None:
            if self._job is None or self._job.number != job:
                raise Fault(INVALID_PARAMS, f"No purge {job} is known", kind="no-such-job")
            return await self._told(self._job)
        try:
            selection = RecordSelection(agent_id=agent_id, place=place)
        except ValueError as error:
            raise Fault(INVALID_PARAMS, f"Invalid params: {error}", kind="nothing-named") from None
        if self._job is not None and self._job.task is not None and not self._job.task.done():
            raise Fault(SERVER_ERROR, "Another purge is under way: try again after it", kind="busy")
        for name, status in self._recorder.statuses().items():
            if not dry_run and status.state != "ok":
                words = f"The sink {name} fails ({status.error}): what waits would be written after the purge"
                raise Fault(SERVER_ERROR, words, kind="sink")
        self._jobs += 1
        self._job = started = _Job(self._jobs, dry_run=dry_run)
        started.task = asyncio.ensure_future(self._run(started, selection))
        return await self._told(started)

    def close(self) -> None:
        """End what is under way; the file that is being rewritten is then the old or the new one."""
        if self._job is not None and self._job.task is not None:
            self._job.task.cancel()

    async def _told(self, job: _Job) -> Mapping[str, object]:
        if job.task is not None:
            await asyncio.wait({job.task}, timeout=WAIT)
        return job.document()

    async def _run(self, job: _Job, selection: RecordSelection) -> None:
        try:
            await self._steps(job, selection)
        except DeadlineMissed as late:
            job.error = f"it takes very long: {late}"
        except OSError as error:
            job.error = explain(error)
        except Exception:  # a bug must not be lost with the task; it is logged with its traceback
            log.exception("purging records failed")
            job.error = "it fails; the daemon's log says where"

    async def _steps(self, job: _Job, selection: RecordSelection) -> None:
        await self._take_off_the_list(job, selection)
        since = format_utc(max(0.0, now().wall - SAMPLES_LIVE))
        job.purge = purge = Purge(writers=self._upkeep.files, selection=selection, since=since)
        job.report = counted = await self._upkeep.aside(purge.count)
        if job.dry_run:
            return
        if counted.current:
            await self._recorder.begin_next(counted.current)
        await self._keep()
        if counted.lines or counted.left:
            job.report = await self._upkeep.aside(purge.rewrite)
        told = await self._redis.forget(job.report.recent)
        if told is not None:
            job.deleted, seconds = told
            job.expires = format_utc(now().wall + seconds) if seconds else None
        report = job.report
        self._recorder.event(
            "records.purged",
            "coordd",
            f"{report.lines} records were purged from {report.files} files, as somebody asked",
            {"lines": report.lines, "files": report.files, "left": len(report.left) + report.left_unnamed},
        )
        await self._keep()
        await self._upkeep.run()

    async def _take_off_the_list(self, job: _Job, selection: RecordSelection) -> None:
        """Forget the agents that are not alive; note who is."""

        def fits(key: AgentKey) -> bool:
            agent = self._store.get(key)
            session = agent.session if agent is not None else None
            project = (session and session.project) or self._store.project_of(key.workspace)
            record = {"agent_id": key.agent_id, "workspace": key.recorded_workspace, "project": project}
            return selection.fits("agent", record)

        after = None
        while page := list(islice(self._store.shown(now().mono, after=after), SLICE)):
            after = page[-1].agent.key
            for one in page:
                if not fits(one.agent.key):
                    continue
                if one.verdict.status == "active":
                    job.alive.append(one.agent.key.agent_id)
                    continue
                job.forgotten += 1
                if not job.dry_run:
                    await self._forget(one.agent.key)
            await asyncio.sleep(0)
        if not job.dry_run:
            self._ended_today.drop(fits)
