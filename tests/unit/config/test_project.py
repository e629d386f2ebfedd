"""Test that a project's own file sets few keys and stops nothing, and what the owner's tables set."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordd.config.build import Config, build_config
from coordd.config.layout import Layout
from coordd.config.project import MAX_LENGTH, MAX_PROBLEMS
from coordd.config.schema import KEYS
from coordd.errors import ConfigError
from coordd.protocol.paths import project_paths, user_paths

HOME = {"HOME": "/home/ann"}
OWNERS = "/home/ann/.config/coordd/coordd.toml"
ROOT = "/home/ann/src/app"
PROJECT = Layout(name="project", root=ROOT, **project_paths(ROOT))
USER = Layout(name="user", root=None, **user_paths(HOME, "linux"))
TABLE = f'[project."{ROOT}".'


def build(
    text: str | None = None,
    *,
    owner: str | None = None,
    environ: Mapping[str, str] | None = None,
    troubles: Sequence[str] = (),
    links: Mapping[str, str] | None = None,
    root: str = ROOT,
) -> Config:
    return build_config(
        layout=Layout(name="project", root=root, **project_paths(root)),
        file_text=text,
        file_name=PROJECT.config_file,
        environ={**HOME, **(environ or {})},
        flags={},
        trusted=False,
        user_text=owner,
        user_file=OWNERS,
        canonical=lambda path: (links or {}).get(path, path),
        troubles=troubles,
    )


def problem(text: str, **how: object) -> str:
    """Return the one problem of a file that then has no effect."""
    config = build(text, **how)  # type: ignore[arg-type]
    assert config == build(**how)  # type: ignore[arg-type]
    (said,) = config.problems
    assert said.startswith(f"{PROJECT.config_file}: ")
    assert "ignored" in said
    return said


# What it may set, and in which bounds.

BOUNDS = [
    ("sampling.interval", "1s", "1h", "999ms", "3601s"),
    ("agents.timeout", "10s", "1h", "9s", "2h"),
    ("agents.stall_after", "120s", "7d", "9s", "8d"),
    ("agents.call_stall_after", "120s", "7d", "9s", "8d"),
    ("agents.forget_after", "120s", "7d", "9s", "8d"),
    ("storage.retention_days", 1, 36500, 0, 36501),
    ("storage.compress_after_days", 0, 36500, -1, 36501),
]


def setting(dotted: str, value: object) -> str:
    section, name = dotted.split(".")
    return f"[{section}]\n{name} = {json.dumps(value)}\n"


@pytest.mark.parametrize(("key", "least", "most", "below", "above"), BOUNDS)
def test_a_project_sets_a_few_keys_within_bounds(
    key: str, least: object, most: object, below: object, above: object
) -> None:
    for value in (least, most):
        config = build(setting(key, value))
        assert config.problems == ()
        assert config.origins[key] == PROJECT.config_file
    for value in (below, above):
        said = problem(setting(key, value))
        assert f"{key} = {json.dumps(value)}: expected a " in said


def test_what_the_owner_may_set_and_a_project_not_names_the_owners_file() -> None:
    said = problem("[agents]\ntimeout = '5s'")
    assert said == (
        f'{PROJECT.config_file}: agents.timeout = "5s": expected a duration from 10s to 1h; it is ignored. '
        f"It belongs in {OWNERS}, there in {TABLE}agents]"
    )
    assert OWNERS not in problem("[agents]\ntimeout = '1ms'")  # wrong there as well


@pytest.mark.parametrize("key", [key for key in KEYS if key.project is None], ids=lambda key: key.dotted)
def test_no_other_key_counts_and_its_place_is_named(key: object) -> None:
    dotted, section = key.dotted, key.section  # type: ignore[attr-defined]
    for value in ('"redis://localhost"', '"/etc"', "1", "['/']", "true", "'file'", "'1h'", "1979-05-27"):
        said = problem(f"[{section}]\n{dotted.partition('.')[2]} = {value}")
        assert f": {dotted}: a project's own file may not set this; it is ignored" in said
        assert said.endswith(f"It belongs in {OWNERS}, there in {TABLE}{section}]")


def test_the_keys_a_project_may_set_are_these() -> None:
    assert {key.dotted for key in KEYS if key.project is not None} == {row[0] for row in BOUNDS}


@pytest.mark.parametrize(
    "url",
    ["redis://localhost", "redis://127.0.0.1/1", "unix:///run/redis.sock", "redis://a%0D%0Ab@localhost"],
)
def test_a_project_leads_to_no_redis_not_even_on_this_machine(url: str) -> None:
    said = problem(f"[coordination]\nredis_url = '{url}'")
    assert "coordination.redis_url" in said
    assert url not in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "no valid TOML"),
        ("[a]\n[a]", "no valid TOML"),
        ("a = " + "[" * 400, "no valid TOML"),
        ("a = " + "9" * 450, "no section"),
        ("\ufeff[agents]", "no valid TOML"),
        ("a." * 300 + "a = 1", "lines of at most 500 characters"),
        # what ends a line for Python and not in TOML, where the key goes on
        (('"\u2028".' + "a." * 200) * 3 + "a = 1", "lines of at most 500 characters"),
        (('"\u2029".' + "a." * 200) * 3 + "a = 1", "lines of at most 500 characters"),
        ("[" + ('"\x85".' + "a." * 200) * 3 + "a]", "lines of at most 500 characters"),
        ("'" + ("\x1c" + "a" * 400) * 3 + "' = 1", "lines of at most 500 characters"),
        ("[agents]\ntimuot = '1m'", "no key of this section; did you mean 'timeout'?"),
        ("[agnets]\ntimeout = '1m'", "no section; did you mean 'agents'?"),
        ("timeout = '1m'", "did you mean 'timeout' in [agents]?"),
        ("agents = 1", "expected a table, [agents]"),
        ("[[agents]]\ntimeout = '1m'", "expected a table, [agents]"),
        ("[agents]\ntimeout = {a = {b = 1}}", "expected a duration"),
        ("[agents]\ntimeout = " + "[" * 60 + "]" * 60, "expected a duration"),
        ("[agents]\ntimeout = 0x" + "f" * 400, "expected a duration"),
        ("[agents]\ntimeout = nan", "expected a duration"),
        ("[agents]\ntimeout = true", "expected a duration"),
        ("[storage]\nretention_days = 1.5", "expected a whole number"),
        ("[project.'/'.coordination]\nredis_url = 'redis://h'", f"tables of projects belong in {OWNERS}"),
        ('"\\u001b[31m" = 1', "\\x1b[31m"),
        ('"\\u202e" = 1', "\\u202e"),
    ],
)
def test_what_is_wrong_is_one_problem(text: str, words: str) -> None:
    said = problem(text)
    assert words in said
    assert said.isprintable()


def test_what_is_right_counts_beside_what_is_wrong() -> None:
    config = build("x = 1\n[agents]\ntimeout = '5m'\nfoo = 1\n[log]\nlevel = 'debug'\n")
    assert config.agents.timeout == 300
    assert config.log.level == "info"
    assert len(config.problems) == 3


def test_problems_are_bounded_in_number_and_length() -> None:
    keys = "".join(f"{'k' * 400}{number} = 1\n" for number in range(100))
    config = build(f"[agents]\n{keys}timeout = '5m'\n")
    assert config.agents.timeout == 300
    assert len(config.problems) == MAX_PROBLEMS + 1
    assert config.problems[-1].endswith(f"{100 - MAX_PROBLEMS} more keys are ignored")
    escaped = build('[agents]\n"' + "\\u202e" * 80 + '" = 1\n')
    assert all(len(said) <= MAX_LENGTH for said in (*config.problems, *escaped.problems))


def test_what_was_wrong_with_reading_is_a_problem_too() -> None:
    assert build(troubles=["a link"]).problems == ("a link",)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_no_text_is_an_error(text: str) -> None:
    assert all(said.isprintable() for said in build(text).problems)


_values = st.recursive(
    st.booleans() | st.integers() | st.floats() | st.text(max_size=20), st.lists, max_leaves=6
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from([key.dotted for key in KEYS]), _values, max_size=6))
def test_no_value_is_an_error(values: Mapping[str, object]) -> None:
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    config = build("\n".join(lines).replace("Infinity", "inf").replace("NaN", "nan"))
    allowed = {row[0] for row in BOUNDS}
    assert {name for name, where in config.origins.items() if where == PROJECT.config_file} <= allowed


# Times that contradict each other.


def test_of_two_times_that_contradict_each_other_the_later_one_gives_way() -> None:
    config = build("[agents]\ntimeout = '1h'\nstall_after = '5m'\nforget_after = '2h'\n")
    assert (config.agents.timeout, config.agents.stall_after, config.agents.forget_after) == (
        3600,
        3600,
        7200,
    )
    (said,) = config.problems
    assert 'agents.stall_after = "5m": expected at least agents.timeout, which is 1h; it is ignored' in said


@pytest.mark.parametrize("by", ["environment", "table"])
def test_a_projects_timeout_gives_way_to_what_the_owner_gave(by: str) -> None:
    owner = f"{TABLE}agents]\nstall_after = '5m'\n" if by == "table" else None
    environ = {"COORDD_AGENTS_STALL_AFTER": "5m"} if by == "environment" else {}
    config = build("[agents]\ntimeout = '1h'\n", owner=owner, environ=environ)
    assert (config.agents.timeout, config.agents.stall_after) == (120, 300)
    (said,) = config.problems
    assert 'agents.timeout = "1h": expected at most agents.stall_after, which is 5m in ' in said


def test_a_projects_time_gives_way_to_the_owners_timeout() -> None:
    config = build("[agents]\nstall_after = '5m'\n", environ={"COORDD_AGENTS_TIMEOUT": "2h"})
    assert (config.agents.timeout, config.agents.stall_after) == (7200, 7200)
    assert "expected at least agents.timeout, which is 2h" in config.problems[0]


# The owner's tables.


def test_the_owners_table_says_the_rest_and_counts_over_the_projects_file() -> None:
    owner = (
        "[agents]\ntimeout = '4m'\n"  # of the owner's own layout
        '[project."~/src/app".coordination]\nredis_url = "redis://elsewhere/1"\n'
        '[project."~/src/app"]\nagents.timeout = "5s"\nstorage.metrics_dir = "~/metrics"\n'
        '[project."~/src/other".agents]\ntimeout = "6m"\n'
    )
    config = build("[agents]\ntimeout = '1m'\n[sampling]\ninterval = '5s'\n", owner=owner)
    assert config.problems == ()
    assert (config.coordination.redis_url, config.coordination.redis_writable) == (
        "redis://elsewhere/1",
        True,
    )
    assert (config.agents.timeout, config.sampling.interval) == (5, 5)
    assert config.storage.metrics_dir == "/home/ann/metrics"
    assert config.origins["agents.timeout"] == OWNERS
    over = build(owner=owner, environ={"COORDD_AGENTS_TIMEOUT": "7s", "REDIS_URL": "redis://theirs"})
    assert (over.agents.timeout, over.coordination.redis_url) == (7, "redis://theirs")


def test_the_rest_of_the_owners_file_is_not_for_the_project_layout() -> None:
    assert build(owner="[agents]\ntimeout = '4m'\n[coordination]\nredis_url = 'redis://h'\n") == build()


@pytest.mark.parametrize("written", [ROOT, "~/src/app", "~/src/app/", "$HOME/src/../src/app", "/link"])
def test_a_table_is_found_by_where_its_path_leads(written: str) -> None:
    links = {"/link": "/disk/app", ROOT: "/disk/app"}
    config = build(owner=f'[project."{written}".agents]\ntimeout = "5s"', links=links)
    assert config.agents.timeout == 5


def test_a_table_of_another_project_does_not_count() -> None:
    for other in ("~/src", "~/src/app2", "~/src/app/sub", "/src/app"):
        assert build(owner=f'[project."{other}".agents]\ntimeout = "5s"') == build()


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("project = 1", "project", "expected tables such as"),
        ("[[project]]", "project", "expected tables such as"),
        ("[project]\n'/x' = 1", 'project."/x"', "expected tables such as"),
        ("[project.'/x'.agnets]", 'project."/x".agnets', "did you mean 'agents'"),
        ("[project.'/x']\nagents = 1", 'project."/x".agents', "expected a table"),
        ("[project.'/x'.agents]\ntimuot = 1", 'project."/x".agents.timuot', "did you mean 'timeout'"),
        ("[project.'/x'.agents]\ntimeout = 'soon'", 'project."/x".agents.timeout', "expected a duration"),
        ("[project.'src/app'.agents]\n", 'project."src/app"', "an absolute path"),
        ("[project.'$NOWHERE/x'.agents]\n", 'project."$NOWHERE/x"', "$NOWHERE is not"),
        ("[project.'/x'.project.'/y'.agents]\ntimeout = 1", 'project."/x".project', "no section"),
        ("[project.'/x'.coordination]\nredis_url = 'redis://a%0Ab@h'", "", "without control characters"),
        ("[agents]\ntimeout = 'soon'", "agents.timeout", "expected a duration"),
        ("nonsense", "", "no valid TOML"),
    ],
)
def test_a_mistake_of_the_owners_is_an_error_wherever_it_counts(
    text: str, key: str, words: str, trusted: bool
) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config(
            layout=USER if trusted else PROJECT,
            file_text=text if trusted else None,
            file_name=OWNERS if trusted else PROJECT.config_file,
            environ=HOME,
            flags={},
            trusted=trusted,
            user_text=None if trusted else text,
            user_file=OWNERS,
        )
    assert caught.value.where == OWNERS
    assert key in caught.value.key
    assert words in str(caught.value)


def test_two_tables_of_one_project_are_an_error() -> None:
    with pytest.raises(ConfigError, match="the same project as"):
        build(owner=f"{TABLE}agents]\n[project.'~/src/app'.agents]\n")


def test_a_file_named_by_hand_is_the_owners_and_its_table_counts_over_the_rest_of_it() -> None:
    config = build_config(
        layout=PROJECT,
        file_text=f"[agents]\ntimeout = '5s'\nstall_after = '1m'\n{TABLE}agents]\ntimeout = '6s'\n",
        file_name="f.toml",
        environ=HOME,
        flags={},
        trusted=True,
    )
    assert (config.agents.timeout, config.agents.stall_after, config.problems) == (6, 60, ())
