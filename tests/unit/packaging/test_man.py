"""Test that the manual pages match the commands and the configuration, and that roff accepts them.

The examples of every help text are command lines that the commands take.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import click
import pytest

from coordd.alerts.main import HELP
from coordd.cli.app import app as coordctl
from coordd.commands.app import app as coordd
from coordd.config.schema import KEYS

MAN = Path(__file__).resolve().parents[3] / "packaging" / "man"
PAGES = ("coordctl.1", "coordd.1", "coordd-alert.1", "coordd.toml.5")
MACROS = {"TH", "SH", "SS", "PP", "TP", "B", "BR", "RS", "RE", "EX", "EE", "nf", "fi", "br", '\\"'}


def load_builder() -> ModuleType:
    """Load build.py, which is in no package."""
    spec = importlib.util.spec_from_file_location("man_build", MAN / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BUILDER = load_builder()


def commands(group: click.Group, name: str) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, info_name=name)
    yield name, group
    for one in group.list_commands(context):
        command = group.get_command(context, one)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {one}")
        else:
            yield f"{name} {one}", command


COMMANDS = [*commands(coordctl, "coordctl"), *commands(coordd, "coordd")]
IDS = [name for name, _ in COMMANDS]


def test_the_pages_are_what_the_sources_give() -> None:
    made = BUILDER.pages()
    assert tuple(made) == PAGES
    for name, text in made.items():
        assert (MAN / name).read_text(encoding="utf-8") == text, "run: python packaging/man/build.py"


@pytest.mark.parametrize("name", PAGES)
def test_roff_is_silent(name: str) -> None:
    text = (MAN / name).read_text(encoding="utf-8")
    used = {line[1:].split()[0] for line in text.splitlines() if line.startswith(".")}
    assert used <= MACROS
    assert text.isascii()
    for needed, command in (
        ("groff", ["groff", "-man", "-Tascii", "-ww", "-z", str(MAN / name)]),
        ("man", ["man", "--warnings", "--encoding=ascii", "--local-file", str(MAN / name)]),
    ):
        if shutil.which(needed) is None:
            assert not os.environ.get("CI"), f"{needed} is missing"
            continue
        environ = {**os.environ, "LC_ALL": "C", "MANPAGER": "cat", "MANWIDTH": "80"}
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True, env=environ)
        assert done.stderr == ""


SHARED = ("--socket", "--timeout", "--layout", "-w")
"""Options of all commands of coordctl, which stand once for all."""


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=IDS)
def test_every_command_and_option_has_its_place(name: str, command: click.Command) -> None:
    page = (MAN / f"{name.split(maxsplit=1)[0]}.1").read_text(encoding="utf-8")
    section = page
    if " " in name:
        start = page.index(f'.SS "{BUILDER.escaped(name)} ')
        section = page[start : page.find("\n.S", start + 1)]
    for param in command.params:
        if isinstance(param, click.Option):
            for option in param.opts:
                shown = f"\\fB{BUILDER.escaped(option)}\\fR"
                assert shown in section or (option in SHARED and shown in page)


def test_every_option_of_coordd_alert_has_its_place() -> None:
    page = (MAN / "coordd-alert.1").read_text(encoding="utf-8")
    options = re.findall(r"(?m)^  (?:-\w, )?(--[a-z-]+)", HELP)
    assert {"--socket", "--until-eof", "--help"} <= set(options)
    for option in options:
        assert BUILDER.escaped(option) in page


def test_every_key_is_in_the_page_of_the_configuration() -> None:
    page = (MAN / "coordd.toml.5").read_text(encoding="utf-8")
    for key in KEYS:
        assert f"\n.TP\n\\fB{BUILDER.escaped(key.name)}\\fR\n{BUILDER.escaped(key.doc)}" in page
        assert all(variable in page for variable in key.variables)


@pytest.mark.parametrize(
    ("text", "roff"),
    [
        (".SH x", "\\&.SH x"),
        ("'quoted' \"words\"", "\\(aqquoted\\(aq \\(dqwords\\(dq"),
        ("--json a\\b", "\\-\\-json a\\eb"),
        ("~/x `id` ^", "\\(ti/x \\(gaid\\(ga \\(ha"),
    ],
)
def test_text_stays_text(text: str, roff: str) -> None:
    assert BUILDER.escaped(text) == roff


def test_paragraphs_flow_and_examples_stay() -> None:
    text = "One\ntwo.\n\n\b\nExamples:\n  a  b\n    c\nThen\nmore."
    assert list(BUILDER.prose(text)) == [
        *(".PP", "One two."),
        *(".PP", "Examples:", ".RS 4", ".EX", "a  b", "  c", ".EE", ".RE", "Then", "more."),
    ]


# the help itself


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=IDS)
def test_every_help_teaches_by_examples_that_fit_a_terminal(name: str, command: click.Command) -> None:
    assert command.help
    assert examples(command), f"{name} --help shows no example"
    width = max(len(line) for line in (command.epilog or "").splitlines())
    assert width <= 90
    for param in command.params:
        if isinstance(param, click.Option):
            assert param.help
            assert param.help.endswith("."), f"{name} {param.opts[0]}"


@pytest.mark.parametrize(("name", "command"), COMMANDS, ids=IDS)
def test_examples_are_command_lines_that_are_taken(name: str, command: click.Command) -> None:
    programs: dict[str, click.Group] = {"coordctl": coordctl, "coordd": coordd}
    for line in examples(command):
        # an explanation stands behind two blanks or more; a pipe, a list or a redirection ends a command
        shown = re.split(r"\s{2,}", line.strip())[0]
        lexer = shlex.shlex(shown, posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        lexer.commenters = ""
        words: list[str] = []
        for word in [*lexer, ";"]:
            if set(word) <= set("|&;<>"):
                if words and words[0] in programs:
                    assert_taken(programs[words[0]], words[1:], line)
                words = []
            else:
                words.append(word)


def assert_taken(group: click.Group, words: list[str], line: str) -> None:
    try:
        context = click.Context(group, info_name="x")
        _, rest, _ = group.make_parser(context).parse_args(list(words))
        _, command, arguments = group.resolve_command(context, rest)
        assert command is not None
        if arguments and re.fullmatch(r"\d", arguments[-1]) and "2>" in line:
            arguments = arguments[:-1]  # the descriptor of a redirection
        inner = command.make_context("y", list(arguments), parent=context)
        if isinstance(command, click.Group):
            named = command.make_parser(click.Context(command)).parse_args(list(arguments))[1]
            if not named and command.invoke_without_command:
                return
            inner_name, inner_command, rest = command.resolve_command(inner, arguments)
            assert inner_command is not None
            inner_command.make_context(inner_name, rest, parent=inner)
    except (click.ClickException, click.exceptions.Exit) as error:
        raise AssertionError(f"{line!r}: {error}") from error


def examples(command: click.Command) -> list[str]:
    """The indented lines below ``Examples:`` that begin a command of ours, or pipe into one."""
    _, found, rest = (command.epilog or "").partition("Examples:\n")
    block = rest.split("\n\n")[0] if found else ""
    return [line for line in block.splitlines() if re.search(r"\bcoord(ctl|d)\b", line)]
