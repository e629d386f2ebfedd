"""What is wrong and what to type, by the first lines of ``coordctl status``, in each state that it meets.

Each row is a real daemon, or what one left, and the real ``coordctl``. Failed units and missing rights are in
tests/systemd/test_what_to_type.py, where there is a service manager.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live import Coordd, Project, coordctl, environment, running, watching
from waiting import eventually

LINES = 14
"""Lines that are read in ten seconds."""

OWN_MOUNTS = ["unshare", "--mount", "--propagation", "private"]

Scene = Callable[[Path], contextlib.AbstractContextManager[tuple[dict[str, str], Path]]]


def _own(tmp_path: Path, *words: str, **extra: str) -> contextlib.AbstractContextManager[Coordd]:
    """Run the user's daemon."""
    sock = tmp_path / "home/.local/state/coordd/run/coordd.sock"
    return running(["--layout", "user", *words], sock=sock, home=tmp_path / "home", cwd=tmp_path, **extra)


def _asked(coordd: Coordd, cwd: Path) -> tuple[dict[str, str], Path]:
    return coordd.environ, cwd


def _left(tmp_path: Path, how: int) -> tuple[dict[str, str], Path]:
    project = Project(tmp_path / "app")
    with watching(project, tmp_path) as coordd:
        eventually((project.claude / "run" / "snapshot.json").exists)
        coordd.stop(how)
    return coordd.environ, project.root


@contextlib.contextmanager
def crashed(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    yield _left(tmp_path, signal.SIGKILL)


@contextlib.contextmanager
def stopped(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    yield _left(tmp_path, signal.SIGTERM)


@contextlib.contextmanager
def own_crashed(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    with _own(tmp_path) as coordd:
        eventually((tmp_path / "home/.local/state/coordd/snapshot.json").exists)
        coordd.stop(signal.SIGKILL)
    yield coordd.environ, tmp_path


@contextlib.contextmanager
def never_started(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    yield environment(tmp_path / "home"), Project(tmp_path / "app").root


@contextlib.contextmanager
def frozen(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    with _own(tmp_path) as coordd:
        coordd.process.send_signal(signal.SIGSTOP)
        yield coordd.environ, tmp_path


@contextlib.contextmanager
def nothing_configured(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    config = tmp_path / "home/.config/coordd/coordd.toml"
    config.parent.mkdir(parents=True)
    config.write_text("".join(f"[{kind}]\nenabled = false\n" for kind in ("claude_code", "codex", "copilot")))
    with _own(tmp_path) as coordd:
        yield _asked(coordd, tmp_path)


@contextlib.contextmanager
def nothing_there(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    with _own(tmp_path) as coordd:
        yield _asked(coordd, tmp_path)


@contextlib.contextmanager
def wrong_pattern(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    Project(tmp_path / "src" / "app").beat("unseen")
    with _own(tmp_path, "--workspace", f"{tmp_path}/scr/*") as coordd:
        yield _asked(coordd, tmp_path)


@contextlib.contextmanager
def redis_down(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    with _own(tmp_path, COORDD_REDIS_URL="redis://127.0.0.1:1/0") as coordd:
        eventually(lambda: "refuses" in str(coordd.rpc("status")["problems"]))
        yield _asked(coordd, tmp_path)


@contextlib.contextmanager
def disk_full(tmp_path: Path) -> Iterator[tuple[dict[str, str], Path]]:
    project = Project(tmp_path / "app")
    metrics = project.claude / "metrics"
    metrics.mkdir()
    small = [*OWN_MOUNTS, "sh", "-c", f'mount -t tmpfs -o size=256k none "{metrics}" && exec "$@"', "sh"]
    with watching(project, tmp_path, prefix=small) as coordd:
        inside = Path(f"/proc/{coordd.pid}/root{metrics}")
        with (inside / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(b"x" * 4096)
        for n in range(100):
            project.beat(f"agent-{n}")
        eventually(lambda: "No space left" in str(coordd.rpc("status")["problems"]))
        yield _asked(coordd, project.root)


ROWS: list[tuple[Scene, int, str, str]] = [
    (crashed, 3, r"project's coordd did not end in order", r"coordd start --workspace /\S+/app"),
    (stopped, 3, r"project's coordd was stopped in order \d+ s ago", r"coordd start --workspace /\S+/app"),
    (own_crashed, 3, r"user's coordd did not end in order", r"coordd start --layout user"),
    (never_started, 3, r"No coordd has run there before", r"'coordd run'.* 'coordd service install'"),
    (frozen, 4, r"no answer within 1 s; the daemon may be stopped", r"--timeout SECONDS"),
    (nothing_configured, 0, r"Watched\n  nothing\n", r"coordd run --workspace DIR"),
    (nothing_there, 0, r"\.claude: not there yet, and awaited", r"coordctl doctor"),
    (wrong_pattern, 0, r"/scr/\*: no directory matches yet", r"coordctl doctor"),
    (redis_down, 1, r"Redis redis://127\.0\.0\.1:1/0 refuses connections", r"coordctl doctor"),
    pytest.param(
        *(disk_full, 1, r"sink jsonl fails: .*No space left on device", r"coordctl doctor"),
        marks=pytest.mark.root,
    ),
]


@pytest.mark.parametrize(
    ("scene", "code", "wrong", "command"), ROWS, ids=[getattr(row, "values", row)[0].__name__ for row in ROWS]
)
def test_status_says_what_is_wrong_and_what_to_type(
    tmp_path: Path, scene: Scene, code: int, wrong: str, command: str
) -> None:
    with scene(tmp_path) as (environ, cwd):
        timeout = ["--timeout", "1"] if scene is frozen else []
        said = coordctl("status", *timeout, environ=environ, cwd=cwd)
        text = "\n".join((said.stderr + said.stdout).splitlines()[:LINES]) + "\n"
        assert said.returncode == code, said
        assert re.search(wrong, text), text
        assert re.search(command, text), text


@pytest.mark.root
def test_the_doctor_goes_on_from_there(tmp_path: Path) -> None:
    with redis_down(tmp_path) as (environ, cwd):
        said = coordctl("doctor", environ=environ, cwd=cwd).stdout
        assert re.search(r"fail +redis .*refuses connections.*\n +fix: start it", said), said
    with crashed(tmp_path) as (environ, cwd):
        said = coordctl("doctor", environ=environ, cwd=cwd).stdout
        assert re.search(r"fail +socket .*\n +fix: .*coordd start --workspace /\S+/app", said), said


def test_what_is_to_be_typed_works(tmp_path: Path) -> None:
    with crashed(tmp_path) as (environ, cwd):
        said = coordctl("status", environ=environ, cwd=cwd).stdout
        typed = re.search(r"coordd (start --workspace \S+)", said)
        assert typed is not None
        words = typed[1].split()

        def coordd(*arguments: str) -> None:
            command = [sys.executable, "-m", "coordd", *arguments]
            subprocess.run(command, env=environ, cwd=cwd, timeout=60, check=True)

        coordd(*words)
        try:
            assert coordctl("status", environ=environ, cwd=cwd).returncode == 0
        finally:
            coordd("stop", *words[1:])


def test_the_doctor_looks_where_it_is_told_to(tmp_path: Path) -> None:
    with crashed(tmp_path) as (environ, root):
        (root / ".claude" / "coordd.toml").write_text("[agents]\ntimeout = 1\n")
        said = coordctl("doctor", "-w", str(root), environ=environ, cwd=tmp_path).stdout
    assert f"coordd start --workspace {root}" in said
    assert f"{root}/.claude/coordd.toml" in said
