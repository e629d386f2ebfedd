"""Have messages told: the intent is on disk before an action begins, its outcome after it has ended.

Each action of each rule tells one message at a time, in order. State: the tasks that tell. What cannot be
written to disk is told all the same, and said to be so: a person who is told twice is better off than one who
is not told.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from coordd.alerts.actions.base import Action, ActionFailed
from coordd.alerts.message import Message
from coordd.alerts.outbox import Line, Outbox, Parcel
from coordd.alerts.texts import again
from coordd.util.text import escape

log = logging.getLogger(__name__)

LONGEST = 120.0
"""Seconds that an action may take whatever its own deadline is."""
GONE = "the rule has no such action any more"


def labelled(actions: Sequence[Action]) -> dict[str, Action]:
    """Return actions by label; of several with the same one the later are numbered."""
    found: dict[str, Action] = {}
    for one in actions:
        label, number = one.label, 2
        while label in found:
            label, number = f"{one.label} #{number}", number + 1
        found[label] = one
    return found


class Delivery:
    """Tell the parcels of an outbox.

    Args:
        outbox: what waits.
        actions: those of each rule, by rule and label; replaced when the rules are.
        keep: writes a line to the journal; raises nothing.
        stamp: returns the time, as records have it.
        changed: is called when an action has ended.
    """

    def __init__(
        self,
        *,
        outbox: Outbox,
        actions: Mapping[str, Mapping[str, Action]],
        keep: Callable[[Line], Awaitable[None]],
        stamp: Callable[[], str],
        changed: Callable[[], None],
    ) -> None:
        self.actions = actions
        self._outbox = outbox
        self._keep = keep
        self._stamp = stamp
        self._changed = changed
        self._turns: dict[tuple[str, str], asyncio.Lock] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def send(self, parcel: Parcel) -> None:
        """Begin to tell a parcel by each of its actions."""
        for label in list(parcel.actions):
            task = asyncio.create_task(self._tell(parcel, label, unsure=label in parcel.begun))
            self._tasks.add(task)
            task.add_done_callback(self._ended)

    async def try_out(self, message: Message) -> list[tuple[str, str | None]]:
        """Tell a message by each action of its rule, in their turns; return how each went."""
        outcomes = []
        for label, action in self.actions.get(message.rule, {}).items():
            async with self._turn(message.rule, label):
                outcomes.append((label, await perform(action, message)))
        return outcomes

    async def drain(self, within: float) -> None:
        """Wait until what is being told is told, then give up the rest: the next start tells it."""
        if self._tasks:
            _, late = await asyncio.wait(list(self._tasks), timeout=within)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=within)

    async def _tell(self, parcel: Parcel, label: str, *, unsure: bool) -> None:
        message = again(parcel.message) if unsure else parcel.message
        async with self._turn(message.rule, label):
            if label not in parcel.actions:  # it was given up meanwhile
                return
            action = self.actions.get(message.rule, {}).get(label)
            if action is None:
                error: str | None = GONE
            else:
                await self._keep(self._outbox.begin(parcel, label, self._stamp()))
                error = await perform(action, message)
            await self._keep(self._outbox.done(parcel, label, self._stamp(), error, again=unsure))
        if error is None:
            log.info("told by rule %s, %s: %s", message.rule, label, escape(message.title))
        else:
            log.error("not told by rule %s, %s: %s", message.rule, label, escape(error))
        self._changed()

    def _turn(self, rule: str, label: str) -> asyncio.Lock:
        return self._turns.setdefault((rule, label), asyncio.Lock())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("a message was not told", exc_info=task.exception())


async def perform(action: Action, message: Message) -> str | None:
    """Do an action; return why it failed, None if it did not."""
    try:
        async with asyncio.timeout(LONGEST):
            await action.perform(message)
    except ActionFailed as error:
        return str(error) or "it failed"
    except TimeoutError:
        return f"it took longer than {LONGEST:g} s"
    except Exception as error:
        log.exception("an action failed in a way that nobody foresaw")
        return f"{type(error).__name__} in coordd itself"
    return None
