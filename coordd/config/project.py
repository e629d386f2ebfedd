"""Read a project's own configuration: a few keys within narrow bounds, and nothing that stops a daemon.

It comes with a clone, so anybody who can commit may have written it. Pure: text in, values and problems out.
A key or value that is not allowed is ignored and becomes a problem in words; nothing here raises. A problem
names file, key and what was expected; number and length of problems are bounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from coordd.config.kinds import Surroundings
from coordd.config.schema import BY_NAME, SECTIONS
from coordd.config.sources import PROJECTS, Given, parse_toml, showable, unknown_key, unknown_section
from coordd.errors import ConfigError
from coordd.util.text import escape

MAX_BYTES = 64 * 1024
MAX_LINE = 500
"""Characters of a line: the time to read TOML grows with the square of a key's parts, which share a line."""
MAX_PROBLEMS = 8
"""Problems that are listed; more are only counted."""
MAX_LENGTH = 1000
"""Characters of one problem."""
_MAX_NAME = 80


@dataclass(slots=True)
class ProjectFileProblems:
    """Collect in words what is wrong with a project's file, while it is read.

    ``whole``: nothing of it counts.
    """

    file: str
    owner: str
    root: str
    whole: bool = False
    _named: list[str] = field(default_factory=list)
    _more: int = 0

    def add(self, key: str, expected: str, *, value: object = None, elsewhere: bool = False) -> None:
        """Add a problem; ``elsewhere`` means that the owner's file may set the key, and names that file."""
        if self.full:
            self._more += 1
            return
        name = key if len(key) <= _MAX_NAME else key[: _MAX_NAME - 3] + "..."
        said = f"{ConfigError(self.file, name, value, expected)}; it is ignored"
        if elsewhere:
            said += f". It belongs in {self.owner}, there in {self.table(key)}"
        self._named.append(clipped(said))

    @property
    def full(self) -> bool:
        """Whether further problems are only counted."""
        return len(self._named) >= MAX_PROBLEMS

    def table(self, key: str) -> str:
        """Return the table of the owner's file that sets a key for this project alone."""
        return f"[project.{json.dumps(self.root, ensure_ascii=False)}.{key.partition('.')[0]}]"

    def sentences(self) -> tuple[str, ...]:
        """Return all problems as sentences."""
        if not self._more:
            return tuple(self._named)
        return (*self._named, clipped(f"{self.file}: {self._more} more keys are ignored"))


def clipped(text: str) -> str:
    """Return a problem as it is shown: escaped, and cut at MAX_LENGTH."""
    shown = escape(text)
    return shown if len(shown) <= MAX_LENGTH else shown[: MAX_LENGTH - 3] + "..."


def from_project(text: str, environ: Mapping[str, str], problems: ProjectFileProblems) -> dict[str, Given]:
    """Return the valid keys of a project's file; report the others to ``problems``."""
    # split where TOML ends a line: splitlines() would also split at U+0085 and U+2028, within a key
    if any(len(line) > MAX_LINE for line in text.split("\n")):
        problems.whole = True
        problems.add("", f"expected lines of at most {MAX_LINE} characters")
        return {}
    try:
        tables = parse_toml(text, problems.file)
    except ConfigError as error:
        problems.whole = True
        problems.add("", error.expected)
        return {}
    around = Surroundings(environ=environ, base=None)
    found = {}
    for section, table in tables.items():
        if section == PROJECTS:
            problems.add(section, f"tables of projects belong in {problems.owner}")
        elif section not in SECTIONS:
            problems.add(section, "" if problems.full else unknown_section(section))
        elif not isinstance(table, dict):
            problems.add(section, f"expected a table, [{section}]")
        else:
            for name, value in table.items():
                given = Given(value, problems.file, around, f"{section}.{name}")
                if _counts(section, name, given, problems):
                    found[given.key] = given
    return found


def _counts(section: str, name: str, given: Given, problems: ProjectFileProblems) -> bool:
    dotted = given.key
    key = BY_NAME.get(dotted)
    if key is None:
        problems.add(dotted, "" if problems.full else unknown_key(section, name))
        return False
    if key.project is None:
        problems.add(dotted, "a project's own file may not set this", elsewhere=True)
        return False
    try:
        key.project.parse(given.value, given.around)
    except ValueError as error:
        elsewhere = True
        try:
            key.kind.parse(given.value, given.around)
        except ValueError:
            elsewhere = False  # it would be invalid there as well
        problems.add(dotted, str(error), value=showable(given.value), elsewhere=elsewhere)
        return False
    return True
