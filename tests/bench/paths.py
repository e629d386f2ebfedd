"""Measure what a checkout, a damaged snapshot and a clock that was wrong for a while make of a real coordd.

``python tests/bench/paths.py`` prints a line a case: what was written outside of the project, whether coordd
starts again, and what a restart believes. It needs libfaketime; as root the case of another uid runs too.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from live import Project, coordctl, environment, watching
from waiting import eventually

LATER = 12.0
"""Seconds that a daemon is left with what was put in its way: three of its rounds, and a snapshot."""
OTHER = 65534


def checkout_under_a_daemon(base: Path, part: str, *, uid: int | None = None) -> None:
    """Put a link in the place of one of its folders, as git does, and look what comes through it."""
    project = Project(base / "project")
    outside = base / "outside"
    outside.mkdir()
    if uid is not None:
        for path in (project.root, *project.root.rglob("*")):
            os.chown(path, uid, uid)
    project.beat("a")
    with watching(project, base, COORDD_SAMPLING_INTERVAL="1s") as coordd:
        place = project.root / part
        eventually((project.claude / "run" / "snapshot.json").exists)
        shutil.rmtree(place)
        if part == ".claude":
            shutil.copytree(project.root, base / "copy", dirs_exist_ok=True)
        place.symlink_to(outside)
        if uid is not None:
            os.chown(place, uid, uid, follow_symlinks=False)
        end = time.monotonic() + LATER
        while time.monotonic() < end:
            time.sleep(0.2)
        coordd.stop()
    found = sorted(str(path.relative_to(outside)) for path in outside.rglob("*"))
    who = "" if uid is None else f", made by uid {uid}, coordd is uid {os.geteuid()}"
    print(f"{part} becomes a link{who}: outside the project: {found or 'nothing'}")


def clone_with_a_link(base: Path) -> None:
    """Ask from inside a clone whose .claude/run leads to somebody else's socket."""
    clone, elsewhere = base / "clone", base / "elsewhere"
    (clone / ".claude").mkdir(parents=True)
    elsewhere.mkdir()
    (clone / ".claude" / "run").symlink_to(elsewhere)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(elsewhere / "coordd.sock"))
        listener.listen()
        listener.settimeout(5)
        (clone / ".claude" / "coordination").mkdir()
        coordctl("--timeout", "1", "status", environ=environment(base / "home"), cwd=clone)
        listener.setblocking(False)
        try:
            with listener.accept()[0] as connection:
                print(f"coordctl in a clone with a link sends it: {connection.recv(100)!r}")
        except BlockingIOError:
            print("coordctl in a clone with a link sends it: nothing")


def committed_snapshot(base: Path) -> None:
    """Ask from inside a clone that has a snapshot in it."""
    clone = base / "clone"
    (clone / ".claude" / "coordination").mkdir(parents=True)
    (clone / ".claude" / "run").mkdir()
    status = {"schema": 1, "health": "ok", "problems": [], "agents": {"total": 7, "active": 7}}
    document = {"schema": 1, "written_at": "2026-11-27T00:00:00.000Z", "status": status, "agents": []}
    (clone / ".claude" / "run" / "snapshot.json").write_text(json.dumps(document))
    said = coordctl("status", "--json", environ=environment(base / "home"), cwd=clone)
    print(f"coordctl believes a committed snapshot: {json.loads(said.stdout).get('agents')}")


def flipped_byte(base: Path) -> None:
    """Flip one byte of the snapshot, and start again."""
    project = Project(base / "project")
    project.beat("a")
    with watching(project, base) as coordd:
        coordd.stop()
    path = project.claude / "run" / "snapshot.json"
    content = bytearray(path.read_bytes())
    content[content.index(b'"agent_id":"a"') + 12] ^= 0x80
    path.write_bytes(content)
    try:
        with watching(project, base):
            print("one flipped byte in the snapshot: coordd starts")
    except (RuntimeError, AssertionError) as error:
        print(f"one flipped byte in the snapshot: {str(error).splitlines()[0]}")


def wrong_day(base: Path) -> None:
    """Set the clock a day ahead and back, delete a heartbeat, and start again."""
    import glob

    (library,) = glob.glob("/usr/lib/*/faketime/libfaketime.so.1")
    offset = base / "offset"
    offset.write_text("+0")
    fake = {
        "LD_PRELOAD": library,
        "FAKETIME_TIMESTAMP_FILE": str(offset),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "COORDD_SAMPLING_INTERVAL": "1s",  # the daemon notices when it wakes: libfaketime moves no timer
    }
    project = Project(base / "project")

    def last() -> dict[str, object]:
        status = coordd.statuses()
        assert status == {"kept": "active", "gone": "active"}, status
        return coordd.agent("kept")

    with watching(project, base, **fake) as coordd:
        project.beat("kept")
        project.beat("gone")
        eventually(last)
        offset.write_text("+86400")
        eventually(lambda: len(steps(project)) == 1)
        ahead = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 86400))
        project.beat("kept", ahead)
        project.beat("gone", ahead)
        eventually(lambda: sum(r["timestamp"] > ahead[:10] for r in project.records("agent")) >= 2)
        offset.write_text("+0")
        eventually(lambda: len(steps(project)) == 2)
        project.beat("kept")
        (project.agents / "gone.heartbeat").unlink()
        eventually(lambda: set(coordd.statuses()) == {"kept"})
        coordd.stop(signal.SIGKILL)
        before = len(project.records("agent"))
    (project.claude / "run" / "snapshot.json").unlink()
    with watching(project, base, **fake) as coordd:
        time.sleep(3)
        new = project.records("agent")[before:]
        print(f"a day ahead and back, kill -9, no snapshot: shown {coordd.statuses()}")
    records = project.records("agent")
    told = (
        [(r["agent_id"], r["cause"]) for r in records if r["timestamp"] > new[0]["timestamp"]] if new else []
    )
    print(f"  records written since the restart: {len(records) - before} {told}")


def steps(project: Project) -> list[object]:
    """The clock's steps, as they were recorded."""
    return [event for event in project.records("event") if event["kind"] == "clock.stepped"]


def main() -> None:
    """Run each case in a directory of its own; one that cannot be run says so."""
    cases = [
        *[
            lambda base, part=part: checkout_under_a_daemon(base, part)
            for part in (".claude/run", ".claude/metrics", ".claude/logs", ".claude")
        ],
        clone_with_a_link,
        committed_snapshot,
        flipped_byte,
        wrong_day,
    ]
    if os.geteuid() == 0:
        cases.insert(4, lambda base: checkout_under_a_daemon(base, ".claude/run", uid=OTHER))
    wanted = sys.argv[1:]
    for number, case in enumerate(cases):
        if wanted and str(number) not in wanted:
            continue
        with tempfile.TemporaryDirectory() as base:
            with contextlib.suppress(OSError):
                os.chmod(base, 0o755)
            try:
                case(Path(base))
            except Exception as error:  # the next case is to be seen as well
                print(f"case {number} ends early: {type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
