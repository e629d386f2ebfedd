"""Traces written by strangers: each costs a counter and a log line, and the other agents stay right."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from live import Project, watching
from waiting import eventually


def test_every_bad_trace_at_once(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    agents = project.agents
    secret = tmp_path / "secret"
    secret.write_text("root:x:0:0")
    with watching(project, tmp_path) as coordd:
        project.beat("good")
        os.mkfifo(agents / "fifo.heartbeat")
        (agents / "directory.heartbeat").mkdir()
        (agents / "link.heartbeat").symlink_to(secret)
        (agents / "link.active").symlink_to("/etc/passwd")
        with socket.socket(socket.AF_UNIX) as unix:
            here = Path.cwd()
            os.chdir(agents)  # a socket's path may have 107 bytes
            try:
                unix.bind("socket.heartbeat")
            finally:
                os.chdir(here)
        with (agents / "huge.heartbeat").open("wb") as sparse:
            sparse.truncate(10 * 1024**3)
        (agents / "random.heartbeat").write_bytes(os.urandom(1000))
        (agents / "shape.active").write_text('["not", "an object"]')
        (agents / "deep.active").write_text("[" * 50_000)
        (agents / "half.active").write_text('{"id": "half", "started')
        (agents / "types.active").write_text(
            json.dumps({"started_at": {"a": 1}, "status": 7, "capabilities": "all", "pid": 1e99})
        )
        (agents / "active.list").write_text("good\n" + "x" * 300 + "\nlisted\n")
        (agents / "evil\n\x1b[31mred\u202e.heartbeat").write_text("")
        (agents / "tidy.heartbeat.tmp").write_text("half")
        (agents / ".hidden.heartbeat").write_text("half")
        project.beat("last")
        project.beat("good")

        coordd.ctl("reload")  # reads everything again at once; a rescan would, within half a minute
        eventually(lambda: {"good", "last", "listed", "random", "shape", "types"} <= coordd.statuses().keys())
        eventually(lambda: coordd.rpc("status")["traces_malformed"]["count"] >= 10)
        statuses = coordd.statuses()
        assert statuses["good"] == statuses["last"] == statuses["random"] == "active"
        assert statuses["shape"] == statuses["types"] == "active"  # somebody wrote them just now
        assert statuses["listed"] == "unknown"
        assert not {"fifo", "directory", "link", "socket", "huge", "tidy", ".hidden"} & statuses.keys()
        assert coordd.rpc("status")["health"] == "ok"

        reasons = {
            Path(one["path"]).name: one["reason"]
            for one in coordd.rpc("status")["traces_malformed"]["traces"]
        }
        assert {"fifo.heartbeat", "link.heartbeat", "huge.heartbeat", "shape.active"} <= reasons.keys()
        assert "root:x" not in json.dumps(coordd.rpc("status"))

        evil = next(name for name in statuses if name.startswith("evil"))
        assert "\x1b[31m" in evil  # data stays what it is in JSON …
        for command in (["status"], ["agents"], ["agent", evil], ["tail", "agent", "-n", "100"]):
            shown = coordd.ctl(*command)
            assert shown.returncode == 0, shown.stderr
        for command in (["status"], ["agents"], ["agent", evil]):
            shown = coordd.ctl(*command)
            assert not any(c in shown.stdout for c in "\x1b\u202e")  # … and reaches no terminal
        project.beat("good")
        eventually(lambda: sum(r["agent_id"] == "good" for r in project.records("agent")) >= 2)
        for _ in range(3):
            coordd.ctl("reload")
        lines = [line for line in coordd.logged().splitlines() if "fifo.heartbeat" in line]
        assert len(lines) == 1
        assert "\x1b" not in coordd.logged()
