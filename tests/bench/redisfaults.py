"""What users notice of coordd while Redis fails: how long status takes, and how soon all is well afterwards.

``python tests/bench/redisfaults.py`` goes through the faults of the integration tests, with 100 agents in
Redis besides, and prints a line each.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import ROOT, percentile

sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "integration")]

# ruff: noqa: E402 - what is imported from the tests is found only now
from live import Project
from redisd import RedisServer
from redisproxy import proxy_to
from redisscene import USERS, Scene, admin, beat_once
from test_redis_faults import FAULTS, Fault, address
from waiting import eventually

ASKED = 50


def go_through(name: str, fault: Fault, directory: Path) -> str:
    """One fault, in figures."""
    server = RedisServer(directory / "redis", options=("--enable-debug-command", "yes", *USERS))
    with proxy_to(server.port) as proxy:
        scene = Scene(server, Project(directory / "app"), proxy)
        try:
            if not fault.at_start:
                server.start()
                with admin(server) as client:
                    beat_once(client)
                    for number in range(100):
                        client.set(f"heartbeat:a{number}", f"{time.time():.3f}")
            with scene.playing(directory, address(fault, scene), wait=False):
                if not fault.at_start:
                    eventually(
                        lambda: scene.status["health"] == "ok" and scene.status["agents"]["total"] > 100
                    )
                before = scene.resident()
                fault.begin(scene)
                if fault.says:
                    eventually(lambda: fault.says in scene.problems)
                asked = [_ask(scene) for _ in range(ASKED)]
                whole = [_command(scene) for _ in range(10)]
                grown = scene.resident() - before
                fault.mend(scene)
                began = time.monotonic()
                eventually(lambda: _is_well(scene))
                back = time.monotonic() - began
                scene.still()
                eventually(scene.everything_is_there)
                filled = time.monotonic() - began
        finally:
            server.kill()
    return (
        f"{name:34} status p50 {percentile(asked, 50) * 1e3:5.1f} p99 {percentile(asked, 99) * 1e3:6.1f} ms, "
        f"coordctl status {max(whole) * 1e3:4.0f} ms at most; memory {grown / 1e6:+5.1f} MB; "
        f"back after {back:4.1f} s, samples all there after {filled:4.1f} s"
    )


def _ask(scene: Scene) -> float:
    began = time.perf_counter()
    scene.daemon.rpc("status")
    time.sleep(0.05)  # spread over more than a deadline of the connection
    return time.perf_counter() - began - 0.05


def _command(scene: Scene) -> float:
    began = time.perf_counter()
    subprocess.run(
        [Path(sys.executable).with_name("coordctl"), "--socket", str(scene.daemon.socket), "status"],
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return time.perf_counter() - began


def _is_well(scene: Scene) -> bool:
    told = scene.status
    return told["health"] == "ok" and told["redis"]["connected"] and told["redis"]["feed"] == "push"


def main() -> None:
    """Print the figures of all faults, or of those whose names contain the argument."""
    wanted = sys.argv[1] if len(sys.argv) > 1 else ""
    for name, fault in FAULTS.items():
        if wanted in name:
            with tempfile.TemporaryDirectory() as directory:
                print(go_through(name, fault, Path(directory)), flush=True)


if __name__ == "__main__":
    main()
