"""What fifty played sessions of Claude Code cost, and how soon is seen what they do.

The processes are real and do nothing; what Claude Code would write is written by this process
(tests/support/played_claude.py). A cost is that of a daemon with the sessions beside one without; both run at
the same time.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from harness import (
    ROOT,
    Client,
    Daemon,
    Figure,
    Settings,
    cpu_seconds,
    daemon,
    median,
    percentile,
    resident,
    voluntary_switches,
    wait_for_agents,
    workspace,
)

sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from played_claude import PlayedSession, Processes, home, processes  # noqa: E402 - by the path set above

from coordd.host import processes as machine  # noqa: E402 - as above
from coordd.host.forest import measure_trees  # noqa: E402 - as above
from coordd.host.trees import TreeMeter  # noqa: E402 - as above

SESSIONS = 50
LINES = 10  # a second, of each busy session
BIG = 100_000_000
LIMIT = 20.0
SETTLE = 8.0


class Fleet:
    """Sessions that work in one project; there are processes to spare."""

    def __init__(self, root: str, running: Processes) -> None:
        self.home = os.path.join(root, ".claude-played")
        home(Path(self.home))
        self._root = root
        self._spare = list(running.all)
        self._numbers = 0
        self.sessions = [self.another() for _ in range(SESSIONS)]

    def another(self) -> PlayedSession:
        """Begin one more session, in the middle of a turn."""
        self._numbers += 1
        name = f"00000000-0000-4000-8000-{self._numbers:012d}"
        one = PlayedSession(self.home, self._spare.pop(), name, self._root)
        one.begin()
        one.prompt()
        return one


@contextlib.contextmanager
def watched(root: str, *, spare: int = 0) -> Iterator[tuple[Fleet, Daemon, Client]]:
    """Run a daemon that watches a fleet, once it knows all of it."""
    with processes(SESSIONS + spare) as running:
        fleet = Fleet(root, running)
        with daemon(root, CLAUDE_CONFIG_DIR=fleet.home) as service:
            client = service.wait_until_it_answers()
            wait_for_agents(client, SESSIONS)
            yield fleet, service, client
            client.close()


@contextlib.contextmanager
def beside(settings: Settings) -> Iterator[tuple[Fleet, Daemon, Daemon]]:
    """Run a daemon that watches a fleet, and one that watches nothing."""
    with (
        workspace(settings) as root,
        workspace(settings) as empty,
        watched(root) as (fleet, service, _),
        daemon(empty) as other,
    ):
        other.wait_until_it_answers().close()
        yield fleet, service, other


def measure(settings: Settings) -> Iterator[Figure]:
    """Everything."""
    yield from seen(settings)
    yield from busy(settings)
    yield from memory(settings)
    yield from idle(settings)
    yield from trees(settings)


def seen(settings: Settings) -> Iterator[Figure]:
    """From kill -9, and from a permission prompt, to its being visible."""
    kills = settings.pick(30, 100)
    with workspace(settings) as root, watched(root, spare=kills) as (fleet, _, client):
        chance = random.Random(1)
        for name, act, shown in (
            ("kill -9 to killed", _kill, {"reason": "killed"}),
            ("prompt to waiting", _ask, {"activity": "waiting"}),
        ):
            took = []
            for _ in range(kills):
                time.sleep(chance.uniform(0.02, 0.2))  # no rhythm that could fall in with the daemon's
                index = chance.randrange(SESSIONS)
                took.append(_until_shown(client, fleet.sessions[index], act, shown))
                _follow_up(fleet, client, index)
            for share in (50, 95):
                yield Figure(
                    f"{name}, p{share}, {SESSIONS} sessions",
                    "ms",
                    percentile(took, share) * 1000,
                    target="1000" if share == 95 else "-",
                )


def _kill(session: PlayedSession) -> None:
    Processes.kill(session.process)


def _ask(session: PlayedSession) -> None:
    session.status("waiting", "permission prompt")


def _until_shown(
    client: Client, session: PlayedSession, act: Callable[[PlayedSession], None], shown: dict[str, str]
) -> float:
    """Do something; return the seconds until the session's agent is shown so."""
    begin = time.perf_counter()
    act(session)
    while not _is_shown(client, session, shown):
        if time.perf_counter() - begin > LIMIT:
            raise RuntimeError(f"{session.session_id} is not {shown} within {LIMIT:g} s")
        time.sleep(0.001)
    return time.perf_counter() - begin


def _is_shown(client: Client, session: PlayedSession, shown: dict[str, str]) -> bool:
    agent = client.call("agents.get", agent_id=session.session_id)
    return all(agent[name] == value for name, value in shown.items())


def _follow_up(fleet: Fleet, client: Client, index: int) -> None:
    """Have a session in the place of one that was killed; let one that waits work again."""
    session = fleet.sessions[index]
    if _is_shown(client, session, {"reason": "killed"}):
        os.unlink(session.record)  # as the next one to start does
        known = client.call("status")["agents"]["active"]
        fleet.sessions[index] = fleet.another()
        while client.call("status")["agents"]["active"] <= known:
            time.sleep(0.005)
    else:
        _until_shown(client, session, lambda one: one.status("busy"), {"activity": "working"})


