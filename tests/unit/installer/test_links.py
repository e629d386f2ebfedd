"""Links below /usr/local: made, repaired and removed, and never anything that is somebody else's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from coordd.errors import InstallError
from coordd.installer.links import Link, Unlink, links, unlinking
from coordd.installer.services import PROGRAMS, Programs

PLACES = [f"bin/{name}" for name in PROGRAMS]


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """An installation with its pages."""
    prefix = tmp_path / "opt/coordd"
    for name in (*PLACES, "share/man/man1/coordctl.1", "share/man/man5/coordd.toml.5"):
        (prefix / name).parent.mkdir(parents=True, exist_ok=True)
        (prefix / name).touch()
    return {name: (str(prefix / "bin" / name),) for name in PROGRAMS}


def made(programs: Programs, local: Path) -> dict[str, str]:
    return {path: Link(path, target).do() for path, target in links(programs, local=str(local))}


def test_programs_and_the_pages_that_there_are_get_links_and_lose_them(
    programs: Programs, tmp_path: Path
) -> None:
    local = tmp_path / "local"
    done = made(programs, local)
    assert set(done.values()) == {"linked"}
    assert [os.path.relpath(path, local) for path in done] == [
        *(*PLACES, "share/man/man1/coordctl.1", "share/man/man5/coordd.toml.5"),
    ]
    assert (local / "bin/coordctl").resolve() == Path(programs["coordctl"][0])
    assert set(made(programs, local).values()) == {"unchanged"}
    assert {step.do() for step in unlinking(programs, local=str(local))} == {"removed"}
    assert [path for path in local.rglob("*") if not path.is_dir()] == []
    assert unlinking(programs, local=str(local)) == []


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling"])
def test_what_is_somebody_elses_stays(programs: Programs, tmp_path: Path, kind: str) -> None:
    path, other = tmp_path / "local/bin/coordctl", tmp_path / "other"
    path.parent.mkdir(parents=True)
    match kind:
        case "file":
            path.write_text("mine")
        case "directory":
            path.mkdir()
        case "link":
            other.touch()
            path.symlink_to(other)
        case _:
            path.symlink_to(tmp_path / "gone")  # of another name: it may be there again
    before = path.lstat().st_ino
    step = Link(str(path), programs["coordctl"][0])
    assert step.do() == "kept"
    assert "is not coordd's" in step.describe()
    assert Unlink(str(path), programs["coordctl"][0]).do() == "kept"
    assert path.lstat().st_ino == before


def test_a_link_that_a_removed_installation_left_is_led_anew(programs: Programs, tmp_path: Path) -> None:
    path = tmp_path / "local/bin/coordctl"
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "opt/older/bin/coordctl")
    assert Link(str(path), programs["coordctl"][0]).do() == "linked"
    os.unlink(programs["coordctl"][0])  # and so it goes after the programs
    assert Unlink(str(path), programs["coordctl"][0]).do() == "removed"


def test_programs_on_every_path_and_modules_need_no_links(tmp_path: Path) -> None:
    local = str(tmp_path)
    for there in ("/usr/bin", f"{local}/bin"):
        assert list(links({name: (f"{there}/{name}",) for name in PROGRAMS}, local=local)) == []
    modules = dict.fromkeys(PROGRAMS, ("/usr/bin/python3", "-m", "coordd"))
    assert list(links(modules, local=local)) == []


def test_a_place_that_cannot_be_written_says_what_to_do(programs: Programs, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InstallError, match="cannot link"):
        Link(str(tmp_path / "file/bin/coordctl"), programs["coordctl"][0]).do()
