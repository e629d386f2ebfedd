"""Say what there is to say of one home, for people: how it is followed, and what is not understood. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol

from coordd.agents.traces import AgentTraces
from coordd.sources.base import Following


class Reported(Protocol):
    """A session: whether it has ended, whether anybody was told of it, and what."""

    ended: bool
    told: bool
    traces: AgentTraces | None


@dataclass(frozen=True, slots=True)
class HomeReport:
    """What there is to say of one home, for people: how it is followed, and what is not understood.

    ``kind`` is that of its sessions, ``sessions`` the number of living ones that are shown. ``statuses`` maps
    versions of the program to the statuses that coordd does not know; ``unrecognised`` are the versions that
    write transcripts in which nothing is known. An unknown version is "?".
    """

    kind: str
    home: str
    following: str
    reason: str | None
    sessions: int
    statuses: Mapping[str, frozenset[str]]
    unrecognised: frozenset[str]

    @property
    def unknown_words(self) -> list[dict[str, str]]:
        """What is not understood, as the status document has it: program, version and what."""
        words = [(version, f"status {word!r}") for version, found in self.statuses.items() for word in found]
        words += [(version, "a transcript in which nothing is known") for version in self.unrecognised]
        return [{"program": self.kind, "version": version, "what": what} for version, what in sorted(words)]


def report_of(kind: str, home: str, following: Following, live: Collection[Reported]) -> HomeReport:
    """Return what there is to say of a home, of its sessions as they were read last."""
    shown = [one.traces for one in live if one.told and not one.ended]
    living = [traces.session for traces in shown if traces is not None and traces.session is not None]
    statuses: dict[str, set[str]] = {}
    for one in living:
        if one.undeclarable is not None:
            statuses.setdefault(one.version or "?", set()).add(one.undeclarable)
    return HomeReport(
        kind=kind,
        home=home,
        following=following.state,
        reason=following.reason,
        sessions=len(shown),
        statuses={version: frozenset(words) for version, words in statuses.items()},
        unrecognised=frozenset(
            one.version or "?" for one in living if one.turn is not None and not one.turn.recognised
        ),
    )
