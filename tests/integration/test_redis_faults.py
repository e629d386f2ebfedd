"""Every way in which Redis fails, under the real coordd, with a real server: a table.

Host and file agents are sampled on; status says in words what is wrong; what only Redis knew is unknown, not
dead; memory stays; afterwards everything is as before, each turn was one event, and no sample is missing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from live import Project
from redisd import KINDS, RedisServer
from redisproxy import Proxy, proxy_to
from redisscene import SECRET, TIMEOUT, USERS, Scene, admin, beat_once
from waiting import eventually

MEGABYTES = 10
GAP = 3.0
"""Seconds between two samples that are due each second: a loaded machine is late, a blocked loop later."""
DOWN = ["redis.down", "mode.changed", "redis.up", "mode.changed"]
ALL_KEYS = (
    "agents:registry", "heartbeat:*", "agent:heartbeat:*", "agent:tasks:*", "tasks:available",
    "work:available:*", "tasks:priority_queue", "tasks:claimed:*", "task:claim:*", "task:progress:*",
    "metrics:agent:*", "metrics:system:*",
)  # fmt: skip

Act = Callable[[Scene], Any]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A way to fail.

    ``says`` is a part of what status calls it, None where nothing is wrong for a user. ``mode`` is the label
    meanwhile, ``feed`` how changes are found. ``unknown``: the agent of Redis becomes so. ``tasks`` are those
    counts nobody can know. ``turns``: Redis is lost for a moment when it begins. ``momentary``: it is over
    as soon as it has begun. ``user``: coordd has a user of its own. ``proxied``: a proxy is what fails.
    ``alike``: it is not up to the server, so that one of both does.
    """

    begin: Act
    mend: Act
    says: str | None
    mode: str = "file"
    feed: str | None = None
    unknown: bool = True
    tasks: tuple[str, ...] = ("available", "claimed")
    at_start: bool = False
    momentary: bool = False
    turns: bool = False
    user: bool = True
    proxied: bool = False
    alike: bool = False


def partial(*, says: str | None, begin: Act, mend: Act, **more: Any) -> Fault:
    """Redis answers and yet does not do everything."""
    return Fault(**({"mode": "redis", "feed": "push", "unknown": False, "tasks": ()} | more),
                 says=says, begin=begin, mend=mend)  # fmt: skip


def nothing(_scene: Scene) -> None:
    pass


def kill_clients(scene: Scene, *, subscribed: bool | None = None) -> None:
    """Close coordd's connections: both, or the one that is subscribed, or the other one."""
    for client in scene.redis("CLIENT", "LIST").decode().splitlines():
        fields = dict(word.split("=", 1) for word in client.split() if "=" in word)
        if fields["name"] == "coordd" and subscribed in (None, fields["sub"] == "1"):
            scene.redis("CLIENT", "KILL", "ID", fields["id"])


def user(*rules: str) -> Act:
    """Other rights for coordd, which it finds when it connects the next time."""

    def act(scene: Scene) -> None:
        scene.redis("ACL", "SETUSER", "coordd", *rules)
        kill_clients(scene)

    return act


def mended_user(*rules: str) -> Act:
    """Other rights for coordd, which it is to find by itself."""
    return lambda scene: scene.redis("ACL", "SETUSER", "coordd", *rules)


def without_keys(*patterns: str) -> Act:
    """The rights to all keys but these are left, from one moment to the next."""
    left = [f"~{pattern}" for pattern in ALL_KEYS if pattern not in patterns]
    return lambda scene: scene.redis("ACL", "SETUSER", "coordd", "resetkeys", *left)


def config(name: str, value: Any) -> Act:
    return lambda scene: scene.redis("CONFIG", "SET", name, value)


def ask_for_a_password(scene: Scene) -> None:
    scene.redis("ACL", "SETUSER", "default", "resetpass", ">secret")
    kill_clients(scene)


def load_slowly(scene: Scene) -> None:
    scene.redis("DEBUG", "POPULATE", 20_000, "filler", 10)
    scene.redis("SAVE")
    scene.server.kill()
    # a millisecond a key, and after a few of them it looks who asks; so it lasts until it is told to be quick
    slowly = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    scene.server.start(*slowly, wait=False)


def run_for_ever(scene: Scene) -> None:
    scene.redis("CONFIG", "SET", "busy-reply-threshold", 1)
    scene.apart("EVAL", "while true do end", 0)


def fail_to_save(scene: Scene) -> None:
    dump = scene.server.directory / "dump.rdb"
    (dump / "in the way").mkdir(parents=True)
    with contextlib.suppress(Exception):
        scene.redis("CONFIG", "SET", "save", "3600 1")
        scene.redis("BGSAVE")


