"""What all measurements share: a real daemon, played agents, a raw client, readings of /proc, and figures.

The rule: a figure stands beside a floor that was measured in the same run, for the speed of a shared machine
drifts by a third from hour to hour, and the ratio does not.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0


@dataclass(frozen=True)
class Figure:
    """One row of the result; ``value`` and ``floor`` in ``unit``, None where this machine does not tell."""

    name: str
    unit: str
    value: float | None
    target: str = "-"
    floor_name: str = "-"
    floor: float | None = None

    @property
    def ratio(self) -> float | None:
        """Value over floor; for speeds, a larger one is better."""
        return self.value / self.floor if self.value is not None and self.floor else None


@dataclass(frozen=True)
class Settings:
    """How long to measure, and where the files lie."""

    quick: bool
    directory: str | None

    def pick(self, quick: int, full: int) -> int:
        """One number for a quick run, another for a full one."""
        return quick if self.quick else full


def environment(tree: Path = ROOT) -> dict[str, str]:
    """The environment of every process that is measured: one source tree, and no settings of the user's."""
    own = ("REDIS_URL", "CLAUDE_CONFIG_DIR")
    kept = {k: v for k, v in os.environ.items() if not k.startswith("COORDD_") and k not in own}
    return {**kept, "PYTHONPATH": str(tree)}


class Agents:
    """Played agents of one workspace."""

    def __init__(self, workspace: str, count: int) -> None:
        self.ids = [f"agent-{i:05d}" for i in range(count)]
        self._directory = os.path.join(workspace, ".claude", "coordination", "agents")
        os.makedirs(self._directory, exist_ok=True)
        now = timestamp(time.time())
        for i, agent_id in enumerate(self.ids):
            self.beat(i)
            registration = {"id": agent_id, "started_at": now, "status": "active", "capabilities": ["code"]}
            with open(os.path.join(self._directory, f"{agent_id}.active"), "w", encoding="utf-8") as file:
                json.dump(registration, file)

    def beat(self, index: int) -> str:
        """Write one heartbeat, every second agent by rename; returns the timestamp in it."""
        path = os.path.join(self._directory, f"{self.ids[index]}.heartbeat")
        target = path if index % 2 else os.path.join(self._directory, f".{self.ids[index]}")
        written = timestamp(time.time())
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(descriptor, written.encode())
        os.close(descriptor)
        if target != path:
            os.rename(target, path)
        return written

    def paths(self) -> list[str]:
        """The heartbeat files."""
        return [os.path.join(self._directory, f"{agent_id}.heartbeat") for agent_id in self.ids]


class Metronome:
    """Beats of the whole fleet, evenly spread over ``interval`` seconds; played by whoever waits."""

    def __init__(self, agents: Agents, interval: float) -> None:
        self._agents = agents
        self._step = interval / len(agents.ids)
        self._next = time.monotonic()
        self._index = 0

    def play(self) -> None:
        """Write the beats that are due."""
        while self._next <= time.monotonic():
            self._agents.beat(self._index)
            self._index = (self._index + 1) % len(self._agents.ids)
            self._next += self._step

    def rest(self, seconds: float) -> None:
        """Play on for so long."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            self.play()
            time.sleep(max(0.0, min(self._next, end) - now))


class Daemon:
    """A running ``coordd run --workspace W``."""

    def __init__(self, workspace: str, process: subprocess.Popen[bytes], log: str) -> None:
        self.workspace = workspace
        self.process = process
        self.pid = process.pid
        self.socket = os.path.join(workspace, ".claude", "run", "coordd.sock")
        self.metrics = os.path.join(workspace, ".claude", "metrics")
        self.samples = os.path.join(self.metrics, "agent.jsonl")
        self._log = log

    def wait_until_it_answers(self) -> Client:
        """A client once the daemon has answered a ping; polls each millisecond."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            try:
                client = Client(self.socket)
            except OSError:
                time.sleep(0.001)
                continue
            client.call("ping")
            return client
        with open(self._log, encoding="utf-8", errors="replace") as file:
            raise RuntimeError(f"the daemon does not answer; its log:\n{file.read()}")


