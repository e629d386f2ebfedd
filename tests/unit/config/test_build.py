"""Test which source overrides which, what is refused and how, and that no password shows."""

from __future__ import annotations

import contextlib
import tomllib
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.config.build import Config, build_config, changed, effective, reference
from coordd.config.layout import Layout
from coordd.config.schema import KEYS
from coordd.errors import ConfigError
from coordd.protocol.paths import project_paths, user_paths

HOME = {"HOME": "/home/ann"}
FILE = "/home/ann/.config/coordd/coordd.toml"
USER = Layout(name="user", root=None, **user_paths(HOME, "linux"))
PROJECT = Layout(name="project", root="/src/app", **project_paths("/src/app"))


def build(
    text: str | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    flags: Mapping[str, object] | None = None,
    trusted: bool = True,
    layout: Layout = USER,
    cwd: str | None = None,
) -> Config:
    return build_config(
        layout=layout,
        file_text=text,
        file_name=FILE if trusted else PROJECT.config_file,
        environ={**HOME, **(environ or {})},
        flags=flags or {},
        trusted=trusted,
        cwd=cwd,
        user_file=FILE,
    )


def refused(text: str | None = None, **how: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        build(text, **how)  # type: ignore[arg-type]
    return caught.value


def test_the_defaults() -> None:
    config = build()
    assert config.coordination.mode == "auto"
    assert config.coordination.workspaces == ()
    assert config.coordination.redis_url is None
    assert config.coordination.redis_writable is False
    assert config.sampling.interval == 60.0
    assert (config.agents.timeout, config.agents.stall_after, config.agents.forget_after) == (120, 900, 86400)
    assert config.storage.metrics_dir == "/home/ann/.local/state/coordd/metrics"
    assert config.storage.log_dir == "/home/ann/.local/state/coordd/logs"
    assert (config.storage.retention_days, config.storage.compress_after_days) == (30, 1)
    assert config.storage.max_bytes == 2 << 30
    assert config.storage.fsync_interval == 1.0
    assert config.storage.backlog == 100_000
    assert config.redis.ttl == 3600.0
    assert config.control.socket == USER.socket
    assert config.control.group == "coordd"
    assert config.log.level == "info"
    assert set(config.origins.values()) == {"default"}


def test_a_project_watches_itself() -> None:
    config = build(layout=PROJECT)
    assert config.coordination.workspaces == ("/src/app",)
    assert config.storage.metrics_dir == "/src/app/.claude/metrics"


def test_a_whole_file() -> None:
    config = build(
        """
        [coordination]
        mode = "redis"
        workspaces = ["~/src/*", "$HOME/app", "${HOME}/app", "/srv/x/../y"]
        redis_url = "redis://localhost:6379/2"
        redis_prefix = "shop:"
        [sampling]
        interval = 30
        [agents]
        timeout = "1m30s"
        stall_after = "20m"
        call_stall_after = "3h"
        forget_after = 3600.5
        forget_ended_after = "1m"
        [claude_code]
        enabled = false
        homes = ["~/.claude-work"]
        [codex]
        enabled = false
        homes = ["~/.codex-work"]
        [copilot]
        enabled = false
        homes = ["~/.copilot-work"]
        [processes]
        enabled = false
        [storage]
        metrics_dir = "/m"
        log_dir = "~/l"
        retention_days = 7
        compress_after_days = 0
        max_bytes = 1048576
        fsync_interval = "500ms"
        backlog = 10
        [redis]
        ttl = "30m"
        [control]
        socket = "/s"
        group = "staff"
        [log]
        level = "Debug"
        """
    )
    assert config.coordination.workspaces == ("/home/ann/src/*", "/home/ann/app", "/srv/y")
    assert (config.coordination.mode, config.coordination.redis_writable) == ("redis", True)
    assert config.coordination.redis_url == "redis://localhost:6379/2"
    assert config.coordination.redis_prefix == "shop:"
    assert config.sampling.interval == 30.0
    assert (config.agents.timeout, config.agents.stall_after, config.agents.forget_after) == (
        90,
        1200,
        3600.5,
    )
    assert (config.agents.call_stall_after, config.agents.forget_ended_after) == (10_800, 60)
    assert (config.claude_code.enabled, config.claude_code.homes) == (False, ("/home/ann/.claude-work",))
    assert (config.codex.enabled, config.codex.homes) == (False, ("/home/ann/.codex-work",))
    assert (config.copilot.enabled, config.copilot.homes) == (False, ("/home/ann/.copilot-work",))
    assert not config.processes.enabled
    assert (config.storage.metrics_dir, config.storage.log_dir) == ("/m", "/home/ann/l")
    assert (config.storage.retention_days, config.storage.compress_after_days) == (7, 0)
    assert (config.storage.max_bytes, config.storage.fsync_interval, config.storage.backlog) == (
        1 << 20,
        0.5,
        10,
    )
    assert (config.redis.ttl, config.control.socket, config.control.group) == (1800, "/s", "staff")
    assert config.log.level == "debug"
    assert set(config.origins.values()) == {FILE}


def test_flags_override_environment_overrides_file() -> None:
    text = '[log]\nlevel = "error"\n[sampling]\ninterval = "10s"\n[agents]\ntimeout = "3m"\n'
    environ = {"COORDD_LOG_LEVEL": "warning", "COORDD_SAMPLING_INTERVAL": "20s"}
    config = build(text, environ=environ, flags={"log.level": "debug", "control.socket": None})
    assert (config.log.level, config.sampling.interval, config.agents.timeout) == ("debug", 20.0, 180.0)
    assert config.origins["log.level"] == "--log-level"
    assert config.origins["sampling.interval"] == "environment variable COORDD_SAMPLING_INTERVAL"
    assert config.origins["agents.timeout"] == FILE
    assert config.origins["control.socket"] == "default"


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("COORDD_MODE", "file", "coordination.mode", "file"),
        ("COORDD_WORKSPACES", "/a:~/b:", "coordination.workspaces", ("/a", "/home/ann/b")),
        ("COORDD_REDIS_URL", "redis://r/1", "coordination.redis_url", "redis://r/1"),
        ("COORDD_SOCKET", "/s", "control.socket", "/s"),
        ("COORDD_METRICS_DIR", "/m", "storage.metrics_dir", "/m"),
        ("COORDD_LOG_DIR", "/l", "storage.log_dir", "/l"),
        ("COORDD_LOG_LEVEL", "debug", "log.level", "debug"),
        ("COORDD_STORAGE_BACKLOG", "5", "storage.backlog", 5),
        ("COORDD_STORAGE_MAX_BYTES", "1GiB", "storage.max_bytes", 1 << 30),
        ("COORDD_AGENTS_TIMEOUT", "60", "agents.timeout", 60.0),
    ],
)
def test_the_environment_sets_a_key(variable: str, text: str, key: str, value: object) -> None:
    config = build(environ={variable: text})
    section, name = key.split(".")
    assert getattr(getattr(config, section), name) == value
    assert config.origins[key] == f"environment variable {variable}"


