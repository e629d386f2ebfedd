"""Build the parts of the daemon and put them together; start none of them.

They are built nowhere else, so that every part gets its collaborators passed in. What the daemon does with
them is in daemon.py. Parts that exist only where a Redis is configured are built by redis_service.py, which
is imported only then.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence
from time import thread_time
from typing import TYPE_CHECKING

from coordd.agents.acknowledged import Acknowledged
from coordd.agents.ended_today import EndedToday
from coordd.agents.join import Agent
from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.config.build import Config, public_url
from coordd.config.file import ConfigSources
from coordd.control.attention_watch import AttentionWatch
from coordd.control.documents import Documents
from coordd.control.hub import Hub
from coordd.intake.agents import AgentIntake
from coordd.intake.announcing import Announcer
from coordd.intake.deadlines import DeadlineTimer
from coordd.intake.host import FIRST_AFTER, HostSampling, Sampler
from coordd.intake.session_workspaces import SessionWorkspaces
from coordd.intake.source import Stores
from coordd.intake.sources import Intake
from coordd.intake.tasks import TaskIntake
from coordd.intake.trace_log import TraceLog
from coordd.model import OwnCost, SinkStatus, Topic
from coordd.redislink.state import RedisState
from coordd.runtime.clocks import LoopMonitor, Moment
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import Worker, renew_deadline
from coordd.service.agent_parts import AgentFinders, agent_limits
from coordd.service.identity import identity_of
from coordd.service.no_redis import NoRedis
from coordd.service.ownership_check import OwnershipCheck
from coordd.service.process_parts import ProcessParts
from coordd.service.purging import Purging
from coordd.service.record_sinks import record_sinks
from coordd.service.reloading import Reloading
from coordd.service.runtime_files import RuntimeFiles
from coordd.service.socket_parts import make_server
from coordd.service.supervision import Supervision
from coordd.sinks.last_run import LastRun, Memory
from coordd.sinks.recorder import Recorder
from coordd.sinks.upkeep import Upkeep
from coordd.sources.bounds import Bounds
from coordd.sources.file.backend import FileBackend
from coordd.sources.file.finder import FileFinder
from coordd.tasks.board import Board
from coordd.tasks.needs import Needs
from coordd.tasks.views import TaskList
from coordd.util.sdnotify import Notifier, watchdog_seconds
from coordd.util.timestamps import day_around

if TYPE_CHECKING:
    from coordd.service.redis_service import RedisService

SNAPSHOT_RETRY = 10.0
"""Seconds after which a snapshot that could not be written is tried again."""


class Parts:
    """All parts of one run of the daemon.

    Args:
        sources, config: the configuration, and what it was made from.
        runtime_files: the directories, the lock and the control socket, already taken.
        started: when the process started.
        notifier: tells the service manager.
        on_clock_step: called when the wall clock was set, with the seconds by which it moved.
        on_gap: called when the process did not run, with the seconds that it missed.
        on_sleep: called when the machine slept, with the seconds of it.
        on_replaced: called when the metrics directory belongs to another daemon by now.
    """

    def __init__(
        self,
        *,
        sources: ConfigSources,
        config: Config,
        runtime_files: RuntimeFiles,
        started: Moment,
        notifier: Notifier,
        on_clock_step: Callable[[float], None],
        on_gap: Callable[[float], None],
        on_sleep: Callable[[float], None],
        on_replaced: Callable[[], None],
    ) -> None:
        host = socket.gethostname()
        self._mode = config.coordination.mode
        self._runtime_files = runtime_files
        loop_monitor = LoopMonitor()
        self.schedule = Schedule(
            loop_monitor=loop_monitor, on_step=on_clock_step, on_gap=on_gap, on_sleep=on_sleep
        )
        self.store = AgentStore(limits=agent_limits(config), loop_monitor=loop_monitor)
        self.board = Board(store=self.store)
        tasks = TaskList(board=self.board, store=self.store)
        self.needs = Needs(store=self.store, board=self.board, tasks=tasks, clock=thread_time)
        self.ended_today = EndedToday(day=day_around)
        writer, syncer = Worker("coordd-writer"), Worker("coordd-fsync")
        self.traces = Worker("coordd-traces", replaceable=True)
        self._hub = Hub(run=os.urandom(6).hex())
        self.record_sinks = record_sinks(config, runtime_files.rights)
        self.recorder = Recorder(
            sinks=self.record_sinks,
            writer=writer,
            syncer=syncer,
            schedule=self.schedule,
            host=host,
            fsync_interval=config.storage.fsync_interval,
            publish=self._publish,
        )
        self.upkeep = Upkeep(
            files=[file for sink in self.record_sinks for file in sink.files],
            storage=config.storage,
            worker=Worker("coordd-upkeep"),
            schedule=self.schedule,
            on_event=self.recorder.event,
            on_counted=self.recorder.refresh,
        )
        self.recorder.settled = self.upkeep.look
        bounds = Bounds()
        self._session_workspaces = SessionWorkspaces(
            store=self.store, schedule=self.schedule, apply=self._watch_sessions
        )
        self._follows_sessions = sources.layout.name == "user" and config.coordination.mode != "redis"
        self.workspaces = FileFinder(
            backend=FileBackend(entries=self._workspaces(config), bounds=bounds, keepalive=renew_deadline),
            local=self.traces,
            remote=Worker("coordd-remote", replaceable=True),
            renamed=self._paths_changed,
        )
        self._agents = agents = AgentIntake(store=self.store, recorder=self.recorder, host=host)
        self.announcer = Announcer(
            store=self.store, recorder=self.recorder, schedule=self.schedule, needs=self.needs
        )
        agents.on_doing = self._agent_does
        self.store.on_change = self._agent_changed
        self._attention_watch = AttentionWatch(needs=self.needs, hub=self._hub, schedule=self.schedule)
        task_intake = TaskIntake(
            board=self.board,
            recorder=self.recorder,
            schedule=self.schedule,
            updated=self._attention_watch.changed,
        )
        self.deadline_timer = DeadlineTimer(
            store=self.store,
            schedule=self.schedule,
            agents=agents,
            tasks=task_intake,
            updated=self._updated,
        )
        coordination = config.coordination
        redis_url = coordination.redis_url
        redis = RedisState(
            url=public_url(redis_url) if redis_url else None,
            labels=coordination.mode != "file",
            writes=coordination.redis_writable,
            on_event=self.recorder.event,
        )
        self.redis: RedisService | NoRedis = NoRedis()
        if redis_url is not None:
            from coordd.service.redis_service import RedisService

            self.redis = RedisService(
                config=config,
                url=redis_url,
                state=redis,
                schedule=self.schedule,
                bounds=bounds,
                on_event=self.recorder.event,
            )
        self.agent_finders = AgentFinders(sources, config, workspaces=lambda: self.workspaces.names)
        self.intake = Intake(
            finders=(
                self.workspaces,
                self.redis.finder,
                *self.agent_finders.all,
                self.agent_finders.hooks,
            ),
            stores=Stores(
                store=self.store,
                schedule=self.schedule,
                agents=agents,
                tasks=task_intake,
                deadline_timer=self.deadline_timer,
                trace_log=TraceLog(),
            ),
        )
        psutil_worker = Worker("coordd-psutil", replaceable=True)
        self.processes = ProcessParts(
            store=self.store,
            agents=agents,
            intake=self.intake,
            worker=psutil_worker,
            schedule=self.schedule,
            changed=self.deadline_timer.update,
            started=self.agent_finders.started,
            complete=lambda kind: self.agent_finders.knows_all_sessions(kind, self.store.sources),
        )
        cost = OwnCost()
        self.sampling = HostSampling(
            sampler=_make_sampler,
            worker=psutil_worker,
            store=self.store,
            recorder=self.recorder,
            loop_monitor=loop_monitor,
            cost=cost,
            host=host,
            interval=config.sampling.interval,
            redis=redis,
        )
        self.documents = Documents(
            store=self.store,
            identity=identity_of(sources, config, runtime_files, started, host),
            board=self.board,
            tasks=tasks,
            sinks=self._sink_statuses,
            lateness=self.sampling.lateness,
            cost=cost,
            redis=redis,
            needs=self.needs,
            agents_of=lambda name: len(agents.known(name)),
            ended_today=self.ended_today,
            forgotten=agents.forgotten,
            refusal=self.processes.evidence.refusal,
            awaited=self.agent_finders.awaited,
            entries=self.workspaces.entries,
            search=self.agent_finders.problems,
            configuration=lambda: [*self.reloading.problems, *self.workspaces.problems],
            runtime_files=self._file_problems,
            restart_required=lambda: self.reloading.restart_required,
        )
        self.supervision = Supervision(
            notifier=notifier,
            watchdog=watchdog_seconds(sources.environ, os.getpid()),
            schedule=self.schedule,
            loop_monitor=loop_monitor,
            store=self.store,
            lateness=self.sampling.lateness,
            summary=self.documents.summary,
            summary_until=self.documents.summary_until,
        )
        self.reloading = Reloading(
            sources=sources,
            config=config,
            reader=self.traces,
            recorder=self.recorder,
            supervision=self.supervision,
            apply=self._apply,
        )
        self.purging = Purging(
            store=self.store,
            ended_today=self.ended_today,
            forget=agents.forget_now,
            recorder=self.recorder,
            upkeep=self.upkeep,
            redis=self.redis,
            keep=self.write_snapshot,
        )
        self.server = make_server(
            orphans=self.processes.orphans.listed,
            store=self.store,
            documents=self.documents,
            board=self.board,
            tasks=tasks,
            hub=self._hub,
            schedule=self.schedule,
            attention=self._attention_watch,
            metrics_dir=config.storage.metrics_dir,
            root=runtime_files.rights.root,
            reloader=self.reloading,
            purger=self.purging,
            needs=self.needs,
            forget=self._forget,
            keep=self._acknowledged,
        )
        self.last_run = LastRun(
            path=sources.layout.snapshot,
            directory=runtime_files.snapshots,
            metrics=runtime_files.metrics,
            mode=runtime_files.rights.file,
            root=runtime_files.rights.root,
            host=host,
            writer=writer,
            syncer=syncer,
        )
        self.ownership_check = OwnershipCheck(
            runtime_files=runtime_files,
            recorder=self.recorder,
            server=self.server,
            schedule=self.schedule,
            replaced=on_replaced,
            changed=lambda: self.schedule.once("snapshot.again", 0.0, self.write_snapshot),
        )

    async def sample(self) -> None:
        """Sample the host and what processes need it, and tell the service manager."""
        await self.sampling.sample()
        self.supervision.sampled()
        await self.processes.sample()
        self.deadline_timer.update()

    def remember(self, memory: Memory) -> None:
        """Take over what the last run knew beside its agents."""
        self.needs.acknowledged = Acknowledged(memory.acknowledged)
        self.ended_today.restore((AgentKey(place, agent_id), at) for place, agent_id, at in memory.ended)

    def _updated(self) -> None:
        """Tell the service manager's line, and who follows what needs a human, of a possible change."""
        self.supervision.changed()
        self._attention_watch.changed()

    async def _acknowledged(self) -> None:
        """Keep what was acknowledged in the snapshot, and tell who follows what needs a human."""
        self._attention_watch.changed()
        await self.write_snapshot()

    def _agent_does(self, agent: Agent) -> None:
        """Tell who follows what agents do that one does something else."""
        self.announcer.doing(agent)
        self.processes.trees.appeared(agent)

    async def _forget(self, key: AgentKey) -> None:
        """Forget an agent, as somebody asked, in the snapshot as well: no restart brings it back."""
        await self._agents.forget_now(key)
        await self.write_snapshot()

    def _agent_changed(self, key: AgentKey) -> None:
        """Tell who follows agents that one appeared, left, or changed."""
        self.board.touched(key)
        self.announcer.changed(key)
        if self._follows_sessions:
            self._session_workspaces.changed(key)
        agent = self.store.get(key)
        if agent is None:
            return
        if self.store.status_of(key) != "inactive":
            self.ended_today.alive(key)
            return
        moment = now()
        shown = self.store.look(agent, moment.mono)
        if shown.verdict.reason == "ended":  # whichever of its sources says so
            self.ended_today.note(key, moment.wall - (shown.evidence.end_age or 0.0))

    async def write_snapshot_with_sample(self) -> None:
        """Write the snapshot, in the wake-ups of the sample that is being taken, if one is."""
        await self.sampling.measured()
        await self.write_snapshot()

    async def write_snapshot(self, *, ended: bool = False) -> None:
        """Write the snapshot for clients and the next run; with ``ended`` the last one, to stable storage."""

        async def document() -> Mapping[str, object]:
            made = await self.documents.snapshot(now())
            return self.redis.with_checkpoint(made)

        await self.last_run.write(document, ended=ended)
        if self.last_run.problem is not None:  # it is shown, and may be over soon
            self.schedule.once("snapshot.again", SNAPSHOT_RETRY, self.write_snapshot)

    def _apply(self, old: Config, new: Config) -> None:
        """Bring all parts to a new configuration."""
        if new.sampling.interval != old.sampling.interval:
            self.sampling.interval = new.sampling.interval
            # a shorter interval counts at once for lateness, so it does for the next sample
            first = FIRST_AFTER if new.sampling.interval < old.sampling.interval else None
            self.schedule.every("host.sample", new.sampling.interval, self.sample, first=first)
        self.upkeep.apply(new.storage)
        for sink in self.record_sinks:
            sink.accept_folder()
        self.redis.apply(new)
        if new.agents != old.agents:
            self.store.judging.limits = agent_limits(new)
            self.store.rejudge_all(now().mono)
        self.board.rejudge_all()
        self.workspaces.backend.entries = self._workspaces(new)
        self.agent_finders.look_again()
        self.intake.scan_soon()

    def _watch_sessions(self, entries: tuple[str, ...]) -> None:
        """Watch the workspaces of living sessions beside the configured ones."""
        self.workspaces.backend.guests = entries
        self.intake.find_soon()

    def _paths_changed(self) -> None:
        """Have sessions placed anew, for other paths lead to the workspaces by now."""
        self.agent_finders.resolve_again()

    def _publish(self, topic: Topic, records: Sequence[bytes], made_of: Sequence[object]) -> None:
        self._hub.publish(topic, records)
        self.redis.offer(topic, records, made_of)
        if topic == "event" and records:
            self.supervision.changed()

    def _sink_statuses(self) -> Mapping[str, SinkStatus]:
        return {**self.recorder.statuses(), **self.redis.statuses()}

    def _file_problems(self) -> list[str]:
        """Return what keeps coordd from its own files, in words."""
        problems = self._runtime_files.problems()
        snapshot = self.last_run.problem
        return problems if snapshot is None or problems else [snapshot]

    def _workspaces(self, config: Config) -> tuple[str, ...]:
        """Return the workspaces to watch; the mode is that of the start: changing it needs a restart."""
        return () if self._mode == "redis" else config.coordination.workspaces


def _make_sampler() -> Sampler:
    from coordd.host.sampler import HostSampler  # psutil is slow to import

    return HostSampler()
