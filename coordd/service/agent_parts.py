"""Build what finds the sessions of coding agents, and say how agents are judged; start none of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from coordd.agents.judging import Limits
from coordd.config.build import Config
from coordd.config.file import ConfigSources
from coordd.config.layout import Layout
from coordd.host.capabilities import reads_everything
from coordd.runtime.worker import Worker
from coordd.sources.claude_code.finder import ClaudeCodeFinder
from coordd.sources.file.mounts import remote_type
from coordd.sources.hooks.finder import HooksFinder, folders_of
from coordd.sources.sessions.homes import HomesWanted
from coordd.sources.sessions.watch import Watch
from coordd.sources.sessions.work_tree import Place, place_of

USERS = "/home"
"""Where the directories of a machine's users lie; those that lie elsewhere are found by running programs."""


def agent_limits(config: Config) -> Limits:
    """Return the settings by which agents are judged."""
    agents = config.agents
    return Limits(
        timeout=agents.timeout,
        forget_after=agents.forget_after,
        forget_ended_after=agents.forget_ended_after,
        stall_after=agents.stall_after,
        call_stall_after=agents.call_stall_after,
    )


def claude_code_finder(
    sources: ConfigSources, config: Config, *, workspaces: Callable[[], Mapping[str, str]]
) -> ClaudeCodeFinder:
    """Return what finds the homes of Claude Code; ``workspaces`` returns the configured
    workspaces by the paths that lead to each.
    """
    return ClaudeCodeFinder(
        enabled=config.claude_code.enabled,
        homes=_homes(sources, config),
        wanted=_wanted(sources.layout),
        workspaces=workspaces,
        worker=Worker("coordd-claude", replaceable=True),
        places=Worker("coordd-places", replaceable=True),
        watch=Watch(),
        remote=remote_type,
    )


def hooks_finder(sources: ConfigSources) -> HooksFinder:
    """Return what finds the hooks of the user whose daemon this is; those of others are theirs to read."""
    return HooksFinder(
        folders=folders_of(sources.environ) if sources.layout.name == "user" else (),
        worker=Worker("coordd-hooks", replaceable=True),
        watch=Watch(),
        remote=remote_type,
    )


def reads_homes(layout: Layout) -> bool:
    """Return whether this daemon looks for the homes of all users: ``service install --read-homes``."""
    return layout.name == "system" and reads_everything()


def _homes(sources: ConfigSources, config: Config) -> HomesWanted:
    """Return which homes of Claude Code are looked for.

    The system's daemon has none of its own, and looks for everybody's only where it was given the right to.
    """
    configured = config.claude_code.homes
    if sources.layout.name == "system":
        return HomesWanted(configured=configured, users=USERS if reads_homes(sources.layout) else None)
    environ = sources.environ
    user = environ.get("HOME") or os.path.expanduser("~")
    return HomesWanted(configured=configured, environment=environ.get("CLAUDE_CONFIG_DIR"), user=user)


def _wanted(layout: Layout) -> Callable[[Place], bool]:
    """Return which sessions are shown: a project's daemon shows those of its project, others show all."""
    root = layout.root
    if root is None:
        return lambda _place: True
    canonical = os.path.realpath(root)
    own: list[Place] = []

    def of_project(place: Place) -> bool:
        if not own:
            own.append(place_of(canonical))
        return canonical in (place.workspace, place.project) or place.project == own[0].project

    return of_project
