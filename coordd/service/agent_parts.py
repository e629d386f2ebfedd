"""Build what finds the sessions of coding agents, and say how agents are judged; start none of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from coordd.agents.judging import Limits
from coordd.config.build import Config, HomesConfig
from coordd.config.file import ConfigSources
from coordd.config.layout import Layout
from coordd.runtime.worker import Worker
from coordd.sources.claude_code.finder import ClaudeCodeFinder
from coordd.sources.codex.finder import CodexFinder
from coordd.sources.file.mounts import remote_type
from coordd.sources.sessions.homes import HomesWanted
from coordd.sources.sessions.watch import Watch
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


def session_finders(
    sources: ConfigSources, config: Config, *, workspaces: Callable[[], Mapping[str, str]]
) -> tuple[ClaudeCodeFinder, CodexFinder]:
    """Return what finds the homes of each kind of coding agent; ``workspaces`` returns the configured
    workspaces by the paths that lead to each.
    """
    watch, places = Watch(), Worker("coordd-places", replaceable=True)
    common: dict[str, Any] = {
        "wanted": _wanted(sources.layout),
        "workspaces": workspaces,
        "places": places,
        "watch": watch,
        "remote": remote_type,
    }
    return (
        ClaudeCodeFinder(
            enabled=config.claude_code.enabled,
            homes=_homes(sources, config.claude_code, variable="CLAUDE_CONFIG_DIR"),
            worker=Worker("coordd-claude", replaceable=True),
            **common,
        ),
        CodexFinder(
            enabled=config.codex.enabled,
            homes=_homes(sources, config.codex, variable="CODEX_HOME", folder=".codex", beside=False),
            worker=Worker("coordd-codex", replaceable=True),
            **common,
        ),
    )


def _homes(sources: ConfigSources, config: HomesConfig, *, variable: str, **more: Any) -> HomesWanted:
    """Return which homes of a kind are looked for; the system's daemon has none of its own."""
    if sources.layout.name == "system":
        return HomesWanted(configured=config.homes, **more)
    environ = sources.environ
    user = environ.get("HOME") or os.path.expanduser("~")
    return HomesWanted(configured=config.homes, environment=environ.get(variable), user=user, **more)


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
