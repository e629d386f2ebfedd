"""Programs that tell somebody, real ones, with all that they can do wrong."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path

import pytest
from hung_mount import hung_mount
from messages import MESSAGE, TEXTS, message
from waiting import eventually, until

from coordd.alerts.actions import template
from coordd.alerts.actions.base import ActionFailed
from coordd.alerts.actions.exec import ExecAction


def script(folder: Path, text: str, name: str = "tell", interpreter: str = "/bin/sh") -> str:
    path = folder / name
    path.write_text(f"#!{interpreter}\n{text}\n")
    path.chmod(0o755)
    return str(path)


def action(*arguments: str, deadline: float = 10.0, **environ: str) -> ExecAction:
    env = {"PATH": os.environ["PATH"], **environ}
    return ExecAction(template.parse(arguments), environ=env, deadline=deadline)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_texts_of_strangers_are_arguments_and_json(tmp_path: Path, text: str) -> None:
    program = script(
        tmp_path,
        "import json, sys\n"
        f"json.dump([sys.argv[1:], json.load(sys.stdin)], open({str(tmp_path / 'got')!r}, 'w'))",
        interpreter=sys.executable,
    )
    told = message(title=text, text=text)
    await action(program, "{title}", "--text={text}", "{{title}}", "--", "{title}").perform(told)
    arguments, document = json.loads((tmp_path / "got").read_text())
    assert len(arguments) == 5
    assert arguments[2] == "{title}"
    said = template.values_of(told)["title"]
    if len(said.encode()) <= template.LONGEST:
        assert arguments[0] == (f" {said}" if said[0] in "-+@<|=" else said)
        assert arguments[1] == "--text=" + template.values_of(told)["text"]
        assert arguments[4] == (f" {said}" if said[0] in "@<|=" else said)
    else:
        assert arguments[0].endswith("…")
        assert said.startswith(arguments[0][:-1])
    assert document == json.loads(told.to_json())


async def test_a_program_that_reads_nothing_ends_well(tmp_path: Path) -> None:
    big = message(text="x" * 5_000_000)
    await action(script(tmp_path, "exit 0")).perform(big)
    await action(script(tmp_path, "exec <&-; exit 0")).perform(big)
    started = time.monotonic()
    with pytest.raises(ActionFailed, match=r"did not end within 0\.5 s and was killed"):
        await action(script(tmp_path, "exec sleep 60"), deadline=0.5).perform(big)
    assert time.monotonic() - started < 10


async def test_a_large_message_is_read_whole(tmp_path: Path) -> None:
    big = message(text="x" * 5_000_000)
    await action(script(tmp_path, f"cat >{tmp_path}/got")).perform(big)
    assert (tmp_path / "got").read_bytes() == big.to_json()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("exit 3", "tell: exit status 3"),
        ("echo no such thing >&2; exit 1", "tell: exit status 1: no such thing"),
        ("kill -9 $$", "tell: killed by SIGKILL"),
        ("kill -SEGV $$", "tell: killed by SIGSEGV"),
        (
            "echo 'curl: (6) https://hooks.example/T1/SECRET refused' >&2; exit 6",
            "tell: exit status 6: curl: (6) https://… refused",
        ),
        (r"printf '\n\033[31mred\n' >&2; exit 1", r"tell: exit status 1: \x1b[31mred"),
        (
            "head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero; exit 4",
            "tell: exit status 4: " + r"\x00" * 39,
        ),
    ],
)
async def test_a_failure_is_told_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ActionFailed) as failed:
        await action(script(tmp_path, text)).perform(MESSAGE)
    assert str(failed.value).startswith(words)
    assert len(str(failed.value)) < 250


async def test_a_flood_ends_at_the_deadline_and_costs_little(tmp_path: Path) -> None:
    before = time.process_time()
    with pytest.raises(ActionFailed, match="did not end within 1 s"):
        await action(script(tmp_path, "yes >&2"), deadline=1.0).perform(MESSAGE)
    assert time.process_time() - before < 0.9


async def test_what_cannot_be_started_says_why(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("#!/bin/sh\n")
    plain.chmod(0o644)
    no_such = script(tmp_path, "", name="strange", interpreter="/no/such/interpreter")
    no_header = tmp_path / "headless"
    no_header.write_bytes(b"\x7fELFnonsense")
    no_header.chmod(0o755)
    for path, words in (
        (str(tmp_path / "missing"), "No such file or directory"),
        (str(tmp_path), "it is a directory"),
        (str(plain), "it is not executable"),
        ("no-such-program-at-all", "no program of that name in PATH"),
        ("/dev/null", "it is no regular file"),
    ):
        assert words in (action(path).check() or "")
        with pytest.raises(ActionFailed, match=words):
            await action(path).perform(MESSAGE)
    for path, words in ((no_such, "No such file"), (str(no_header), "Exec format error")):
        with pytest.raises(ActionFailed, match=words):
            await action(path).perform(MESSAGE)
    assert action("sh").check() is None
    assert action("~/tell", HOME=str(tmp_path)).check() is not None
    script(tmp_path, "exit 0")
    assert action("~/tell", HOME=str(tmp_path)).check() is None
    await action("~/tell", HOME=str(tmp_path)).perform(MESSAGE)


FAMILY = """
sleep 61 & echo $! >>{pids}
setsid sleep 62 & echo $! >>{pids}
setsid sh -c 'sleep 63 & echo $! >>{pids}; sleep 64 & echo $! >>{pids}; wait' & echo $! >>{pids}
"""


def pids_of(file: Path, many: int) -> list[int]:
    pids = [int(line) for line in file.read_text().split()]
    return pids if len(pids) >= many else []


async def test_all_that_a_program_started_is_killed_at_the_deadline(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = script(tmp_path, FAMILY.format(pids=pids) + "wait")
    with pytest.raises(ActionFailed, match="killed, with all that it started"):
        await action(program, deadline=2.0).perform(MESSAGE)
    found = pids_of(pids, 5)
    assert found
    eventually(lambda: all(map(gone, found)))


async def test_a_child_that_holds_the_pipes_delays_nobody(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    started = time.monotonic()
    await action(script(tmp_path, f"sleep 65 & echo $! >{pids}")).perform(MESSAGE)
    assert time.monotonic() - started < 5
    (left,) = pids_of(pids, 1)
    eventually(lambda: gone(left))


async def test_what_has_a_session_of_its_own_lives_on(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    await action(script(tmp_path, f"setsid sleep 66 & echo $! >{pids}; sleep 0.2")).perform(MESSAGE)
    (left,) = pids_of(pids, 1)
    try:
        assert not gone(left)
    finally:
        os.kill(left, 9)


async def test_one_that_is_cancelled_is_killed(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    task = asyncio.create_task(action(script(tmp_path, f"echo $$ >{pids}; sleep 67")).perform(MESSAGE))
    (pid,) = await until(lambda: pids_of(pids, 1))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert gone(pid)


async def test_several_run_beside_and_right_after_each_other(tmp_path: Path) -> None:
    one = action(script(tmp_path, f"echo told >>{tmp_path}/got"))
    for _ in range(30):
        await one.perform(MESSAGE)
    await asyncio.gather(*(one.perform(MESSAGE) for _ in range(10)))
    assert (tmp_path / "got").read_text() == "told\n" * 40


async def test_a_program_leads_a_session_without_a_terminal_in_the_root_directory(tmp_path: Path) -> None:
    got = tmp_path / "got"
    await action(
        script(tmp_path, f"cut -d' ' -f6 /proc/$$/stat >{got}; echo $$ >>{got}; pwd >>{got}")
    ).perform(MESSAGE)
    session, pid, folder = got.read_text().split()
    assert session == pid
    assert folder == "/"


async def test_nothing_is_left_open(tmp_path: Path) -> None:
    one = action(script(tmp_path, "ls /proc/self/fd >&2; exit 1"))
    with pytest.raises(ActionFailed, match=r"exit status 1: 0$"):
        await one.perform(MESSAGE)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with pytest.raises(ActionFailed):
            await one.perform(MESSAGE)
    await until(lambda: len(os.listdir("/proc/self/fd")) <= before)


@pytest.mark.root
@pytest.mark.parametrize("where", ["program", "interpreter"])
async def test_a_file_system_that_hangs_holds_nobody_up(tmp_path: Path, where: str) -> None:
    hung = tmp_path / "hung"
    path = (
        script(tmp_path, "", interpreter=str(hung / "sh")) if where == "interpreter" else str(hung / "tell")
    )
    with hung_mount(hung):
        one = action(path, deadline=0.2)
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.05)
                turns += 1

        turning = asyncio.create_task(turn())
        with pytest.raises(ActionFailed, match="its file system does not answer"):
            await one.perform(MESSAGE)
        with pytest.raises(ActionFailed, match="the one before it has not been started yet"):
            await one.perform(MESSAGE)
        turning.cancel()
        await asyncio.wait({turning})
        assert turns > 10
