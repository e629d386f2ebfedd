"""Run real daemons in every state that a daemon can be in, and keep all that can be asked of them then.

``looks`` has one :class:`Look` for each state: the daemon's own answers just before and just after, and in
between everything that shows them: coordctl's text and JSON, the dashboard's API and its metrics, check.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from alerting import alerting
from dash import Dashboard, dashboard
from groups import entering, limited
from left_behind import starter
from live import Coordd, Project, running, utc_now
from played_claude import PlayedSession, home
from played_codex import CodexHome
from played_copilot import CopilotHome
from played_programs import programs
from real_processes import process_of, python
from redisd import RedisServer, redis_server
from subscriber import Subscriber
from waiting import NotYet, eventually

Document = dict[str, Any]
IN_A_TERMINAL = """
import os, pty, signal
print("here", flush=True)
leader, follower = pty.openpty()
os.login_tty(follower)
signal.pause()
"""
SERVES = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); time.sleep(10000)"
SLEEPS = "import signal; print('here', flush=True); signal.pause()"
ANOTHER = 4_000_001
LIMIT = 512 << 20
PLAIN = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
"""What takes from root the right to read everything."""
PAGES = (
    "/api/status",
    "/api/agents/active",
    "/api/tasks",
    "/api/metrics/system/latest",
    "/api/metrics/system/series",
    "/api/agents/active?activity=stalled",
)
_STABLE = ("health", "problems", "agents", "attention", "tasks", "workspaces", "restart_required", "warnings")


@dataclass
class Look:
    """All that was said of one daemon in one state."""

    name: str
    before: Document
    after: Document = field(default_factory=dict)
    agents: list[Document] = field(default_factory=list)
    tasks: list[Document] = field(default_factory=list)
    orphans: list[Document] = field(default_factory=list)
    full: list[Document] = field(default_factory=list)
    samples: list[Document] = field(default_factory=list)
    told: dict[str, str] = field(default_factory=dict)
    """What coordctl printed, by its arguments."""
    api: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    """The samples of /metrics, by name and labels as they are written there."""

    def json(self, arguments: str) -> Any:
        return json.loads(self.told[arguments])


COMMANDS = (
    *("status", "status --json", "agents", "agents --json", "tasks", "tasks --json", "check"),
    *("orphans", "orphans --json"),
    *("agents --activity stalled", "agents --status inactive"),
)


def look(name: str, daemon: Coordd, dash: Dashboard, when: Callable[[Document], object]) -> Look:
    """Wait for a state, and look at it from everywhere, again until it stayed the same meanwhile."""

    def once() -> Look:
        before = daemon.rpc("status")
        if not when(before):
            raise NotYet({name: before[name] for name in _STABLE if name in before})
        one = Look(name, before)
        # the dashboard answers from what it has for half a second
        eventually(lambda: dash.json("/api/status")["timestamp"] > before["timestamp"])
        one.agents = daemon.rpc("agents.list")["agents"]
        one.orphans = daemon.rpc("orphans.list")["orphans"]
        one.tasks = daemon.rpc("tasks.list")["tasks"]
        one.full = [daemon.agent(agent["agent_id"], agent["workspace"]) for agent in one.agents]
        one.told = {command: daemon.ctl(*command.split()).stdout for command in COMMANDS}
        one.api = {path: dash.json(path) for path in PAGES}
        one.metrics = scraped(dash)
        one.after = daemon.rpc("status")
        past = daemon.rpc("history.query", {"type": "system", "since": "1m"})["records"]
        one.samples = [one.before["system"], *past, one.after["system"]]
        for part in _STABLE:
            if _timeless(one.before[part]) != _timeless(one.after[part]):
                raise NotYet(f"{part}: {one.before[part]} and then {one.after[part]}")
        if states(one.agents) != (later := states(daemon.rpc("agents.list")["agents"])):
            raise NotYet(f"agents: {states(one.agents)} and then {later}")
        return one

    return eventually(once, what=f"the state {name}", within=90)


def states(agents: list[Document]) -> list[tuple[object, ...]]:
    """Return which agents there are, and what each does."""
    return [tuple(one[name] for name in ("workspace", "agent_id", "status", "activity")) for one in agents]


def _timeless(part: object) -> str:
    return re.sub(r"\bfor [0-9]+ \w+", "for a while", json.dumps(part))


def scraped(dash: Dashboard) -> dict[str, float]:
    lines = dash.get("/metrics").body.decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line and not line.startswith("#"))
    }


def claim(project: Project, task: str, agent: str, *, ttl: float = 3600, ago: float = 0.0) -> None:
    (project.coordination / "claims").mkdir(exist_ok=True)
    said = {"agent_id": agent, "claimed_at": time.time() - ago, "ttl": ttl, "description": f"do {task}"}
    (project.coordination / "claims" / f"{task}.claim").write_text(json.dumps(said))


@contextlib.contextmanager
def beats(act: Callable[[], None]) -> Iterator[None]:
    """Do something again and again, whatever becomes of it."""
    ending = threading.Event()

    def run() -> None:
        while not ending.wait(0.3):
            with contextlib.suppress(Exception):
                act()

    act()
    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        ending.set()
        thread.join()


@contextlib.contextmanager
def closed(path: Path) -> Iterator[None]:
    """Make a directory one that coordd may not enter."""
    path.chmod(0o000)
    if os.geteuid() == 0:
        os.chown(path, ANOTHER, ANOTHER)
    try:
        yield
    finally:
        if os.geteuid() == 0:
            os.chown(path, 0, 0)
        path.chmod(0o755)


LEFT = f"left-{os.getpid()}"
"""The session that left a process behind; no test beside this one has it."""


class Busy:
    """A daemon of a user with agents of every status and activity, in files, in Redis, and by themselves."""

    def __init__(self, root: Path, server: RedisServer, prefix: Sequence[str]) -> None:
        self.root = root
        self.home = root / "home"
        self.server = server
        self.prefix = prefix
        self.app, self.shop = Project(root / "app"), Project(root / "shop")
        self.awaited, self.shut = Project(root / "awaited", coordination=False), Project(root / "shut")
        self.locked = Project(root / "trees" / "locked")
        tree = root / "trees" / "linked"
        tree.mkdir()
        (tree / ".claude").symlink_to(self.app.claude)
        self.claude = home(self.home / ".claude")
        self.codex = CodexHome(self.home / ".codex")
        self.copilot = CopilotHome(self.home / ".copilot")
        self.began = time.time()
        self.config = root / "coordd.toml"
        self.write_config()

    def write_config(self, **storage: int) -> None:
        paths = [str(one.root) for one in (self.app, self.shop, self.awaited, self.shut)]
        paths.append(str(self.root / "trees" / "*"))
        lines = [
            f"[coordination]\nworkspaces = {json.dumps(paths)}\nredis_url = {json.dumps(self.server.url)}",
            '[sampling]\ninterval = "1s"\n[agents]\ntimeout = "4s"\nstall_after = "4s"\n[storage]',
            *[f"{name} = {value}" for name, value in storage.items()],
        ]
        self.config.write_text("\n".join(lines) + "\n")

    @contextlib.contextmanager
    def run(self) -> Iterator[tuple[Coordd, dict[str, PlayedSession]]]:
        with contextlib.ExitStack() as stack:
            app, shop = self.app, self.shop
            children = {
                name: stack.enter_context(python(SLEEPS, cwd=project.root))
                for project, names in ((app, ("victim",)), (shop, ("m1", "m2", "m3", "m4")))
                for name in names
            }
            for name, child in children.items():
                project = app if name == "victim" else shop
                started = time.time()
                start = process_of(child.pid).start
                project.register(name, pid=child.pid, proc_start=start, started_at=started, status="busy")
                project.beat(name)
            sessions = {
                name: PlayedSession(
                    self.claude,
                    process_of(
                        stack.enter_context(
                            python(IN_A_TERMINAL if name == "worker" else SLEEPS, cwd=app.root)
                        ).pid
                    ),
                    f"{name}-session",
                    str(app.root),
                    wall=(lambda: time.time() - 50) if name == "blocked" else time.time,
                )
                for name in ("worker", "waiter", "blocked", "idler")
            }
            for session in sessions.values():
                session.begin()
                session.prompt()
            sessions["blocked"].refused()
            stack.callback(self.codex.close)
            codex = self.codex_session = self.codex.session("codex-session", cwd=str(app.root))
            codex.prompt()
            hour = {"used_percent": 83.0, "window_minutes": 300, "resets_at": int(time.time()) + 3600}
            codex.used(primary=hour, secondary={"used_percent": 12.5, "window_minutes": 10080})
            codex.used(limit_id="codex_other", primary=hour)
            codex.call()
            stack.callback(self.copilot.close)
            copilot = self.copilot_session = self.copilot.session(
                "copilot-session", context={"cwd": str(app.root)}
            )
            copilot.prompt()
            copilot.call()
            worker = sessions["worker"]
            app.register(
                "worker",
                pid=worker.process.pid,
                proc_start=worker.process.start,
                started_at=time.time(),
                status="busy",
            )
            app.beat("worker")
            worker.result(worker.call("Bash"), backgroundTaskId="b1")
            worker.call("Bash")
            sessions["waiter"].call("AskUserQuestion")
            sessions["waiter"].status("waiting", "permission prompt")
            sessions["idler"].finish()
            agent = stack.enter_context(starter(app.root, CLAUDE_CODE_SESSION_ID=LEFT))
            played = PlayedSession(self.claude, agent.process, LEFT, str(app.root))
            played.begin()
            agent.start("server.pid", f"{sys.executable} -c {shlex.quote(SERVES)} & echo $! >server.pid")
            self._traces()
            stack.enter_context(programs(self.root / "bin")).native("opencode", cwd=app.root)
            with beats(self._beat):
                sock = self.home / "d.sock"
                arguments = ["--layout", "user", "--config", str(self.config), "--socket", str(sock)]
                with running(
                    arguments,
                    sock=sock,
                    home=self.home,
                    cwd=self.home,
                    prefix=self.prefix,
                    COORDD_PROCESSES_ENABLED="true",
                ) as daemon:
                    names = (*children, "worker")
                    eventually(lambda: {_reason(daemon, name) for name in names} == {"process"})
                    for child in children.values():
                        os.kill(child.pid, signal.SIGKILL)
                    eventually(lambda: daemon.agent(LEFT)["processes"] == 2)
                    played.remove_record()
                    agent.kill()
                    yield daemon, sessions

    def _traces(self) -> None:
        app = self.app
        claim(app, "t-held", "hung", ago=5)
        claim(app, "t-late", "hung", ttl=1, ago=60)
        claim(app, "t-lost", "ghost", ago=60)
        claim(app, "t-split", "hung")
        for folder in ("tasks", "status"):
            (app.coordination / folder).mkdir()
        (app.coordination / "tasks" / "free.md").touch()
        said = {"task_id": "t-held", "progress": 40, "message": "half of it", "timestamp": utc_now()}
        (app.coordination / "status" / "t-held.progress").write_text(json.dumps(said))
        (app.agents / "hung.tasks").write_text("t-held\n")
        (app.agents / "bad.heartbeat").symlink_to("/etc/passwd")
        app.beat("silent")
        app.register("over", started_at=time.time() - 60, status="ended")

    def _beat(self) -> None:
        for name in ("plain", "hung"):
            self.app.beat(name, f"{time.time():.3f}")
        if self.server.process is not None and self.server.process.poll() is None:
            with self.server.client as client:
                entry = {"id": "there", "hostname": "h", "registered_at": time.time(), "status": "busy"}
                client.hset("agents:registry", "there", json.dumps(entry))
                client.set("heartbeat:there", f"{time.time():.3f}", ex=600)
                held = {"agent_id": "there", "claimed_at": self.began, "ttl": 3600}
                client.set("task:claim:t-split", json.dumps(held))


def _reason(daemon: Coordd, name: str) -> str:
    agents = daemon.rpc("agents.list")["agents"]
    return next(str(one["reason"]) for one in agents if one["agent_id"] == name)


def _kinds(status: Document) -> set[str]:
    return {entry["kind"] for entry in status["attention"]}


ALL_KINDS = {"waiting", "killed", "stalled", "blocked", "mass", "orphaned", "split"}


def _states(status: Document) -> set[str]:
    return {one["state"] for one in status["workspaces"]}


def _is_busy(status: Document) -> bool:
    doing = status["agents"]["activities"]
    return (
        _kinds(status) >= ALL_KINDS
        and all(doing.values())
        and status["redis"]["feed"] == "push"
        and _states(status) == {"inotify", "waiting"}
        and status["agents"]["killed"] == 5
    )


class Looks:
    """The looks of all states, and the busy daemon's directories, for what reads its records."""

    def __init__(self) -> None:
        self.all: dict[str, Look] = {}
        self.commands: dict[str, str] = {}
        self.down: dict[str, float] = {}
        self.records: dict[str, list[Document]] = {}
        self.followed_from: Document = {}
        self.notified: dict[str, list[Document]] = {}
        """What a subscriber of the busy daemon was told, by topic, from its start to its end."""
        self.last: list[Document] = []
        """What is told of the busy daemon after it was stopped."""
        self.performance = ""
        self.history: dict[tuple[str, str], str] = {}
        self.piped: dict[str, subprocess.CompletedProcess[str]] = {}
        self.limited = False


