"""Test which texts may stand before every key of a Redis, and where that may be said."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from coordd.config.build import Config, build_config, changed, effective
from coordd.config.layout import Layout
from coordd.config.redis_prefix import LONGEST_PREFIX, TRACES, check_redis_prefix
from coordd.errors import ConfigError
from coordd.protocol.paths import project_paths, user_paths
from coordd.sources.redis.keys import FAMILIES, Keyspace

HOME = {"HOME": "/home/ann"}
USER = Layout(name="user", root=None, **user_paths(HOME, "linux"))
OWNERS = "/home/ann/.config/coordd/coordd.toml"


def build(text: str | None = None, **environ: str) -> Config:
    return build_config(
        layout=USER,
        file_text=text,
        file_name=OWNERS,
        environ={**HOME, **environ},
        flags={},
        trusted=True,
        user_file=OWNERS,
    )


def refused(text: str | None = None, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        build(text, **environ)
    return str(caught.value)


@pytest.mark.parametrize(
    "prefix",
    ["", "shop:", "{shop}:", "équipe:", "a[b]*?\\", "'\"", "agents:", "tasks:", "task", "x" * LONGEST_PREFIX],
)
def test_any_printable_text_may_be_one(prefix: str) -> None:
    assert check_redis_prefix(prefix) == prefix
    assert build(COORDD_REDIS_PREFIX=prefix).coordination.redis_prefix == prefix


@pytest.mark.parametrize(
    "prefix",
    ["x" * (LONGEST_PREFIX + 1), " ", "a b:", "a:\n", "\0", "\x7f", "\u202eshop:", "\u00a0", "\udcff:"],
)
def test_white_space_controls_and_long_texts_are_refused(prefix: str) -> None:
    words = refused(COORDD_REDIS_PREFIX=prefix)
    assert "COORDD_REDIS_PREFIX" in words
    assert f"at most {LONGEST_PREFIX} printable characters without white space" in words


@pytest.mark.parametrize("value", ["5", "['a']", "true"])
def test_what_is_no_text_is_refused(value: str) -> None:
    assert "a text of at most" in refused(f"[coordination]\nredis_prefix = {value}")


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("agent:", "agent:heartbeat: would be read as agent:heartbeat: by those without a prefix"),
        ("heartbeat:", "heartbeat:agents:registry would be read as heartbeat: "),
        ("heartbeat:x:", "would be read as heartbeat: "),
        ("tasks:claimed:", "would be read as tasks:claimed: "),
        ("task:progress:mine:", "would be read as task:progress: "),
    ],
)
def test_a_prefix_that_others_without_one_would_read_is_refused(prefix: str, said: str) -> None:
    assert said in refused(COORDD_REDIS_PREFIX=prefix)


@given(st.text("agentshrbiklw:", min_size=1, max_size=20), st.sampled_from(FAMILIES), st.text(max_size=5))
def test_nothing_behind_a_prefix_is_read_without_it(prefix: str, family: str, name: str) -> None:
    try:
        check_redis_prefix(prefix)
    except ValueError:
        assume(False)
    key = (prefix + family + (name if family.endswith(":") else "")).encode()
    assert Keyspace().meaning(key) is None


def test_the_keys_without_a_prefix_are_those_that_are_read() -> None:
    assert set(TRACES) == set(FAMILIES)


def test_a_change_needs_a_restart_as_one_of_the_url_does() -> None:
    key = "coordination.redis_prefix"
    assert changed(build(), build("[coordination]\nredis_prefix = 'a:'")) == ([key], [key])
    shown = {name: value for name, value, _ in effective(build(COORDD_REDIS_PREFIX='"\\'))}
    assert shown[key] == r'"\"\\"'


def test_a_projects_own_file_sets_none_and_the_owners_table_for_it_does() -> None:
    root = "/home/ann/src/app"
    owner = f'[project."{root}".coordination]\nredis_prefix = "app:"\n'

    def of_project(text: str | None, owner: str | None) -> Config:
        return build_config(
            layout=Layout(name="project", root=root, **project_paths(root)),
            file_text=text,
            file_name=f"{root}/.claude/coordd.toml",
            environ=HOME,
            flags={},
            trusted=False,
            user_text=owner,
            user_file=OWNERS,
        )

    config = of_project("[coordination]\nredis_prefix = 'theirs:'", None)
    assert config.coordination.redis_prefix == ""
    (problem,) = config.problems
    assert "coordination.redis_prefix" in problem and OWNERS in problem
    assert of_project(None, owner).coordination.redis_prefix == "app:"