def test_every_key_has_a_variable_of_its_own() -> None:
    names = [name for key in KEYS for name in key.variables]
    assert len(names) == len(set(names))
    assert all(f"COORDD_{key.section}_{key.name}".upper() in key.variables for key in KEYS)


def test_an_empty_variable_is_not_set_and_other_programs_variables_are_left_alone() -> None:
    environ = {"COORDD_LOG_LEVEL": "", "COORDD_CONFIG": "x", "COORDD_LAYOUT": "x", "COORDD_AGENT_ID": "x"}
    assert build(environ={**environ, "COORDD_DASHBOARD_PORT": "1", "REDIS_URL": ""}) == build()


def test_two_variables_for_one_key_must_agree() -> None:
    environ = {"COORDD_COORDINATION_MODE": "file", "COORDD_MODE": "file"}
    assert build(environ=environ).coordination.mode == "file"
    error = refused(environ={**environ, "COORDD_MODE": "auto"})
    assert str(error) == (
        "environment variable COORDD_MODE: coordination.mode: "
        "another value than in environment variable COORDD_COORDINATION_MODE"
    )


def test_relative_paths_begin_at_the_current_directory_but_for_those_in_a_file() -> None:
    flags = {"coordination.workspaces": ("app", "~/b"), "control.socket": "./s"}
    config = build(flags=flags, environ={"COORDD_LOG_DIR": "l"}, cwd="/work")
    assert config.coordination.workspaces == ("/work/app", "/home/ann/b")
    assert (config.control.socket, config.storage.log_dir) == ("/work/s", "/work/l")
    assert refused('[storage]\nlog_dir = "l"', cwd="/work").key == "storage.log_dir"