@contextlib.contextmanager
def looked(root: Path, *, pipes: Sequence[str] = ()) -> Iterator[Looks]:
    """Go through all states; ``pipes`` are shell commands to be run in the busiest of them."""
    looks = Looks()
    with contextlib.ExitStack() as stack:
        plain = PLAIN if os.geteuid() == 0 and shutil.which("setpriv") else ()
        groups = stack.enter_context(limited(memory=LIMIT, cpu=1.5)) if os.geteuid() == 0 else {}
        looks.limited = {"memory", "cpu"} <= groups.keys() and (os.cpu_count() or 1) > 1
        server = stack.enter_context(redis_server(root / "redis"))
        with contextlib.ExitStack() as running_ones:
            busy = Busy(root / "busy", server, (*entering(groups), *plain))
            daemon, sessions = running_ones.enter_context(busy.run())
            subscriber = running_ones.enter_context(Subscriber(daemon.socket, {"snapshot": "status"}))
            looks.followed_from = subscriber.snapshot["status"]
            all_notified = subscriber.listen()
            dash = running_ones.enter_context(dashboard(sock=daemon.socket, home=busy.home))
            scraped(dash)  # tokens are counted from here on
            sessions["worker"].say()
            busy.codex_session.used()
            busy.copilot_session.used()
            sessions["worker"].call("Bash")
            tokens = 'coordd_tokens_total{kind="claude-code",type="output"}'
            eventually(lambda: scraped(dash).get(tokens, 0.0) > 0)
            eventually(lambda: daemon.agent("idler-session")["cpu_percent"] is not None)
            sessions["idler"].prompt()  # a record with that
            eventually(lambda: daemon.agent("idler-session")["activity"] == "working")
            sessions["idler"].finish()
            looks.all["busy"] = look("busy", daemon, dash, _is_busy)
            _records(looks, daemon)
            laid_out = busy.app.coordination / "tasks" / "told-of"
            laid_out.write_text("a task that comes and goes")
            with alerting(busy.home, "--socket", str(daemon.socket)):
                looks.piped = {pipe: piped(daemon, dash, pipe) for pipe in pipes}
            busy.write_config(backlog=200_000)
            daemon.rpc("reload")
            looks.all["reloaded"] = look("reloaded", daemon, dash, lambda s: s["restart_required"])
            with closed(busy.shut.root), closed(busy.locked.root):
                daemon.rpc("reload")  # reads everything again
                shut = look("closed", daemon, dash, lambda s: "unreadable" in _states(s))
                looks.all["closed"] = shut
            daemon.rpc("reload")
            server.run("CONFIG", "SET", "maxmemory", "1")
            failing = look("full", daemon, dash, _is_full)
            looks.all["full"] = failing
            laid_out.unlink()
            server.kill()
            looks.all["down"] = look(
                "down",
                daemon,
                dash,
                lambda s: s["redis"]["connected"] is False and s["agents"]["unknown"] > 0,
            )
            daemon.stop()
            for message in all_notified():
                looks.notified.setdefault(message["method"], []).append(message["params"])
            eventually(lambda: dash.get("/healthz").json()["daemon"] == "down")
            looks.down = scraped(dash)
            looks.last = [
                json.loads(daemon.ctl("status", "--json").stdout),
                dash.get("/api/status").json()["snapshot"],
            ]
        looks.all["fresh"] = _other(root / "fresh", lambda s: s["system"] is not None)
        server.start()
        server.run("ACL", "SETUSER", "poll", "on", ">pw", "~*", "&*", "+@all", "-client|tracking")
        url = server.url.replace("redis://", "redis://poll:pw@")
        looks.all["polled"] = _other(root / "polled", _is_polled, url=url)
        yield looks


