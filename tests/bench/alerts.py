"""Measure coordd-alert: prompt to message, memory, CPU while nothing happens, messages of many deaths.

``python tests/bench/alerts.py [--prompts 40] [--idle 200] [--deaths 300]`` runs a real coordd and a real
coordd-alert in a home of their own. Sessions of Claude Code are played by files, their processes are real.
The rule has ``for = "3s"``; a message is timed by its program, which takes the time first thing. Linux only.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import ROOT, cpu_seconds, environment, until

sys.path.insert(0, str(ROOT / "tests" / "support"))

from alerting import config_of
from live import ask
from played_claude import PlayedSession, home, processes

FOR = 3.0
TELL = """#!/bin/sh
at=$(date +%s.%N)
{{ printf '%s ' "$at"; cat; }} > "{told}/.$at"
mv "{told}/.$at" "{told}/$at"
"""


class Bench:
    """A home with a daemon and its alerts."""

    def __init__(self, place: Path) -> None:
        self.home = place / "home"
        self.claude = home(self.home / ".claude")
        self.work = place / "work"
        self.told = place / "told"
        self.told.mkdir()
        tell = place / "tell"
        tell.write_text(TELL.format(told=self.told))
        tell.chmod(0o755)
        config_of(
            self.home,
            f'[[alert]]\nname = "r"\nfor = "{FOR:g}s"\n'
            'on = ["waiting", "killed", "mass", "stalled", "finished"]\n'
            f'finished_after = "1h"\nexec = ["{tell}"]\n',
        )
        environ = {**environment(), "HOME": str(self.home), "COORDD_PROCESSES_ENABLED": "false"}
        self.daemon = self._start(["coordd", "run", "--layout", "user"], environ)
        self.socket = self.home / ".local/state/coordd/run/coordd.sock"
        until(self.socket.exists, pause=0.05)
        self.alerts = self._start(["coordd.alerts.main", "run"], environ)
        self.control = self.home / ".local/state/coordd/alerts/alerts.sock"
        until(
            lambda: self.control.exists() and ask(self.control, "status")["daemon"]["connected"], pause=0.05
        )

    def _start(self, command: list[str], environ: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", *command],
            env=environ,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def end(self) -> None:
        for one in (self.alerts, self.daemon):
            one.terminate()
            one.wait()

    def messages(self) -> list[tuple[float, dict[str, object]]]:
        files = sorted(path for path in self.told.iterdir() if not path.name.startswith("."))
        lines = [path.read_text().partition(" ") for path in files]
        return [(float(at), json.loads(text)) for at, _, text in lines]

    def heard(self, session: PlayedSession) -> float | None:
        """Return when it was told that a session waits; None if it was not yet."""
        for at, message in self.messages():
            for entry in message["entries"]:  # type: ignore[attr-defined]
                if (entry["subject"], entry["state"]) == (session.session_id, "firing"):
                    return at
        return None

    def memory(self) -> tuple[float, float]:
        """Return the resident and the highest resident megabytes of coordd-alert."""
        status = Path(f"/proc/{self.alerts.pid}/status").read_text()
        rows = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Vm"))
        return int(rows["VmRSS"].split()[0]) / 1024, int(rows["VmHWM"].split()[0]) / 1024

    def switches(self) -> int:
        """Return how often all threads of coordd-alert went to sleep by themselves."""
        return sum(
            int(line.split()[1])
            for task in Path(f"/proc/{self.alerts.pid}/task").iterdir()
            for line in (task / "status").read_text().splitlines()
            if line.startswith("voluntary")
        )


def sessions(bench: Bench, has: object, first: int, count: int) -> list[PlayedSession]:
    """Begin sessions, each in a project of its own."""
    found = []
    for number in range(first, first + count):
        cwd = bench.work / f"p{number}"
        cwd.mkdir(parents=True, exist_ok=True)
        identity = f"{number:08x}-0000-4000-8000-000000000000"
        process = has.all[number]  # type: ignore[attr-defined]  # Processes of played_claude.py
        one = PlayedSession(bench.claude, process, identity, str(cwd))
        one.begin()
        one.prompt()
        found.append(one)
    until(lambda: ask(bench.socket, "status")["agents"]["active"] >= first + count, pause=0.1)
    return found


def prompts(bench: Bench, some: list[PlayedSession], count: int) -> None:
    """Let sessions ask for permission one after the other, and time the messages."""
    waits = []
    for one in some[:count]:
        began = time.time()
        one.status("waiting", "permission prompt")
        until(lambda one=one: bench.heard(one) is not None, pause=0.02)  # type: ignore[misc]
        waits.append((bench.heard(one) or 0.0) - began - FOR)
        one.status("busy")
    waits.sort()
    p95 = waits[min(int(len(waits) * 0.95), len(waits) - 1)]
    print(
        f"prompt to message, beyond `for`: p50 {statistics.median(waits):.2f} s, p95 {p95:.2f} s, "
        f"max {waits[-1]:.2f} s of {len(waits)} (target: p95 2 s)"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--idle", type=int, default=200)
    parser.add_argument("--deaths", type=int, default=300)
    options = parser.parse_args()
    total = options.prompts + options.deaths
    with tempfile.TemporaryDirectory() as folder, processes(total) as has:
        bench = Bench(Path(folder))
        try:
            fleet = sessions(bench, has, 0, options.prompts + options.deaths)
            print(f"resident with {total} agents: {bench.memory()[0]:.1f} MB (target: 25)")
            time.sleep(5)
            cpu, switches, began = cpu_seconds(bench.alerts.pid), bench.switches(), time.monotonic()
            time.sleep(options.idle)
            took = time.monotonic() - began
            cpu, switches = cpu_seconds(bench.alerts.pid) - cpu, bench.switches() - switches
            print(
                f"idle for {took:.0f} s: CPU {cpu * 3600 / took:.3f} s an hour (target: 0.2), "
                f"{switches / took:.2f} wake-ups a second"
            )
            if options.prompts:
                prompts(bench, fleet[: options.prompts], options.prompts)
            before = len(bench.messages())
            began = time.monotonic()
            for one in fleet[options.prompts :]:
                processes_kill(one)
            took = time.monotonic() - began
            until(lambda: _told(bench, before) >= options.deaths, pause=0.2)
            time.sleep(5)
            found = bench.messages()[before:]
            told = _told(bench, before)
            print(f"{options.deaths} deaths within {took:.2f} s: {len(found)} message(s), {told} told")
            now, most = bench.memory()
            print(f"resident at the end: {now:.1f} MB, at most {most:.1f} MB (target: 25)")
        finally:
            bench.end()


def processes_kill(session: PlayedSession) -> None:
    """End the process of a session as kill -9 does."""
    import os
    import signal

    os.kill(session.process.pid, signal.SIGKILL)


def _told(bench: Bench, since: int) -> int:
    return sum(
        int(str(message["count"]))
        for _, message in bench.messages()[since:]
        if any(entry["kind"] in ("killed", "mass") for entry in message["entries"])  # type: ignore[attr-defined,index]
    )


if __name__ == "__main__":
    main()
