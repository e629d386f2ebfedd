"""Decide whether the process that a registration names is the agent's: one table, the first row that fits.

Pure: what is claimed, what a look at the process told, and the time are passed in. The table is the
documentation. A process that a source saw alive by itself (a session's) needs no rule.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from coordd.agents.process_claim import ProcessClaim
from coordd.host.process_facts import Process, ProcessFacts

LIVES = 1.0
"""Seconds after its registration was written for which a process has to live on."""
COARSE = 1.0
"""Seconds by which a file may seem older than it is: some file systems count whole seconds."""
_ANY_HOST = ("", "localhost", "localhost.localdomain")


@dataclass(frozen=True, slots=True)
class Here:
    """This machine: the names that it goes by, and coordd's own pid."""

    names: frozenset[str]
    own_pid: int

    def fits(self, hostname: str | None) -> bool | None:
        """Return whether a name is one of this machine's; None where it names no machine.

        Case does not count, nor does the domain where one of both has none.
        """
        wanted = (hostname or "").strip().rstrip(".").casefold()
        if wanted in _ANY_HOST:
            return None
        return any(_same_host(wanted, name.rstrip(".").casefold()) for name in self.names)


@dataclass(frozen=True, slots=True)
class Counts:
    """The process is the agent's: while it lives, the agent does."""

    process: Process


@dataclass(frozen=True, slots=True)
class Refused:
    """The process says nothing of the agent; ``reason`` is why, in words."""

    reason: str


@dataclass(frozen=True, slots=True)
class Later:
    """The process counts if it is there ``after`` so many seconds."""

    process: Process
    after: float


ProcessVerdict = Counts | Refused | Later


@dataclass(frozen=True, slots=True)
class Look:
    """What is known when a claim is judged.

    ``facts`` are of the process that the claim means, None where there is none; ``wall`` is the time of the
    look in epoch seconds. ``waited`` is the process that was there when the claim was judged before.
    """

    claim: ProcessClaim
    facts: ProcessFacts | None
    here: Here
    wall: float
    waited: Process | None = None


@dataclass(frozen=True, slots=True)
class ClaimRow:
    """One row: the condition in words (``when``) and in code (``fits``), and the ``reason`` of a refusal.

    A row without a reason does not refuse.
    """

    number: int
    when: str
    fits: Callable[[Look, ProcessFacts], bool]
    reason: str | None = None


def _names_start(look: Look, _: ProcessFacts) -> bool:
    return look.claim.proc_start is not None


def _start_fits(look: Look, facts: ProcessFacts) -> bool:
    claim = look.claim
    contained = facts.inner and facts.inner_pid == claim.pid
    return facts.process.start == claim.proc_start and (facts.process.pid == claim.pid or contained)


def _of_redis(look: Look, _: ProcessFacts) -> bool:
    return look.claim.owner is None


def _in_workspace(look: Look, facts: ProcessFacts) -> bool:
    cwd = facts.cwd
    return cwd is None or any(_lies_in(cwd, folder) for folder in look.claim.folders)


TABLE: tuple[ClaimRow, ...] = (
    ClaimRow(
        1,
        "it is coordd's own",
        lambda look, facts: facts.process.pid == look.here.own_pid,
        "it is coordd itself",
    ),
    ClaimRow(
        2,
        "Redis names it, without proc_start or without a hostname",
        lambda look, facts: (
            _of_redis(look, facts)
            and (look.claim.proc_start is None or look.here.fits(look.claim.hostname) is None)
        ),
        "an entry of Redis names a process only with proc_start and hostname",
    ),
    ClaimRow(
        3,
        "Redis names it, for another machine",
        lambda look, facts: _of_redis(look, facts) and not look.here.fits(look.claim.hostname),
        "it is of another machine",
    ),
    ClaimRow(4, "proc_start fits, and the pid or that within a container", _start_fits),
    ClaimRow(
        5,
        "proc_start is another",
        _names_start,
        "the process with this pid started at another time than proc_start says",
    ),
    ClaimRow(
        6,
        "the hostname is another machine's",
        lambda look, _: look.here.fits(look.claim.hostname) is False,
        "it is of another machine",
    ),
    ClaimRow(
        7,
        "it runs as another user than the owner of the registration",
        lambda look, facts: facts.uid is None or facts.uid != look.claim.owner,
        "it runs as another user than the owner of the registration",
    ),
    ClaimRow(
        8,
        "it has no command line",
        lambda _, facts: not facts.commanded,
        "it has no command line",
    ),
    ClaimRow(9, "it is pid 1", lambda _, facts: facts.process.pid == 1, "pid 1 is no agent"),
    ClaimRow(
        10,
        "it started after the registration was written",
        lambda look, facts: look.claim.written is None or facts.started > look.claim.written + COARSE,
        "it started after the registration was written",
    ),
    ClaimRow(
        11,
        "its working directory, if readable, lies outside the workspace",
        lambda look, facts: not _in_workspace(look, facts),
        "its working directory lies outside the workspace",
    ),
    ClaimRow(12, f"it lives {LIVES:g} s after the registration was written", lambda *_: True),
)


def judge_claim(look: Look) -> ProcessVerdict:
    """Return whether the process counts, by the first row that fits; without a process it never does."""
    facts = look.facts
    if facts is None:
        return Refused("it is gone a moment later" if look.waited else "there is no such process")
    row = next(row for row in TABLE if row.fits(look, facts))
    if row.reason is not None:
        return Refused(row.reason)
    if row.number < TABLE[-1].number or look.waited == facts.process:
        return Counts(facts.process)
    # a file server's clock may be ahead: no longer than if the file were written now
    after = min(LIVES, (look.claim.written or look.wall) + LIVES - look.wall)
    return Later(facts.process, after) if after > 0 else Counts(facts.process)


def _same_host(one: str, other: str) -> bool:
    if one == other:
        return True
    first, other_first = one.partition("."), other.partition(".")
    return first[0] == other_first[0] and not (first[2] and other_first[2])


def _lies_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
