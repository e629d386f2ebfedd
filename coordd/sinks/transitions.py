"""Make one notice of each change in what a sink does: it fails, it gives up records, it records again.

::

    what changes                                              the notice
    there is an error, and there was none                     sink.failed
    a record is given up, the first since it last recorded    sink.dropping
    there is no error any more, and nothing waits             sink.recovered, with how many were given up

Pure: the caller says what is so, and keeps calls from two threads apart.
"""

from __future__ import annotations

from collections.abc import Callable

from coordd.sinks.base import Notice


class Transitions:
    """Compare what a sink says with what it said before; ``failing`` is whether it failed then.

    Args:
        name: the sink's, as ``status`` has it.
        notify: gets each notice.
        unexplained: why records are given up while there is no error.
    """

    __slots__ = ("_dropped_before", "_dropping", "_name", "_notify", "_unexplained", "failing")

    def __init__(self, name: str, notify: Callable[[Notice], None], *, unexplained: str) -> None:
        self.failing = False
        self._name = name
        self._notify = notify
        self._unexplained = unexplained
        self._dropping = False
        self._dropped_before = 0

    def note(self, error: str | None, *, dropped: int, recovered: bool = True) -> None:
        """Report what has changed.

        Args:
            error: why it fails, in words; None where it does not.
            dropped: how many records it has given up so far.
            recovered: whether everything that waited is written; until then it is failing.
        """
        if dropped != self._dropped_before and not self._dropping:
            self._dropping = True
            self._say("dropping", f"gives up records: {error or self._unexplained}", dropped=dropped)
        if error is not None and not self.failing:
            self.failing = True
            self._say("failed", f"cannot record: {error}", error=error)
        elif error is None and self.failing and recovered:
            lost, self._dropped_before = dropped - self._dropped_before, dropped
            self.failing = self._dropping = False
            self._say("recovered", f"records again; {lost} records were dropped meanwhile", dropped=lost)

    def _say(self, what: str, message: str, **detail: object) -> None:
        self._notify(Notice(f"sink.{what}", self._name, f"the {self._name} sink {message}", detail))