def save_again(scene: Scene) -> None:
    shutil.rmtree(scene.server.directory / "dump.rdb")
    scene.redis("BGSAVE")


def fill(left: int) -> Act:
    """Leave room for so many connections."""

    def act(scene: Scene) -> None:
        client = admin(scene.server)
        scene.held.append(client)
        lines = client.execute_command("CLIENT", "LIST").splitlines()
        ours = [line for line in lines if b" name=coordd " in line]
        client.execute_command("CONFIG", "SET", "maxclients", len(lines) - len(ours) + left)
        for line in ours:
            client.execute_command("CLIENT", "KILL", "ID", line.split()[0].partition(b"=")[2])

    return act


def empty_again(scene: Scene) -> None:
    client = scene.held.pop()
    client.execute_command("CONFIG", "SET", "maxclients", 1000)
    client.close()


def through_proxy(act: Callable[[Proxy], None]) -> Act:
    def on(scene: Scene) -> None:
        assert scene.proxy is not None
        act(scene.proxy)

    return on


FAULTS = {
    "not there at the start": Fault(
        begin=nothing,
        mend=lambda scene: scene.server.start(),
        says="refuses connections: nothing listens there",
        at_start=True,
        alike=True,
    ),
    "killed": Fault(
        begin=lambda scene: scene.server.kill(),
        mend=lambda scene: scene.server.start(),
        says="refuses connections: nothing listens there",
    ),
    "frozen": Fault(
        alike=True,
        begin=lambda scene: scene.server.pause(),
        mend=lambda scene: scene.server.resume(),
        says="does not answer in time",
    ),
    "never answers": Fault(
        begin=through_proxy(Proxy.swallow),
        mend=through_proxy(Proxy.mend),
        says="does not answer in time",
        proxied=True,
        alike=True,
    ),
    "resets": Fault(
        begin=through_proxy(Proxy.reset),
        mend=through_proxy(Proxy.mend),
        says="reset the connection",
        proxied=True,
        alike=True,
    ),
    "NOAUTH": Fault(
        begin=ask_for_a_password,
        mend=lambda scene: scene.redis("ACL", "SETUSER", "default", "nopass"),
        says="wants a password",
        user=False,
    ),
    "WRONGPASS": Fault(
        begin=user("resetpass", ">another"),
        mend=mended_user("resetpass", f">{SECRET}"),
        says="refuses the user name or the password",
    ),
    "NOPERM on heartbeats": Fault(
        begin=without_keys("heartbeat:*", "agent:heartbeat:*"),
        mend=mended_user("~*"),
        says="heartbeat: in Redis cannot be read: it does not permit",
        mode="redis",
        feed="push",
    ),
    "NOPERM on the registry": partial(
        begin=without_keys("agents:registry"),
        mend=mended_user("~*"),
        alike=True,
        says="agents:registry in Redis cannot be read",
    ),
    "NOPERM on lists of tasks": partial(
        begin=without_keys("agent:tasks:*"),
        mend=mended_user("~*"),
        alike=True,
        says="agent:tasks: in Redis cannot be read",
    ),
    "NOPERM on claims": partial(
        begin=without_keys("tasks:claimed:*", "task:claim:*"),
        mend=mended_user("~*"),
        alike=True,
        says="tasks:claimed: in Redis cannot be read",
        tasks=("available", "claimed"),
    ),
    "NOPERM on what is available": partial(
        begin=without_keys("tasks:available", "work:available:*", "tasks:priority_queue"),
        mend=mended_user("~*"),
        alike=True,
        says="tasks:available in Redis cannot be read",
        tasks=("available",),
    ),
    "NOPERM on progress": partial(
        begin=without_keys("task:progress:*"),
        mend=mended_user("~*"),
        alike=True,
        says="task:progress: in Redis cannot be read",
    ),
    "NOPERM on SCAN": partial(
        begin=user("-scan"), mend=mended_user("+scan"), says="SCAN in Redis cannot be read", turns=True
    ),
    "NOPERM on tracking": partial(
        begin=user("-client|tracking"),
        mend=mended_user("+client|tracking"),
        says=None,
        feed="poll",
        turns=True,
    ),
    "NOPERM on the channel": partial(
        alike=True, begin=user("resetchannels"), mend=mended_user("&*"), says=None, feed="poll", turns=True
    ),
    "NOPERM on samples": partial(
        alike=True,
        begin=without_keys("metrics:agent:*", "metrics:system:*"),
        mend=mended_user("~*"),
        says="does not permit this user to write metrics:",
    ),
    "NOPERM on SET": partial(
        alike=True,
        begin=mended_user("-set"),
        mend=mended_user("+set"),
        says="does not permit this user to write metrics:system",
    ),
    "OOM": partial(
        begin=config("maxmemory", 1),
        mend=config("maxmemory", 0),
        says="takes no writes: its memory is full (maxmemory)",
        unknown=True,
    ),
    "READONLY": partial(
        begin=lambda scene: scene.redis("REPLICAOF", "127.0.0.1", "1"),
        mend=lambda scene: scene.redis("REPLICAOF", "NO", "ONE"),
        says="is a replica that has lost its master",
        unknown=True,
    ),
    "LOADING": Fault(
        begin=load_slowly,
        mend=config("key-load-delay", 0),
        says="is loading its data set",
    ),
    "BUSY": Fault(
        begin=run_for_ever,
        mend=lambda scene: scene.redis("SCRIPT", "KILL"),
        says="is busy running a script",
    ),
    "MISCONF": partial(
        begin=fail_to_save,
        mend=save_again,
        says="takes no writes: it cannot save its data set to disk",
        unknown=True,
    ),
    "maxclients": Fault(begin=fill(0), mend=empty_again, says="takes no more clients"),
    "maxclients but for one": partial(
        alike=True, begin=fill(1), mend=empty_again, says="takes no more clients", feed="poll", turns=True
    ),
    "CLIENT KILL": Fault(begin=kill_clients, mend=nothing, says=None, momentary=True),
    "CLIENT KILL of the subscription": Fault(
        begin=lambda scene: kill_clients(scene, subscribed=True), mend=nothing, says=None, momentary=True
    ),
    "CLIENT KILL of what tracks": Fault(
        begin=lambda scene: kill_clients(scene, subscribed=False), mend=nothing, says=None, momentary=True
    ),
}


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    """A server of the kind that is asked for, and what is around it, before coordd runs."""
    server = RedisServer(
        tmp_path / "redis", kind=request.param, options=("--enable-debug-command", "yes", *USERS)
    )
    project = Project(tmp_path / "app")
    with proxy_to(server.port) as proxy:
        try:
            yield Scene(server, project, proxy)
        finally:
            server.kill()