def busy(settings: Settings) -> Iterator[Figure]:
    """CPU while every session writes its transcript all the time."""
    seconds = settings.pick(20, 60)
    with beside(settings) as (fleet, service, other):
        _play(fleet, SETTLE)
        before = _costs(service), _costs(other)
        _play(fleet, seconds)
        after = _costs(service), _costs(other)
    shares = [100 * (now[0] - then[0]) / (now[2] - then[2]) for then, now in zip(before, after, strict=True)]
    yield Figure(
        f"CPU, {SESSIONS} sessions, {LINES} lines/s each",
        "%",
        shares[0],
        target="2",
        floor_name="no session",
        floor=shares[1],
    )


def _play(fleet: Fleet, seconds: float) -> None:
    """Let every session write ten lines a second, evenly spread."""
    step = 1.0 / (LINES * SESSIONS)
    begin = time.monotonic()
    due, index = begin, 0
    open_calls: dict[int, str] = {}
    while due < begin + seconds:
        session = fleet.sessions[index]
        call = open_calls.pop(index, None)
        if call is None:
            open_calls[index] = session.call()
        else:
            session.result(call)
        index = (index + 1) % SESSIONS
        due += step
        time.sleep(max(0.0, due - time.monotonic()))
    for index, call in open_calls.items():
        fleet.sessions[index].result(call)


def _costs(service: Daemon) -> tuple[float, int, float]:
    """CPU seconds, how often its threads went to sleep, and the time."""
    return cpu_seconds(service.pid) or 0.0, voluntary_switches(service.pid) or 0, time.monotonic()


def memory(settings: Settings) -> Iterator[Figure]:
    """Resident memory with transcripts of 100 MB, beside none and beside short ones."""
    sizes = {}
    for name, prepare in (("none", None), ("short", _nothing), ("long", _lengthen)):
        with workspace(settings) as root:
            if prepare is None:
                with daemon(root) as service:
                    service.wait_until_it_answers().close()
                    time.sleep(SETTLE)
                    sizes[name] = resident(service.pid)
                continue
            with processes(SESSIONS) as running:
                fleet = Fleet(root, running)
                prepare(fleet)
                with daemon(root, CLAUDE_CONFIG_DIR=fleet.home) as service:
                    client = service.wait_until_it_answers()
                    wait_for_agents(client, SESSIONS)
                    client.close()
                    _play(fleet, SETTLE)
                    sizes[name] = resident(service.pid)
    for name, words in (("short", "short transcripts"), ("long", f"transcripts of {BIG // 1_000_000} MB")):
        size, none = sizes[name], sizes["none"]
        known = size is not None and none is not None
        yield Figure(
            f"memory of {SESSIONS} sessions, {words}",
            "MB",
            (size - none) / 1e6 if known else None,  # type: ignore[operator]  # both known
            target="3",
        )


def _nothing(_fleet: Fleet) -> None:
    """Leave the transcripts as they are."""


def _lengthen(fleet: Fleet) -> None:
    """Give every session a transcript of 100 MB, each a file of its own where that costs nothing."""
    first = fleet.sessions[0]
    for _ in range(200):
        first.result(first.call())
    content = Path(first.transcript).read_bytes()
    with open(first.transcript, "wb") as file:
        for _ in range(BIG // len(content) + 1):
            file.write(content)
    for session in fleet.sessions[1:]:
        os.unlink(session.transcript)
        _copy(first.transcript, session.transcript)


def _copy(source: str, target: str) -> None:
    """Share what is in a file where the file system can, else have its end only: what is before is a hole."""
    with open(source, "rb") as old, open(target, "wb") as new:
        try:
            import fcntl

            fcntl.ioctl(new.fileno(), 0x40049409, old.fileno())  # FICLONE, see ioctl_ficlone(2)
        except OSError:
            size, kept = os.fstat(old.fileno()).st_size, 4_000_000
            new.seek(size - kept)
            old.seek(size - kept)
            shutil.copyfileobj(old, new)


def idle(settings: Settings) -> Iterator[Figure]:
    """CPU and wake-ups while all sessions do nothing."""
    with beside(settings) as (fleet, service, other):
        for session in fleet.sessions:
            session.finish()
        time.sleep(settings.pick(5, 10))
        before = _costs(service), _costs(other)
        time.sleep(settings.pick(30, 120))
        after = _costs(service), _costs(other)
    elapsed = after[0][2] - before[0][2]
    for index, name, unit, factor in ((0, "CPU", "s/hour", 3600.0), (1, "wake-ups, all threads", "/s", 1.0)):
        values = [
            factor * (now[index] - then[index]) / elapsed for then, now in zip(before, after, strict=True)
        ]
        yield Figure(
            f"{name}, {SESSIONS} idle sessions",
            unit,
            values[0],
            target="as without",
            floor_name="no session",
            floor=values[1],
        )


def trees(settings: Settings) -> Iterator[Figure]:
    """One pass over all processes that measures the trees of all sessions."""
    with processes(SESSIONS * 4) as running:
        roots = dict.fromkeys(running.all[:SESSIONS])
        meter = TreeMeter(processors=os.cpu_count() or 1)
        took, floor = [], []
        for _ in range(settings.pick(10, 40)):
            begin = time.perf_counter()
            meter.with_shares(measure_trees(machine.uses(), roots), time.monotonic())
            took.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            count = _read_all()
            floor.append(time.perf_counter() - begin)
    yield Figure(
        f"one pass over {count} processes, {SESSIONS} trees",
        "ms",
        median(took) * 1000,
        target="-",
        floor_name="reading every stat",
        floor=median(floor) * 1000,
    )


def _read_all() -> int:
    count = 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError), open(f"/proc/{name}/stat", "rb") as file:
                count += bool(file.read(4096))
    return count
