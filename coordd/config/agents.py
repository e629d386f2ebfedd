"""Check how the times of ``[agents]`` bound one another: none may be shorter than the timeout.

Pure. Two values of the owner's that contradict each other are an error. A project's value that contradicts
the owner's, or another one of the project's, is ignored. A default is raised instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from coordd.config.project import ProjectFileProblems
from coordd.config.schema import BY_NAME
from coordd.config.sources import Given, showable
from coordd.errors import ConfigError
from coordd.util.units import format_duration

_TIMEOUT = "agents.timeout"
_LATER = ("agents.stall_after", "agents.call_stall_after", "agents.forget_after")
"""None of them may be shorter than the timeout."""


def check_agents(values: Mapping[str, Any], given: Mapping[str, Given]) -> None:
    """Refuse values of the owner's that contradict each other.

    Raises:
        ConfigError: one that was given is shorter than the timeout.
    """
    for name in _LATER:
        if name in given and values[name] < values[_TIMEOUT]:
            one = given[name]
            shown = showable(one.value)
            raise ConfigError(one.where, one.label or name, shown, _at_least(values[_TIMEOUT]))


def overlay(
    values: dict[str, Any],
    given: dict[str, Given],
    project: Mapping[str, Given],
    problems: ProjectFileProblems,
) -> None:
    """Add a project's values where the owner gave none; report one that contradicts a value in force."""
    found = {name: one for name, one in project.items() if name not in given}
    parsed: dict[str, Any] = {
        name: BY_NAME[name].kind.parse(one.value, one.around) for name, one in found.items()
    }
    if _TIMEOUT in found:
        for name in _LATER:
            if name in given and values[name] < parsed[_TIMEOUT]:
                bound = f"{format_duration(values[name])} in {given[name].where}"
                most = f"expected at most {name}, which is {bound}"
                problems.add(_TIMEOUT, most, value=showable(found.pop(_TIMEOUT).value))
                break
    timeout = parsed[_TIMEOUT] if _TIMEOUT in found else values[_TIMEOUT]
    for name in _LATER:
        if name in found and parsed[name] < timeout:
            problems.add(name, _at_least(timeout), value=showable(found.pop(name).value))
    values.update((name, parsed[name]) for name in found)
    given.update(found)


def raise_defaults(values: dict[str, Any], given: Mapping[str, Given]) -> None:
    """Raise the defaults that are shorter than the timeout."""
    for name in _LATER:
        if name not in given:
            values[name] = max(values[name], values[_TIMEOUT])


def _at_least(timeout: float) -> str:
    return f"expected at least agents.timeout, which is {format_duration(timeout)}"
