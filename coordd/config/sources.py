"""Find the configured values in files and in the environment; refuse unknown keys and variables.

Pure: text and a mapping in, raw values with their place out. kinds.py parses the values.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from coordd.config.kinds import Surroundings, did_you_mean, path
from coordd.config.redis_url import public_url
from coordd.config.schema import BY_NAME, BY_VARIABLE, KEYS, OTHER_VARIABLES, SECTIONS
from coordd.errors import ConfigError

_DASHBOARD = "COORDD_DASHBOARD_"  # the dashboard is another program
PROJECTS = "project"
"""The tables of an owner's file that count for one project each."""
ALERTS = "alert"
"""The tables of an owner's file that are coordd-alert's: `coordd-alert check` says what is wrong in them."""
_PATH = path()
_SHOWN = 20  # entries of a list
_SHOWN_BITS = 256
_PROJECTS_EXPECTED = 'expected tables such as [project."~/src/app".coordination]'


@dataclass(frozen=True, slots=True)
class Given:
    """A raw value, the place that gave it (a file, a variable, a flag), and its key's dotted name.

    ``label`` is what an error calls the key, if not by its name.
    """

    value: object
    where: str
    around: Surroundings
    key: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class OwnerFile:
    """The content of an owner's file: its keys, and those of each ``[project."PATH"]`` by path."""

    keys: Mapping[str, Given] = field(default_factory=dict)
    projects: Mapping[str, Mapping[str, Given]] = field(default_factory=dict)


def from_file(text: str, name: str, around: Surroundings) -> OwnerFile:
    """Parse an owner's TOML file; the paths of projects stay as they are written.

    Raises:
        ConfigError: it is not TOML, or has an unknown section or key.
    """
    tables = parse_toml(text, name)
    tables.pop(ALERTS, None)
    projects: dict[str, Mapping[str, Given]] = {}
    theirs = tables.pop(PROJECTS, {})
    if not isinstance(theirs, dict):
        raise ConfigError(name, PROJECTS, None, _PROJECTS_EXPECTED)
    for written, sections in theirs.items():
        label = f"{PROJECTS}.{json.dumps(written, ensure_ascii=False)}"
        if not isinstance(sections, dict):
            raise ConfigError(name, label, None, _PROJECTS_EXPECTED)
        projects[written] = _keys_of(sections, name, around, f"{label}.")
    return OwnerFile(_keys_of(tables, name, around, ""), projects)


def _keys_of(tables: Mapping[str, object], name: str, around: Surroundings, prefix: str) -> dict[str, Given]:
    found = {}
    for section, table in tables.items():
        if section not in SECTIONS:
            raise ConfigError(name, prefix + section, None, unknown_section(section))
        if not isinstance(table, dict):
            raise ConfigError(name, prefix + section, None, f"expected a table, [{prefix}{section}]")
        for key_name, value in table.items():
            dotted = f"{section}.{key_name}"
            if dotted not in BY_NAME:
                raise ConfigError(name, prefix + dotted, None, unknown_key(section, key_name))
            found[dotted] = Given(value, name, around, dotted, prefix + dotted)
    return found


def table_of(
    root: str | None, owner: OwnerFile, name: str, around: Surroundings, canonical: Callable[[str], str]
) -> Mapping[str, Given]:
    """Return the owner's table for the project at ``root``; empty if there is none.

    Raises:
        ConfigError: a path is invalid, or two tables are for this project.
    """
    found: dict[str, Mapping[str, Given]] = {}
    for written, keys in owner.projects.items():
        label = f"{PROJECTS}.{json.dumps(written, ensure_ascii=False)}"
        try:
            path = str(_PATH.parse(written, around))
        except ValueError as error:
            raise ConfigError(name, label, None, str(error)) from None
        if root is not None and canonical(path) == canonical(root):
            if found:
                raise ConfigError(
                    name, label, None, f"the same project as {next(iter(found))}; one table is enough"
                )
            found[label] = keys
    return next(iter(found.values()), {})


def from_environment(environ: Mapping[str, str], around: Surroundings) -> dict[str, Given]:
    """Return the keys that COORDD_* variables set; empty variables count as unset.

    Raises:
        ConfigError: a COORDD_* variable that nothing reads, or two for one key that differ.
    """
    found: dict[str, Given] = {}
    for variable in sorted(environ):
        if not variable.startswith("COORDD_") or variable.startswith(_DASHBOARD):
            continue
        place = variable_place(variable)
        key = BY_VARIABLE.get(variable)
        if key is None:
            if variable in OTHER_VARIABLES:
                continue
            hint = did_you_mean(variable, [*BY_VARIABLE, *OTHER_VARIABLES])
            raise ConfigError(place, "", None, f"no setting of coordd{hint}")
        if not environ[variable]:
            continue
        value = key.kind.from_text(environ[variable])
        other = found.get(key.dotted)
        if other is not None and other.value != value:
            raise ConfigError(place, key.dotted, None, f"another value than in {other.where}")
        found[key.dotted] = Given(value, place, around, key.dotted)
    return found


def showable(value: object, *, is_url: bool = False) -> object:
    """Return the value as an error may show it, without the password of any URL in it."""
    if isinstance(value, str):
        return public_url(value) if is_url or "://" in value else value
    if isinstance(value, (list, tuple)):
        return [
            "[...]" if isinstance(item, (list, tuple)) else showable(item, is_url=is_url)
            for item in value[:_SHOWN]
        ]
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        return "a number of very many digits"  # which Python refuses to write
    return "{...}" if isinstance(value, dict) else value


def variable_place(name: str) -> str:
    """Return what an error calls an environment variable."""
    return f"environment variable {name}"


def parse_toml(text: str, name: str) -> dict[str, object]:
    """Return the tables of a TOML file.

    Raises:
        ConfigError: it is not TOML.
    """
    import tomllib  # a daemon without a file needs none

    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(name, "", None, "no valid TOML: nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, and an integer with too many digits
        raise ConfigError(name, "", None, f"no valid TOML: {error}") from error


def unknown_section(name: str) -> str:
    """Return the error text for an unknown section, with a suggestion."""
    homes = [key.section for key in KEYS if key.name == name]
    if homes:
        return f"no section; did you mean {name!r} in [{homes[0]}]?"
    return f"no section{did_you_mean(name, SECTIONS)}"


def unknown_key(section: str, name: str) -> str:
    """Return the error text for an unknown key, with a suggestion."""
    siblings = [key.name for key in KEYS if key.section == section]
    hint = did_you_mean(name, siblings)
    homes = [key.section for key in KEYS if key.name == name]
    if not hint and homes:
        hint = f"; it belongs in [{homes[0]}]"
    return f"no key of this section{hint}"
