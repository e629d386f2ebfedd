"""The dashboard's HTTP API before the real daemon: the same numbers, errors in words, no daemon."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from dash import Dashboard, dashboard
from live import Coordd, Project, RpcFailed, environment, watching
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from real_processes import process_of, sleeper
from waiting import eventually

NASTY = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, Coordd, Dashboard]]:
    tmp_path = tmp_path_factory.mktemp("api")
    project = Project(tmp_path / "app")
    for name in ("coder", "tester", NASTY.replace("/", "")):
        project.beat(name)
    project.register("coder", started_at="2026-01-01T00:00:00Z", status="busy")
    (project.agents / "coder.tasks").write_text("t-1\n")
    for folder in ("claims", "tasks"):
        (project.coordination / folder).mkdir()
    claim = {"agent_id": "nobody", "claimed_at": int(time.time()) - 3600, "ttl": 300}
    (project.coordination / "claims" / "lost.claim").write_text(json.dumps(claim))
    (project.coordination / "tasks" / "waiting").touch()
    with (
        watching(project, tmp_path, COORDD_SAMPLING_INTERVAL="1s") as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
    ):
        eventually(lambda: len(project.records("system")) >= 2)
        yield project, coordd, dash


def test_the_same_numbers_as_coordctl(fleet: tuple[Project, Coordd, Dashboard]) -> None:
    _, coordd, dash = fleet
    status = json.loads(coordd.ctl("status", "--json").stdout)
    shown = dash.json("/api/status")
    assert shown.keys() == status.keys()
    for name in ("agents", "tasks", "health", "problems", "redis", "workspaces", "schema"):
        assert shown[name] == status[name]
    listed = json.loads(coordd.ctl("agents", "--json").stdout)["agents"]
    agents = dash.json("/api/agents/active")
    steady = ("agent_id", "workspace", "status", "reason", "active_tasks", "last_heartbeat", "sources")
    assert [{k: a[k] for k in steady} for a in sorted(agents, key=lambda a: a["id"])] == [
        {k: a[k] for k in steady} for a in sorted(listed, key=lambda a: a["agent_id"])
    ]
    assert all(a["id"] == a["agent_id"] for a in agents)
    tasks = json.loads(coordd.ctl("tasks", "--json").stdout)
    shown_tasks = dash.json("/api/tasks")
    assert shown_tasks["tasks"] == tasks["tasks"]
    assert shown_tasks["schema"] == tasks["schema"]
    # sampled each second: the two may be a sample apart, but both are samples that were recorded
    latest = dash.json("/api/metrics/system/latest")
    assert latest in dash.json("/api/metrics/system/history?since=1m")["records"]


def test_filters_and_pages(fleet: tuple[Project, Coordd, Dashboard]) -> None:
    project, _, dash = fleet
    assert {a["id"] for a in dash.json("/api/agents/active?status=active")} >= {"coder", "tester"}
    assert dash.json("/api/agents/active?status=unknown") == []
    assert dash.json(f"/api/agents/active?workspace={quote('/elsewhere')}") == []
    orphaned = dash.json("/api/tasks?state=orphaned")["tasks"]
    assert [t["task_id"] for t in orphaned] == ["lost"]
    page = dash.json("/api/tasks?limit=1")
    rest = dash.json(f"/api/tasks?limit=100&cursor={quote(page['cursor'])}")
    assert [t["task_id"] for t in page["tasks"] + rest["tasks"]] == ["lost", "waiting"]
    full = dash.json(f"/api/agents/coder?workspace={quote(str(project.root))}")
    assert full["tasks"] == ["t-1"]
    assert full["verdict"]["row"] == 4
    assert dash.json(f"/api/agents/{quote(NASTY.replace('/', ''), safe='')}")["id"] == NASTY.replace("/", "")


def test_history_thinned_and_as_columns(fleet: tuple[Project, Coordd, Dashboard]) -> None:
    project, _, dash = fleet
    thinned = dash.json("/api/metrics/system/history?since=1h&step=1h")["records"]
    assert thinned[-1]["cpu_percent"].keys() == {"mean", "min", "max"}
    agents = dash.json("/api/metrics/agent/history?agent_id=coder&since=1h")["records"]
    assert {r["agent_id"] for r in agents} == {"coder"}
    assert dash.json("/api/metrics/agent/history?since=1h&limit=1")["truncated"] is True
    columns = dash.json("/api/metrics/system/series?range=15m")
    assert columns["until"] - columns["since"] == pytest.approx(900)
    assert len(columns["times"]) == len(columns["series"]["cpu"]) == len(columns["series"]["cpu_max"]) > 0
    claim = project.coordination / "claims" / "short.claim"
    claim.write_text(json.dumps({"agent_id": "coder", "claimed_at": int(time.time()), "ttl": 300}))
    eventually(lambda: [e for e in project.records("event") if e["kind"] == "task.claimed"])
    claim.unlink()
    eventually(lambda: [e for e in project.records("event") if e["kind"] == "task.released"])
    events = dash.json("/api/events/recent?limit=2")
    assert [e["kind"] for e in events["records"]] == ["task.claimed", "task.released"]
    assert events["truncated"] is True


def test_what_agents_did_is_told_as_bands(tmp_path: Path) -> None:
    """Real processes: one works all the time, one is killed, one ends, one beats in another project."""
    app, other = Project(tmp_path / "app"), Project(tmp_path / "other")
    with (
        sleeper(cwd=app.root) as doomed,
        sleeper(cwd=app.root) as done,
        watching(
            app,
            tmp_path,
            *("--workspace", str(other.root)),
            sock=tmp_path / "home" / ".local" / "state" / "coordd" / "run" / "coordd.sock",
            COORDD_SAMPLING_INTERVAL="1s",
            COORDD_PROCESSES_ENABLED="false",
        ) as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
    ):
        other.beat("coder")
        for name, child in (("doomed", doomed), ("done", done)):
            app.register(name, pid=child.pid, proc_start=process_of(child.pid).start)
        for name in ("doomed", "done"):
            eventually(lambda name=name: coordd.agent(name)["reason"] == "process")  # type: ignore[misc]
        app.register("done", status="ended", pid=done.pid, proc_start=process_of(done.pid).start)
        eventually(lambda: coordd.agent("done")["declared_status"] == "ended")
        doomed.kill()
        done.kill()
        for name, reason in (("doomed", "killed"), ("done", "ended")):
            eventually(lambda n=name, r=reason: coordd.agent(n)["reason"] == r)  # type: ignore[misc]

        def told(name: str, query: str = "") -> dict[str, Any]:
            answer = dash.json(f"/api/metrics/agent/series?range=15m{query}")
            assert answer["until"] - answer["since"] == pytest.approx(900)
            assert (answer["step"], answer["truncated"]) == (7.5, False)
            (one,) = [agent for agent in answer["agents"] if agent["agent_id"] == name]
            for (before, _), (after, _) in pairwise(one["bands"]):
                assert answer["since"] <= before < after <= answer["until"]
            return {**one, "gaps": answer["gaps"]}

        assert eventually(lambda: told("doomed")["bands"][-1][1] == "killed")
        assert told("done")["bands"][-1][1] == "ended"
        coder = told("coder", f"&workspace={quote(str(other.root))}")
        assert (coder["workspace"], coder["name"], coder["kind"]) == (str(other.root), None, None)
        assert coder["bands"][-1][1] == "active"
        (gap,) = coder["gaps"]
        assert gap[1] - gap[0] > 600, "coordd did not run before"
        assert dash.get("/api/metrics/agent/series?agent_id=nobody").json()["agents"] == []
        for bad in (
            {"bands": True},
            {"bands": True, "since": "1h"},
            {"bands": True, "since": "1d", "step": 1},
        ):
            with pytest.raises(RpcFailed):
                coordd.rpc("history.query", {"type": "agent", **bad})
        with pytest.raises(RpcFailed):
            coordd.rpc("history.query", {"type": "event", "bands": True, "since": "1h", "step": 60})


def test_it_is_served_below_a_path(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    token = tmp_path / "token"
    token.write_text("correct-horse-battery-staple\n")
    token.chmod(0o600)
    arguments = ("--root-path", "/of/coordd/", "--token-file", str(token))
    with (
        watching(project, tmp_path) as coordd,
        dashboard(*arguments, sock=coordd.socket, home=tmp_path / "home") as dash,
    ):
        bare = dash.get("/of/coordd")
        assert (bare.status, bare.headers["location"]) == (308, "/of/coordd/")
        assert dash.get("/of/coordd/").headers["location"] == "login"
        assert dash.get("/of/coordd/api/status").status == 401
        form = {"content_type": "application/x-www-form-urlencoded"}
        answer = dash.get("/of/coordd/login", "POST", b"token=correct-horse-battery-staple", **form)
        assert (answer.status, answer.headers["location"]) == (303, "./")
        assert "Path=/of/coordd;" in answer.headers["set-cookie"]
        cookie = answer.headers["set-cookie"].partition(";")[0]
        for path in ("/of/coordd/", "/of/coordd/static/app.js", "/of/coordd/api/status", "/api/status"):
            assert dash.get(path, cookie=cookie).status == 200, path
        for path in ("/of/coordd/of/coordd/", "/of/coorddx", "/of/coordd/nothing", "/of"):
            assert dash.get(path, cookie=cookie).status == 404, path
    for bad in ("coordd", "/a//b", "/a b", "/../x", "/api/x", "/a?b"):
        done = start("--root-path", bad, home=tmp_path)
        assert (done.returncode, "--root-path" in done.stderr, "Traceback" in done.stderr) == (2, True, False)


ODD = [
    "two\nlines",
    "end\n",
    "a/b",
    "/",
    "a%2Fb",
    "%41",
    "a?b#c",
    "..",
    "../x",
    ".",
    "active",
    "ü",
    "x" * 256,
]


def test_an_agent_of_any_id_is_found_by_it(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    in_files = [odd for odd in ODD if not odd.startswith(".") and "/" not in odd and len(odd) < 200]
    for odd in in_files:
        (project.agents / f"{odd}.heartbeat").touch()
    in_list = [odd for odd in ODD if odd not in in_files]
    (project.agents / "active.list").write_text("".join(f"{odd}\n" for odd in in_list))
    with (
        watching(project, tmp_path) as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
    ):
        eventually(lambda: len(dash.json("/api/agents/active")) == len(ODD), what="all agents are known")
        for agent in dash.json("/api/agents/active"):
            found = dash.json(f"/api/agents/?agent_id={quote(agent['id'], safe='')}")
            assert found["agent_id"] == agent["id"]
            if agent["id"] not in (
                "..",
                ".",
                "active",
            ):  # what clients and the list itself take for other paths
                assert dash.json(f"/api/agents/{quote(agent['id'], safe='')}")["id"] == agent["id"]


@pytest.mark.parametrize(
    ("path", "status", "kind", "words"),
    [
        ("/api/agents/nobody", 404, "no-such-agent", "nobody"),
        ("/api/status?verbose=1", 400, "params", "unknown parameter 'verbose'"),
        ("/api/tasks?limit=0", 400, "params", "limit: a whole number"),
        ("/api/tasks?limit=1&limit=2", 400, "params", "once"),
        ("/api/tasks?state=lost", 400, "params", "orphaned"),
        ("/api/tasks?cursor=x", 400, "params", "cursor"),
        ("/api/tasks?state=%ff", 400, "params", "percent-encoded"),
        ("/api/metrics/system/history?since=soon", 400, "params", "since"),
        ("/api/metrics/system/history?step=0s", 400, "params", "step"),
        ("/api/metrics/system/series?range=1y", 400, "params", "15m"),
        ("/api/events?topics=gossip", 400, "params", "gossip"),
        ("/api/agents/" + "a" * 300, 400, "params", "256"),
        ("/api/agents/", 400, "params", "256"),
        ("/api/agents/?agent_id=" + "a" * 300, 400, "params", "256"),
        ("/api/agents/coder?agent_id=tester", 400, "params", "another agent"),
        ("/api/agents/%0a", 404, "no-such-agent", "No agent"),
        ("/api/agents/%ff%fe", 404, "no-such-agent", "No agent"),
        ("/nothing", 404, "no-such-page", "openapi.json"),
        ("/static/../serve.py", 404, "no-such-page", "no such page"),
        ("/static/login.html", 404, "no-such-page", "no such page"),
    ],
)
def test_errors_have_one_shape_and_say_what_to_do(
    fleet: tuple[Project, Coordd, Dashboard], path: str, status: int, kind: str, words: str
) -> None:
    answer = fleet[2].get(path)
    assert answer.status == status
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert error["kind"] == kind
    assert words in error["message"]


def test_the_same_id_in_two_projects_is_a_question(tmp_path: Path) -> None:
    one, two = Project(tmp_path / "one"), Project(tmp_path / "two")
    one.beat("twin")
    two.beat("twin")
    sock = tmp_path / "c.sock"
    arguments = ["-w", str(two.root), "--socket", str(sock)]
    with (
        watching(one, tmp_path, *arguments, sock=sock) as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
    ):
        answer = dash.get("/api/agents/twin")
        assert answer.status == 409
        assert set(answer.json()["error"]["workspaces"]) == {str(one.root), str(two.root)}
        assert dash.json(f"/api/agents/twin?workspace={quote(str(two.root))}")["workspace"] == str(two.root)


def test_metrics_are_what_the_status_says(fleet: tuple[Project, Coordd, Dashboard]) -> None:
    _, coordd, dash = fleet
    status = coordd.rpc("status")
    assert dash.metric("coordd_up") == 1
    assert dash.metric('coordd_agents{status="active"}') == status["agents"]["active"]
    assert dash.metric('coordd_claims{state="orphaned"}') == status["tasks"]["orphaned"] == 1
    assert dash.metric("coordd_tasks_available") == 1
    assert dash.metric("coordd_healthy") == 0
    assert dash.metric("coordd_redis_configured") == 0
    assert "coordd_redis_up" not in dash.get("/metrics").body.decode()
    assert dash.metric("coordd_host_memory_total_bytes") == status["system"]["memory_usage"]["total"]
    assert "coder" not in dash.get("/metrics").body.decode()


def test_who_needs_a_human_is_told_as_it_happens_and_counted(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    with (
        sleeper(cwd=project.root) as child,
        watching(project, tmp_path) as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
        closing(dash.events("/api/events?topics=status")) as stream,
    ):
        project.register("doomed", pid=child.pid, proc_start=process_of(child.pid).start)
        project.register("done", status="ended")
        project.beat("beats")
        eventually(lambda: coordd.agent("doomed")["reason"] == "process")
        stream.until("status", attention=[])
        assert dash.metric('coordd_attention{kind="killed"}') == 0
        eventually(lambda: dash.metric('coordd_agents_kind{kind="unknown"}') == 2)  # of no kind that is known
        eventually(lambda: dash.metric('coordd_agents_activity{activity="unknown"}') == 2)
        child.kill()
        eventually(lambda: coordd.agent("doomed")["reason"] == "killed")
        needs = coordd.rpc("status")["attention"]
        assert [(one["kind"], one["subject"]) for one in needs] == [("killed", "doomed")]
        stream.until("status", attention=needs)
        assert dash.json("/api/status")["attention"] == needs
        eventually(lambda: dash.metric('coordd_attention{kind="killed"}') == 1)
        eventually(lambda: dash.metric('coordd_agents_kind{kind="unknown"}') == 1)
        assert dash.metric("coordd_waiting_seconds_max") == 0
        text = dash.get("/metrics").body.decode()
        assert "doomed" not in text
        assert "beats" not in text
        # nothing notifies of this
        assert coordd.ctl("ack", needs[0]["id"]).returncode == 0
        stream.until("status", attention=[])
        eventually(lambda: dash.metric('coordd_attention{kind="killed"}') == 0)


def test_metrics_in_both_formats(fleet: tuple[Project, Coordd, Dashboard]) -> None:
    dash = fleet[2]
    accepted = dash.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert accepted.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {f.name: f for f in text_string_to_metric_families(accepted.body.decode())}
    assert families["coordd_sink_written_records"].type == "counter"
    plain = dash.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")


def test_an_event_stream_tells_what_happens_and_resumes(fleet: tuple[Project, Coordd, Dashboard]) -> None:
    project, _, dash = fleet
    stream = dash.events()
    assert stream.until("hello").data == {"resumed": True}
    assert stream.until("link").data["up"] is True
    assert stream.until("status").data["schema"] == 1
    project.beat("first")
    seen = stream.until("agent", agent_id="first", cause="appeared")
    assert seen.ident is not None
    stream.close()
    project.beat("second")
    eventually(lambda: "second" in {a["id"] for a in dash.json("/api/agents/active")})
    again = dash.events(Last_Event_ID=seen.ident)
    assert again.until("hello").data == {"resumed": True}
    assert again.until("agent", agent_id="second").data["cause"] == "appeared"
    again.close()
    # an id that is not known: whoever asks must look anew
    stranger = dash.events("/api/events?last_event_id=feed-7&topics=agent,event")
    assert stranger.until("hello").data == {"resumed": False}
    project.beat("third")
    names = []
    for event in stranger:
        names.append(event.name)
        if event.name == "agent" and event.data["agent_id"] == "third":
            break
    assert set(names) <= {"agent", "event", "ping"}
    stranger.close()
    eventually(lambda: dash.metric("coordd_dashboard_streams") == 0)


def test_200_streams_over_one_subscription(fleet: tuple[Project, Coordd, Dashboard]) -> None:
    project, coordd, dash = fleet
    streams = [dash.events() for _ in range(200)]
    for stream in streams:
        stream.until("hello")
    project.beat("for-all")
    for stream in streams:
        stream.until("agent", agent_id="for-all")
    assert dash.metric("coordd_dashboard_streams") == 200
    # three connections to the daemon, whatever the number of readers
    listing = subprocess.run(
        ["ss", "-xH", "state", "established", "src", str(coordd.socket)],
        capture_output=True,
        text=True,
        check=False,
    )
    if listing.returncode == 0 and listing.stdout:
        assert len(listing.stdout.splitlines()) == 3
    for stream in streams:
        stream.close()
    eventually(lambda: dash.metric("coordd_dashboard_streams") == 0)


def test_openapi_describes_every_route(fleet: tuple[Project, Coordd, Dashboard]) -> None:
    document = fleet[2].json("/openapi.json")
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {
        *("/api/status", "/api/tasks", "/api/events", "/api/events/recent", "/metrics", "/healthz"),
        *("/api/agents/active", "/api/agents/{id}", "/api/metrics/agent/history"),
        "/api/metrics/agent/series",
        *("/api/metrics/system/latest", "/api/metrics/system/history", "/api/metrics/system/series"),
    }


def test_without_a_daemon_it_says_so_and_finds_it_again(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    project.beat("coder")
    sock = project.claude / "run" / "coordd.sock"
    with dashboard(sock=sock, home=tmp_path / "home", wait_for_daemon=False) as dash:
        never = dash.get("/api/status")
        assert never.status == 503
        assert never.headers["retry-after"] == "1"
        assert never.json()["error"]["kind"] == "daemon-down"
        eventually(lambda: "nothing there" in dash.get("/api/status").json()["error"]["message"])
        assert never.json()["snapshot_age"] is None
        assert dash.get("/").status == 200
        assert dash.get("/healthz").json()["daemon"] == "down"
        assert dash.metric("coordd_up") == 0
        stream = dash.events()
        assert stream.until("link").data["up"] is False
        with watching(project, tmp_path) as coordd:
            stream.until("link", up=True)
            eventually(lambda: dash.json("/api/status")["agents"]["active"] == 1)
            dash.json("/api/agents/active")
            coordd.stop(signal.SIGKILL)
            gone = stream.until("link", up=False)
            assert gone.data["kind"] == "daemon-down"
        down = dash.get("/api/status").json()
        assert down["snapshot_age"] >= 0
        assert down["snapshot"]["agents"]["active"] == 1
        assert dash.get("/api/agents/active").json()["snapshot"][0]["id"] == "coder"
        assert "snapshot" not in dash.get("/api/tasks").json()
        with watching(project, tmp_path) as coordd:
            stream.until("link", up=True)
            eventually(lambda: dash.json("/api/agents/active")[0]["status"] == "active")
            coordd.stop()  # in order: it leaves a snapshot
        stream.close()
    # one that starts later knows what the daemon left
    with dashboard(sock=sock, home=tmp_path / "home", wait_for_daemon=False) as late:
        answer = late.get("/api/status").json()
        assert answer["snapshot_age"] > 0
        assert answer["snapshot"]["agents"]["total"] == 1


def test_a_daemon_that_hangs_is_no_daemon(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    with (
        watching(project, tmp_path) as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
    ):
        stream = dash.events()
        stream.until("link", up=True)
        coordd.process.send_signal(signal.SIGSTOP)
        silent = stream.until("link", up=False)
        assert silent.data["kind"] == "daemon-silent"
        assert dash.get("/api/tasks").status == 503
        coordd.process.send_signal(signal.SIGCONT)
        stream.until("link", up=True)
        eventually(lambda: dash.get("/api/tasks").status == 200)
        stream.close()


def test_it_ends_in_order_with_streams_open(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    with (
        watching(project, tmp_path) as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
    ):
        streams = [dash.events() for _ in range(3)]
        for stream in streams:
            stream.until("link")
        began = time.monotonic()
        assert dash.stop() == 0
        assert time.monotonic() - began < 10
        for stream in streams:
            assert all(event.name for event in stream)  # they end
            stream.close()


def test_a_unix_socket_is_for_its_owner(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    path = tmp_path / "d.sock"
    with watching(project, tmp_path) as coordd:
        with dashboard(sock=coordd.socket, home=tmp_path / "home", listen=f"unix:{path}") as dash:
            assert path.stat().st_mode & 0o777 == 0o600
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(str(path))
                client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                with client.makefile("rb") as answer:
                    assert b'"status":"ok"' in answer.read()
            second = start("--socket", str(coordd.socket), "--listen", f"unix:{path}", home=tmp_path / "home")
            assert second.returncode == 1
            assert "already" in second.stderr
            dash.process.send_signal(signal.SIGKILL)
            dash.process.wait()
            assert path.exists()
        with dashboard(sock=coordd.socket, home=tmp_path / "home", listen=f"unix:{path}") as dash:
            assert dash.stop() == 0
        assert not path.exists()


def test_bad_beginnings_are_one_clear_line(tmp_path: Path) -> None:
    home = tmp_path / "home"
    sock = str(tmp_path / "c.sock")
    for listen, words in (
        ("example.com:80", "not an address"),
        ("::1:8000", "brackets"),
        ("127.0.0.1:99999", "not an address"),
        ("unix:", "missing"),
    ):
        said = start("--socket", sock, "--listen", listen, home=home)
        assert said.returncode == 2, said.stderr
        assert words in said.stderr
    with dashboard(sock=Path(sock), home=home, wait_for_daemon=False) as dash:
        said = start("--socket", sock, "--listen", f"127.0.0.1:{dash.port}", home=home)
        assert said.returncode == 1
        assert "in use" in said.stderr
        assert "--listen" in said.stderr


def test_without_its_packages_it_says_what_to_install(tmp_path: Path) -> None:
    hidden = "import sys; sys.modules['starlette'] = None; from coordd.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", hidden, "dashboard"],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "pip install 'coordd[dashboard]'" in done.stderr
    assert "Traceback" not in done.stderr


def start(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    """A dashboard that is expected to end by itself."""
    return subprocess.run(
        [sys.executable, "-m", "coordd.cli", "dashboard", *arguments],
        capture_output=True,
        text=True,
        env=environment(home),
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize(
    "accept",
    ["text/plain;version=a.b", "application/openmetrics-text; version=x.y; escaping=\xff", ";;;,=", "\xff"],
)
def test_metrics_are_given_whatever_is_accepted(
    fleet: tuple[Project, Coordd, Dashboard], accept: str
) -> None:
    answer = fleet[2].get("/metrics", accept=accept)
    assert answer.status == 200
    assert b"coordd_" in answer.body
