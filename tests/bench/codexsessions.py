"""What fifty played sessions of Codex cost, and how soon is seen what they do.

The processes are real, have Codex's name and hold their rollouts open; what Codex would write is written by
this process (tests/support/played_codex.py). A cost is that of a daemon with the sessions beside one without.
"""

from __future__ import annotations

import contextlib
import random
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
    percentile,
    wait_for_agents,
    workspace,
)

sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from played_codex import CodexHome, PlayedCodex, codex_home  # noqa: E402 - by the path set above

SESSIONS = 50
LINES = 10  # a second, of each busy session
LIMIT = 20.0
SETTLE = 8.0


class Fleet:
    """Sessions that work in one project, each in the middle of a turn."""

    def __init__(self, home: CodexHome, root: str) -> None:
        self.home = home
        self._root = root
        self._numbers = 0
        self.sessions = [self.another() for _ in range(SESSIONS)]

    def another(self) -> PlayedCodex:
        """Begin one more session, in the middle of a turn."""
        self._numbers += 1
        one = self.home.session(f"00000000-0000-4000-8000-{self._numbers:012d}", cwd=self._root)
        one.prompt()
        return one


@contextlib.contextmanager
def watched(root: str) -> Iterator[tuple[Fleet, Daemon, Client]]:
    """Run a daemon that watches a fleet, once it knows all of it."""
    with codex_home(Path(root) / ".codex-played") as home:
        fleet = Fleet(home, root)
        with daemon(root, CODEX_HOME=str(home.path)) as service:
            client = service.wait_until_it_answers()
            wait_for_agents(client, SESSIONS)
            yield fleet, service, client
            client.close()


def measure(settings: Settings) -> Iterator[Figure]:
    """Everything."""
    yield from seen(settings)
    yield from busy(settings)


def seen(settings: Settings) -> Iterator[Figure]:
    """From kill -9, from the end of a turn, and from a new rollout, to its being visible."""
    times = settings.pick(30, 100)
    with workspace(settings) as root, watched(root) as (fleet, _, client):
        chance = random.Random(1)
        took: dict[str, list[float]] = {
            "kill -9 to killed": [],
            "end of turn to idle": [],
            "start to seen": [],
        }
        for _ in range(times):
            time.sleep(chance.uniform(0.02, 0.2))  # no rhythm that could fall in with the daemon's
            index = chance.randrange(SESSIONS)
            one = fleet.sessions[index]
            took["end of turn to idle"].append(_until(client, one, one.finish, activity="idle"))
            _until(client, one, one.prompt, activity="working")
            took["kill -9 to killed"].append(_until(client, one, one.holder.kill, reason="killed"))
            begin = time.perf_counter()
            fleet.sessions[index] = new = fleet.another()
            _until(client, new, lambda: None, activity="working")
            took["start to seen"].append(time.perf_counter() - begin)
        for name, values in took.items():
            for share in (50, 95):
                yield Figure(
                    f"{name}, p{share}, {SESSIONS} sessions of Codex",
                    "ms",
                    percentile(values, share) * 1000,
                    target="1500" if share == 95 else "-",
                )


def _until(client: Client, session: PlayedCodex, act: Callable[[], None], **shown: str) -> float:
    """Do something; return the seconds until the session's agent is shown so."""
    begin = time.perf_counter()
    act()
    while True:
        with contextlib.suppress(RuntimeError, KeyError):
            agent = client.call("agents.get", agent_id=session.session_id)
            if all(agent[name] == value for name, value in shown.items()):
                return time.perf_counter() - begin
        if time.perf_counter() - begin > LIMIT:
            raise RuntimeError(f"{session.session_id} is not {shown} within {LIMIT:g} s")
        time.sleep(0.001)


def busy(settings: Settings) -> Iterator[Figure]:
    """CPU while every session writes its rollout all the time, and while none does."""
    seconds = settings.pick(20, 60)
    with (
        workspace(settings) as root,
        workspace(settings) as empty,
        watched(root) as (fleet, service, _),
        daemon(empty) as other,
    ):
        other.wait_until_it_answers().close()
        for words, lines in ((f"{LINES} lines/s each", LINES), ("idle", 0)):
            _play(fleet, SETTLE, lines)
            before = _costs(service), _costs(other)
            _play(fleet, seconds, lines)
            after = _costs(service), _costs(other)
            shares = [
                100 * (now[0] - then[0]) / (now[1] - then[1]) for then, now in zip(before, after, strict=True)
            ]
            yield Figure(
                f"CPU, {SESSIONS} sessions of Codex, {words}",
                "%",
                shares[0],
                target="2" if lines else "-",
                floor_name="no session",
                floor=shares[1],
            )


def _play(fleet: Fleet, seconds: float, lines: int) -> None:
    """Let every session write so many lines a second, evenly spread."""
    if not lines:
        time.sleep(seconds)
        return
    step = 1.0 / (lines * SESSIONS)
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


def _costs(service: Daemon) -> tuple[float, float]:
    """CPU seconds, and the time."""
    return cpu_seconds(service.pid) or 0.0, time.monotonic()
