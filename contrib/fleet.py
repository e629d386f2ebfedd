#!/usr/bin/env python3
"""Play a fleet of coding agents with real files, to try, test and load coordd without real agents.

    python contrib/fleet.py --workspace /tmp/demo --agents 20 --beat 5s --duration 10m

Each agent registers, beats, takes tasks, reports progress, finishes them. Some die (no more beats, their
claims stay), some hang (they beat on, without progress), some end in good order (they remove their files).
Both ways of writing a beat (truncate and write; rename) and both forms of claims are played.

With --sessions N sessions of Claude Code are played too, and --codex N of Codex, in a home of their own
(--home; start coordd with HOME set to it): some wait, stall, are killed or end, as the options say
(fleet_sessions.py).

The seed (--seed) decides what happens, the clock decides when. The truth (what each agent really did) is
printed as JSON at the end, and written to --truth each second, to compare with coordctl's output. Files
stay as they are unless --clean is given. Standard library only; one thread; a heap of events.
"""

from __future__ import annotations

import argparse
import heapq
import json
import os
import random
import re
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fleet_sessions import Sessions

SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "": 1}
CLAIM_TTL = 300  # seconds that existing scripts claim for; they never renew
STEPS = 10  # progress reports for each task


@dataclass
class Agent:
    """One played agent; ``state`` is active, dead, hung or ended."""

    agent_id: str
    renames: bool
    claims_as_json: bool
    state: str = "active"
    task: str | None = None
    step: int = 0
    beats: int = 0
    last_beat: float | None = None


@dataclass
class Options:
    """The options of the command line: seconds, and shares 0..1."""

    workspace: str
    agents: int = 20
    beat: float = 30.0
    duration: float = 600.0
    work: float = 120.0
    seed: int = 1
    die: float = 0.1
    hang: float = 0.1
    end: float = 0.1
    tasks: int = 50
    prefix: str = "agent"


@dataclass(order=True)
class Event:
    """An event ``due`` seconds after the start; ``order`` keeps events of the same moment in sequence."""

    due: float
    order: int
    act: Callable[[float], None] = field(compare=False)


