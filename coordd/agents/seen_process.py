"""Hold what is known of the process of an agent once coordd saw it alive. Pure values."""

from __future__ import annotations

from dataclasses import dataclass

from coordd.host.process_facts import Process


@dataclass(frozen=True, slots=True)
class End:
    """The end of a process, judged once: whether it was in order, and when it was told.

    ``wall`` is epoch seconds, ``mono`` the monotonic clock: for an end while coordd did not run, that of the
    first look afterwards.
    """

    orderly: bool
    wall: float
    mono: float


@dataclass(frozen=True, slots=True)
class SeenProcess:
    """A process that coordd saw alive, and what became of it.

    ==========  =========  ==================================================================
    ``end``     ``clear``  meaning
    ==========  =========  ==================================================================
    None        True       it lives
    None        False      it was not found dead, but whether it lives cannot be told now
    an end      True       it has ended
    ==========  =========  ==================================================================

    ``shared`` is true where several ids of one source name this process: it is then that of who registered
    them, whose life proves nothing of each, but whose death ends all. ``certain`` is true where a source saw
    that it is this agent's, as the one that works on its session: then its life counts, shared or not.
    """

    process: Process
    end: End | None = None
    clear: bool = True
    shared: bool = False
    certain: bool = False

    @property
    def lives(self) -> bool:
        """Whether it proves that the agent lives."""
        return self.end is None and self.clear and (self.certain or not self.shared)
