"""Test that the text of settings gets hooks and loses them again, and that all else in it stays."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.cli.hooks.edit import has_hooks, with_hooks, without_hooks
from coordd.cli.hooks.entries import ENTRIES, groups, is_ours
from coordd.cli.hooks.json_spans import BadJson

SCRIPT = "/home/me/.local/share/coordd/hook"
OTHERS = {"matcher": "Bash", "hooks": [{"type": "command", "command": "/usr/local/bin/notify"}]}

KEPT = {
    "one line": '{"model": "opus"}',
    "no line end": '{\n  "model": "opus"\n}',
    "tabs": '{\n\t"model": "opus",\n\t"env": {\n\t\t"A": "1"\n\t}\n}\n',
    "seven spaces": '{\n       "model": "opus"\n}\n',
    "windows": '\ufeff{\r\n    "model": "opus"\r\n}\r\n',
    "no spaces": '{"a":{"b":[1,2,{"c":null}]}}',
    "odd spaces": '  {"a" :  1 ,\n\n "b"\n:\n2 }  \n\n',
    "numbers and escapes": '{\n  "a": 1.50e+3, "b": 12345678901234567890, "c": "\\u00e9\\/é\\ud800"\n}',
    "a name twice": '{"model": "opus", "model": "sonnet"}',
    "hooks of others": json.dumps({"hooks": {"Stop": [OTHERS], "PreToolUse": [OTHERS, OTHERS]}}, indent=4),
    "hooks of others on one line": json.dumps({"hooks": {"PostToolUse": [OTHERS]}, "model": "opus"}),
    "hooks twice": '{"hooks": 7, "hooks": {"Stop": [' + json.dumps(OTHERS) + "]}}",
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_all_else_stays_as_it_is(text: str) -> None:
    added = with_hooks(text, SCRIPT)
    assert has_hooks(added)
    assert not has_hooks(text)
    assert with_hooks(added, SCRIPT) == added
    assert without_hooks(added) == text
    assert without_hooks(text) == text


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT)
def test_every_hook_is_there_once_beside_those_of_others(text: str) -> None:
    before = json.loads(text.lstrip("\ufeff"))
    hooks = json.loads(with_hooks(text, SCRIPT).lstrip("\ufeff"))["hooks"]
    for event in {one.event for one in ENTRIES}:
        theirs = before.get("hooks", {}).get(event, [])
        assert hooks[event] == theirs + [group for name, group in groups(SCRIPT) if name == event]


@pytest.mark.parametrize("text", ["", " \n", "{}", "{ }\n", '{\n  "hooks": {}\n}', '{"hooks": {"Stop": []}}'])
def test_what_held_nothing_gets_hooks_alone(text: str) -> None:
    added = with_hooks(text, SCRIPT)
    assert set(json.loads(added)) == {"hooks"}
    assert json.loads(without_hooks(added)) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "holds a list where an object is expected"),
        ("7", "holds a number where"),
        ("null", "holds null where"),
        ("true", "holds true or false where"),
        ('{"hooks": []}', "holds a list under 'hooks' where an object is expected"),
        ('{"hooks": {"Stop": {}}}', "holds an object under 'hooks.Stop' where a list is expected"),
        ('{"hooks": {"Stop": null}}', "holds null under 'hooks.Stop'"),
        ('{\n  // mine\n  "a": 1\n}', "is no JSON: line 2, column 3"),
        ('{"a": 1,}', "is no JSON: line 1"),
        ('{"a": NaN}', "is no JSON that can be read"),
        ("{} {}", "is no JSON: line 1, column 4"),
        ("[" * 100_000, "is no JSON that can be read"),
        ('{"a": ' + "1" * 5000 + "}", "is no JSON that can be read"),
    ],
)
def test_what_cannot_take_hooks_is_said(text: str, words: str) -> None:
    with pytest.raises(BadJson, match="^" + words.replace("(", r"\(")):
        with_hooks(text, SCRIPT)


def test_hooks_of_another_place_or_version_give_way() -> None:
    older = with_hooks('{\n "model": "opus"\n}', "/opt/old/coordd/hook").replace(
        "StopFailure; true", "Gone; true"
    )
    added = with_hooks(older, SCRIPT)
    assert "/opt/old" not in added
    assert added == with_hooks('{\n "model": "opus"\n}', SCRIPT)


def test_a_group_that_others_have_come_into_stays_with_theirs() -> None:
    document = json.loads(with_hooks("{}", SCRIPT))
    document["hooks"]["Stop"][0]["hooks"].append({"type": "command", "command": "mine"})
    assert json.loads(without_hooks(json.dumps(document))) == {
        "hooks": {"Stop": [{"hooks": [{"type": "command", "command": "mine"}]}]}
    }


@pytest.mark.parametrize(
    "script", ["/a b/coordd/hook", "/it's/coordd/hook", "/$HOME/`x`/coordd/hook", "/é/coordd/hook"]
)
def test_a_path_is_quoted_and_recognised(script: str) -> None:
    added = with_hooks("{}", script)
    for _, group in groups(script):
        words = shlex.split(group["hooks"][0]["command"])
        assert words[2] == words[5] == script or words[2] == script
        assert is_ours(group["hooks"][0])
    assert without_hooks(added) == "{}"


@pytest.mark.parametrize(
    "command",
    [
        "[ -x /usr/bin/x ] && /usr/bin/x Stop; true",
        "[ -x /a/coordd/hook ] && /b/coordd/hook Stop; true",
        "[ -x '/a/coordd/hook ] && '/a/coordd/hook Stop; true",
        "/a/coordd/hook Stop",
        "echo [ -x /a/coordd/hook ] && /a/coordd/hook Stop; true",
        None,
        7,
    ],
)
def test_hooks_of_others_are_not_ours(command: object) -> None:
    assert not is_ours({"type": "command", "command": command})
    assert not is_ours(command)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
HOOKS = st.dictionaries(
    st.sampled_from(["Stop", "PreToolUse", "Notification", "x"]),
    st.lists(st.just(OTHERS) | st.fixed_dictionaries({"hooks": JSON}) | JSON, min_size=1, max_size=3),
    min_size=1,
)


@given(
    rest=st.dictionaries(st.text(), JSON, max_size=4).filter(lambda one: "hooks" not in one),
    hooks=st.none() | HOOKS,
    indent=st.sampled_from([None, 1, 2, 3, "\t"]),
    last=st.booleans(),
    ascii_only=st.booleans(),
)
def test_any_settings_come_back(
    rest: dict[str, Any], hooks: Any, indent: Any, last: bool, ascii_only: bool
) -> None:
    document = rest if hooks is None else {**rest, "hooks": hooks} if last else {"hooks": hooks, **rest}
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    added = with_hooks(text, SCRIPT)
    assert {name: value for name, value in json.loads(added).items() if name != "hooks"} == rest
    assert with_hooks(added, SCRIPT) == added
    assert without_hooks(added) == text


@given(st.text() | st.binary().map(lambda some: some.decode("latin-1")))
def test_whatever_a_file_holds_is_json_or_said_to_be_none(text: str) -> None:
    try:
        added = with_hooks(text, SCRIPT)
    except BadJson:
        return
    assert has_hooks(added)