def _is_full(status: Document) -> bool:
    return status["sinks"]["redis"]["state"] == "failing" and "unreadable" not in _states(status)


def _is_polled(status: Document) -> bool:
    return _states(status) == {"poll"} and status["redis"]["feed"] == "poll" and status["system"] is not None


def _other(root: Path, when: Callable[[Document], object], *, url: str | None = None) -> Look:
    """Look at a daemon of another user: with nothing at all, or where nothing announces changes."""
    environ, prefix, arguments = {"COORDD_SAMPLING_INTERVAL": "1s"}, (), []
    user = root / "home"
    user.mkdir(parents=True)
    if url is not None:
        project = Project(root / "app")
        project.beat("one")
        arguments = ["--layout", "user", "--workspace", str(project.root)]
        environ["COORDD_REDIS_URL"] = url
        nothing = 'echo 0 >/proc/sys/user/max_inotify_instances; exec "$@"'
        prefix = ("unshare", "-U", "--map-root-user", "sh", "-c", nothing, "sh")
    sock = user / ".local/state/coordd/run/coordd.sock"
    with (
        running(arguments, sock=sock, home=user, cwd=user, prefix=prefix, **environ) as daemon,
        dashboard(sock=sock, home=user) as dash,
    ):
        return look(root.name, daemon, dash, when)


def _records(looks: Looks, daemon: Coordd) -> None:
    """Keep the records of each type up to a moment, and what history makes of the same."""
    looks.performance = daemon.ctl("tail", "performance", "-n", "1000").stdout
    until = daemon.rpc("status")["timestamp"]
    for kind in ("system", "agent", "event"):
        asked = {"type": kind, "since": "1h", "until": until, "limit": 100_000}
        looks.records[kind] = daemon.rpc("history.query", asked)["records"]
        for form in ("csv", "jsonl", "table"):
            arguments = ("--since", "1h", "--until", until, "--format", form)
            looks.history[kind, form] = daemon.ctl("history", kind, *arguments).stdout


def piped(daemon: Coordd, dash: Dashboard, pipe: str) -> subprocess.CompletedProcess[str]:
    """Run a line of the documentation in a shell, against this daemon."""
    ctl = f"{sys.executable} -m coordd.cli --socket {daemon.socket}"
    line = re.sub(r"\bcoordctl\b", lambda _: ctl, pipe.replace("http://127.0.0.1:8000", dash.url))
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        capture_output=True,
        text=True,
        env=daemon.environ,
        timeout=60,
        check=False,
    )