class Fleet:
    """The played fleet; ``advance(t)`` plays all events up to ``t`` seconds after the start."""

    def __init__(self, options: Options, *, wall: Callable[[], float]) -> None:
        self.options = options
        self._wall = wall
        self._random = random.Random(options.seed)
        self._events: list[Event] = []
        self._order = 0
        self._base = os.path.join(options.workspace, ".claude", "coordination")
        self._made: set[str] = set()
        self._task_number = 0
        self._free: list[str] = []
        self._list_is_old = False
        self.beats = 0
        width = len(str(options.agents))
        self.agents = [
            Agent(f"{options.prefix}-{i:0{width}d}", renames=i % 2 == 1, claims_as_json=i % 4 >= 2)
            for i in range(1, options.agents + 1)
        ]

    # The game itself.

    def start(self) -> None:
        """Make the folders, register everybody, lay out the tasks."""
        for folder in ("agents", "claims", "tasks", "status"):
            path = os.path.join(self._base, folder)
            os.makedirs(path, exist_ok=True)
        for _ in range(self.options.tasks):
            self._add_task()
        for agent in self.agents:
            self._write(
                f"agents/{agent.agent_id}.active",
                json.dumps(
                    {
                        "id": agent.agent_id,
                        "started_at": self._now(),
                        "status": "active",
                        "capabilities": ["code"],
                        "project_type": "demo",
                        "hostname": socket.gethostname(),
                    }
                ),
            )
            self._beat(agent)
            self._at(self._random.uniform(0, self.options.beat), self._beating(agent))
            self._at(self._random.uniform(0, self.options.work / STEPS), self._working(agent))
        self._list_active()
        self._deal_fates()

    def advance(self, until: float) -> float | None:
        """Play the events up to ``until``; return when the next one is due, None if there is none."""
        while self._events and self._events[0].due <= until:
            event = heapq.heappop(self._events)
            event.act(event.due)
        return self._events[0].due if self._events else None

    def _deal_fates(self) -> None:
        """Choose exactly as many agents for each fate as its share says: 10 % of 20 agents are two."""
        o = self.options
        deck = self.agents[:]
        self._random.shuffle(deck)
        for share, fate in ((o.die, self._die), (o.hang, self._hang), (o.end, self._end)):
            for _ in range(min(round(share * o.agents), len(deck))):
                agent = deck.pop()
                when = self._random.uniform(0.1, 0.7) * o.duration
                self._at(when, partial(fate, agent))

    def _beating(self, agent: Agent) -> Callable[[float], None]:
        def act(due: float) -> None:
            if agent.state in ("active", "hung"):
                self._beat(agent)
                self._at(due + self.options.beat, act)

        return act

    def _working(self, agent: Agent) -> Callable[[float], None]:
        def act(due: float) -> None:
            if agent.state != "active":
                return
            if agent.task is None:
                self._take(agent)
            elif agent.step < STEPS:
                self._report(agent)
            else:
                self._finish(agent)
            self._at(due + self.options.work / STEPS * self._random.uniform(0.5, 1.5), act)

        return act

    def _beat(self, agent: Agent) -> None:
        agent.last_beat = self._wall()
        agent.beats += 1
        self.beats += 1
        self._write(f"agents/{agent.agent_id}.heartbeat", _iso(agent.last_beat) + "\n", rename=agent.renames)

    def _take(self, agent: Agent) -> None:
        if not self._free:
            return
        task = self._free.pop(self._random.randrange(len(self._free)))
        agent.task, agent.step = task, 0
        now = self._wall()
        if agent.claims_as_json:
            claim: dict[str, object] = {
                "id": task,
                "agent_id": agent.agent_id,
                "description": f"play {task}",
                "claimed_at": _iso(now),
                "expires_at": _iso(now + CLAIM_TTL),
                "status": "claimed",
            }
        else:
            claim = {"agent_id": agent.agent_id, "claimed_at": int(now), "ttl": CLAIM_TTL}
        self._write(_claim(agent, task), json.dumps(claim))
        self._write(f"agents/{agent.agent_id}.tasks", task + "\n", rename=agent.renames)

    def _report(self, agent: Agent) -> None:
        agent.step += 1
        report = {
            "task_id": agent.task,
            "progress": agent.step * 100 // STEPS,
            "message": f"step {agent.step} of {STEPS}",
            "timestamp": self._now(),
        }
        self._write(f"status/{agent.task}.progress", json.dumps(report))

    def _finish(self, agent: Agent) -> None:
        task = agent.task
        self._remove(f"tasks/{task}.json")
        self._remove(f"status/{task}.progress")
        self._give_back(agent)
        self._free.remove(str(task))
        self._add_task()

    def _give_back(self, agent: Agent) -> None:
        if agent.task is not None:
            self._remove(_claim(agent, agent.task))
            self._remove(f"agents/{agent.agent_id}.tasks")
            self._free.append(agent.task)
            agent.task = None

    def _die(self, agent: Agent, _due: float) -> None:
        agent.state = "dead"

    def _hang(self, agent: Agent, _due: float) -> None:
        agent.state = "hung"

    def _end(self, agent: Agent, due: float) -> None:
        agent.state = "ended"
        self._give_back(agent)
        self._remove(f"agents/{agent.agent_id}.active")
        self._remove(f"agents/{agent.agent_id}.heartbeat")
        if not self._list_is_old:  # at most once a second, since a large fleet makes a long list
            self._list_is_old = True
            self._at(due + 1, lambda _: self._list_active())

    def _add_task(self) -> None:
        self._task_number += 1
        task = f"task-{self._task_number:04d}"
        self._free.append(task)
        self._write(f"tasks/{task}.json", json.dumps({"id": task, "description": f"play {task}"}))

    def _list_active(self) -> None:
        self._list_is_old = False
        lines = [f"{agent.agent_id}\n" for agent in self.agents if agent.state != "ended"]
        self._write("agents/active.list", "".join(lines))

    def _at(self, due: float, act: Callable[[float], None]) -> None:
        self._order += 1
        heapq.heappush(self._events, Event(due, self._order, act))

    # What the fleet left behind.

    def truth(self) -> dict[str, object]:
        """Return what each agent really did, and who holds which task."""
        return {
            "timestamp": self._now(),
            "workspace": os.path.abspath(self.options.workspace),
            "beats": self.beats,
            "cpu_seconds": round(time.process_time(), 3),
            "available": sorted(self._free),
            "agents": {
                agent.agent_id: {
                    "state": agent.state,
                    "beats": agent.beats,
                    "last_beat": None if agent.last_beat is None else _iso(agent.last_beat),
                    "tasks": [] if agent.task is None else [agent.task],
                }
                for agent in self.agents
            },
        }

    def clean(self) -> None:
        """Remove every file of the fleet, and folders that are then empty."""
        for name in sorted(self._made):
            self._remove(name)
        for folder in ("agents", "claims", "tasks", "status", "."):
            with suppress(OSError):
                os.rmdir(os.path.normpath(os.path.join(self._base, folder)))

    def _write(self, name: str, text: str, *, rename: bool = True) -> None:
        path = os.path.join(self._base, name)
        self._made.add(name)
        if rename:
            write_whole(path, text)
        else:
            _write_in_place(path, text)

    def _remove(self, name: str) -> None:
        self._made.discard(name)
        with suppress(FileNotFoundError):
            os.unlink(os.path.join(self._base, name))

    def _now(self) -> str:
        return _iso(self._wall())


