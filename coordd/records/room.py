"""Say how full a machine is for who works on it, in samples of the host, past, present or thinned. Pure.

Where a control group limits coordd and its agents, as a container does, its limits count in place of the
machine's: a machine with much room helps nobody who is killed at 512 MiB. ``coordctl status`` imports this,
and has to start fast.
"""

from __future__ import annotations

from coordd.util.untyped import as_dict

TYPE_CHECKING = False  # what type checkers take for True; importing typing for it costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def cpu_percent(system: Mapping[str, Any]) -> Any:
    """Return the share of the processors in use, as the sample has it: a number, or a thinned one."""
    group = as_dict(system.get("cgroup"))
    return system.get("cpu_percent") if group.get("cpu_max") is None else group.get("cpu_percent")


def memory_percent(system: Mapping[str, Any]) -> Any:
    """Return the share of the memory in use, as the sample has it: a number, or a thinned one."""
    group = as_dict(system.get("cgroup"))
    if group.get("memory_max") is not None:
        return group.get("memory_percent")
    return as_dict(system.get("memory_usage")).get("percent")


def memory_used(system: Mapping[str, Any]) -> Any:
    """Return the bytes of memory in use."""
    group = as_dict(system.get("cgroup"))
    if group.get("memory_max") is not None:
        return group.get("memory_used")
    return as_dict(system.get("memory_usage")).get("used")
