"""Look everywhere for the homes of a coding agent, and watch where another may appear.

One that hangs hides no other. All that may block runs in a worker; what does not answer in time is left alone
until it does, and what was found of it before stays.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Iterable
from typing import NamedTuple

from coordd.runtime.one_by_one import OneByOne
from coordd.runtime.worker import Worker
from coordd.sources.sessions.homes import (
    MAX_ENTRIES,
    MAX_HOMES,
    MAX_OF_ONE,
    Awaited,
    Beside,
    Candidate,
    FoundHome,
    HomesWanted,
    Look,
    found_homes,
    in_turns,
    list_beside,
    look_at,
    named_candidates,
    usual_home,
)
from coordd.sources.sessions.users import MAX_USERS, Owner, Users, list_users, owner_of
from coordd.sources.sessions.watch import APPEARED, GONE, Tell, Watch
from coordd.util import inotify as ino
from coordd.util.fields import jsonable

log = logging.getLogger(__name__)

DEADLINE = 1.0
"""Seconds for one candidate, or one process."""
MAX_WATCHED = 64
"""Folders beside the usual home that are watched until they are homes; a rescan finds the others."""
_OWNER = "parents"
_MASK = APPEARED | GONE | ino.ONLYDIR
_TRIES = 3


class Found(NamedTuple):
    """What was found: homes, and candidates that do not answer of which nothing was known.

    ``whole``: all was looked at, and is watched. ``cut`` says what was left out, in sentences.
    """

    homes: tuple[FoundHome, ...] = ()
    unanswered: tuple[str, ...] = ()
    whole: bool = True
    cut: tuple[str, ...] = ()


class HomeSearch:
    """Look for homes.

    Args:
        worker: the thread; it has to be replaceable.
        watch: tells of changes.
        program, section: how people call the program, and its table in the configuration.
        running: returns the pids of programs that may name a home.
        home_of: returns the home that one of them names, None for none; it may wait for the process.
        appeared: is called on the loop when something has appeared or gone that may make or end a home.
        answered: is called on the loop when something answers that did not.
    """

    def __init__(
        self,
        *,
        worker: Worker,
        watch: Watch,
        program: str,
        section: str,
        running: Callable[[], Iterable[int]],
        home_of: Callable[[int], str | None],
        appeared: Callable[[], None],
        answered: Callable[[], None],
    ) -> None:
        self._watch = watch
        self._program, self._section = program, section
        self._appeared = appeared
        self._lists = OneByOne(self._list, worker=worker, answered=answered)
        self._looks = OneByOne(self._look, worker=worker, answered=answered)
        self._programs: OneByOne[None, list[int]] = OneByOne(
            lambda _: list(running()), worker=worker, answered=answered
        )
        self._names = OneByOne(home_of, worker=worker, answered=answered)
        self._users = OneByOne(self._list_users, worker=worker, answered=answered)
        self._owners = OneByOne(owner_of, worker=worker, answered=answered)
        self._named: dict[str, Owner | None] = {}  # by programs, of which some may have ended
        self._beside: list[Beside] = []
        self._everybody = Users()
        self._told: frozenset[Hashable] = frozenset()
        self._unwatched = False
        self._armed: set[Hashable] = set()

    async def find(self, wanted: HomesWanted) -> Found:
        """Return what there is now."""
        self._unwatched = False
        candidates = named_candidates(wanted)
        searched = [wanted] if wanted.user is not None else []
        self._everybody = Users()
        if wanted.searches:
            owners = await self._ask_programs(everybody=wanted.users is not None)
            candidates += [Candidate(path, "running") for path in self._named]
            if wanted.users is not None:
                searched = await self._of_everybody(wanted, wanted.users, owners)
                candidates += [usual_home(one, one.user) for one in searched if one.user is not None]
            listed = await self._lists.answers(searched, deadline=DEADLINE)
            self._beside = [listed.get(one, Beside()) for one in searched]
            candidates += [Candidate(path, "beside") for path in self._all_beside(wanted)]
        candidates = list(dict.fromkeys(candidates))
        for armed in self._armed - {*candidates, *(one.user for one in searched), wanted.users}:
            self._disarm(armed)
        looks = await self._looks.answers(candidates, deadline=DEADLINE)
        gone = [one.path for one, look in looks.items() if one.why == "running" and not look.is_home]
        self._named = {path: owner for path, owner in self._named.items() if path not in gone}
        hanging: frozenset[Hashable] = self._looks.unanswered | self._lists.unanswered
        hanging |= self._names.unanswered | self._users.unanswered | self._owners.unanswered
        unknown = [one for one in candidates if one not in looks]
        failing = any(one.failed for one in looks.values())
        self._say(hanging)
        homes = [
            *found_homes(looks, candidates),
            # one that is named is a source all the same, which says itself that it cannot be read
            *(FoundHome(one.path, named=True) for one in unknown if one.why == "named"),
        ]
        return Found(
            tuple(homes[:MAX_HOMES]),
            (*(one.path for one in unknown if one.why != "named"), *self._silent_users),
            whole=not (hanging or self._programs.unanswered or self._unwatched or failing),
            cut=tuple(self._cut(len(homes))),
        )

    @property
    def _silent_users(self) -> list[str]:
        return [one.user for one in self._lists.unanswered if one.user is not None]

    async def _ask_programs(self, *, everybody: bool) -> list[Owner]:
        """Note which homes programs name; one stays when its program ends, for as long as it is there.

        Returns:
            the owners of those that run, each once; none where the own user's alone are looked for.
        """
        pids = (await self._programs.answers([None], deadline=DEADLINE)).get(None, [])
        named = await self._names.answers(pids, deadline=DEADLINE)
        owners = await self._owners.answers(pids if everybody else [], deadline=DEADLINE)
        told = sorted((path, pid) for pid, path in named.items() if path is not None)
        now = {path for path, _ in told}
        for path, owner in [(path, owners.get(pid)) for path, pid in told if path not in self._named]:
            whose = [one for one, other in self._named.items() if other == owner]
            if everybody and len(whose) >= MAX_OF_ONE:
                left = [one for one in whose if one not in now]
                if not left:
                    continue
                del self._named[left[0]]
            self._named[path] = owner
        while len(self._named) > MAX_HOMES:
            del self._named[next(iter(self._named))]
        return sorted({one for one in owners.values() if one is not None}, key=lambda one: one.uid)

    async def _of_everybody(
        self, wanted: HomesWanted, folder: str, owners: Iterable[Owner]
    ) -> list[HomesWanted]:
        """Return what to look for with each user: first with those whose programs run."""
        found = await self._users.answers([folder], deadline=DEADLINE)
        self._everybody = found.get(folder, Users())
        running = [one.directory for one in owners if one.directory is not None]
        users = list(dict.fromkeys([*running, *self._everybody.directories]))
        self._everybody = self._everybody._replace(cut=self._everybody.cut or len(users) > MAX_USERS)
        return [wanted.of(user) for user in users[:MAX_USERS]]

    def _all_beside(self, wanted: HomesWanted) -> Iterable[str]:
        most = MAX_OF_ONE if wanted.users is not None else MAX_ENTRIES
        return in_turns([one.paths for one in self._beside if one.paths], most)

    def _cut(self, homes: int) -> Iterable[str]:
        if homes > MAX_HOMES:
            yield f"more than {MAX_HOMES} homes of {self._program}: the rest is not read"
        if self._everybody.cut:
            yield (
                f"more than {MAX_USERS} users: the homes of the rest are not searched for {self._program}; "
                f"name them under {self._section}.homes in the configuration"
            )
        if any(one.cut for one in self._beside):
            yield (
                f"more than {MAX_ENTRIES:,} names in the home directory: the rest is not searched for homes "
                f"of {self._program}; name them under {self._section}.homes in the configuration"
            )

    def _say(self, silent: frozenset[Hashable]) -> None:
        for one in silent - self._told:
            place = one.path if isinstance(one, Candidate) else one
            place = place.user if isinstance(place, HomesWanted) else place
            words = f"process {place}" if isinstance(place, int) else jsonable(str(place))
            log.warning(
                "looking for homes of %s: %s does not answer within %g s", self._program, words, DEADLINE
            )
        self._told = silent

    # In the thread.

    def _list_users(self, folder: str) -> Users:
        self._arm(folder, Awaited(folder, ("",)))
        return list_users(folder)

    def _list(self, wanted: HomesWanted) -> Beside:
        user = wanted.user or ""
        self._arm(user, Awaited(user, (wanted.folder,)))
        return list_beside(user, wanted.folder) if wanted.beside else Beside()

    def _look(self, candidate: Candidate) -> Look:
        """Look at a candidate, and watch what would make it a home; again then, for what came meanwhile."""
        look, watched = look_at(candidate), None
        for _ in range(_TRIES):
            if look.awaited is None or look.awaited == watched:
                break
            watched = look.awaited
            self._arm(candidate, watched)
            look = look_at(candidate)
        if look.awaited is None:
            self._disarm(candidate)
        return look

    def _disarm(self, owner: Hashable) -> None:
        if owner in self._armed:
            self._armed.discard(owner)
            self._watch.forget((_OWNER, self._program, owner))

    def _arm(self, owner: Hashable, awaited: Awaited) -> None:
        beside = sum(isinstance(one, Candidate) for one in self._armed)
        if owner not in self._armed and isinstance(owner, Candidate) and beside >= MAX_WATCHED:
            self._unwatched = True
            return
        self._armed.add(owner)
        tell = self._teller(awaited.names)
        if self._watch.arm((_OWNER, self._program, owner), [(awaited.folder, _MASK)], tell) is not None:
            self._unwatched = True

    def _teller(self, names: tuple[str, ...]) -> Tell:
        def tell(mask: int, name: str) -> None:
            """Note what appeared; files whose names begin alike come and go all the time."""
            ours = name in names or (mask & ino.ISDIR and name.startswith(names))
            if not name or ours:
                self._appeared()

        return tell