@pytest.mark.parametrize(
    "inside", ["app/.claude/coordination", "app/.claude/coordination/agents", "app/.claude"]
)
def test_a_folder_in_which_agents_coordinate_is_no_project(inside: str) -> None:
    error = refused(flags={"coordination.workspaces": (inside,)}, cwd="/work")
    assert str(error).endswith(
        f"/work/{inside} lies inside of a project, which coordd only reads there: name /work/app"
    )
    worktree = "/work/app/.claude/worktrees/one"
    assert build(flags={"coordination.workspaces": (worktree,)}).coordination.workspaces == (worktree,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agents]\ntimout = 5", "agents.timout: no key of this section; did you mean 'timeout'?"),
        ("[agent]\ntimeout = 5", "agent: no section; did you mean 'agents'?"),
        ("timeout = 5", "timeout: no section; did you mean 'timeout' in [agents]?"),
        ("[sampling]\nbacklog = 5", "sampling.backlog: no key of this section; it belongs in [storage]"),
        ("[x]", "x: no section"),
        ("agents = 5", "agents: expected a table, [agents]"),
        ("[[agents]]\ntimeout = 5", "agents: expected a table, [agents]"),
        ("a = \n", "no valid TOML: Invalid value (at line 1, column 5)"),
        ('[sampling]\ninterval = "0.5s"', 'sampling.interval = "0.5s": expected a duration from 1s to 1d'),
        ('[sampling]\ninterval = "25h"', 'sampling.interval = "25h": expected a duration from 1s to 1d'),
        (
            "[sampling]\ninterval = true",
            "sampling.interval = true: expected a duration from 1s to 1d, such as '90s' or '1h30m'",
        ),
        (
            "[storage]\nretention_days = true",
            "storage.retention_days = true: expected a whole number from 1 to 36500",
        ),
        (
            "[storage]\nretention_days = 0",
            "storage.retention_days = 0: expected a whole number from 1 to 36500",
        ),
        (
            "[storage]\nretention_days = 1.0",
            "storage.retention_days = 1.0: expected a whole number from 1 to 36500",
        ),
        (
            '[storage]\nretention_days = "7"',
            'storage.retention_days = "7": expected a whole number from 1 to 36500',
        ),
        (
            "[coordination]\nmode = 'rediss'",
            "coordination.mode = \"rediss\": expected one of auto, redis, file; did you mean 'redis'?",
        ),
        (
            "[log]\nlevel = 1",
            "log.level = 1: expected one of debug, info, warning, error, critical",
        ),
        (
            "[coordination]\nworkspaces = '/a'",
            'coordination.workspaces = "/a": expected a list of absolute paths',
        ),
        (
            "[control]\nsocket = '$NOWHERE/s'",
            'control.socket = "$NOWHERE/s": expected a path whose variables are set, and $NOWHERE is not',
        ),
        (
            "[agents]\ntimeout = '10m'\nstall_after = '5m'",
            'agents.stall_after = "5m": expected at least agents.timeout, which is 10m',
        ),
        (
            "[coordination]\nmode = 'redis'",
            'coordination.mode = "redis": this mode needs coordination.redis_url or COORDD_REDIS_URL as well',
        ),
    ],
)
def test_an_error_names_file_key_value_and_what_was_expected(text: str, message: str) -> None:
    error = refused(text)
    assert str(error) == f"{FILE}: {message}"
    assert (error.where, error.exit_code) == (FILE, 78)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("agents.timeout", "0"),
        ("agents.timeout", "-5"),
        ("agents.timeout", '"0s"'),
        ("agents.timeout", "inf"),
        ("agents.timeout", "nan"),
        ("agents.timeout", "[1]"),
        ("agents.forget_after", '"1s"'),
        ("storage.compress_after_days", "-1"),
        ("storage.max_bytes", '"2G"'),
        ("storage.max_bytes", "1"),
        ("storage.max_bytes", "1e9"),
        ("storage.backlog", "0"),
        ("storage.fsync_interval", "0"),
        ("storage.metrics_dir", '""'),
        ("storage.metrics_dir", '"~bob/m"'),
        ("storage.metrics_dir", '"/a\\u0000b"'),
        ("storage.log_dir", "5"),
        ("redis.ttl", "0"),
        ("control.group", '"a/b"'),
        ("control.group", '""'),
        ("coordination.workspaces", "[1]"),
        ("coordination.workspaces", '[""]'),
        ("coordination.workspaces", "{a = 1}"),
        ("coordination.mode", "true"),
        ("log.level", '"loud"'),
        ("log.level", "2026-11-22"),
    ],
)
def test_an_impossible_value_is_refused(key: str, value: str) -> None:
    section, name = key.split(".")
    error = refused(f"[{section}]\n{name} = {value}")
    assert error.key == key
    assert "expected" in error.expected


