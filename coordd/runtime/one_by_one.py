"""Ask the same of many things in a worker's thread, so that one that hangs costs only itself.

All are asked in one call. What was answered before one that hangs counts, what is behind it is asked in
another call, and the one itself is left alone until its answer comes. It is asked again then, for much may
have happened meanwhile; the answer that came late counts where it hangs again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

from coordd.runtime.worker import DeadlineMissed, Worker, renew_deadline

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

MOST_HANGING = 8
"""The number of things that may hang at the same time, each in a thread; then nothing is asked."""


class OneByOne(Generic[K, T]):
    """Ask one kind of question.

    ``unanswered`` are those of the last call that did not answer in time.

    Args:
        ask: returns the answer, in the thread; what it raises is raised by the whole call.
        worker: the thread; it has to be replaceable.
        answered: is called on the loop once something answers after all, and not as it did before.
    """

    def __init__(self, ask: Callable[[K], T], *, worker: Worker, answered: Callable[[], None]) -> None:
        self.unanswered: frozenset[K] = frozenset()
        self._ask = ask
        self._worker = worker
        self._answered = answered
        self._hanging: set[K] = set()
        self._last: dict[K, T] = {}

    async def answers(self, about: Iterable[K], *, deadline: float) -> dict[K, T]:
        """Return the answers of all but those that hang, and of these the last one if there was any.

        ``deadline`` is in seconds for each of them.
        """
        asked = list(dict.fromkeys(about))
        found: dict[K, T] = {}
        rest = [one for one in asked if one not in self._hanging]
        while rest and len(self._hanging) < MOST_HANGING:
            asking = _Asking(self._ask, rest)
            try:
                await self._worker.run(asking.run, deadline=deadline)
            except DeadlineMissed as missed:
                asking.given_up = True
                got = list(asking.answers)
                if len(got) < len(rest):
                    self._leave(rest[len(got)], missed.future, asking, len(got))
            else:
                got = asking.answers
            found |= zip(rest, got, strict=False)
            rest = rest[len(got) + 1 :]
        self.unanswered = frozenset(asked) - found.keys()
        known = self._last | found
        self._last = {one: known[one] for one in asked if one in known}
        return dict(self._last)

    def _leave(self, hanging: K, call: asyncio.Future[Any], asking: _Asking[K, T], place: int) -> None:
        self._hanging.add(hanging)
        place = len(asking.answers)

        def returned(_: asyncio.Future[Any]) -> None:
            self._hanging.discard(hanging)
            if len(asking.answers) > place:
                answer, before = asking.answers[place], self._last.get(hanging)
                self._last[hanging] = answer
                if answer == before:
                    return
            self._answered()

        call.add_done_callback(returned)


class _Asking(Generic[K, T]):
    """One call in the thread: the answers so far, in order; setting ``given_up`` ends it before the next."""

    def __init__(self, ask: Callable[[K], T], about: list[K]) -> None:
        self.answers: list[T] = []
        self.given_up = False
        self._ask = ask
        self._about = about

    def run(self) -> None:
        for one in self._about:
            if self.given_up:  # those behind one that hung are in another call by now
                return
            renew_deadline()
            self.answers.append(self._ask(one))
