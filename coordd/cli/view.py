"""Hold how a text for people is shown: its colours, its width, whose home is ``~``. Imports little."""

from __future__ import annotations

from coordd.cli.look import ROWS

_WIDEST = 200


class View:
    """How to show a text.

    ``columns`` is the width of the window, None for as much as it takes. ``home`` is the home directory of
    who reads. With ``old`` what is shown comes from a daemon that does not answer: no state has a colour, and
    no command is offered. Times are local, or with ``utc`` UTC. A status shows so many ``agents`` at most in
    rows of their own, and so many entries of what needs a human.
    """

    __slots__ = ("agents", "colour", "columns", "home", "needs", "old", "utc")

    def __init__(
        self,
        *,
        colour: bool = False,
        columns: int | None = None,
        home: str | None = None,
        old: bool = False,
        utc: bool = False,
        agents: int = ROWS,
        needs: int = ROWS,
    ) -> None:
        self.colour = colour
        self.columns = columns
        self.home = home
        self.old = old
        self.utc = utc
        self.agents = agents
        self.needs = needs

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
        return self._with(old=True)

    def shorter(self, *, agents: int, needs: int) -> View:
        """Return the same view with fewer agents and entries."""
        return self._with(agents=agents, needs=needs)

    def _with(self, *, old: bool | None = None, agents: int | None = None, needs: int | None = None) -> View:
        return View(
            colour=self.colour,
            columns=self.columns,
            home=self.home,
            old=self.old if old is None else old,
            utc=self.utc,
            agents=self.agents if agents is None else agents,
            needs=self.needs if needs is None else needs,
        )
