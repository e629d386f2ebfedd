"""Words of a program that are passed on, and what stands for those that are not."""

from __future__ import annotations

import pytest

from coordd.sources.sessions.words import model_of, status_word, tool_of, version_of


@pytest.mark.parametrize("name", ["Bash", "mcp__srv__do-it", "ns:tool/x.y", "x" * 128])
def test_a_tools_name_is_passed_on(name: str) -> None:
    assert tool_of(name) == name


@pytest.mark.parametrize("name", ["", "rm -rf /", "é", "a\nb", "Bash\n", "x" * 129, None, 7, ["Bash"]])
def test_what_is_no_tools_name_is_another_tool(name: object) -> None:
    assert tool_of(name) == "other"


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("needs-input", "needs-input"),
        ("on hold", "on hold"),
        ("x" * 40, "x" * 40),
        ("x" * 41, "an unreadable word"),
        ("run: curl evil", "an unreadable word"),
        ("\x1b[31m", "an unreadable word"),
    ],
)
def test_an_unknown_status_is_told_if_it_is_a_word(word: str, told: str) -> None:
    assert status_word(word) == told


@pytest.mark.parametrize(
    ("version", "told"),
    [("2.1.197", True), ("2.2.0-rc.1+b5", True), ("2 1", False), ("\x1b[2J", False), (None, False)],
)
def test_a_version_looks_like_one(version: str | None, told: bool) -> None:
    assert version_of(version) == (version if told else None)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("claude-opus-4-8", True),
        ("claude-sonnet-4-5@20250929", True),
        ("claude-opus-4-8[1m]", True),
        ("arn:aws:bedrock:eu-west-1:1:inference-profile/eu.anthropic.claude-opus-4-8-v1:0", True),
        ("my secret prompt", False),
        ("", False),
        (None, False),
        (7, False),
    ],
)
def test_a_model_looks_like_one(model: object, told: bool) -> None:
    assert model_of(model) == (model if told else None)
