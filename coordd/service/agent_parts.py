"""Build what finds the sessions of coding agents, and say how agents are judged; start none of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from coordd.agents.judging import Limits
from coordd.agents.source import SourceName, SourceState
from coordd.config.build import Config, HomesConfig
from coordd.config.file import ConfigSources
from coordd.config.layout import Layout
from coordd.host.capabilities import reads_everything
from coordd.host.newcomers import Newcomers
from coordd.host.processes import lives, pids
from coordd.runtime.worker import Worker
from coordd.sources.claude_code.finder import ClaudeCodeFinder
from coordd.sources.codex.finder import CodexFinder
from coordd.sources.copilot.finder import CopilotFinder
from coordd.sources.file.mounts import remote_type
from coordd.sources.hooks.finder import HooksFinder, folders_of
from coordd.sources.process.finder import ProcessFinder
from coordd.sources.process.looking import look_at, watched_uids
from coordd.sources.process.source import ProcessSource
from coordd.sources.sessions.homes import HomesWanted
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.watch import Watch
from coordd.sources.sessions.work_tree import Place, place_of
from coordd.util.text import enumerated

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


class AgentFinders:
    """What finds agents beside workspaces and Redis: by the homes in which they leave sessions, by processes.

    ``all`` has every finder of these, ``started`` what wants to be told of new processes; ``hooks`` finds
    what hooks of sessions tell.

    Args:
        sources, config: the configuration, and what it was made from.
        workspaces: returns the names of the configured workspaces, by the paths that lead to each.
    """

    def __init__(
        self, sources: ConfigSources, config: Config, *, workspaces: Callable[[], Mapping[str, str]]
    ) -> None:
        self.homes = session_finders(sources, config, workspaces=workspaces)
        self.programs = process_finder(sources, config, workspaces=workspaces)
        self.hooks = hooks_finder(sources)
        self.all = (*self.homes, self.programs)
        self.started = [one.started for one in self.all]
        self._of_a_user = sources.layout.name == "user"

    def look_again(self) -> None:
        """Have homes looked for now, for the configuration has changed."""
        for one in self.homes:
            one.look_again()

    def resolve_again(self) -> None:
        """Have sessions placed anew, for other paths lead to the workspaces by now."""
        for one in self.all:
            one.resolve_again()

    def awaited(self) -> list[tuple[str, str, str | None]]:
        """Return the places that would be homes and are none yet, each with its kind and what is wrong."""
        return [(one.kind, *home) for one in self.homes for home in one.awaited]

    def problems(self) -> list[str]:
        """Return what was left out, in sentences."""
        return [problem for one in self.homes for problem in one.problems]

    def seen_by_themselves(self) -> str:
        """Return the beginning of a sentence that says whose sessions are seen; "" for nobody's."""
        programs = enumerated([one.program for one in self.homes if one.enabled])
        return f"sessions of {programs} are seen by themselves; " if programs else ""

    def knows_all_sessions(self, kind: str, known: Mapping[SourceName, SourceState]) -> bool:
        """Return whether every living session of a kind of agent of this user is shown.

        So it is where each home was found and can be read. ``known`` are the sources that are read.
        """
        finder = next((one for one in self.homes if one.kind == kind), None)
        homes = [state for name, state in known.items() if name.kind == kind]
        readable = all(one.state not in ("unreadable", "waiting") for one in homes)
        found = finder is not None and finder.enabled and not finder.awaited
        return self._of_a_user and found and bool(homes) and readable


def session_finders(
    sources: ConfigSources, config: Config, *, workspaces: Callable[[], Mapping[str, str]]
) -> tuple[ClaudeCodeFinder, CodexFinder, CopilotFinder]:
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
        CopilotFinder(
            enabled=config.copilot.enabled,
            homes=_homes(sources, config.copilot, variable="COPILOT_HOME", folder=".copilot", beside=False),
            worker=Worker("coordd-copilot", replaceable=True),
            **common,
        ),
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


def _homes(sources: ConfigSources, config: HomesConfig, *, variable: str, **more: Any) -> HomesWanted:
    """Return which homes of a kind are looked for.

    The system's daemon has none of its own, and looks for everybody's only where it was given the right to.
    """
    if sources.layout.name == "system":
        users = USERS if reads_homes(sources.layout) else None
        return HomesWanted(configured=config.homes, users=users, **more)
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
