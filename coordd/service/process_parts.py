"""Build what follows the processes of this machine, and put it together; start none of it."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from coordd.agents.process import Here
from coordd.agents.store import AgentStore
from coordd.host import processes
from coordd.host.boot import boot_time
from coordd.intake.agents import AgentIntake
from coordd.intake.newcomers import NewcomerIntake, Started
from coordd.intake.orphans import Orphans
from coordd.intake.process_evidence import ProcessEvidence
from coordd.intake.processes import ProcessIntake
from coordd.intake.sources import Intake
from coordd.intake.trees import TreeSampling
from coordd.runtime.process_watch import ProcessWatch
from coordd.runtime.schedule import Schedule
from coordd.runtime.worker import Worker


class ProcessParts:
    """The processes that agents name, as evidence; trees below them; what outlived its agent; new ones.

    Args:
        store, agents: all agents, and what takes readings of them.
        intake: reads an agent's sources once more when its process has ended.
        worker: the thread that passes over all processes.
        schedule: times looks.
        changed: called when a deadline may be another.
        started: are told of processes that have started.
        complete: whether every living session of a kind of this user would be known.
    """

    def __init__(
        self,
        *,
        store: AgentStore,
        agents: AgentIntake,
        intake: Intake,
        worker: Worker,
        schedule: Schedule,
        changed: Callable[[], None],
        started: Sequence[Started],
        complete: Callable[[str], bool],
    ) -> None:
        self.named = _process_intake(schedule)
        self.evidence = ProcessEvidence(
            agents=agents,
            processes=self.named,
            reread=intake.reread,
            sources=store.sources,
            boot=boot_time(),
            changed=changed,
        )
        self.trees = TreeSampling(
            store=store,
            uses=processes.uses,
            start_at=processes.start_at,
            worker=worker,
            asking=Worker("coordd-environ", replaceable=True),
            schedule=schedule,
        )
        self.orphans = Orphans(
            trees=self.trees,
            store=store,
            worker=Worker("coordd-orphans", replaceable=True),
            complete=complete,
        )
        self._newcomers = NewcomerIntake(worker=worker, listeners=[*started, self.trees.lineage.started])

    async def sample(self) -> None:
        """Look at everything that needs a look now and then; to be called with each sample of the host."""
        await self.named.check()
        await self.trees.sample()
        await self._newcomers.look()


def _process_intake(schedule: Schedule) -> ProcessIntake:
    worker = Worker("coordd-processes", replaceable=True)
    return ProcessIntake(
        machine=processes,
        here=Here(names=frozenset({socket.gethostname()}), own_pid=os.getpid()),
        worker=worker,
        watch=ProcessWatch(lives=processes.lives, worker=worker),
        schedule=schedule,
    )
