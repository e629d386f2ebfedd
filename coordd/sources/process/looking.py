"""Look at one process: which kind of agent it is, whose, and where it works. It may hang: in a thread."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable

from coordd.host import processes
from coordd.host.process_facts import ProbeFailed, ProcessFacts
from coordd.sources.process.families import SeenProgram
from coordd.sources.process.programs import WORDS_READ, may_be_agent, program_of


def watched_uids(*, everyone: bool) -> Callable[[ProcessFacts], bool]:
    """Return whether a process is worth a look, by what was seen of it: everyone's, or the own user's."""
    own = os.geteuid()
    return lambda seen: (everyone or seen.uid == own) and may_be_agent(seen.name)


def look_at(seen: ProcessFacts, *, everyone: bool) -> SeenProgram | None:
    """Return what is shown of a process; None: it is no agent that is to be listed, or it has ended.

    Args:
        seen: what was seen of it without waiting.
        everyone: list those as well whose own files a source reads, for it cannot read those of others.
    """
    words = processes.words(seen.process, WORDS_READ)
    program = None if words is None else program_of(words)
    if program is None or (program.has_source and not everyone):
        return None
    return SeenProgram(
        program=program,
        process=seen.process,
        parent=seen.parent,
        started=seen.started,
        user=_user(seen.uid),
        cwd=None if seen.inner else _cwd(seen),  # a container's paths are not this machine's
        tty=seen.tty,
        image=seen.image,
    )


def _cwd(seen: ProcessFacts) -> str | None:
    try:
        whole = processes.look(seen.process.pid)
    except ProbeFailed:
        return None
    if whole is None or whole.process != seen.process or whole.cwd is None:
        return None
    return whole.cwd if whole.cwd.startswith("/") and not whole.cwd.endswith(" (deleted)") else None


def _user(uid: int | None) -> str | None:
    if uid is None:
        return None
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return str(uid)
