"""Test completion: the scripts, and what a key press gets, in the real shells of this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fake_coordd import agent, fake_coordd, paged
from waiting import PATIENCE

from coordd.cli.complete import MOST

# As bash calls the function of a completion: the command, the word to complete, the word before it.
BASH = r"""
set -u
eval "$(coordctl completion bash)"
complete -p coordctl
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
compopt() { :; }   # only there while bash completes
_coordctl_completion coordctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"""


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """An environment in which ``coordctl`` is a command, whatever is installed."""
    command = tmp_path / "bin" / "coordctl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m coordd.cli "$@"\n')
    command.chmod(0o755)
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("COORDD_", "XDG_", "COMP_", "_COORDCTL"))
    }
    path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "PATH": path, "HOME": str(tmp_path), "COORDD_SOCKET": str(tmp_path / "d.sock")}


@pytest.fixture
def ctl(env: dict[str, str], tmp_path: Path) -> Any:
    def run(*arguments: str, **extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "coordd.cli", *arguments],
            env={**env, **extra},
            cwd=tmp_path,
            text=True,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )

    return run


@pytest.fixture
def bash(env: dict[str, str], tmp_path: Path) -> Any:
    def complete(*words: str) -> list[str]:
        done = subprocess.run(
            ["bash", "--norc", "-c", BASH, "bash", *words],
            env=env,
            cwd=tmp_path,
            text=True,
            capture_output=True,
            timeout=PATIENCE,
            check=True,
        )
        assert done.stderr == ""
        registered, *replies = done.stdout.splitlines()
        assert registered == "complete -o nosort -F _coordctl_completion coordctl"
        return [reply for reply in replies if reply]

    return complete


def test_bash_completes_commands_options_and_values(bash: Any) -> None:
    assert bash("coordctl", "ag") == ["agents", "agent"]
    assert "--status" in bash("coordctl", "agents", "--")
    assert bash("coordctl", "agents", "--status", "in") == ["inactive"]
    assert bash("coordctl", "completion", "") == ["bash", "zsh", "fish"]


def test_bash_completes_agents_that_the_daemon_knows(bash: Any, env: dict[str, str], tmp_path: Path) -> None:
    agents = [
        agent("builder-1"),
        agent("builder-2", "inactive"),
        agent("reviewer"),
        agent("321e", name="shop-12"),
    ]
    with fake_coordd(env["COORDD_SOCKET"], {"agents.list": paged(agents)}):
        assert bash("coordctl", "why", "sh") == bash("coordctl", "forget", "sh") == ["shop-12"]
        assert bash("coordctl", "history", "agent", "--agent", "sh") == []  # records are found by id alone
        assert bash("coordctl", "agent", "bu") == ["builder-1", "builder-2"]
        assert bash("coordctl", "agent", "") == ["321e", "builder-1", "builder-2", "reviewer", "shop-12"]
    other = str(tmp_path / "other.sock")
    with fake_coordd(other, {"agents.list": paged([agent("elsewhere")])}):
        assert bash("coordctl", "--socket", other, "agent", "") == ["elsewhere"]
        assert bash("coordctl", "agent", "--socket", other, "") == ["elsewhere"]


def test_without_a_daemon_there_is_nothing_to_suggest_and_no_complaint(bash: Any) -> None:
    assert bash("coordctl", "agent", "") == []


def test_nothing_that_a_shell_could_take_for_more_than_a_word_is_suggested(
    bash: Any, env: dict[str, str], tmp_path: Path
) -> None:
    evil = [
        "$(touch pwned)",
        "`id`",
        "a b",
        "x;y",
        "*",
        "-rf",
        "a'b",
        'a"b',
        "~root",
        "né",
        "a\nplain,b",
        "&",
    ]
    with fake_coordd(env["COORDD_SOCKET"], {"agents.list": paged([agent(name) for name in [*evil, "good"]])}):
        assert bash("coordctl", "agent", "") == ["good"]
    assert not (tmp_path / "pwned").exists()


def test_a_daemon_that_does_not_answer_costs_half_a_second(ctl: Any, env: dict[str, str]) -> None:
    def silent(connection: Any, ending: Any) -> None:
        ending.wait(PATIENCE)

    with fake_coordd(env["COORDD_SOCKET"], {}, silent):
        done = ctl(
            _COORDCTL_COMPLETE="bash_complete", COMP_WORDS="coordctl --timeout 99 agent ", COMP_CWORD="4"
        )
    assert (done.stdout.strip(), done.stderr) == ("", "")


def test_suggestions_are_bounded(ctl: Any, env: dict[str, str]) -> None:
    with fake_coordd(
        env["COORDD_SOCKET"], {"agents.list": paged([agent(f"a{i}") for i in range(MOST + 5)], page=10**6)}
    ):
        done = ctl(_COORDCTL_COMPLETE="bash_complete", COMP_WORDS="coordctl agent a", COMP_CWORD="2")
    assert len(done.stdout.split()) == MOST


@pytest.mark.parametrize("answer", [None, [], {"agents": 5}, {"agents": [1, {"agent_id": "-"}]}])
def test_an_odd_answer_suggests_nothing(ctl: Any, env: dict[str, str], answer: Any) -> None:
    with fake_coordd(env["COORDD_SOCKET"], {"agents.list": answer}):
        done = ctl(_COORDCTL_COMPLETE="bash_complete", COMP_WORDS="coordctl agent ", COMP_CWORD="2")
    assert (done.stdout.strip(), done.stderr) == ("", "")


@pytest.mark.parametrize(
    ("shell", "words", "current"),
    [("zsh", "coordctl agent bu", "2"), ("fish", "coordctl agent bu", "bu")],
)
def test_the_protocol_of_the_other_shells(
    ctl: Any, env: dict[str, str], shell: str, words: str, current: str
) -> None:
    with fake_coordd(env["COORDD_SOCKET"], {"agents.list": paged([agent("builder-1"), agent("x")])}):
        done = ctl(_COORDCTL_COMPLETE=f"{shell}_complete", COMP_WORDS=words, COMP_CWORD=current)
    assert "builder-1" in done.stdout
    assert "x" not in done.stdout.replace("fish", "").split()


def test_fish_itself_shows_what_the_protocol_gives(env: dict[str, str], ctl: Any, tmp_path: Path) -> None:
    script = tmp_path / "coordctl.fish"
    script.write_text(ctl("completion", "fish").stdout)
    fish = ["fish", "-c", f"source {script}; complete -C 'coordctl agent bu'"]
    if shutil.which("fish") is None:  # then the function that the script defines, called as fish would
        assert not os.environ.get("CI"), "fish is missing"
        fish = ["sh", "-c", "_COORDCTL_COMPLETE=fish_complete COMP_CWORD=bu coordctl | cut -d, -f2"]
        env = {**env, "COMP_WORDS": "coordctl agent bu"}
    with fake_coordd(env["COORDD_SOCKET"], {"agents.list": paged([agent("builder-1"), agent("x")])}):
        done = subprocess.run(fish, env=env, text=True, capture_output=True, timeout=PATIENCE, check=True)
    assert "builder-1" in done.stdout.split()
    assert "x" not in done.stdout.split()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_sound_for_their_shell(ctl: Any, shell: str, tmp_path: Path) -> None:
    done = ctl("completion", shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert "_COORDCTL_COMPLETE" in done.stdout
    interpreter = shutil.which(shell)
    # CI installs all three; elsewhere a shell that is not there is none that the script could break in.
    assert interpreter is not None or not os.environ.get("CI"), f"{shell} is missing"
    if interpreter is not None:
        script = tmp_path / "script"
        script.write_text(done.stdout)
        subprocess.run([interpreter, "-n", str(script)], check=True, timeout=PATIENCE)


def test_an_unknown_shell_is_a_usage_error(ctl: Any) -> None:
    done = ctl("completion", "tcsh")
    assert done.returncode == 2
    assert "'bash', 'zsh', 'fish'" in done.stderr
