"""Read how a daemon was started, as it left that in its snapshot and registration: how to start it again.

Only what this user or root wrote is believed, and only options that say where and what to watch, for a
person is going to type it. Imported only when no daemon answers.
"""

from __future__ import annotations

import os

from coordd.util.shell import shell_words

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping

OPTIONS = frozenset(("--workspace", "--layout", "--socket", "--config", "--log-level"))
ARGUMENTS = "start"
"""The field for the options, a list; null of one that a service manager started."""
VARIABLES = "start_environment"
"""The field for the names of the variables that the configuration was taken from as well."""
_MOST = 2000


class Start:
    """Options that start the same daemon again, the variables it had, and whether only root can."""

    __slots__ = ("arguments", "as_root", "variables")

    def __init__(self, arguments: list[str], variables: list[str], *, as_root: bool) -> None:
        self.arguments = arguments
        self.variables = variables
        self.as_root = as_root

    @property
    def where(self) -> list[str]:
        """Return the options of all commands that are about this daemon, such as ``coordd check-config``."""
        pairs = zip(self.arguments[::2], self.arguments[1::2], strict=True)
        return [word for pair in pairs if pair[0] != "--log-level" for word in pair]

    def command(self, verb: str) -> str:
        """Return the command of ``coordd`` to type."""
        logged = verb in ("start", "restart", "run")
        words = shell_words(["coordd", verb, *(self.arguments if logged else self.where)])
        return f"sudo {words}" if self.as_root else words

    def missing(self, environ: Mapping[str, str]) -> list[str]:
        """Return the variables that it had and this environment has not."""
        return [name for name in self.variables if not environ.get(name)]


def start_of(about: object, owner: int) -> Start | None:
    """Return how to start a daemon again by what it wrote of itself; None where it does not say.

    Args:
        about: ``daemon`` of the status document, or a registration.
        owner: the uid that wrote it.
    """
    me = os.geteuid()
    if owner not in (0, me) or not isinstance(about, dict):
        return None
    arguments, variables = about.get(ARGUMENTS), about.get(VARIABLES)
    if not isinstance(arguments, list) or not 0 < len(arguments) <= _MOST or len(arguments) % 2:
        return None
    if not all(isinstance(word, str) and word for word in arguments):
        return None
    if not OPTIONS.issuperset(arguments[::2]):
        return None
    named = [name for name in variables if _is_ours(name)] if isinstance(variables, list) else []
    return Start(arguments, named, as_root=owner == 0 != me)


def _is_ours(name: object) -> bool:
    if not isinstance(name, str) or not name.isascii() or not name.replace("_", "").isalnum():
        return False
    return name == "REDIS_URL" or name.startswith("COORDD_")
