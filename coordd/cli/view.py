"""Hold how a text for people is shown: its colours, its width, whose home is ``~``. Imports little."""

from __future__ import annotations

_WIDEST = 200


class View:
    """How to show a text.

    ``columns`` is the width of the window, None for as much as it takes. ``home`` is the home directory of
    who reads. With ``old`` what is shown comes from a daemon that does not answer: no state has a colour, and
    no command is offered. Times are local, or with ``utc`` UTC.
    """

    __slots__ = ("colour", "columns", "home", "old", "utc")

    def __init__(
        self,
        *,
        colour: bool = False,
        columns: int | None = None,
        home: str | None = None,
        old: bool = False,
        utc: bool = False,
    ) -> None:
        self.colour = colour
        self.columns = columns
        self.home = home
        self.old = old
        self.utc = utc

    @property
    def line(self) -> int:
        """The columns that one line of text may take; no window is as wide as the longest path."""
        return _WIDEST if self.columns is None else self.columns

    @property
    def paints(self) -> bool:
        """Whether states have colours."""
        return self.colour and not self.old

    def of_the_past(self) -> View:
        """Return the same view for what was seen before the daemon was lost."""
        return View(colour=self.colour, columns=self.columns, home=self.home, old=True, utc=self.utc)
