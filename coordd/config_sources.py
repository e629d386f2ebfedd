"""Where configured values stand: in a file, in the environment. Finds them; refuses what has no place there.

Pure: text and a mapping in, raw values with their place out. What a value means is the business of its kind.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from coordd.config_kinds import Surroundings, did_you_mean
from coordd.config_table import BY_NAME, BY_VARIABLE, KEYS, OTHER_VARIABLES, SECTIONS
from coordd.config_url import public_url
from coordd.errors import ConfigError

_DASHBOARD = "COORDD_DASHBOARD_"  # the dashboard is another program


@dataclass(frozen=True, slots=True)
class Given:
    """A raw value, and where it stood: a file, ``environment variable X``, a flag."""

    value: object
    where: str
    around: Surroundings


def from_file(text: str, name: str, around: Surroundings, user_file: str | None) -> dict[str, Given]:
    """The keys of a TOML file. In an untrusted one most are refused, and ``user_file`` is named instead.

    Raises:
        ConfigError: no TOML, an unknown section or key, one that this file may not set.
    """
    found = {}
    for section, table in _parse_toml(text, name).items():
        if section not in SECTIONS:
            raise ConfigError(name, section, None, _unknown_section(section))
        if not isinstance(table, dict):
            raise ConfigError(name, section, None, f"expected a table, [{section}]")
        for key_name, value in table.items():
            dotted = f"{section}.{key_name}"
            key = BY_NAME.get(dotted)
            if key is None:
                raise ConfigError(name, dotted, None, _unknown_key(section, key_name))
            if not around.trusted and not key.project:
                elsewhere = user_file or "your user's coordd.toml"
                expected = (
                    f"not for a project's own file: it belongs in {elsewhere} or in one named by --config"
                )
                raise ConfigError(name, dotted, None, expected)
            found[dotted] = Given(value, name, around)
    return found


def from_environment(environ: Mapping[str, str], around: Surroundings) -> dict[str, Given]:
    """The keys that COORDD_* variables set. An empty one counts as not set: containers and units leave such.

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
        found[key.dotted] = Given(value, place, around)
    return found


def showable(value: object, *, is_url: bool = False) -> object:
    """The value as an error may show it: no password of a URL, also where a URL does not belong."""
    if isinstance(value, str):
        return public_url(value) if is_url or "://" in value else value
    if isinstance(value, (list, tuple)):
        return [showable(item, is_url=is_url) for item in value]
    return "{...}" if isinstance(value, dict) else value


def variable_place(name: str) -> str:
    """What an error calls an environment variable."""
    return f"environment variable {name}"


def _parse_toml(text: str, name: str) -> dict[str, object]:
    import tomllib  # a daemon without a file needs none

    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(name, "", None, "no valid TOML: nested too deeply") from error
    except ValueError as error:  # TOMLDecodeError, and an integer with too many digits
        raise ConfigError(name, "", None, f"no valid TOML: {error}") from error


def _unknown_section(name: str) -> str:
    homes = [key.section for key in KEYS if key.name == name]
    if homes:
        return f"no section; did you mean {name!r} in [{homes[0]}]?"
    return f"no section{did_you_mean(name, SECTIONS)}"


def _unknown_key(section: str, name: str) -> str:
    siblings = [key.name for key in KEYS if key.section == section]
    hint = did_you_mean(name, siblings)
    homes = [key.section for key in KEYS if key.name == name]
    if not hint and homes:
        hint = f"; it belongs in [{homes[0]}]"
    return f"no key of this section{hint}"
