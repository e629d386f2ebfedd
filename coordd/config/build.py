"""Build the one frozen configuration of the service from text, environment and flags, validated whole.

Pure: file.py reads the files. A password in a Redis URL never shows in an error or a ``repr``. schema.py
lists the keys.
"""

from __future__ import annotations

import os.path
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from coordd.config.agents import check_agents, overlay, raise_defaults
from coordd.config.kinds import Surroundings
from coordd.config.project import ProjectFileProblems, from_project
from coordd.config.redis_url import public_url
from coordd.config.schema import BY_NAME, KEYS, SECTIONS, ConfigKey, Level, Mode, reference
from coordd.config.sources import (
    Given,
    OwnerFile,
    from_environment,
    from_file,
    showable,
    table_of,
    variable_place,
)
from coordd.errors import ConfigError

if TYPE_CHECKING:
    from coordd.config.layout import Layout

__all__ = ["Config", "build_config", "changed", "effective", "public_url", "reference"]

_URL = "coordination.redis_url"
_USER_FILE = "your user's coordd.toml"


@dataclass(frozen=True, slots=True)
class CoordinationConfig:
    """Values of ``[coordination]``; ``redis_writable`` is False if only REDIS_URL names the Redis."""

    mode: Mode
    workspaces: tuple[str, ...]
    redis_url: str | None
    redis_prefix: str
    redis_writable: bool

    def __repr__(self) -> str:
        url = None if self.redis_url is None else public_url(self.redis_url)
        return (
            f"CoordinationConfig(mode={self.mode!r}, workspaces={self.workspaces!r}, redis_url={url!r}, "
            f"redis_prefix={self.redis_prefix!r}, redis_writable={self.redis_writable!r})"
        )


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """Values of ``[sampling]``, in seconds."""

    interval: float


@dataclass(frozen=True, slots=True)
class AgentsConfig:
    """Values of ``[agents]``, in seconds."""

    timeout: float
    stall_after: float
    call_stall_after: float
    forget_after: float
    forget_ended_after: float


@dataclass(frozen=True, slots=True)
class HomesConfig:
    """Values of ``[claude_code]``, ``[codex]``, ``[copilot]``: whether sessions are looked for; more homes.

    Homes are absolute paths.
    """

    enabled: bool
    homes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ProcessesConfig:
    """Values of ``[processes]``: whether agents are looked for that are known by their processes alone."""

    enabled: bool


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """Values of ``[storage]``: absolute paths, days, bytes for each type of record, seconds, records."""

    metrics_dir: str
    log_dir: str
    retention_days: int
    compress_after_days: int
    max_bytes: int
    fsync_interval: float
    backlog: int


@dataclass(frozen=True, slots=True)
class RedisConfig:
    """Values of ``[redis]``, in seconds."""

    ttl: float


@dataclass(frozen=True, slots=True)
class ControlConfig:
    """Values of ``[control]``: an absolute path and the name of a group."""

    socket: str
    group: str


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Values of ``[log]``."""

    level: Level


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration; ``origins`` maps each dotted key to the place its value came from.

    ``warnings`` are sentences about ignored values, for the log; ``problems`` are those that status shows as
    well: what is wrong with a project's own file. ``unusable`` are those of these for which all of that file
    is passed over. None of them holds a password.
    """

    coordination: CoordinationConfig
    sampling: SamplingConfig
    agents: AgentsConfig
    claude_code: HomesConfig
    codex: HomesConfig
    copilot: HomesConfig
    processes: ProcessesConfig
    storage: StorageConfig
    redis: RedisConfig
    control: ControlConfig
    log: LogConfig
    origins: Mapping[str, str] = field(compare=False, repr=False)
    warnings: tuple[str, ...] = field(default=(), compare=False)
    problems: tuple[str, ...] = field(default=(), compare=False)
    unusable: tuple[str, ...] = field(default=(), compare=False)


