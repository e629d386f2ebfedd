"""What is read without click is what click reads."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.commands.app import app
from coordd.commands.plain_options import BESIDE, LOG, WHERE, read_plainly

OPTIONS = (*WHERE, *LOG, *BESIDE)


def by_click(arguments: list[str]) -> dict[str, object] | None:
    """The parameters that click passes to ``coordd run``; None where it passes none."""
    try:
        return dict(app.commands["run"].make_context("run", list(arguments)).params)
    except (click.ClickException, click.exceptions.Exit):
        return None


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--workspace", "/a", "-w", "b c", "--workspace=~/src/*"],
        ["--layout", "user", "--layout", "system"],
        ["--config", "c.toml", "--socket=/run/s=1", "-S", "s", "--log-file", "", "--log-level", "error"],
        ["--config", "\udcff"],
        ["--alerts"],
        ["-w", "a", "--alerts", "--layout", "user", "--alerts"],
    ],
)
def test_plain_options_are_read_as_click_reads_them(arguments: list[str]) -> None:
    assert read_plainly(arguments, OPTIONS) == by_click(arguments) != None  # noqa: E711 - it is one chain


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["-w/a"],
        ["--workspace"],
        ["--layout", "other"],
        ["--log-level=loud"],
        ["--workspace", "--layout"],
        ["--config", "-"],
        ["--", "x"],
        ["word"],
        ["--unknown", "x"],
        ["-w=x"],
        ["--work", "x"],
        ["--alerts=yes"],
        ["--alerts", "yes"],
    ],
)
def test_all_else_is_left_to_click(arguments: list[str]) -> None:
    assert read_plainly(arguments, OPTIONS) is None


PIECES = [flag + end for option in OPTIONS for flag in option.flags for end in ("", "=user", "x")]


@given(st.lists(st.sampled_from([*PIECES, "user", "error", "/a", "", "-", "--", "=", "--help"]), max_size=6))
def test_what_is_read_is_never_read_otherwise(arguments: list[str]) -> None:
    plain = read_plainly(arguments, OPTIONS)
    assert plain is None or plain == by_click(arguments)


def test_click_stays_out_of_what_runs_the_daemon() -> None:
    code = "import sys, coordd.commands.main; sys.exit('click' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
