"""Test reading configuration files: a project's may hold anything, the owner's has to be valid."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from coordd.config.build import Config
from coordd.config.file import ConfigSources
from coordd.config.layout import Layout
from coordd.config.project import MAX_BYTES
from coordd.errors import ConfigError
from coordd.protocol.paths import project_paths

MINUTE = b"[agents]\ntimeout = '60s'\n"


class Scene:
    """A project, and the home of the user who runs coordd."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.root = directory / "app"
        self.claude = self.root / ".claude"
        self.file = self.claude / "coordd.toml"
        self.owners = self.home / ".config" / "coordd" / "coordd.toml"
        self.claude.mkdir(parents=True)
        self.owners.parent.mkdir(parents=True)

    def load(self, config_file: str | None = None) -> Config:
        root = str(self.root)
        return ConfigSources(
            layout=Layout(name="project", root=root, **project_paths(root)),
            config_file=config_file,
            environ={"HOME": str(self.home)},
            flags={},
            cwd=root,
        ).load()


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def linked(scene: Scene) -> None:
    outside = scene.home / "elsewhere.toml"
    outside.write_bytes(MINUTE)
    scene.file.symlink_to(outside)


def linked_inside(scene: Scene) -> None:
    (scene.claude / "other.toml").write_bytes(MINUTE)
    scene.file.symlink_to("other.toml")


def linked_folder(scene: Scene) -> None:
    scene.claude.rename(scene.home / "claude")
    scene.claude.symlink_to(scene.home / "claude")
    (scene.home / "claude" / "coordd.toml").write_bytes(MINUTE)


def dangling(scene: Scene) -> None:
    scene.file.symlink_to("nowhere")


def circle(scene: Scene) -> None:
    scene.file.symlink_to("coordd.toml")


def file_for_folder(scene: Scene) -> None:
    scene.claude.rmdir()
    scene.claude.write_bytes(MINUTE)


def listening(scene: Scene) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(scene.file))


def large(scene: Scene) -> None:
    scene.file.write_bytes(MINUTE + b"#\n" * MAX_BYTES)


def endless(scene: Scene) -> None:
    scene.file.touch()
    os.truncate(scene.file, 1 << 40)


ODDITIES: list[tuple[Callable[[Scene], object], str]] = [
    (linked, "a symbolic link, which is not followed"),
    (linked_inside, "a symbolic link, which is not followed"),
    (linked_folder, "a symbolic link, which is not followed"),
    (dangling, "a symbolic link, which is not followed"),
    (circle, "a symbolic link, which is not followed"),
    (file_for_folder, "a file, not a directory"),
    (lambda scene: os.mkfifo(scene.file), "a FIFO"),
    (lambda scene: scene.file.mkdir(), "a directory"),
    (listening, "a socket"),
    (large, "larger than 64 KiB"),
    (endless, "larger than 64 KiB"),
    (lambda scene: scene.file.write_bytes(b"\xff" + MINUTE), "expected UTF-8: byte 0 is none"),
    (lambda scene: scene.file.write_bytes(MINUTE.decode().encode("utf-16")), "expected UTF-8"),
    (lambda scene: scene.file.write_bytes(MINUTE + b"\0"), "no valid TOML"),
    (lambda scene: scene.file.write_bytes(MINUTE + b"x = '"), "no valid TOML"),
]


@pytest.mark.parametrize(("make", "words"), ODDITIES)
def test_whatever_a_projects_file_is_the_daemon_can_start(
    scene: Scene, make: Callable[[Scene], object], words: str
) -> None:
    make(scene)
    config = scene.load()
    assert config.agents.timeout == 120
    (problem,) = config.problems
    assert problem.startswith(str(scene.file))
    assert words in problem
    assert "it is ignored" in problem


@pytest.mark.parametrize("gone", ["file", "folder", "project"])
def test_what_is_not_there_is_no_problem(scene: Scene, gone: str) -> None:
    if gone != "file":
        scene.claude.rmdir()
    if gone == "project":
        scene.root.rmdir()
    assert scene.load().problems == ()


