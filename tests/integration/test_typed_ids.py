"""Ids on the command line: whatever the locale, what the daemon shows is found by typing it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Coordd, Project, watching
from waiting import PATIENCE, eventually

LATIN, UTF, LINES, ODD = (
    "müller".encode("latin-1"),
    "Grüße-7".encode(),
    b"two\nlines",
    "n\u0303o\u202e".encode(),
)
SHOWN = {LATIN: "m\\xfcller", UTF: "Grüße-7", LINES: "two\nlines", ODD: "n\u0303o\u202e"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
LOCALES = {
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "c": {"LC_ALL": "C"},
    "posix": {"LC_ALL": "POSIX"},
    "ascii": ASCII,
    "unset": {"LC_ALL": "", "LANG": "", "LC_CTYPE": ""},
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Coordd]:
    directory = tmp_path_factory.mktemp("odd")
    project = Project(directory / "größe")
    for name in SHOWN:
        path = os.fsencode(project.root / ".claude/coordination/agents") + b"/" + name + b".heartbeat"
        with open(path, "wb"):
            pass
    with watching(project, directory) as daemon:
        eventually(lambda: set(daemon.statuses()) == set(SHOWN.values()), what="all are seen")
        yield daemon


def ctl(
    daemon: Coordd, *words: bytes | str, locale: str, cwd: bytes | None = None
) -> tuple[int, bytes, bytes]:
    environ = {**daemon.environ, **LOCALES[locale]}
    command = [sys.executable, "-m", "coordd.cli", "--socket", str(daemon.socket), *words]
    done = subprocess.run(command, env=environ, capture_output=True, timeout=PATIENCE, check=False, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize("typed", list(SHOWN))
def test_the_bytes_of_an_id_find_it(daemon: Coordd, locale: str, typed: bytes) -> None:
    for command in ("agent", "why"):
        code, out, error = ctl(daemon, command, typed, "--json", locale=locale)
        assert (code, error) == (0, b"")
        assert json.loads(out)["agent_id"] == SHOWN[typed]


@pytest.mark.parametrize("locale", ["utf-8", "ascii"])
@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("m\\xfcller", LATIN),
        ("m\\xfc", LATIN),
        ("Grüße-7".encode("latin-1"), UTF),
        ("Gr\\xfc\\xdfe-7", UTF),
        ("two\\nlines", LINES),
        ("two\\n", LINES),
        ("n\u0303o\\u202e".encode(), ODD),
        ("n\\u0303o\\u202e", ODD),
    ],
)
def test_an_id_is_found_as_it_is_shown_and_as_latin_1(
    daemon: Coordd, locale: str, typed: bytes | str, meant: bytes
) -> None:
    code, out, error = ctl(daemon, "agent", typed, "--json", locale=locale)
    assert (code, error) == (0, b"")
    assert json.loads(out)["agent_id"] == SHOWN[meant]


@pytest.mark.parametrize("locale", LOCALES)
def test_history_and_workspaces_are_asked_for_in_any_locale(daemon: Coordd, locale: str) -> None:
    for typed in (*SHOWN, "Grüße-7".encode("latin-1")):
        asked = ("history", "agent", "--agent", typed, "--format", "jsonl")
        _, out, error = ctl(daemon, *asked, locale=locale)
        assert error == b""
        (shown,) = {json.loads(line)["agent_id"] for line in out.splitlines()}
        assert shown == SHOWN.get(typed, "Grüße-7")
    root = os.fsencode(daemon.socket.parents[2])
    code, out, error = ctl(daemon, "agents", "--workspace", root, "--json", locale=locale)
    assert (code, error, len(json.loads(out)["agents"])) == (0, b"", len(SHOWN))
    code, out, _ = ctl(daemon, "agent", b"Gr", "--json", locale=locale, cwd=root)
    assert json.loads(out)["agent_id"] == SHOWN[UTF]


@pytest.mark.parametrize("locale", LOCALES)
@pytest.mark.parametrize(
    "typed", [b"\xff\xfe", "nobody-ü".encode(), b"", b"x" * 5000, b"\xed\xb3\xbc", b"a\nb"]
)
def test_an_unknown_id_is_said_to_be_unknown_whatever_its_bytes(
    daemon: Coordd, locale: str, typed: bytes
) -> None:
    for command in ("agent", "why", "forget", "ack"):
        code, out, error = ctl(daemon, command, typed, locale=locale)
        assert (code, out, b"Traceback" in error, b"fault of coordctl" in error) == (1, b"", False, False)
    code, out, error = ctl(daemon, "history", "agent", "--agent", typed, "--format", "jsonl", locale=locale)
    assert (code, out, error) == (0, b"", b"")


@pytest.mark.parametrize("locale", LOCALES)
def test_check_is_one_line_whatever_agents_are_called(daemon: Coordd, locale: str) -> None:
    asked = ("check", "--critical-agents", "1000", "--warning-age", "@0:")
    code, out, error = ctl(daemon, *asked, locale=locale)
    assert (code, len(out.splitlines()), error) == (2, 1, b"")
    assert out.startswith(b"COORDD CRITICAL - active agents ")


@pytest.mark.parametrize("locale", LOCALES)
def test_parameters_of_rpc_are_utf_8_in_any_locale(daemon: Coordd, locale: str) -> None:
    code, out, _ = ctl(daemon, "rpc", "agents.get", '{"agent_id": "Grüße-7"}'.encode(), locale=locale)
    assert (code, json.loads(out)["agent_id"]) == (0, "Grüße-7")
    code, _, error = ctl(daemon, "rpc", "agents.get", b'{"agent_id": "\xfc"}', locale=locale)
    assert (code, b"Traceback" in error) == (2, False)


@pytest.mark.parametrize("locale", LOCALES)
def test_every_command_speaks_of_such_a_place_in_any_locale(daemon: Coordd, locale: str) -> None:
    for command in (
        "status",
        "agents",
        "tasks",
        "workspaces",
        "doctor",
        "check",
        "daemons",
        "records",
        "events",
    ):
        for words in ((command,), (command, "--json")):
            _, out, error = ctl(daemon, *words, locale=locale, cwd=os.fsencode(daemon.socket.parents[2]))
            assert (b"fault of coordctl" in error, b"Traceback" in error) == (False, False), (words, error)
            assert out or b"No such" in error or b"no such option" in error.lower(), (words, error)


def test_an_id_that_a_table_has_cut_is_found_as_it_is_shown(project: Project, tmp_path: Path) -> None:
    long, other = "reviewer-of-pull-requests-" + "x" * 40, "reviewer-of-issues-" + "x" * 40
    odd = "n\u00f6tes\n" + "y" * 50
    for agent in (long, other, odd):
        project.beat(agent)
    with watching(project, tmp_path) as daemon:
        eventually(lambda: len(daemon.statuses()) == 3)
        for locale in ("utf-8", "ascii"):
            _, out, _ = ctl(daemon, "agents", locale=locale)
            cut = [line.split("  ")[0] for line in out.decode().splitlines()[1:]]
            found = []
            for shown in cut:
                assert shown.endswith(("\u2026", "\\u2026"))
                code, out, error = ctl(daemon, "agent", shown, "--json", locale=locale)
                assert (code, error) == (0, b""), shown
                found.append(json.loads(out)["agent_id"])
            assert sorted(found) == sorted([long, other, odd])
        code, _, error = ctl(daemon, "agent", "reviewer-\u2026", locale="utf-8")
        assert code == 1
        assert b"may mean 2 agents" in error
        assert ctl(daemon, "agent", "\u2026", locale="utf-8")[0] == 1, "everybody's beginning"
