"""Stay with one daemon: subscribe, go on where it was left, and notice when the daemon is gone or silent.

::

    state        entered when                                    left when
    searching    at start, and after a loss                     a daemon answers
    following    it has told what is now; what was missed is    the connection is lost, or nothing is
                 taken in first, and nothing told meanwhile     heard and no ping is answered
    stopped      it said that it ends, or its files say so      a daemon answers

While it is searching, nothing of the daemon counts as over. A daemon that is gone without having been
stopped, or does not answer, is a condition of its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from coordd.alerts import asking, conditions
from coordd.alerts.conditions import ATTENTION, OF_AGENTS, Slot
from coordd.alerts.hearing import Hearing, Unsure
from coordd.alerts.link import Link
from coordd.alerts.meanwhile import catch_up
from coordd.alerts.memory import Memory
from coordd.alerts.moment import now
from coordd.alerts.thread import Late, Thread
from coordd.errors import CannotTell, ClientError, DaemonNotRunning
from coordd.protocol.client import Client
from coordd.util.text import escape, number
from coordd.util.untyped import as_dict

log = logging.getLogger(__name__)

SILENCE = 90.0
"""Seconds without a word after which the daemon is asked; it samples the host each 60 s by itself."""
PATIENCE = 10.0
RETRY_FIRST, RETRY_LAST = 0.2, 10.0
_FIND_WITHIN = 20.0
_DAEMON = Slot("daemon", "", "coordd")
ATTEMPTS = 3
"""Attempts to read the records of what was missed; then what is so now has to do."""
NAMED = 100
"""Agents whose names are asked for at once: a message lists as many."""


class Feed:
    """Feed the memory from the daemon; :meth:`run` never returns.

    Args:
        memory: what is fed.
        find: connects to the daemon that is meant, and once it has, to no other. It may block.
        changed: is called when the memory may have changed, and whenever :attr:`settled` may have.
        silence: seconds without a word after which the daemon is asked for one.
        patience: seconds that it may take for an answer.

    ``settled``: what is known is what is so, as far as anybody can tell; nothing is told before. ``path`` is
    the socket, ``connected`` whether the daemon is followed, ``trouble`` why not, in words.
    """

    def __init__(
        self,
        *,
        memory: Memory,
        find: Callable[[], Client],
        changed: Callable[[], None],
        silence: float = SILENCE,
        patience: float = PATIENCE,
    ) -> None:
        self._silence = silence
        self._patience = patience
        self._memory = memory
        self._find = find
        self._changed = changed
        self._hearing = Hearing(memory)
        self._thread = Thread("connect")
        self._link: Link | None = None
        self._asked: set[tuple[Slot, str]] = set()
        self._known: dict[Slot, conditions.Condition] = {}
        self._failures = 0
        self.settled = False
        self.connected = False
        self.path: str | None = None
        self.note: str | None = None
        self.trouble: str | None = "coordd has not been reached yet"

    async def run(self) -> None:
        """Follow the daemon for ever."""
        delay = RETRY_FIRST
        while True:
            try:
                link = await self._connect()
                try:
                    await self._follow(link)
                finally:
                    self._link = None
                    link.close()
            except (ClientError, Late) as error:
                if self.connected:
                    delay = RETRY_FIRST
                self._lost(error)
            await asyncio.sleep(delay)
            delay = min(2 * delay, RETRY_LAST)

    def renew(self) -> None:
        """Subscribe anew, for the rules are others now."""
        if self._link is not None:
            self._link.close()

    async def _connect(self) -> Link:
        client = await self._thread.run(self._find, within=_FIND_WITHIN)
        self.path, self.note = client.path, client.note
        return await Link.open(client.path, client.hand_over())

    async def _follow(self, link: Link) -> None:
        heard = self._memory.heard
        params: dict[str, object] = {"topics": self._topics(), "snapshot": "status"}
        if heard.place is not None:
            params["since"] = heard.place
        answer = as_dict(await link.call("subscribe", params, within=self._patience))
        run = str(answer.get("run"))
        missed = 0
        if answer.get("resumed"):
            missed = int(number(answer.get("missed")) or 0)
            self.settled = self.settled and not missed
        else:
            self._recognise(as_dict(answer.get("status")))
            await self._begin(link, answer, heard.at)
            heard.place, heard.at = f"{run}:{answer.get('seq')}", str(answer.get("timestamp"))
        heard.stopped = False
        self._link = link
        watch = asyncio.create_task(self._watch(link))
        try:
            while missed > 0:
                missed -= await self._take(link, run)
            self._found(link)
            while True:
                await self._take(link, run)
                if not link.waiting:
                    self._name(link)
                    self._changed()
        finally:
            watch.cancel()

    def _recognise(self, status: dict[str, Any]) -> None:
        """Forget what another daemon told, such as a project's: this one says nothing of its agents."""
        heard, records = self._memory.heard, as_dict(status.get("daemon")).get("metrics_dir")
        if not isinstance(records, str):
            return
        if heard.records not in (None, records):
            log.warning("this is another coordd than before: what that one told is forgotten")
            self._memory.engine.forget()
            self._memory.turns.forget()
            heard.at = None
        heard.records = records

    def _found(self, link: Link) -> None:
        self._memory.engine.close(_DAEMON, "over", now())
        self.trouble = None
        if not self.connected:
            log.info("coordd answers on %s", escape(self.path or ""))
            if self.note is not None:
                log.warning("%s", escape(self.note))
        self.connected = self.settled = True
        self._name(link)
        self._changed()

    async def _begin(self, link: Link, answer: dict[str, Any], since: str | None) -> None:
        """Take in what is so now, and what was since a time."""
        self.settled = False
        turns = self._memory.turns
        wants_turns = "finished" in self._memory.engine.kinds
        self._known |= self._memory.engine.fires
        unsure = self._hearing.snapshot(as_dict(answer.get("status")), now())
        if since is not None:
            try:
                await catch_up(link, self._memory, self._hearing, since, known=self._known)
            except ClientError as error:
                self._failures += 1
                if self._failures < ATTEMPTS:
                    raise
                log.warning("what happened meanwhile cannot be found out: %s", escape(str(error)))
        self._failures, self._known = 0, {}
        await self._settle(link, unsure)
        if wants_turns and since is None:
            turns.forget()
            async for agent in asking.agents(link):
                turns.take(agent)

    async def _take(self, link: Link, run: str) -> int:
        """Take in one notification; return how many it stands for."""
        topic, params = await link.notification()
        if topic == "lagged":
            raise CannotTell("notifications were lost; it is asked anew")
        await self._settle(link, self._hearing.take(topic, params, now()))
        seq, timestamp = params.get("seq"), params.get("timestamp")
        if isinstance(seq, int):
            self._memory.heard.place = f"{run}:{seq}"
        if isinstance(timestamp, str):
            self._memory.heard.at = timestamp
        return 1

    async def _settle(self, link: Link, unsure: list[Unsure]) -> None:
        """Find out of what is off the list whether it is over."""
        for one in unsure:
            back = await asking.is_back(link, one.condition)
            self._memory.engine.close(one.condition.slot, "over" if back else "left", now(), one.at)

    def _topics(self) -> list[str]:
        topics = ["attention", "event", "system"]
        return [*topics, "agent"] if "finished" in self._memory.engine.kinds else topics

    def _name(self, link: Link) -> None:
        """Ask for the agents and projects that something new is about."""
        fires = self._memory.engine.fires
        wanted = [
            one
            for one in fires.values()
            if one.kind in ATTENTION and one.project is None and (one.slot, one.id) not in self._asked
        ]
        if len(self._asked) > 10 * len(fires) + NAMED:
            self._asked = {(one.slot, one.id) for one in fires.values()}
        for one in wanted[:NAMED]:
            self._asked.add((one.slot, one.id))
            task = asyncio.create_task(self._ask_name(link, one))
            task.add_done_callback(_seen)

    async def _ask_name(self, link: Link, condition: conditions.Condition) -> None:
        agent = await asking.agent_of(link, condition) if condition.kind in OF_AGENTS else {}
        name, project = agent.get("name"), agent.get("project")
        if not isinstance(project, str):
            project = await asking.project_of(link, condition.workspace) or condition.workspace
        self._memory.engine.describe(condition.slot, name if isinstance(name, str) else None, project, now())
        self._changed()

    async def _watch(self, link: Link) -> None:
        """Ping the daemon after a long silence; close the link if it does not answer."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(max(link.heard + self._silence - loop.time(), 0.1))
            if link.heard + self._silence > loop.time():
                continue
            try:
                await link.call("ping", {}, within=self._patience)
            except ClientError:
                link.close()
                return

    def _lost(self, error: Exception) -> None:
        moment, heard = now(), self._memory.heard
        crashed = error.crashed if isinstance(error, DaemonNotRunning) else None
        words = str(error).partition("\n")[0].removesuffix(" Tried:")
        if self.connected:
            log.warning("no daemon: %s", words)
        self.connected, self.trouble = False, words
        if crashed is not None:
            heard.stopped = not crashed
        known = self._memory.engine.fires.get(_DAEMON)
        gone = isinstance(error, DaemonNotRunning)
        if heard.stopped:
            if known is not None:
                self._memory.engine.close(_DAEMON, "left", moment)
        elif (known is None or gone) and (heard.place is not None or crashed or not gone):
            text = "is gone, and was not stopped" if gone else f"does not answer: {words}"
            since = moment.wall if known is None else known.since
            if known is None or known.text != text:  # a connection that was closed says less than a search
                self._memory.engine.open(conditions.daemon_gone(text, since or moment.wall), moment)
        self.settled = True
        self._changed()


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        log.error("a name could not be asked for", exc_info=task.exception())
