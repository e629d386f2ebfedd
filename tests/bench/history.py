"""How fast ``coordctl history`` finds one agent in a day of 500, beside grep and jq over the same files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

from harness import Figure, Settings, environment, median, timestamp, workspace

DAY = 86400
BEAT = 30
PART = 256 * 1024 * 1024
NAME = "agent-00123"
RECORD = (
    '{"timestamp":"%s","host":"bench","workspace":"%s","agent_id":"agent-%05d","status":"active",'
    '"reason":"heartbeat","cause":"heartbeat","active_tasks":1,"uptime":%.3f,"last_heartbeat":"%s",'
    '"declared_status":"active","sources":["file"],"pid":null,"cpu_percent":null,"rss":null}\n'
)
PEAK = """
import sys
from coordd.cli import main
main()
with open("/proc/self/status") as file:
    print([line.split()[1] for line in file if line.startswith("VmHWM")][0], file=sys.stderr)
"""


def measure(settings: Settings) -> Iterator[Figure]:
    """Seconds for the whole day and for its last hour, then the peak of resident memory."""
    agents = settings.pick(150, 500)
    with workspace(settings) as root:
        files, count = _write(root, agents)
        command = [
            sys.executable,
            "-m",
            "coordd.cli",
            "history",
            "agent",
            "--agent",
            NAME,
            "--format",
            "jsonl",
        ]
        pattern = f'"agent_id":"{NAME}"'
        whole, hour = [*command, "--since", "24h"], [*command, "--since", "1h"]
        _check(root, whole, files, pattern)
        took: dict[str, list[float]] = {"whole": [], "hour": [], "grep": []}
        for _ in range(settings.pick(3, 7)):  # by turns: the machine's mood hits all of them
            took["whole"].append(_seconds(whole, root))
            took["grep"].append(_seconds(["grep", "-h", pattern, *files], root))
            took["hour"].append(_seconds(hour, root))
        jq = None
        if shutil.which("jq"):
            jq = _seconds(["jq", "-c", f'select(.agent_id == "{NAME}")', *files], root)
        grep = median(took["grep"])
        what = f"history, 1 of {agents} agents"
        floor = f"of {count:,} records"
        yield Figure(f"{what}, last hour", "s", median(took["hour"]), "1x", f"grep {floor}", grep)
        yield Figure(f"{what}, 24 h", "s", median(took["whole"]), "-", f"grep {floor}", grep)
        yield Figure(f"{what}, 24 h", "s", median(took["whole"]), "0.1x", f"jq {floor}", jq)
        for title, options in (
            ("1 agent, 24 h", ["--agent", NAME, "--since", "24h"]),
            ("all, 1 h", ["--since", "1h"]),
            ("all, 1 h, by --step", ["--since", "1h", "--step", "5m"]),
        ):
            peak = _peak(root, ["history", "agent", *options])
            yield Figure(f"history, peak memory: {title}", "MB", peak, "40")


def _write(root: str, agents: int) -> tuple[list[str], int]:
    """The records of the last 24 hours, in parts as coordd makes them; the files and how many records."""
    metrics = os.path.join(root, ".claude", "metrics")
    os.makedirs(metrics)
    end = time.time()
    begin = end - DAY + 60
    files: list[str] = []
    count, number, date = 0, 0, ""
    file = None
    for turn in range(DAY // BEAT):
        lines = []
        for agent in range(agents):
            moment = begin + turn * BEAT + agent * BEAT / agents
            if moment < end:
                stamp = timestamp(moment)
                lines.append(RECORD % (stamp, root, agent, moment - begin, stamp))
        if not lines:
            break
        day = timestamp(begin + turn * BEAT)[:10]
        if file is None or day != date or file.tell() > PART:
            number = number + 1 if day == date else 1
            date = day
            if file is not None:
                file.close()
            part = "" if number == 1 else f".{number}"
            files.append(os.path.join(metrics, f"agent_{day}{part}.jsonl"))
            file = open(files[-1], "w", encoding="ascii")  # noqa: SIM115  # closed with the next part
        file.writelines(lines)
        count += len(lines)
    if file is not None:
        file.close()
    return files, count


def _check(root: str, command: Sequence[str], files: Sequence[str], pattern: str) -> None:
    """Both find the same lines; what is wrong need not be fast."""
    ours = subprocess.run(command, cwd=root, env=environment(), capture_output=True, check=True).stdout
    theirs = subprocess.run(["grep", "-h", pattern, *files], capture_output=True, check=True).stdout
    if ours != theirs:
        raise RuntimeError("coordctl history and grep disagree")


def _seconds(command: Sequence[str], root: str) -> float:
    """What a command takes whose output somebody reads: into /dev/null grep stops at the first match."""
    begin = time.perf_counter()
    subprocess.run(command, cwd=root, env=environment(), stdout=subprocess.PIPE, check=True)
    return time.perf_counter() - begin


def _peak(root: str, arguments: Sequence[str]) -> float | None:
    """MB; asked of the process itself, for what the kernel says of a child begins with its parent's size."""
    if not os.path.exists("/proc/self/status"):
        return None
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *arguments],
        cwd=root,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        check=True,
    )
    return int(done.stderr.split()[-1]) * 1024 / 1e6