def cases() -> Iterator[tuple[str, str]]:
    for number, (name, fault) in enumerate(FAULTS.items()):
        for kind in [KINDS[number % len(KINDS)]] if fault.alike else KINDS:
            yield name, kind


@pytest.mark.parametrize(("name", "scene"), list(cases()), indirect=["scene"])
def test_coordd_goes_on_while_redis_fails(name: str, scene: Scene, tmp_path: Path) -> None:
    fault = FAULTS[name]
    if not fault.at_start:
        scene.server.start()
        with admin(scene.server) as client:
            beat_once(client)
    with scene.playing(tmp_path, address(fault, scene), wait=not fault.at_start):
        go_through(fault, scene)
    hindsight(scene)
    assert SECRET not in everything_said(tmp_path)


def go_through(fault: Fault, scene: Scene) -> None:
    """The course of each fault, from before it to the end of coordd."""
    if fault.at_start:
        assert scene.status["daemon"]["coord_mode"] == "file"
    else:
        scene.mark = len(scene.project.records("event"))
    memory = scene.resident()
    fault.begin(scene)
    if not fault.momentary:
        during(fault, scene)
    grown = scene.resident() - memory
    fault.mend(scene)
    afterwards(fault, scene)
    assert grown < MEGABYTES * 1e6
    eventually(lambda: len(scene.gaps()) > 1)
    scene.still()
    eventually(scene.everything_is_there)
    assert scene.daemon.stop() == 0


def hindsight(scene: Scene) -> None:
    """What the records say of it all."""
    assert scene.everything_is_there()
    assert max(scene.gaps()) < GAP
    assert {one["status"] for one in scene.recorded("filer")} == {"active"}
    assert "inactive" not in {one["status"] for one in scene.recorded("alone")}


def address(fault: Fault, scene: Scene) -> str:
    assert scene.proxy is not None
    port = scene.proxy.port if fault.proxied else scene.server.port
    return f"redis://{f'coordd:{SECRET}@' if fault.user else ''}127.0.0.1:{port}/0"


