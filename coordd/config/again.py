"""Say how to start the same daemon again: the options for ``coordd start``, and which variables it had.

Values of environment variables are never told, for a URL may hold a password. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from coordd.config.build import Config
from coordd.config.file import ConfigSources
from coordd.config.sources import variable_place
from coordd.protocol.starting import ARGUMENTS, VARIABLES

_OPTIONS = (
    ("coordination.workspaces", "--workspace"),
    ("control.socket", "--socket"),
    ("log.level", "--log-level"),
)
"""Keys with an option of their own, in the order in which they are told."""
_PLACES = variable_place("")


def again(sources: ConfigSources, config: Config, *, by_hand: bool) -> dict[str, object]:
    """Return the fields of status and registration that say how to start this daemon again, from anywhere.

    ``by_hand`` is false of one that a service manager started, and starts again.
    """
    if not by_hand:
        return {ARGUMENTS: None, VARIABLES: ()}
    root = sources.layout.root
    arguments = ["--layout", sources.layout.name] if root is None else ["--workspace", root]
    told = {"coordination.workspaces"} if root is not None else set()
    for key, option in _OPTIONS:
        if key not in told and _was_said(config.origins[key], option):
            section, _, name = key.partition(".")
            value = getattr(getattr(config, section), name)
            for one in value if isinstance(value, Sequence) and not isinstance(value, str) else (value,):
                if option != "--workspace" or _is_utf8(one):  # no other is watched
                    arguments += [option, str(one)]
            told.add(key)
    if sources.config_file is not None:
        arguments += ["--config", sources.config_file]
    variables = {
        place.removeprefix(_PLACES)
        for key, place in config.origins.items()
        if key not in told and place.startswith(_PLACES)
    }
    if not all(map(_is_utf8, arguments)):  # no document could carry it
        return {ARGUMENTS: None, VARIABLES: ()}
    return {ARGUMENTS: tuple(arguments), VARIABLES: tuple(sorted(variables))}


def _was_said(place: str, option: str) -> bool:
    """Return whether a value came from the command line or the environment, and no file says it again."""
    return place == option or place.startswith(_PLACES)


def _is_utf8(value: object) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in str(value))
