"""Texts of strangers in arguments: one pass, nothing but data."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages import ENTRY, MESSAGE, message

from coordd.alerts.actions.code_arguments import taken_for_code
from coordd.alerts.actions.template import (
    LONGEST,
    PLACEHOLDERS,
    TOTAL,
    BadTemplate,
    fill,
    parse,
    values_of,
)

PRINTABLE = st.text(st.characters(exclude_categories=("C", "Z")), max_size=50)
ANYTHING = st.text(st.characters(), max_size=200)
BRACES = st.sampled_from(
    ["{title}", "{{title}}", "{text}", "{", "}", "{}", "{0}", "{title!r}", "%s", "-x", "@f"]
)


@given(st.one_of(PRINTABLE, BRACES), st.one_of(PRINTABLE, BRACES), PRINTABLE)
def test_the_result_is_exactly_the_data_around_the_text(title: str, name: str, around: str) -> None:
    told = message(title=title, entries=(dataclasses.replace(ENTRY, name=name),))
    written = around.replace("{", "{{").replace("}", "}}")
    template = parse([f"x{written}{{title}}{written}{{name}}{written}"])
    assert fill(template, told) == [f"x{around}{title}{around}{name}{around}"]


@given(
    st.lists(st.one_of(PRINTABLE, st.sampled_from([f"{{{one}}}" for one in PLACEHOLDERS])), max_size=6),
    ANYTHING,
)
def test_as_many_arguments_as_were_written_and_none_that_the_system_refuses(
    arguments: list[str], text: str
) -> None:
    told = message(
        title=text, text=text, rule=text, entries=(dataclasses.replace(ENTRY, subject=text, name=text),)
    )
    try:
        template = parse(arguments)
    except BadTemplate:
        return
    filled = fill(template, told)
    assert len(filled) == len(arguments)
    for argument in filled:
        assert "\0" not in argument
        argument.encode()  # no lone surrogate


@given(ANYTHING)
def test_a_value_never_becomes_an_option_or_a_file(text: str) -> None:
    told = message(title=text, text=text)
    before, after = fill(parse(["{title}", "--", "{text}"]), told)[::2]
    assert before[:1] not in tuple("-+@<|=")
    assert after[:1] not in tuple("@<|=")


def test_after_two_dashes_a_value_may_begin_with_one() -> None:
    assert fill(parse(["{title}", "--", "{title}", "--t={title}"]), message(title="-rf")) == [
        " -rf",
        "--",
        "-rf",
        "--t=-rf",
    ]


@pytest.mark.parametrize(
    "bad",
    ["{nothing}", "{title", "title}", "{}", "{0}", "{title!r}", "{title:>9}", "{message.id}", "{{title}"],
)
def test_what_is_no_placeholder_is_an_error(bad: str) -> None:
    with pytest.raises(BadTemplate, match="brace itself"):
        parse(["ok", bad])


def test_every_placeholder_has_a_value() -> None:
    assert set(values_of(MESSAGE)) == set(PLACEHOLDERS)
    assert all(values_of(MESSAGE).values())
    assert values_of(message(entries=()))["agent"] == ""


def test_a_command_line_of_long_texts_fits() -> None:
    told = message(title="ä" * 100_000, text="x\n" * 100_000)
    assert all(len(one.encode()) <= LONGEST for one in fill(parse(["{title}", "{text}"]), told))
    assert sum(len(one.encode()) for one in fill(parse(["{title}{text}"] * 60), told)) <= TOTAL


CODE = [
    ["sh", "-c", "echo {title}"],
    ["/bin/bash", "-ec", "echo {title}"],
    ["bash", "-o", "pipefail", "-c", "echo {title}"],
    ["bash", "-c", "-x", "echo {title}"],
    ["env", "A=b", "sh", "-c", "x{text}"],
    ["sudo", "-u", "ann", "timeout", "5", "zsh", "-c", "{command}"],
    ["python3", "-c", "print('{title}')"],
    ["python3.11", "-cprint('{title}')"],
    ["perl", "-e", "{title}"],
    ["node", "--eval={title}"],
    ["osascript", "-e", 'display notification "{title}"'],
    ["osascript", "-e", "on run", "-e", 'display notification "{title}"', "-e", "end run"],
    ["ssh", "desk", "notify-send", "{title}"],
    ["tmux", "display-message", "{title}"],
    ["awk", "{text}"],
    ["busybox", "sh", "-c", "{title}"],
]
DATA = [
    ["sh", "-c", 'echo "$1"', "sh", "{title}"],
    ["sh", "-e", "notify.sh", "{title}"],
    ["bash", "/home/ann/notify", "-e", "{title}"],
    ["python3", "notify.py", "-title", "{title}"],
    ["osascript", "-e", "on run argv", "-e", "end run", "x", "{title}"],
    ["env", "A=b", "notify-send", "{title}"],
    ["ssh", "desk", "tell-me"],
    ["notify-send", "ssh", "{title}"],
    ["curl", "-d", "{text}", "https://example.org"],
]


@pytest.mark.parametrize("argv", CODE, ids=" ".join)
def test_a_placeholder_in_code_is_refused(argv: list[str]) -> None:
    assert taken_for_code(parse(argv)) is not None


@pytest.mark.parametrize("argv", DATA, ids=" ".join)
def test_a_placeholder_that_is_data_is_not(argv: list[str]) -> None:
    assert taken_for_code(parse(argv)) is None
