"""Build what finds the sessions of coding agents, and say how agents are judged; start none of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from coordd.agents.judging import Limits
from coordd.config.build import Config
from coordd.config.file import ConfigSources
from coordd.config.layout import Layout
from coordd.host.newcomers import Newcomers
from coordd.host.processes import lives, pids
from coordd.runtime.worker import Worker
from coordd.sources.claude_code.finder import ClaudeCodeFinder
from coordd.sources.claude_code.homes import HomesWanted
from coordd.sources.claude_code.watch import Watch
from coordd.sources.file.mounts import remote_type
from coordd.sources.process.finder import ProcessFinder
from coordd.sources.process.looking import look_at, watched_uids
from coordd.sources.process.source import ProcessSource
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.work_tree import Place, place_of


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


def process_finder(
    sources: ConfigSources, config: Config, *, workspaces: Callable[[], Mapping[str, str]]
) -> ProcessFinder:
    """Return what finds agents that are known by their processes alone: the own user's, or everyone's."""
    if not config.processes.enabled:
        return ProcessFinder(None)
    everyone = sources.layout.name == "system"
    wanted = _wanted(sources.layout)
    anywhere = sources.layout.root is None
    return ProcessFinder(
        ProcessSource(
            shows=lambda: bool(pids()),
            running=lambda: Newcomers().look(),
            watched=watched_uids(everyone=everyone),
            look=lambda seen: look_at(seen, everyone=everyone),
            lives=lives,
            wanted=lambda place: anywhere if place is None else wanted(place),
            places=Places(worker=Worker("coordd-places", replaceable=True), configured=workspaces),
            worker=Worker("coordd-programs", replaceable=True),
        )
    )


def _homes(sources: ConfigSources, config: Config) -> HomesWanted:
    """Return which homes of Claude Code are looked for; the system's daemon has none of its own."""
    configured = config.claude_code.homes
    if sources.layout.name == "system":
        return HomesWanted(configured=configured)
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