def during(fault: Fault, scene: Scene) -> None:
    """What is to be seen while the fault lasts, which is for longer than an agent may be silent."""
    began = time.monotonic()
    if fault.says is not None:
        eventually(lambda: fault.says in scene.problems, what=f"status says: {fault.says}")
        told = scene.daemon.ctl("status")
        assert told.returncode == 1, told.stdout
        assert fault.says in told.stdout
    eventually(lambda: scene.status["daemon"]["coord_mode"] == fault.mode)
    eventually(lambda: scene.status["redis"]["feed"] == fault.feed)
    for name, number in {"available": 1, "claimed": 1}.items():
        wanted = None if name in fault.tasks else number
        eventually(
            lambda name=name, wanted=wanted: scene.status["tasks"][name] == wanted, what=f"{name}: {wanted}"
        )
    if not fault.at_start:  # then it has never been heard of
        expected = "unknown" if fault.unknown else "active"
        eventually(lambda: scene.daemon.statuses().get("alone") == expected, what=f"alone is {expected}")
    while time.monotonic() - began < TIMEOUT + 1:  # whoever is silent is found out by now
        assert scene.file_beat_is_recorded()
        assert scene.daemon.statuses()["filer"] == "active"
    if fault.feed is None:
        assert len(scene.status["problems"]) == 1  # one fault, one line
    if not fault.at_start and not fault.unknown:
        assert scene.daemon.statuses()["alone"] == "active"


def afterwards(fault: Fault, scene: Scene) -> None:
    """Everything is as before, and each turn was told of once."""
    if fault.at_start:
        turns = ["redis.down", "redis.up", "mode.changed"]
    elif fault.feed is None or fault.turns:
        turns = DOWN
    else:
        turns = []
    eventually(scene.well, what="everything is as before")
    eventually(lambda: scene.turns() == turns, what=f"turns: {turns}")
    assert scene.well()


def everything_said(tmp_path: Path) -> str:
    """All that coordd has written anywhere."""
    files = (path for path in tmp_path.rglob("*") if path.is_file() and path.parent.name != "redis")
    return "".join(path.read_text(errors="replace") for path in files)


class Networks:
    """Two network namespaces with a cable between them; ``run`` does something in one of them."""

    OURS, THEIRS = "10.177.0.1", "10.177.0.2"

    def __init__(self) -> None:
        self._holders = [subprocess.Popen(["unshare", "--net", "sleep", "infinity"]) for _ in range(2)]
        for holder in self._holders:
            eventually(lambda holder=holder: _network(holder.pid) != _network("self"))
        ours, theirs = (str(holder.pid) for holder in self._holders)
        subprocess.run(
            ["ip", "link", "add", "v0", "netns", ours, "type", "veth", "peer", "name", "v0", "netns", theirs],
            check=True,
        )
        for number, address in enumerate((self.OURS, self.THEIRS)):
            self.run(number, "ip", "address", "add", f"{address}/24", "dev", "v0")
            self.run(number, "ip", "link", "set", "lo", "up")
            self.run(number, "ip", "link", "set", "v0", "up")

    def within(self, number: int) -> tuple[str, ...]:
        return ("nsenter", "-t", str(self._holders[number].pid), "-n")

    def run(self, number: int, *command: str) -> None:
        subprocess.run([*self.within(number), *command], check=True)

    def close(self) -> None:
        for holder in self._holders:
            holder.kill()
            holder.wait()


def _network(pid: int | str) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


PARTITIONS = {
    "black hole": (("link", "set", "v0", "down"), ("link", "set", "v0", "up"), 1, "does not answer"),
    "no route": (
        ("route", "add", "unreachable", f"{Networks.THEIRS}/32"),
        ("route", "del", "unreachable", f"{Networks.THEIRS}/32"),
        0,
        "cannot be reached: no route to its host",
    ),
}


@pytest.mark.root
@pytest.mark.parametrize("name", PARTITIONS)
def test_a_partition_between_two_networks_that_heals(name: str, tmp_path: Path) -> None:
    begin, mend, side, says = PARTITIONS[name]
    networks = Networks()
    server = RedisServer(
        tmp_path / "redis", options=("--bind", Networks.THEIRS, "--protected-mode", "no", *USERS)
    )
    entry = tmp_path / "within"
    entry.write_text(f'#!/bin/sh\nexec {" ".join(networks.within(1))} {server.binary} "$@"\n')
    entry.chmod(0o755)
    server.binary = str(entry)
    scene = Scene(server, Project(tmp_path / "app"))
    fault = Fault(
        begin=lambda _: networks.run(side, "ip", *begin),
        mend=lambda _: networks.run(side, "ip", *mend),
        says=says,
    )
    try:
        server.start(wait=False)
        eventually(lambda: scene.redis("PING") if server.socket.exists() else False)
        with admin(server) as client:
            beat_once(client)
        url = f"redis://coordd:{SECRET}@{Networks.THEIRS}:{server.port}/0"
        with scene.playing(tmp_path, url, prefix=networks.within(0)):
            go_through(fault, scene)
        hindsight(scene)
    finally:
        server.kill()
        networks.close()
