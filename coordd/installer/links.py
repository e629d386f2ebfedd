"""Put the system's programs and manual pages where everybody finds them: links below ``/usr/local``.

The rule: nothing that somebody else put there is replaced or removed. A link is coordd's if it leads to what
it would lead to now, or, left over from a removed installation, to a file of that name that is gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from coordd.errors import InstallError
from coordd.installer.readers import check_owner
from coordd.installer.services import PROGRAMS, Programs
from coordd.installer.steps import Done, cannot

LOCAL = "/usr/local"
_ON_EVERY_PATH = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")
_PAGES = ("man1/coordd.1", "man1/coordctl.1", "man1/coordd-alert.1", "man5/coordd.toml.5")


@dataclass(frozen=True, slots=True)
class Link:
    """Make a symbolic link at ``path`` that leads to ``target``; a stranger's file there stays."""

    path: str
    target: str

    def describe(self) -> str:
        """Return where it is and where it leads."""
        if _is_strangers(self.path, self.target):
            return f"leave {self.path}, which is not coordd's (meant for {self.target})"
        return f"link {self.path} to {self.target}"

    def do(self) -> Done:
        """Make the link, unless it is there or something else is."""
        if _is_strangers(self.path, self.target):
            return "kept"
        if _leads_to(self.path) == self.target:
            return "unchanged"
        temporary = f"{self.path}.coordd-new"
        try:
            os.makedirs(os.path.dirname(self.path), exist_ok=True)
            if os.path.islink(temporary):
                os.unlink(temporary)
            os.symlink(self.target, temporary)
            os.rename(temporary, self.path)
        except OSError as error:
            raise cannot("link", self.path, error) from error
        return "linked"


@dataclass(frozen=True, slots=True)
class Unlink:
    """Remove the link at ``path`` if it leads to ``target``, or is left over from such a one."""

    path: str
    target: str

    def describe(self) -> str:
        """Return the link's path."""
        return f"remove {self.path}"

    def do(self) -> Done:
        """Remove the link, unless it is missing or a stranger's."""
        if not os.path.lexists(self.path):
            return "absent"
        if _is_strangers(self.path, self.target):
            return "kept"
        try:
            os.unlink(self.path)
        except OSError as error:
            raise cannot("remove", self.path, error) from error
        return "removed"


def links(programs: Programs, *, local: str = LOCAL) -> Iterator[tuple[str, str]]:
    """Yield each link and its target, for the programs of an installation and the pages that lie beside them.

    None for programs that every shell finds already, or that are no commands of their own.
    """
    for name in PROGRAMS:
        (program, *arguments) = programs[name]
        if arguments or os.path.dirname(program) in (*_ON_EVERY_PATH, f"{local}/bin"):
            return
        yield f"{local}/bin/{name}", program
    prefix = os.path.dirname(os.path.dirname(programs["coordd"][0]))
    for page in _PAGES:
        if os.path.isfile(f"{prefix}/share/man/{page}"):
            yield f"{local}/share/man/{page}", f"{prefix}/share/man/{page}"


def linking(programs: Programs, *, local: str = LOCAL) -> list[Link]:
    """Return the steps that make the links; none to what others than root could replace.

    Root finds programs in the same place: it would run what somebody else put there.
    """
    steps = [Link(path, target) for path, target in links(programs, local=local)]
    return [] if not steps or check_owner(programs["coordd"][0]) else steps


def unlinking(programs: Programs, *, local: str = LOCAL) -> list[Unlink]:
    """Return the steps that remove the links, those to pages that are gone already among them."""
    prefix = os.path.dirname(os.path.dirname(programs["coordd"][0]))
    pages = [(f"{local}/share/man/{page}", f"{prefix}/share/man/{page}") for page in _PAGES]
    found = dict([*links(programs, local=local), *pages])
    return [Unlink(path, target) for path, target in found.items() if os.path.islink(path)]


def _leads_to(path: str) -> str | None:
    try:
        return os.readlink(path)
    except OSError:
        return None


def _is_strangers(path: str, target: str) -> bool:
    """Return whether something is there that coordd did not make."""
    if not os.path.lexists(path):
        return False
    leads = _leads_to(path)
    gone = (
        leads is not None and os.path.basename(leads) == os.path.basename(path) and not os.path.exists(path)
    )
    return leads != target and not gone


def not_linked(error: InstallError) -> str:
    """Return the line that says why there is no link: coordd runs without."""
    return f"{'left out':<9}  {str(error).partition(chr(10))[0]}"