def build_config(
    *,
    layout: Layout,
    file_text: str | None,
    file_name: str,
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    trusted: bool,
    cwd: str | None = None,
    user_text: str | None = None,
    user_file: str | None = None,
    canonical: Callable[[str], str] = os.path.normpath,
    troubles: Sequence[str] = (),
    unreadable: Sequence[str] = (),
) -> Config:
    """Return the configuration of a daemon.

    Each source overrides the one before: default, a project's own file, the owner's file, its table for this
    project, environment, flag.

    Args:
        layout: gives the default paths and, in the project layout, the workspace.
        file_text: the TOML, None where there is no file.
        file_name: what errors and origins call it.
        environ: COORDD_* and REDIS_URL; HOME and what else ``~`` and ``$NAME`` in paths stand for.
        flags: dotted key to value, ``{"control.socket": "/tmp/x.sock"}``; None and () mean not given.
        trusted: False for a project's own file, which may set only a few keys: see project.py.
        cwd: directory that relative paths in flags and environment start from; None refuses them, as in a
            file.
        user_text: beside a project's own file that of the user: its table for this project counts.
        user_file: what errors call that one.
        canonical: resolves a path, to tell whether a table is that of this project.
        troubles: what was wrong with reading the files, as sentences for :attr:`Config.problems`.
        unreadable: those of them for which the project's own file is not read.

    Raises:
        ConfigError: the first mistake of the owner's, naming its place.
    """
    anywhere = Surroundings(environ=environ, base=cwd)
    in_file = Surroundings(environ=environ, base=None)
    text, name = (file_text, file_name) if trusted else (user_text, user_file or _USER_FILE)
    owner = OwnerFile() if text is None else from_file(text, name, in_file)
    theirs = [table.values() for table in owner.projects.values()]
    for given_value in (*owner.keys.values(), *chain.from_iterable(theirs)):
        _parse(given_value)  # values that are overridden have to be valid too: they may count later
    sources = [
        owner.keys if trusted else {},
        table_of(layout.root, owner, name, in_file, canonical),
        from_environment(environ, anywhere),
        _from_flags(flags, anywhere),
    ]
    # Any: each value has the type that the kind of its key gives, which no type checker can follow
    values: dict[str, Any] = {key.dotted: _default(key, layout) for key in KEYS}
    given: dict[str, Given] = {}
    for source in sources:
        values.update((dotted, _parse(found)) for dotted, found in source.items())
        given.update(source)
    writable = values[_URL] is not None
    warnings: list[str] = []
    borrowed = _borrowed(environ, anywhere, values, [sources[2], sources[3]], warnings)
    if borrowed is not None:
        url = _parse(borrowed)
        # the same URL in coordd's own file makes it coordd's own
        writable = values[_URL] == url
        values[_URL], given[_URL] = url, borrowed
    check_agents(values, given)
    _check_mode(values, given, name)
    problems, unusable = list(troubles), list(unreadable)
    if not trusted:
        found = ProjectFileProblems(file=file_name, owner=user_file or _USER_FILE, root=layout.root or "")
        overlay(values, given, {} if file_text is None else from_project(file_text, environ, found), found)
        problems += found.sentences()
        unusable += found.sentences() if found.whole else ()
    raise_defaults(values, given)
    origins = {dotted: given[dotted].where if dotted in given else "default" for dotted in values}
    return replace(
        _assemble(values, origins, redis_writable=writable),
        warnings=tuple(warnings),
        problems=tuple(problems),
        unusable=tuple(unusable),
    )


def changed(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Return what a reload changes: all keys whose value differs, and those that need a restart."""
    differs = [key for key in KEYS if _value(old, key) != _value(new, key)]
    url = BY_NAME[_URL]
    if old.coordination.redis_writable != new.coordination.redis_writable and url not in differs:
        differs.append(url)
    return [key.dotted for key in differs], [key.dotted for key in differs if not key.reload]


def effective(config: Config) -> Iterator[tuple[str, str | None, str]]:
    """Yield each key's dotted name, its value as TOML without passwords (None: no value), and its origin."""
    for key in KEYS:
        value = _value(config, key)
        yield key.dotted, None if value is None else key.kind.show(value), config.origins[key.dotted]


def _from_flags(flags: Mapping[str, object], around: Surroundings) -> dict[str, Given]:
    return {
        name: Given(value, BY_NAME[name].flag or "command line", around, name)
        for name, value in flags.items()
        if value is not None and value != ()
    }


def _borrowed(
    environ: Mapping[str, str],
    around: Surroundings,
    values: Mapping[str, object],
    stronger: Sequence[Mapping[str, Given]],
    warnings: list[str],
) -> Given | None:
    """Return the Redis that REDIS_URL names, unless coordd's own settings name one or the mode is file."""
    foreign = environ.get("REDIS_URL")
    if not foreign or values["coordination.mode"] == "file" or any(_URL in source for source in stronger):
        return None
    given = Given(foreign, variable_place("REDIS_URL"), around, _URL)
    try:
        _parse(given)
    except ConfigError as error:
        # REDIS_URL is often another application's: it must not stop coordd from reading files or its own
        # Redis
        if values["coordination.mode"] == "redis" and values[_URL] is None:
            raise
        warnings.append(f"{error}; it is passed over, COORDD_REDIS_URL would count instead")
        return None
    return given


def _parse(given: Given) -> object:
    key = BY_NAME[given.key]
    try:
        return key.kind.parse(given.value, given.around)
    except ValueError as error:
        shown = showable(given.value, is_url=key.name == "redis_url")
        raise ConfigError(given.where, given.label or key.dotted, shown, str(error)) from None


def _default(key: ConfigKey, layout: Layout) -> object:
    if key.default is None:
        return layout.defaults.get(key.dotted)
    return key.kind.parse(key.default, Surroundings(environ={}, base=None))


def _check_mode(values: Mapping[str, object], given: Mapping[str, Given], file_name: str) -> None:
    if values["coordination.mode"] == "redis" and values["coordination.redis_url"] is None:
        where = given["coordination.mode"].where if "coordination.mode" in given else file_name
        expected = "this mode needs coordination.redis_url or COORDD_REDIS_URL as well"
        raise ConfigError(where, "coordination.mode", "redis", expected)


def _assemble(values: Mapping[str, Any], origins: Mapping[str, str], *, redis_writable: bool) -> Config:
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for key in KEYS:
        sections[key.section][key.name] = values[key.dotted]
    return Config(
        coordination=CoordinationConfig(**sections["coordination"], redis_writable=redis_writable),
        sampling=SamplingConfig(**sections["sampling"]),
        agents=AgentsConfig(**sections["agents"]),
        claude_code=HomesConfig(**sections["claude_code"]),
        codex=HomesConfig(**sections["codex"]),
        copilot=HomesConfig(**sections["copilot"]),
        processes=ProcessesConfig(**sections["processes"]),
        storage=StorageConfig(**sections["storage"]),
        redis=RedisConfig(**sections["redis"]),
        control=ControlConfig(**sections["control"]),
        log=LogConfig(**sections["log"]),
        origins=origins,
    )


def _value(config: Config, key: ConfigKey) -> object:
    return getattr(getattr(config, key.section), key.name)