def test_a_bad_value_is_an_error_also_where_another_source_replaces_it() -> None:
    error = refused("[agents]\ntimeout = 'soon'", environ={"COORDD_AGENTS_TIMEOUT": "60s"})
    assert (error.where, error.value) == (FILE, "soon")


def test_a_default_gives_way_to_a_long_timeout() -> None:
    config = build("[agents]\ntimeout = '2d'")
    assert (config.agents.stall_after, config.agents.forget_after) == (172800.0, 172800.0)
    assert config.origins["agents.stall_after"] == "default"


@pytest.mark.parametrize(
    ("variable", "hint"),
    [
        ("COORDD_LOGLEVEL", "; did you mean 'COORDD_LOG_LEVEL'?"),
        ("COORDD_REDIS_ULR", "; did you mean 'COORDD_REDIS_URL'?"),
        ("COORDD_XYZZY_FROTZ_PLUGH_QUUX", ""),
    ],
)
def test_an_unknown_variable_is_an_error(variable: str, hint: str) -> None:
    error = refused(environ={variable: "secret"})
    assert str(error) == f"environment variable {variable}: no setting of coordd{hint}"


@pytest.mark.parametrize(
    "text",
    ["a" * 10 + "=" + "[" * 5000, "a = " + "9" * 5000, "\x00", "[a]\n[a]", "x = 'open", "\ud800"],
)
def test_what_is_no_toml_is_a_configuration_error(text: str) -> None:
    assert refused(text).where == FILE


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_does_worse_than_a_configuration_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        build(text)


@settings(deadline=None)
@given(
    st.sampled_from([key.dotted for key in KEYS]),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20), st.lists, max_leaves=4
    ),
)
def test_no_value_of_a_flag_does_worse_either(name: str, value: object) -> None:
    try:
        build(flags={name: value}, cwd="/")
    except ConfigError as error:
        assert name in (error.key, "agents.timeout")


# Reload, check-config and the documentation.


def test_nothing_changed() -> None:
    assert changed(build(), build()) == ([], [])


def test_a_reload_says_what_changed_and_what_needs_a_restart() -> None:
    text = "[agents]\ntimeout = '60s'\n[storage]\nbacklog = 5\n[coordination]\nredis_url = 'redis://h'"
    assert changed(build(), build(text)) == (
        ["coordination.redis_url", "agents.timeout", "storage.backlog"],
        ["coordination.redis_url", "storage.backlog"],
    )


def test_a_redis_that_becomes_coordds_own_is_a_change() -> None:
    borrowed = build(environ={"REDIS_URL": "redis://h"})
    own = build(environ={"COORDD_REDIS_URL": "redis://h"})
    assert changed(borrowed, own) == (["coordination.redis_url"], ["coordination.redis_url"])


def test_the_effective_values_are_toml_that_builds_the_same_configuration() -> None:
    text = (
        "[coordination]\nredis_url = 'redis://h'\nworkspaces = ['/a \"b\"\\\\']\n[storage]\nmax_bytes = 65537"
    )
    config = build(text)
    lines: dict[str, list[str]] = {}
    for key, value, origin in effective(config):
        assert origin in (FILE, "default")
        section, name = key.split(".")
        if value is not None:
            lines.setdefault(section, []).append(f"{name} = {value}")
    written = "\n".join(f"[{section}]\n" + "\n".join(rows) for section, rows in lines.items())
    assert tomllib.loads(written)["storage"]["fsync_interval"] == "1s"
    assert build(written) == config


def test_the_reference_has_a_row_for_each_key() -> None:
    rows = reference().splitlines()[2:]
    assert [row.split("`")[1] for row in rows] == [key.dotted for key in KEYS]
    assert all(row.count("|") == 7 for row in rows)
