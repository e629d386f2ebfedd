"""Build what answers on the control socket."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence

from coordd.agents.key import AgentKey
from coordd.agents.store import AgentStore
from coordd.control.attention_watch import AttentionWatch
from coordd.control.connection import ConnectionLimits
from coordd.control.documents import Documents
from coordd.control.history import HistoryQueries
from coordd.control.hub import Hub
from coordd.control.methods import Methods, Purger
from coordd.control.reload import Reloader
from coordd.control.rpc import Dispatcher
from coordd.control.server import ControlServer
from coordd.control.subscribing import Subscribing, Watch
from coordd.control.task_watch import TaskWatch
from coordd.model import OrphanView, Topic
from coordd.protocol.admission import allowed_connections
from coordd.runtime.schedule import Schedule, now
from coordd.runtime.worker import Worker
from coordd.tasks.board import Board
from coordd.tasks.needs import Needs
from coordd.tasks.views import TaskList


def make_server(
    *,
    store: AgentStore,
    documents: Documents,
    board: Board,
    tasks: TaskList,
    needs: Needs,
    hub: Hub,
    schedule: Schedule,
    attention: AttentionWatch,
    metrics_dir: str,
    root: str | None,
    reloader: Reloader,
    purger: Purger,
    orphans: Callable[[], Awaitable[Sequence[OrphanView] | None]],
    forget: Callable[[AgentKey], Awaitable[None]],
    keep: Callable[[], Awaitable[None]],
) -> ControlServer:
    """Return the server of the control socket, which does not listen yet.

    The arguments are what its methods read from, and what they have done; ``root`` is the canonical path that
    records have to lie below, ``keep`` writes down what somebody has acknowledged.
    """
    watches: dict[Topic, Watch] = {
        "attention": attention,
        "task": TaskWatch(board=board, tasks=tasks, hub=hub, schedule=schedule),
    }
    methods = Methods(
        orphans=orphans,
        store=store,
        documents=documents,
        tasks=tasks,
        subscribing=Subscribing(hub=hub, store=store, documents=documents, watches=watches, now=now),
        history=HistoryQueries(
            directory=metrics_dir,
            worker=Worker("coordd-history", replaceable=True),
            now=now,
            root=root,
        ),
        reloader=reloader,
        purger=purger,
        needs=needs,
        forget=forget,
        keep=keep,
        now=now,
    )
    dispatcher = Dispatcher(methods=methods.table(), own_uid=os.geteuid())
    return ControlServer(
        dispatch=dispatcher,
        refusal=dispatcher.refusal,
        limits=ConnectionLimits(connections=allowed_connections()),
        own_uid=os.geteuid(),
    )