def write_whole(path: str, text: str) -> None:
    """Write under a hidden name, then rename: a reader sees the whole new text or the old one."""
    folder, name = os.path.split(path)
    half = os.path.join(folder, f".{name}.tmp")
    _write_in_place(half, text)
    os.replace(half, path)


def _write_in_place(path: str, text: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def _claim(agent: Agent, task: str) -> str:
    return f"claims/{task}.{'json' if agent.claims_as_json else 'claim'}"


def _iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line; durations become seconds, shares 0..1."""
    defaults = Options("")
    parser = argparse.ArgumentParser(
        description=str(__doc__).partition("\n")[0],
        epilog="Durations: 500ms, 30s, 10m, 1h. Shares: 10%, 0.1.",
    )
    add = parser.add_argument
    add("--workspace", "-d", required=True, help="the project; .claude/coordination is made in it")
    add("--agents", type=int, default=defaults.agents, help="how many (%(default)s)")
    add("--beat", type=_duration, default=defaults.beat, help="time between two beats of an agent (30s)")
    add("--rate", type=float, help="beats a second of all agents together; replaces --beat")
    add("--duration", type=_duration, default=defaults.duration, help="length of the game (10m)")
    add("--work", type=_duration, default=defaults.work, help="mean time a task takes (2m)")
    add("--tasks", type=int, default=defaults.tasks, help="tasks laid out; a finished one is replaced (50)")
    for fate in ("die", "hang", "end"):
        add(
            f"--{fate}",
            type=_share,
            default=getattr(defaults, fate),
            help=f"share of agents that {fate} (10%%)",
        )
    add("--home", help="where sessions are played: .claude and .codex are made in it")
    add("--project", action="append", help="where sessions work; may be repeated (default: the workspace)")
    add("--sessions", type=int, default=0, help="sessions of Claude Code (0)")
    add("--codex", type=int, default=0, help="sessions of Codex (0)")
    for fate in ("waits", "stalls", "killed", "ends"):
        add(f"--{fate}", type=int, default=0, metavar="N", help="of the sessions of Claude Code (0)")
    add("--mass", action="store_true", help="kill all sessions of the last --project at one moment")
    add("--pace", type=_duration, default=5.0, help="mean time between two steps of a session (5s)")
    add("--seed", type=int, default=defaults.seed, help="decides what happens (%(default)s)")
    add("--prefix", default=defaults.prefix, help="agents are called PREFIX-01 and so on (%(default)s)")
    add("--truth", metavar="FILE", help="write the truth there each second")
    add("--clean", action="store_true", help="remove the files of the game at the end")
    parsed = parser.parse_args(arguments)
    if (parsed.sessions or parsed.codex) and parsed.home is None:
        parser.error("--sessions and --codex need --home")
    if (
        parsed.agents < (0 if parsed.home else 1)
        or parsed.tasks < 0
        or (parsed.rate is not None and parsed.rate <= 0)
    ):
        parser.error(
            "--agents and --rate are more than 0 (--agents may be 0 beside --home), --tasks is at least 0"
        )
    if min(parsed.beat, parsed.work, parsed.pace) < 0.001:
        parser.error("--beat, --work and --pace are at least 1ms")
    if parsed.die + parsed.hang + parsed.end > 1:
        parser.error("--die, --hang and --end are at most 100% together")
    return parsed


def main(arguments: list[str]) -> int:
    """Play until the time is over or a signal says stop."""
    parsed = parse_arguments(arguments)
    beat = parsed.agents / parsed.rate if parsed.rate else parsed.beat
    names = ("workspace", "agents", "duration", "work", "seed", "die", "hang", "end", "tasks", "prefix")
    fleet = Fleet(Options(beat=beat, **{name: getattr(parsed, name) for name in names}), wall=time.time)
    stopped = _stop_signals()
    fleet.start()
    sessions = _sessions(parsed) if parsed.home else None
    begin = time.monotonic()
    due: float | None = 0.0
    next_truth = 0.0
    while (elapsed := time.monotonic() - begin) < parsed.duration:
        due = min(
            filter(None, (fleet.advance(elapsed), sessions and sessions.advance(elapsed))), default=None
        )
        if parsed.truth and elapsed >= next_truth:
            write_whole(os.path.abspath(parsed.truth), json.dumps(_truth(fleet, sessions)))
            next_truth = elapsed + 1
        wake = min(parsed.duration, due if due is not None else parsed.duration)
        if parsed.truth:
            wake = min(wake, next_truth)
        if select.select([stopped], [], [], max(0.0, wake - (time.monotonic() - begin)))[0]:
            break
    truth = json.dumps(_truth(fleet, sessions), indent=1)
    if parsed.truth:
        write_whole(os.path.abspath(parsed.truth), truth)
    if parsed.clean:
        fleet.clean()
    if sessions is not None:
        sessions.close()
    print(truth)
    return 0


def _sessions(parsed: argparse.Namespace) -> Sessions:
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))  # PYTHONSAFEPATH leaves it out
    from fleet_sessions import FATES, Sessions  # it needs /proc

    return Sessions(
        os.path.abspath(parsed.home),
        parsed.project or [parsed.workspace],
        claude=parsed.sessions,
        codex=parsed.codex,
        fates={fate: getattr(parsed, fate) for fate in FATES},
        mass=parsed.mass,
        duration=parsed.duration,
        pace=parsed.pace,
        seed=parsed.seed,
        wall=time.time,
    )


def _truth(fleet: Fleet, sessions: Sessions | None) -> dict[str, object]:
    return fleet.truth() if sessions is None else {**fleet.truth(), "sessions": sessions.truth()}


def _stop_signals() -> socket.socket:
    """Return a socket that becomes readable with the first SIGINT or SIGTERM."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.detach(), warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    return reader


def _duration(text: str) -> float:
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(ms|[smhd]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"not a duration such as 30s: {text!r}")
    return float(match[1]) * SECONDS[match[2]]


def _share(text: str) -> float:
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = -1
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"not a share such as 10%: {text!r}")
    return share


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