@contextlib.contextmanager
def daemon(workspace: str, *options: str, tree: Path = ROOT, **environ: str) -> Iterator[Daemon]:
    """Spawn a daemon of a source tree; it is stopped at the end, by force if need be.

    Its user has a home of its own in the workspace, without sessions, unless ``environ`` names another.
    """
    log = os.path.join(workspace, "coordd.log")
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "coordd", "run", "--workspace", workspace, *options],
            cwd=workspace,
            env={**environment(tree), "HOME": workspace, **environ},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    try:
        yield Daemon(workspace, process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def workspace(settings: Settings) -> Iterator[str]:
    """An empty project that goes at the end."""
    path = tempfile.mkdtemp(prefix="coordd-bench-", dir=settings.directory)
    try:
        os.makedirs(os.path.join(path, ".claude", "coordination"))
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def running(code: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python process with this code, once it has printed its first line; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, env=environment()
    )
    try:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


class Client:
    """One connection; a request, an answer."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        try:
            self._socket.connect(path)
        except OSError:
            self._socket.close()
            raise

    def exchange(self, line: bytes) -> bytes:
        """Send a line, return the line that comes back."""
        self._socket.sendall(line)
        answer = self._socket.recv(1 << 20)
        while not answer.endswith(b"\n"):
            block = self._socket.recv(1 << 20)
            if not block:
                raise RuntimeError("the connection was closed")
            answer += block
        return answer

    def call(self, method: str, **params: Any) -> Any:
        """The result of a method."""
        answer = json.loads(self.exchange(request(method, **params)))
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def request(method: str, **params: Any) -> bytes:
    """One request line."""
    document = {"jsonrpc": "2.0", "id": 1, "method": method, **({"params": params} if params else {})}
    return json.dumps(document).encode() + b"\n"


def wait_for_agents(client: Client, count: int) -> None:
    """Until the daemon knows so many agents."""
    until(lambda: client.call("status")["agents"]["total"] >= count, pause=0.05)


def until(condition: Callable[[], bool], *, pause: float) -> None:
    """Poll a condition; gives up after :data:`PATIENCE`."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {PATIENCE:g} s")
        time.sleep(pause)


def wall(command: Sequence[str], *, cwd: str | None = None) -> float:
    """Seconds that a command takes."""
    return wall_and_cpu(command, cwd=cwd)[0]


def wall_and_cpu(command: Sequence[str], *, cwd: str | None = None, tree: Path = ROOT) -> tuple[float, float]:
    """Seconds that a command takes, and seconds of CPU time among them."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, cwd=cwd, env=environment(tree), stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    took = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return took, used.ru_utime + used.ru_stime


def resident(pid: int) -> int | None:
    """Bytes of resident memory (VmRSS)."""
    return _status_sum([f"/proc/{pid}/status"], "VmRSS:", 1024)


def anonymous(pid: int) -> int | None:
    """Bytes of resident memory that are not of a file, which other processes would share."""
    return _status_sum([f"/proc/{pid}/status"], "RssAnon:", 1024)


def voluntary_switches(pid: int) -> int | None:
    """How often all threads together went to sleep."""
    return _status_sum([f"{task}/status" for task in _tasks(pid)], "voluntary_ctxt_switches:", 1)


def cpu_seconds(pid: int) -> float | None:
    """CPU time of all threads: to the nanosecond from schedstat, else to 10 ms from stat."""
    try:
        total = 0
        for task in _tasks(pid):
            with open(f"{task}/schedstat", encoding="ascii") as file:
                total += int(file.read().split()[0])
        return total / 1e9
    except OSError:
        pass
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so many percent do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-len(ordered) * int(share) // 100) - 1))]


def median(values: Sequence[float]) -> float:
    """The middle."""
    return statistics.median(values)


def timestamp(epoch: float) -> str:
    """As agents write it, and as coordd does."""
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def count_lines(path: str) -> int:
    """Return the number of lines in a file."""
    with open(path, "rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _tasks(pid: int) -> list[str]:
    try:
        return [f"/proc/{pid}/task/{name}" for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def _status_sum(files: Sequence[str], label: str, factor: int) -> int | None:
    found = []
    for name in files:
        with contextlib.suppress(OSError), open(name, encoding="utf-8") as file:
            found += [int(line.split()[1]) * factor for line in file if line.startswith(label)]
    return sum(found) if found else None
