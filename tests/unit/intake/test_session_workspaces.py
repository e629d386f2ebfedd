"""A pattern for one workspace matches that and nothing else, whatever its name."""

from __future__ import annotations

import glob
import os
from pathlib import Path

import pytest

from coordd.intake.session_workspaces import pattern_for

NAMES = [
    "app",
    ".dotfiles",
    "a[1]",
    "[x]",
    "!x",
    "^x",
    "]",
    "-x",
    "wow?",
    "*",
    "**",
    "a b",
    "é",
    ".-[a",
    "..a",
]


@pytest.mark.parametrize("parent", ["", "deep/er", "[a]/b*"])
def test_it_matches_its_own_path_alone(tmp_path: Path, parent: str) -> None:
    for name in NAMES:
        (tmp_path / parent / name).mkdir(parents=True)
    for name in NAMES:
        path = str(tmp_path / parent / name)
        pattern = pattern_for(path)
        if pattern is None:
            assert set(name) <= set(".!^]-[*?")
        else:
            assert pattern != path  # it counts as a pattern, so it is no problem while nothing is there
            assert glob.glob(pattern) == [path]


def test_the_root_has_none() -> None:
    assert pattern_for(os.sep) is None
