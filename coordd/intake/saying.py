"""Ask a process of which sessions it is: by what coding agents put into the environment of what they start.

A process below two of them, one of which started the other, has the variables of both.
"""

from __future__ import annotations

from collections.abc import Mapping

from coordd.host.environment import variables_of
from coordd.host.process_facts import Process

VARIABLES = {
    "CLAUDE_CODE_SESSION_ID": "claude-code",
    "CODEX_SESSION_ID": "codex",
    "CODEX_THREAD_ID": "codex",  # of older builds; of a subagent it is the subagent's own
    "COPILOT_AGENT_SESSION_ID": "copilot",
}
"""The variables that are looked at, no others, each with the kind of agent; the first of a kind counts."""

SUBAGENTS_APART = frozenset(("copilot",))
"""Kinds whose subagents have ids of their own, which nobody else names, and whose processes say these."""


def sessions_of(process: Process) -> Mapping[str, str]:
    """Return the sessions of which a process says that it is, by kind; it waits for the process."""
    said = variables_of(process, VARIABLES)
    found: dict[str, str] = {}
    for name, kind in VARIABLES.items():
        if name in said:
            found.setdefault(kind, said[name])
    return found