def test_the_way_to_the_project_may_be_a_link(scene: Scene) -> None:
    scene.file.write_bytes(MINUTE)
    scene.root.rename(scene.home / "disk")
    scene.root.symlink_to(scene.home / "disk")
    config = scene.load()
    assert (config.agents.timeout, config.problems) == (60, ())


def test_the_owners_table_is_found_through_links_on_either_side(scene: Scene) -> None:
    scene.root.rename(scene.home / "disk")
    scene.root.symlink_to(scene.home / "disk")
    dotfiles = scene.home / "dotfiles.toml"
    scene.owners.symlink_to(dotfiles)
    for written in ("~/disk", str(scene.root), f"{scene.root}/"):
        dotfiles.write_text(f'[project."{written}".agents]\ntimeout = "70s"\n')
        assert scene.load().agents.timeout == 70


def test_a_mistake_in_the_owners_file_is_an_error_in_a_project_too(scene: Scene) -> None:
    for content in (b"nonsense", b"\xff", b"[project.'~/x'.agents]\ntimeout = 'soon'"):
        scene.owners.write_bytes(content)
        with pytest.raises(ConfigError) as caught:
            scene.load()
        assert caught.value.where == str(scene.owners)
    scene.owners.unlink()
    os.mkfifo(scene.owners)
    with pytest.raises(ConfigError, match="expected a regular file"):
        scene.load()


def test_a_home_that_is_none_is_no_error(scene: Scene) -> None:
    scene.home = scene.root / "file"
    scene.home.touch()
    assert scene.load().problems == ()


def test_a_file_named_by_hand_is_the_owners_wherever_it_lies(scene: Scene) -> None:
    scene.file.write_text("[agents]\ntimeout = '2h'\n[redis]\nttl = '2h'\n")
    config = scene.load(str(scene.file))
    assert (config.agents.timeout, config.redis.ttl, config.problems) == (7200, 7200, ())


COSTLY = [
    "\n".join([f"[{'.'.join('a' * 245)}]", *(f"b.c{number} = 1" for number in range(5000))]),
    "\n".join("[[" + ".".join("a" * 245) + "]]" for _ in range(130)),
    "\n".join(f"k{'y' * 90}{number} = 1" for number in range(600)),
    "x = [\n" + ",\n".join("{" + ".".join("a" * 240) + " = 1}" for _ in range(130)) + "]",
]


@pytest.mark.parametrize("text", COSTLY, ids=range(len(COSTLY)))
def test_the_costliest_files_there_are_can_be_read(scene: Scene, text: str) -> None:
    assert len(text) <= MAX_BYTES
    scene.file.write_text(text)
    assert scene.load().problems


def test_a_key_of_very_many_parts_which_takes_minutes_is_not_even_parsed(scene: Scene) -> None:
    scene.file.write_text(".".join("a" * 32_000) + " = 1")
    assert "lines of at most 500 characters" in scene.load().problems[0]


@pytest.mark.root
@pytest.mark.parametrize("closed", ["file", "folder", "project", "owners"])
def test_what_may_not_be_read_is_a_problem(closed: str, open_directory: Path) -> None:
    scene = Scene(open_directory)
    scene.file.write_bytes(MINUTE)
    scene.owners.write_text(f'[project."{scene.root}".agents]\ntimeout = "70s"\n')
    paths = {"file": scene.file, "folder": scene.claude, "project": scene.root, "owners": scene.owners}
    paths[closed].chmod(0)
    os.seteuid(65534)
    try:
        config = scene.load()
    finally:
        os.seteuid(0)
    assert config.agents.timeout == (60 if closed == "owners" else 70)
    (problem,) = config.problems
    assert "Permission denied" in problem


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_is_an_error_of_the_owners(
    scene: Scene, make: Callable[[Path], None], named: bool
) -> None:
    make(scene.owners)
    with pytest.raises(ConfigError, match="expected a regular file"):
        scene.load(str(scene.owners) if named else None)
