"""Rules of a configuration, and what is refused."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest

from coordd.alerts.configuration import load
from coordd.alerts.ownership import trouble_with
from coordd.alerts.rules import USUAL, Rule, rules_of
from coordd.errors import ConfigError


def rules(text: str) -> tuple[Rule, ...]:
    return rules_of(tomllib.loads(text).get("alert"), where="coordd.toml", home="/home/me")


WHOLE = """
[[alert]]
name = "needs-me"
on = ["waiting", "blocked", "finished", "daemon", "cpu>90", "load > 2.5"]
for = "45s"
workspaces = ["~/src/*", "/srv/app/"]
quiet = "22:00-07:00"
every = "5m"
finished_after = "10m"
exec = ["notify-send", "{title}"]
"""


def test_a_whole_rule() -> None:
    (rule,) = rules(WHOLE)
    assert rule.kinds == {"waiting", "blocked", "finished", "daemon", "cpu>90", "load>2.5"}
    assert [(one.measure, one.above) for one in rule.thresholds] == [("cpu", 90.0), ("load", 2.5)]
    assert (rule.hold, rule.every, rule.finished_after) == (45.0, 300.0, 600.0)
    assert rule.workspaces == ("/home/me/src/*", "/srv/app")
    assert rule.quiet is not None
    assert rule.quiet.words() == "22:00-07:00"
    assert rule.actions == {"exec": ["notify-send", "{title}"]}


def test_without_rules_the_desktop_is_told() -> None:
    (rule,) = rules("")
    assert rule.kinds == set(USUAL)
    assert rule.actions == {"desktop": True}
    assert rule.hold == 30.0


def test_a_rule_that_says_little_tells_the_usual() -> None:
    (rule,) = rules('[[alert]]\nname = "a"\ndesktop = true')
    assert rule.kinds == set(USUAL)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ('nam = "x"', ("alert.a.nam", "no such key", "Did you mean 'name'?")),
        ('on = ["wating"]', ("alert.a.on", '"wating"', "Did you mean 'waiting'?")),
        ("on = []", ("alert.a.on",)),
        ('on = "waiting"', ("alert.a.on", "expected a list")),
        ('on = ["gpu>90"]', ("alert.a.on", '"gpu>90"', "cpu>90")),
        ('on = ["cpu>100"]', ("alert.a.on", "below 100")),
        ('on = ["cpu>"]', ("alert.a.on",)),
        ('for = "soon"', ("alert.a.for", '"soon"', "a duration")),
        ('for = "2d"', ("alert.a.for", "at most a day")),
        ('every = "-5m"', ("alert.a.every",)),
        ('quiet = "22-7"', ("alert.a.quiet", "22:00-07:00")),
        ('workspaces = "~/src"', ("alert.a.workspaces", "a list")),
        ('workspaces = ["src"]', ("alert.a.workspaces", '"src"', "begins with /")),
        ("finished_after = true", ("alert.a.finished_after",)),
    ],
)
def test_what_is_wrong_is_named(change: str, said: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(f'[[alert]]\nname = "a"\ndesktop = true\n{change}')
    for words in ("coordd.toml", *said):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[alert]]\ndesktop = true", "alert 1.name"),
        ('[[alert]]\nname = "a b"\ndesktop = true', "alert 1.name"),
        ('[[alert]]\nname = "a"', "it does nothing"),
        ('[[alert]]\nname = "a"\ndesktop = false', "it does nothing"),
        ('[alert]\nname = "a"', "[[alert]]"),
        ("alert = 3", "[[alert]]"),
        ('[[alert]]\nname = "a"\ndesktop = true\n' * 2, "a name of its own"),
    ],
)
def test_tables_that_are_no_rules(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        rules(text)
    assert said in str(caught.value)
    assert caught.value.exit_code == 78


def test_which_workspaces_a_rule_is_for() -> None:
    (rule,) = rules(WHOLE)
    assert rule.wants("waiting", "/home/me/src/app", None)
    assert rule.wants("waiting", "/home/me/src/app/sub", None)
    assert rule.wants("waiting", "/elsewhere/worktree", "/srv/app")
    assert not rule.wants("waiting", "/srv/application", None)
    assert not rule.wants("waiting", None, None)  # Redis alone tells of it
    assert rule.wants("daemon", None, None)
    assert rule.wants("cpu>90", None, None)
    assert not rule.wants("killed", "/srv/app", None)


def test_a_rule_that_tells_of_the_killed_tells_of_those_that_fell_together() -> None:
    (rule,) = rules('[[alert]]\nname = "a"\non = ["killed"]\nexec = ["x"]')
    assert rule.kinds == {"killed", "mass"}


# who can write the file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    folder = tmp_path / "home" / ".config" / "coordd"
    folder.mkdir(parents=True, mode=0o700)
    path = folder / "coordd.toml"
    path.write_text(WHOLE)
    path.chmod(0o600)
    return path


def load_of(path: Path) -> object:
    return load(str(path), required=True, environ={"HOME": str(path.parents[2])})


def test_a_file_of_ones_own_is_taken(config: Path) -> None:
    assert [rule.name for rule in load(str(config), required=True, environ={"HOME": "/h"}).rules] == [
        "needs-me"
    ]


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_can_write_is_refused(config: Path, mode: int) -> None:
    config.chmod(mode)
    with pytest.raises(ConfigError, match=r"can be written by .*chmod go-w"):
        load_of(config)


def test_a_folder_that_others_can_write_is_refused(config: Path) -> None:
    config.parent.parent.chmod(0o777)
    with pytest.raises(ConfigError, match=r"\.config can be written by everybody.*chmod go-w"):
        load_of(config)


def test_a_folder_of_all_with_the_sticky_bit_is_as_its_owner_has_it(config: Path) -> None:
    config.parent.parent.chmod(0o1777)
    load_of(config)


def test_a_link_leads_to_a_file_that_is_looked_at_as_well(config: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "dotfiles"
    elsewhere.mkdir()
    target = elsewhere / "coordd.toml"
    config.rename(target)
    config.symlink_to(target)
    load_of(config)
    elsewhere.chmod(0o777)
    with pytest.raises(ConfigError, match="dotfiles can be written by everybody"):
        load_of(config)


@pytest.mark.parametrize("inside", [".claude", ".git"])
def test_a_file_in_a_project_is_refused(config: Path, inside: str) -> None:
    (config.parent / inside).mkdir()
    with pytest.raises(ConfigError, match="it lies in a project"):
        load_of(config)


def test_a_home_that_is_a_work_tree_is_nobodys_project(config: Path) -> None:
    (config.parents[2] / ".claude").mkdir()
    (config.parents[2] / ".git").mkdir()
    load_of(config)


def test_a_file_of_another_user_is_refused(config: Path) -> None:
    assert trouble_with(str(config), uid=os.geteuid(), home=None) is None
    trouble = trouble_with(str(config), uid=4711, home=None)
    if os.geteuid() == 0:  # root may own any of it
        assert trouble is None
        os.chown(config, 4712, -1)
        trouble = trouble_with(str(config), uid=4711, home=None)
    assert trouble is not None
    assert "uid" in trouble


def test_a_file_without_rules_may_be_anybodys(config: Path) -> None:
    config.write_text('[log]\nlevel = "info"\n')
    config.chmod(0o666)
    assert load(str(config), required=True, environ={}).built_in


def test_a_missing_file_is_the_built_in_rule(tmp_path: Path) -> None:
    assert load(str(tmp_path / "none.toml"), required=False, environ={}).built_in
    with pytest.raises(ConfigError, match="no such file"):
        load(str(tmp_path / "none.toml"), required=True, environ={})


def test_what_is_no_toml_or_no_file_is_said(tmp_path: Path) -> None:
    path = tmp_path / "coordd.toml"
    for text in ("[[alert", f"x = {'[' * 20_000}", f"x = {'9' * 5_000}"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="expected TOML"):
            load(str(path), required=True, environ={})
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="not a FIFO"):
        load(str(path), required=True, environ={})
