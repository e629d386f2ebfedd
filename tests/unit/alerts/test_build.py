"""What a rule may say of its actions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from messages import message

from coordd.alerts.actions.build import KEYS, actions_of, secret_variables
from coordd.alerts.actions.shortening import shortened
from coordd.alerts.actions.words import first_line
from coordd.errors import ConfigError

SECRET = "T0K3N"


def labels(values: dict[str, object], **environ: str) -> list[str]:
    made = actions_of(values, where="coordd.toml", label="alert.needs-me", environ=environ)
    return [action.label for action in made]


def test_every_action_of_a_rule_is_made() -> None:
    values: dict[str, object] = {
        "name": "needs-me",
        "exec": ["/usr/bin/tell-me", "{title}"],
        "webhook": {"env": "HOOK"},
        "apprise": ["ntfy://topic", {"env": "MAIL"}],
        "desktop": True,
    }
    assert labels(
        values, HOOK=f"https://{SECRET}.example.org/{SECRET}", MAIL=f"mailtos://{SECRET}@example.org"
    ) == [
        "desktop",
        "exec tell-me",
        "webhook example.org",
        "apprise ntfy",
        "apprise mailtos",
    ]
    assert labels({"desktop": False}) == []
    assert labels({}) == []


BAD: list[tuple[str, object, str]] = [
    ("exec", "notify-send {title}", "expected a program and its arguments"),
    ("exec", [], "expected a program and its arguments"),
    ("exec", ["x", 7], "expected a program and its arguments"),
    ("exec", ["x", "a\0b"], "without NUL"),
    ("exec", ["x", "{nothing}"], "no such placeholder; there are {title}, "),
    ("exec", ["{title}"], "without a placeholder"),
    ("exec", ["./tell"], "absolute path"),
    ("exec", [""], "the name of a program"),
    ("exec", ["x"] * 65, "at most 64 arguments"),
    ("exec", ["sh", "-c", "echo {title}"], "would run what stands there"),
    ("webhook", f"example.org/{SECRET}", "expected an address"),
    ("webhook", 7, "expected text, { file"),
    ("webhook", {"env": "NOT_SET"}, "'NOT_SET' is not set"),
    ("webhook", {"file": "/no/such/file"}, "cannot be read"),
    ("apprise", f"ntfy://{SECRET}", "expected a list of 1 to 32 addresses"),
    ("apprise", [], "expected a list of 1 to 32 addresses"),
    ("apprise", ["ntfy://x", SECRET], "address 2: expected an address of apprise's"),
    ("apprise", ["ntfy://x\n"], "address 1: it holds a control character"),
    ("desktop", "yes", "expected true or false"),
]


@pytest.mark.parametrize(("key", "value", "words"), BAD, ids=range(len(BAD)))
def test_what_means_nothing_is_one_error_without_the_value(key: str, value: object, words: str) -> None:
    with pytest.raises(ConfigError) as refused:
        labels({key: value})
    assert str(refused.value).startswith(f"coordd.toml: alert.needs-me.{key}: ")
    assert words in str(refused.value)
    assert SECRET not in str(refused.value)
    assert refused.value.exit_code == 78
    assert key in KEYS


async def test_no_child_gets_secrets_of_any_rule_nor_what_the_service_manager_says(tmp_path: Path) -> None:
    program = tmp_path / "tell"
    program.write_text(f"#!/bin/sh\nenv >{tmp_path}/got\n")
    program.chmod(0o755)
    values: dict[str, object] = {"exec": [str(program)], "webhook": {"env": "HOOK"}}
    environ = {
        "PATH": os.environ["PATH"],
        "HOOK": f"https://example.org/{SECRET}",
        "OTHER": SECRET,
        "NOTIFY_SOCKET": "/run/x",
        "KEPT": "yes",
    }
    assert secret_variables(values) == {"HOOK"}
    (tell, _) = actions_of(values, where="f", label="alert.x", environ=environ, hidden={"OTHER"})
    await tell.perform(message())
    got = (tmp_path / "got").read_text()
    assert "KEPT=yes" in got
    assert SECRET not in got
    assert "NOTIFY_SOCKET" not in got


def test_the_first_line_that_was_printed() -> None:
    assert first_line(b"\n  \n cannot\x1b[1m \n more") == "cannot\\x1b[1m"
    assert first_line(b"see https://u:p@example.org/x, or http://y.") == "see https://… or http://…"
    assert first_line(b"\xff\xfe") == "\ufffd\ufffd"
    assert len(first_line(b"x" * 4096)) == 160
    assert first_line(b"") == ""


def test_a_text_is_shortened_by_lines() -> None:
    assert shortened("a\nb", 10) == "a\nb"
    lines = "\n".join(f"line {number}" for number in range(100))
    short = shortened(lines, 60)
    assert short == "line 0\nline 1\nline 2\nline 3\nline 4\n… and 95 lines more"
    assert shortened("x" * 100, 10) == "x" * 9 + "…"
