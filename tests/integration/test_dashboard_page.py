"""The page in a real browser, before the real dashboard, the real daemon, and agents on real files."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from browser import chromium, complaints, opened, store
from dash import Dashboard, dashboard
from fake_coordd import agent, fake_coordd, paged, status_document
from groups import entering, limited
from live import Coordd, Project, beating, watching
from playwright.sync_api import Browser, Locator, Page, expect
from real_processes import process_of, sleeper
from sessions import Home
from waiting import PATIENCE, eventually

from coordd.model import ACTIVITIES

pytestmark = pytest.mark.page
expect.set_options(timeout=PATIENCE * 1000)

NASTY = "<img src=x onerror=alert(1)>"
DASH = "\u2013"
"""What stands for unknown."""
TURNED = "evil\u202egnp.exe"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


class Scene:
    """A project with some agents and tasks, its daemon and its dashboard."""

    def __init__(self, project: Project, coordd: Coordd, dash: Dashboard) -> None:
        self.project = project
        self.coordd = coordd
        self.dash = dash


def furnish(project: Project) -> None:
    """Agents that live, one that is silent, one with a bad name, tasks in every state."""
    now = int(time.time())
    for name in ("coder-1", "coder-2", "reviewer", NASTY, TURNED):
        project.beat(name)
    project.beat("tester", str(now - 7200))
    # written and touched then: where the two contradict each other, nothing is believed at first
    os.utime(project.agents / "tester.heartbeat", (now - 7200, now - 7200))
    project.register("coder-1", started_at="2026-01-01T00:00:00Z", status="busy")
    (project.agents / "coder-1.tasks").write_text("t-held\n")
    for folder in ("claims", "tasks", "status"):
        (project.coordination / folder).mkdir()

    def claim(task: str, agent: str, age: int, ttl: int) -> None:
        text = json.dumps({"agent_id": agent, "claimed_at": now - age, "ttl": ttl})
        (project.coordination / "claims" / f"{task}.claim").write_text(text)

    claim("t-held", "coder-1", 60, 3600)
    claim("t-late", "coder-2", 600, 300)
    claim("t-lost", "tester", 900, 3600)
    (project.coordination / "tasks" / "t-free").touch()
    told = {
        "task_id": "t-held",
        "progress": 40,
        "message": NASTY,
        "timestamp": time.strftime("%FT%TZ", time.gmtime()),
    }
    (project.coordination / "status" / "t-held.progress").write_text(json.dumps(told))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    tmp_path = tmp_path_factory.mktemp("page")
    project = Project(tmp_path / "app")
    furnish(project)
    with (
        watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="10m", COORDD_SAMPLING_INTERVAL="1s") as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
    ):
        eventually(lambda: len(project.records("system")) >= 4)
        eventually(lambda: coordd.rpc("status")["tasks"]["orphaned"] == 1)
        yield Scene(project, coordd, dash)


def row(page: Page, agent: str) -> Locator:
    return page.locator("#rows .row", has=page.get_by_role("link", name=agent, exact=True))


def does(page: Page, agent: str) -> Locator:
    return row(page, agent).locator(".c-does b")


def test_the_page_shows_the_true_values(browser: Browser, scene: Scene) -> None:
    with opened(browser, f"{scene.dash.url}/?host=open") as page:
        status = scene.coordd.rpc("status")
        counts = {name: status["agents"][name] for name in ("total", "active", "inactive", "unknown")}
        assert counts == {"total": 6, "active": 5, "inactive": 1, "unknown": 0}
        expect(page.locator("#alive")).to_have_text("5 of 6 alive")
        expect(page.locator("#slim")).to_contain_text(re.compile("Redis not configured.*coordd 0.1.0, up"))
        expect(page.locator("#slim")).to_contain_text(re.compile(r"records [\d,]+ written"))
        # the lost claim is told once, as something that needs a human
        assert status["problems"] == [
            f"task t-lost in {scene.project.root} is orphaned, its holder tester is inactive (silent)"
        ]
        expect(page.locator("#problems")).to_be_hidden()
        expect(page.locator("#needs li")).to_have_count(1)
        expect(page.locator("#needs li")).to_contain_text("t-lost")
        expect(page.locator("#health")).to_have_text("1 needs you")
        expect(page).to_have_title(f"(1) {status['daemon']['host']} · coordd")
        figures = page.locator("#charts figure")
        expect(figures).to_have_count(8)
        expect(page.locator("#sampled")).to_contain_text("sampled")
        # what is sampled each second: the page has to show a value that was recorded
        eventually(
            lambda: (
                figures.nth(1).locator(".now").inner_text()
                in {percent(r["cpu_percent"]) for r in scene.project.records("system")}
            )
        )
        for index in range(8):
            expect(figures.nth(index).locator(".line, .dot").first).to_be_attached()
            expect(figures.nth(index).locator("small")).not_to_be_empty()  # the unit of its axis
        # its legend says what is drawn: the numbers of the headline, each by itself
        expect(figures.nth(0).locator(".legend b")).to_have_text(["5", "1", "0"])
        expect(figures.nth(0).locator("svg.plot")).to_have_attribute(
            "aria-label", re.compile("active: last 5, .*inactive: last 1, ")
        )
        expect(page.locator("#rows .row")).to_have_count(6)
        expect(does(page, "tester")).to_have_text("silent")
        expect(row(page, "tester").locator(".for")).to_have_text("2 h")
        names = page.locator("#rows .who").all_inner_texts()
        # who needs most first, and who is known to work after those of whom nothing tells
        assert (names[0], set(names[-2:])) == ("tester", {"coder-1", "coder-2"})
        expect(does(page, "coder-1")).to_have_text("working")
        expect(does(page, "reviewer")).to_have_text("active")
        expect(row(page, "coder-1").locator(".c-task a")).to_have_text("t-held")
        tasks = page.locator("#tasks .items li")
        expect(tasks).to_have_count(4)
        expect(tasks.first).to_contain_text("t-lost")
        expect(tasks.first).to_contain_text("orphaned")
        expect(tasks.first).to_contain_text("tester (inactive)")
        expect(page.locator("#tasks li", has_text="t-held")).to_contain_text("40 %")
        expect(page.locator("#events .items li").first).to_be_visible()


def percent(value: float) -> str:
    return f"{value:.1f} %" if value < 9.95 else f"{value:.0f} %"


@pytest.mark.root
def test_a_container_shows_its_own_limits(browser: Browser, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    project.beat("coder")
    with limited(memory=512 << 20, cpu=0.5) as groups:
        assert {"memory", "cpu"} <= groups.keys()
        with (
            watching(project, tmp_path, prefix=entering(groups), COORDD_SAMPLING_INTERVAL="1s") as coordd,
            dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
            opened(browser, f"{dash.url}/?host=open") as page,
        ):
            expect(page.locator("#slim")).to_contain_text(re.compile(r"\d % of 0\.50 CPUs.*of 512 MiB"))
            figures = page.locator("#charts figure")
            expect(figures.nth(1).locator(".now")).to_contain_text(re.compile(r"\d % of 0\.50 CPUs"))
            expect(figures.nth(2)).to_contain_text(re.compile(r"\d % of 512 MiB in this container"))
            # the curve is that of the container; a point of it is the mean of some samples
            series = dash.json("/api/metrics/system/series?range=15m")["series"]["memory"]
            samples = {round(r["cgroup"]["memory_percent"], 4) for r in project.records("system")}
            assert series
            assert min(samples) <= min(series) <= max(series) <= max(samples)
            assert coordd.stop() == 0


def test_ids_are_text_whatever_they_say(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene.dash.url) as page:
        expect(row(page, NASTY)).to_have_count(1)
        expect(row(page, "evil\\u{202e}gnp.exe")).to_be_visible()
        row(page, NASTY).get_by_role("link").first.click()
        expect(page.locator("#pane h2")).to_have_text(NASTY)
        expect(page.locator("#pane-body")).to_contain_text("active / heartbeat")
        page.keyboard.press("Escape")
        row(page, "coder-1").get_by_role("link").first.click()
        expect(page.locator("#pane-body")).to_contain_text(f"40 % {NASTY}")
        assert page.locator("img").count() == 0


def test_beats_age_as_one_looks(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene.dash.url) as page:
        cell = row(page, "reviewer").locator(".what")
        expect(cell).to_have_text(re.compile("^seen .* ago$"))
        first = cell.inner_text()
        expect(cell).not_to_have_text(first)
        expect(cell).not_to_have_text(re.compile("^seen [0-4] s ago$"))
        scene.project.beat("reviewer")
        expect(cell).to_have_text(re.compile("^seen [0-4] s ago$"))


def test_agents_come_work_die_and_go_without_a_reload(browser: Browser, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    (project.coordination / "tasks").mkdir()
    (project.coordination / "claims").mkdir()
    with (
        watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="10s") as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
        opened(browser, dash.url) as page,
    ):
        expect(page.locator("#health")).to_have_text("healthy")
        expect(page.locator("#none")).to_contain_text("heartbeat.sh")
        expect(page.locator("#problems")).to_be_hidden()
        project.beat("worker")
        expect(does(page, "worker")).to_have_text("active")
        (project.coordination / "tasks" / "job").touch()
        expect(page.locator("#tasks .items li")).to_contain_text("available")
        project.beat("worker")  # it lives for as long as a busy browser may take to show the claim
        claim = {"agent_id": "worker", "claimed_at": int(time.time()), "ttl": 3600}
        (project.coordination / "claims" / "job.claim").write_text(json.dumps(claim))
        expect(page.locator("#tasks .items li")).to_contain_text("worker")
        expect(page.locator("#events .items li").first).to_contain_text("claimed by worker")
        # and now it dies
        expect(does(page, "worker")).to_have_text("silent")
        expect(page.locator("#tasks .items li")).to_contain_text("orphaned")
        expect(page.locator("#needs li")).to_contain_text("orphaned: its holder worker is inactive")
        expect(page.locator("#events")).to_contain_text("agent worker in app is inactive (silent)")
        store(page, "an-agent-died")
        for name in ("worker.heartbeat",):
            (project.agents / name).unlink()
        expect(row(page, "worker")).to_have_count(0)


def test_who_needs_me_stands_on_top_until_it_is_seen(browser: Browser, tmp_path: Path) -> None:
    """Real processes: one is killed, one lives; beside them one ended in order, and one does nothing."""
    project = Project(tmp_path / "app")
    with (
        sleeper(cwd=project.root) as doomed,
        sleeper(cwd=project.root) as survivor,
        sleeper(cwd=project.root) as done,
        watching(project, tmp_path, COORDD_AGENTS_TIMEOUT="3s", COORDD_AGENTS_STALL_AFTER="3s") as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
        opened(browser, dash.url) as page,
    ):
        for name, child in ((NASTY, doomed), ("survivor", survivor), ("done", done)):
            project.register(name, pid=child.pid, proc_start=process_of(child.pid).start)
        for name in (NASTY, "survivor", "done"):
            expect(does(page, name)).to_have_text("active")
        project.register("done", status="ended", pid=done.pid, proc_start=process_of(done.pid).start)
        eventually(lambda: coordd.agent("done")["declared_status"] == "ended")
        done.kill()
        expect(page.locator("#needs-h")).to_have_text("Nobody needs you.")
        expect(page.locator("#health")).to_have_text("healthy")
        assert complaints(page) == []
        # who ended in order is a number, and can be looked at
        expect(row(page, "done")).to_have_count(0)
        fold = page.get_by_role("button", name="1 ended")
        fold.click()
        expect(does(page, "done")).to_have_text("ended")
        fold.click()
        expect(row(page, "done")).to_have_count(0)
        doomed.kill()
        entry = page.locator("#needs li")
        expect(entry).to_have_count(1)
        (told,) = coordd.rpc("status")["attention"]
        assert told["kind"] == "killed"
        expect(page.locator("#needs-h")).to_have_text("Needs you")
        expect(entry.locator(".needkind")).to_have_text("killed")
        expect(entry.locator(".subject")).to_have_text(NASTY)
        expect(entry.locator(".what")).to_have_text(told["text"])
        expect(entry.locator("code")).to_have_text(told["command"])
        assert page.locator("img").count() == 0
        expect(page.locator("#problems")).to_be_hidden()  # it is told once
        expect(page.locator("#health")).to_have_text("1 needs you")
        expect(page.locator("#rows .who").first).to_have_text(NASTY)
        expect(does(page, NASTY)).to_have_text("killed")
        expect(row(page, NASTY).locator(".for")).to_have_text(re.compile(r"^\d+ s$"))
        age = entry.locator(".lasted").inner_text()
        expect(entry.locator(".lasted")).not_to_have_text(age)
        assert complaints(page) == []
        store(page, "needs-you")
        entry.locator("code").click()
        assert page.evaluate("String(getSelection())") == told["command"]
        (project.agents / "idler.tasks").write_text("t-1\n")
        with beating(project, "idler"):
            expect(does(page, "idler")).to_have_text("stalled")
            expect(entry.nth(1).locator(".needkind")).to_have_text("stalled")
            for one in coordd.rpc("status")["attention"]:
                assert coordd.ctl("ack", one["id"]).returncode == 0
            expect(page.locator("#needs-h")).to_have_text("Nobody needs you.")
            coordd.stop(signal.SIGKILL)
        expect(page.locator("#needs-h")).to_have_text("Nobody needed you then.")


def test_what_waits_is_told_with_its_tool_and_its_context(browser: Browser, tmp_path: Path) -> None:
    """Sessions of coding agents, as a daemon tells of them: of a played one."""
    shared = {"name": "fix login", "project": "/src/app", "kind": "claude-code", "sources": ["claude-code"]}
    began = {"activity_since": "2026-11-22T05:55:00.000Z", "last_progress": "2026-11-22T06:04:58.000Z"}
    agents = [
        agent("0a1b2c3d-1111", activity="working", tool="Bash", context_tokens=84_210, **shared, **began),
        agent("9f8e7d6c-2222", activity="waiting", waiting_for="plan approval", **shared, **began),
        agent("codex-1", activity="idle", background=2, context_tokens=1_200_000, kind="codex", **began),
        agent("blocked-1", activity="blocked", context_tokens=None, **began),
    ]
    waits = {
        **{"kind": "waiting", "workspace": "/src/app", "subject": "9f8e7d6c-2222"},
        **{"since": "2026-11-22T05:55:00.000Z", "text": "waits for you: plan approval (pid 7)"},
        **{"command": f"coordctl agent '{TURNED}'", "id": "0123456789ab"},
    }
    entries = [waits, *({**waits, "id": f"x{n}", "subject": f"more-{n}", "kind": "new"} for n in range(24))]
    document = status_document(attention=entries)
    answers = {
        "subscribe": {"seq": 0, "status": document, "agents": []},
        "status": document,
        "agents.list": paged(agents),
        "tasks.list": {"timestamp": document["timestamp"], "tasks": [], "unknown": [], "cursor": None},
        "history.query": {"records": [], "truncated": False},
    }
    (tmp_path / "home").mkdir()
    with (
        fake_coordd(str(tmp_path / "c.sock"), answers),
        dashboard(sock=tmp_path / "c.sock", home=tmp_path / "home") as dash,
        opened(browser, f"{dash.url}/?group=none") as page,
    ):
        first = page.locator("#needs li").first
        expect(first.locator(".subject")).to_have_text("fix login")
        expect(first.locator(".what")).to_have_text("waits for you: plan approval (pid 7)")
        expect(first.locator("code")).to_have_text("coordctl agent 'evil\\u{202e}gnp.exe'")
        expect(first.locator(".lasted")).to_have_text("10 min")
        expect(page.locator("#needs li")).to_have_count(20)
        expect(page.locator("#needs")).to_contain_text("… and 5 more")
        expect(page.locator("#health")).to_have_text("25 need you")
        expect(page.locator("#rows .who")).to_have_text(
            ["fix login 9f8e7d6c…", "blocked-1", "fix login 0a1b2c3d…", "codex-1"]
        )
        for column, words in {
            "c-does b": ["waiting", "blocked", "working", "idle"],
            "what": ["plan approval", "refused by its provider", "Bash", "2 in the background"],
            "for": ["10 min"] * 4,
            "c-context": [DASH, DASH, "84k", "1.2M"],
        }.items():
            expect(page.locator(f"#rows .row .{column}")).to_have_text(words)
        assert complaints(page) == []
        page.get_by_role("searchbox").fill("plan")
        expect(page.locator("#rows .row")).to_have_count(1)


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    (tmp_path / "home").mkdir()
    one = Home(tmp_path / "home" / ".claude")
    yield one
    one.close()


def test_sessions_are_told_of_by_what_they_do(browser: Browser, home: Home, tmp_path: Path) -> None:
    asking = home.session("s-1", name="fix login", nameSource="user", status="busy")
    asking.prompt()
    asking.call()
    home.session("s-2", name="idler", nameSource="user")
    with (
        watching(Project(home.work), tmp_path) as daemon,
        dashboard(sock=daemon.socket, home=tmp_path / "home") as dash,
        opened(browser, dash.url) as page,
    ):
        rows = page.locator("#rows .row")
        expect(page.locator("#needs-h")).to_have_text("Nobody needs you.")
        expect(rows.locator(".who")).to_have_text(["fix login", "idler"])
        expect(rows.locator(".c-does b")).to_have_text(["working", "idle"])
        expect(rows.locator(".what")).to_have_text(["Bash", ""])
        expect(rows.first.locator(".c-context")).to_have_text("110")
        expect(page.locator("#rows .group b")).to_have_text(home.work.name)
        asking.write(name="fix login", nameSource="user", status="waiting", waitingFor="permission prompt")
        expect(rows.first.locator(".c-does b")).to_have_text("waiting")
        expect(rows.first.locator(".what")).to_have_text("permission prompt")
        entry = page.locator("#needs li")
        expect(entry.locator(".needkind")).to_have_text("waiting")
        expect(entry.locator(".subject")).to_have_text("fix login")
        expect(entry.locator("code")).to_have_text("coordctl agent s-1")
        expect(page.locator("#problems")).to_be_hidden()  # it is none
        store(page, "a-session-waits")
        assert complaints(page) == []
        asking.write(name="fix login", nameSource="user", status="busy")
        expect(page.locator("#needs-h")).to_have_text("Nobody needs you.")
        asking.exit()
        expect(rows.locator(".who")).to_have_text(["idler"])
        expect(page.locator("#rows .fold")).to_contain_text("1 ended")
        daemon.stop(signal.SIGKILL)
        expect(page.locator("#needs-h")).to_have_text("Nobody needed you then.")


def test_the_daemon_is_killed_and_comes_back_under_an_open_page(browser: Browser, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    project.beat("coder")
    sock = project.claude / "run" / "coordd.sock"
    with (
        dashboard(sock=sock, home=tmp_path / "home", wait_for_daemon=False) as dash,
        opened(browser, dash.url) as page,
    ):
        expect(page.locator("#banner")).to_contain_text("coordd is not running")
        expect(page.locator("#banner")).to_contain_text("Nothing is known")
        with watching(project, tmp_path) as coordd:
            expect(page.locator("#banner")).to_be_hidden()
            expect(page.locator("#alive")).to_have_text("1 of 1 alive")
            expect(row(page, "coder")).to_have_count(1)
            coordd.stop(signal.SIGKILL)
            expect(page.locator("#banner")).to_contain_text("What follows was so")
            expect(page.locator("#banner")).to_contain_text("did not end in order")
            command = f"Start it again: coordd start --workspace {project.root}"
            expect(page.locator("#banner")).to_contain_text(command)
        expect(page.locator("html")).to_have_class("old")
        expect(page.locator("#health")).to_have_text("was: healthy")
        expect(page.locator("#live")).to_contain_text("no daemon")
        expect(page.locator("#alive")).to_have_text("1 of 1 alive")  # as it was, and looking old
        store(page, "daemon-down")
        assert complaints(page) == []
        page.reload()
        expect(page.locator("#banner")).to_contain_text("What follows was so")
        expect(page.locator("#alive")).to_have_text("1 of 1 alive")
        project.beat("newcomer")
        with watching(project, tmp_path):
            expect(page.locator("#banner")).to_be_hidden()
            expect(page.locator("html")).not_to_have_class("old")
            expect(does(page, "newcomer")).to_have_text("active")
            expect(page.locator("#alive")).to_have_text("2 of 2 alive")


def test_the_dashboard_goes_and_comes_back_under_an_open_page(browser: Browser, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    project.beat("coder")
    with socket.socket() as probe:  # the port has to be the same twice
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    home = tmp_path / "home"
    with watching(project, tmp_path) as coordd:
        with dashboard(sock=coordd.socket, home=home, listen=listen) as dash:
            context = opened(browser, dash.url)
            page = context.__enter__()
            expect(row(page, "coder")).to_have_count(1)
            dash.stop(signal.SIGKILL)
        expect(page.locator("#live")).to_have_text("connection lost")
        expect(page.locator("#banner")).to_contain_text("The connection to the dashboard is lost")
        project.beat("meanwhile")
        with dashboard(sock=coordd.socket, home=home, listen=listen):
            expect(page.locator("#banner")).to_be_hidden()
            expect(row(page, "meanwhile")).to_have_count(1)
            context.__exit__(None, None, None)


def test_a_theme_can_be_chosen_and_stays(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene.dash.url, scheme="light") as page:
        paint = "getComputedStyle(document.documentElement).backgroundColor"
        light = page.evaluate(paint)
        page.get_by_label("Theme").select_option("dark")
        dark = page.evaluate(paint)
        assert dark != light
        page.reload()
        assert page.evaluate(paint) == dark
        expect(page.get_by_label("Theme")).to_have_value("dark")


def test_charts_tell_under_the_pointer_and_change_their_range(browser: Browser, scene: Scene) -> None:
    with opened(browser, f"{scene.dash.url}/?host=open") as page:
        page.get_by_role("radio", name="15m").check()
        plot = page.locator("#charts svg.plot").nth(3)
        expect(plot.locator(".line, .dot").first).to_be_attached()
        box = plot.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] - 12, box["y"] + 40)
        tip = page.locator("#charts figure").nth(3).locator(".tip")
        expect(tip).to_contain_text("15m")
        expect(
            page.locator("#charts figure").nth(0).locator(".cross path")
        ).to_be_attached()  # on all of them
        expect(plot).to_have_attribute("aria-label", re.compile("1m: last .*, least .*, most"))
        # the points can be read by keys, too
        plot.focus()
        page.keyboard.press("End")
        expect(tip).to_be_visible()
        page.keyboard.press("Escape")
        expect(tip).to_be_hidden()


def test_gaps_are_gaps_and_axes_are_round(browser: Browser, scene: Scene) -> None:
    with opened(browser, scene.dash.url) as page:
        found = page.evaluate(
            """async () => { const c = await import('/static/chart.js'); return {
              runs: c.runs([0, 60, 120, 600, 660, 720], [1, 2, 3, 4, null, 6], 150),
              none: c.runs([], [], 150),
              gaps: c.gaps([1000, 1060, 2000], 0, 2010, 150),
              empty: c.gaps([], 0, 60, 150),
              ticks: [c.ticks(7), c.ticks(0.4), c.ticks(130), c.ticks(3e6, true), c.ticks(1, true)],
            }}"""
        )
        assert found["runs"] == [[0, 2], [3, 3], [5, 5]]
        assert found["none"] == []
        assert found["gaps"] == [[1060, 2000], [0, 1000]]
        assert found["empty"] == [[0, 60]]
        assert found["ticks"] == [
            [0, 2.5, 5, 7.5],
            [0, 0.2, 0.4],
            [0, 50, 100, 150],
            [0, 1048576, 2097152, 3145728],
            [0, 0.5, 1],
        ]


def test_numbers_are_said_as_coordctl_says_them(browser: Browser, scene: Scene) -> None:
    from coordd.util import text

    ages = [0, 0.9, 59, 119.9, 120, 7199, 7200, 172799, 172800, 1e7, None]
    sizes = [0, 512, 1024, 1536, 10**9, 25276510208, 3 * 10**13, None]
    with opened(browser, scene.dash.url) as page:
        said = page.evaluate(
            """async ([ages, sizes]) => { const f = await import('/static/format.js');
              return [ages.map(f.age), ages.map(f.duration), sizes.map(f.bytes)] }""",
            [ages, sizes],
        )
    dash = {DASH: "-"}
    assert [dash.get(one, one) for one in said[0]] == [text.age(one) for one in ages]
    assert [dash.get(one, one) for one in said[1]] == [text.duration(one) for one in ages]
    assert [dash.get(one, one) for one in said[2]] == [text.size(one) for one in sizes]


def test_agents_are_told_of_as_coordctl_tells_of_them(browser: Browser, scene: Scene) -> None:
    from coordd.cli import agent_places as places
    from coordd.cli import agent_words as words
    from coordd.util.text import age

    now = 1795327500.0
    variants: list[dict[str, Any]] = [
        {},
        {"tool": "Bash", "waiting_for": "question", "background": 0},
        {"background": 3, "waiting_for": None},
        {"name": " ", "project": None, "workspace": None, "sources": ["redis"]},
        {"name": "other", "project": None, "workspace": None, "sources": []},
        {"last_heartbeat_age": None, "last_heartbeat": None},
        {"inactive_since": at(now - 3.5)},
        {"workspace": "/src/wt-app"},
        {"last_heartbeat_age": None, "last_heartbeat": None, "last_progress": None, "activity_since": None},
    ]
    agents: list[dict[str, Any]] = [
        {
            **agent("a-1", status, reason=reason, activity=activity, name="fix", project="/src/app"),
            **{"last_heartbeat_age": 130.5, "waiting_for": "input", "tool": None, "background": None},
            **{
                "timestamp": at(now),
                "last_progress": at(now - 40.5),
                "inactive_since": None,
                "activity_since": at(now - 7300.5),
            },
            **variant,
        }
        for status, reasons, activities in (
            ("active", ["process"], [*ACTIVITIES, None, "dancing"]),
            ("inactive", ["ended", "killed", "silent", "odd"], [None]),
            ("unknown", ["unreachable", "quiet", "no-heartbeat", "odd"], [None]),
        )
        for reason in reasons
        for activity in activities
        for variant in variants
    ]
    expected = [
        [
            words.state_of(one),
            words.rank_of(one),
            words.name_of(one),
            places.place_of(one),
            places.worktree_of(one),
            words.doing(one, later=0.0),
            age(words.since(one, now, later=0.0)),
        ]
        for one in agents
    ]
    counts = [None, -1, 0, 949, 1000, 84_210, 999_499, 999_500, 1_234_567]
    with opened(browser, scene.dash.url) as page:
        said = page.evaluate(
            """async ([agents, asked, counts]) => {
              const [w, d, f] = await Promise.all(
                ["words", "data", "format"].map((name) => import(`/static/${name}.js`)));
              const moments = [
                "timestamp", "last_progress", "activity_since", "last_heartbeat", "inactive_since"];
              const moved = (time) => new Date(Date.parse(time) - asked * 1000 + d.now()).toISOString();
              const said = agents.map((a) => {
                for (const name of moments) if (a[name] !== null) a[name] = moved(a[name]);
                d.prepared(a);
                const since = f.age(d.since(w.sinceOf(a)));
                return [w.stateOf(a), w.rankOf(a), w.nameOf(a), w.placeOf(a), w.worktreeOf(a),
                  w.doing(a), since];
              });
              agents.forEach((a, i) => { a.place = i; });
              const by = (a, b) => { const [x, y] = [w.needOf(a), w.needOf(b)];
                return x[0] - y[0] || (x[1] === y[1] ? a.place - b.place : x[1] - y[1]); };
              return [said, counts.map(w.tokens), agents.toSorted(by).map((a) => a.place)];
            }""",
            [agents, now, counts],
        )
    numbered = [{**one, "name": None, "agent_id": f"{n:04}"} for n, one in enumerate(agents)]
    assert [int(one["agent_id"]) for one in words.in_order(numbered)] == said[2]
    for one, python, script in zip(agents, expected, said[0], strict=True):
        assert [DASH if part == "-" else part for part in python] == script, one
    assert [DASH if part == "-" else part for part in map(words.tokens, counts)] == said[1]


def at(moment: float) -> str:
    """Return epoch seconds as the daemon writes a timestamp."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def test_a_thousand_agents_are_a_few_rows(browser: Browser, tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    for n in range(1000):
        project.beat(f"agent-{n:04d}")
    with (
        watching(project, tmp_path) as coordd,
        dashboard(sock=coordd.socket, home=tmp_path / "home") as dash,
        opened(browser, f"{dash.url}/?sort=name") as page,
    ):
        expect(page.locator("#table")).to_have_attribute("aria-rowcount", "1002")  # with heading and project
        assert page.locator("#rows .row").count() < 100
        page.locator("#tasks-h").scroll_into_view_if_needed()
        expect(row(page, "agent-0999")).to_be_visible()
        expect(row(page, "agent-0999")).to_have_attribute("aria-rowindex", "1002")
        page.get_by_role("searchbox").fill("agent-0500")
        expect(row(page, "agent-0500")).to_be_visible()
        page.get_by_role("searchbox").fill("")
        for n in range(0, 1000, 50):
            project.beat(f"agent-{n:04d}")
        page.keyboard.press("Escape")
        page.keyboard.press("k")  # from none to the last
        expect(row(page, "agent-0999").locator(".who")).to_be_focused()
        expect(row(page, "agent-0999")).to_be_in_viewport()
        store(page, "a-thousand")


def test_what_is_rare_is_shown_as_well(browser: Browser, tmp_path: Path) -> None:
    """Redis that goes, a sink that fails, agents of whom nobody can tell: of a played daemon."""
    redis = {
        **{"configured": True, "connected": True, "url": "redis://box:6379/0", "used_memory": 1536 * 1024},
        **{"keys": 1234, "latency_ms": 0.42, "feed": "push", "error": None},
    }
    sink = {"state": "ok", "written": 5, "backlog": 0, "dropped": 0, "error": None}
    agents = [
        agent("far-away", workspace=None, sources=["redis"]),
        agent(
            "who-knows", "unknown", reason="unreachable", active_tasks=None, uptime=None, last_heartbeat=None
        ),
    ]
    agents[1]["last_heartbeat_age"] = None
    counts = {"total": 2, "active": 1, "inactive": 0, "unknown": 1}
    five = {"kind": "codex", "name": None, "window": 18_000.0, "used_percent": 83.0}
    five |= {"resets_at": "2026-11-22T08:00:00.000Z", "account": "/home/me/.codex"}
    document = status_document(redis=redis, sinks={"jsonl": sink}, agents=counts, limits=[five])
    answers = {
        "subscribe": {"seq": 0, "status": document, "agents": []},
        "status": document,
        "agents.list": paged(agents),
        "tasks.list": {
            "timestamp": document["timestamp"],
            "tasks": [],
            "unknown": ["/src/app"],
            "cursor": None,
        },
        "history.query": {"records": [], "truncated": False},
    }
    home = tmp_path / "home"
    home.mkdir()
    with (
        fake_coordd(str(tmp_path / "c.sock"), answers) as fake,
        dashboard(sock=tmp_path / "c.sock", home=home) as dash,
        opened(browser, dash.url) as page,
    ):
        expect(page.locator("#slim")).to_contain_text("codex 5 h 83 %, anew 08:00")
        expect(page.locator("#slim")).to_contain_text("Redis push, 0.4 ms, 1,234 keys, 1.5 MiB")
        expect(page.locator("#alive")).to_have_text("1 of 2 alive")
        expect(page.get_by_role("radio", name=f"available {DASH}")).to_be_attached()  # unknown is not 0
        expect(page.locator("#tasks .empty")).to_contain_text("/src/app cannot be read")
        expect(page.locator("#events .empty")).to_contain_text("Nothing has happened")
        expect(does(page, "who-knows")).to_have_text("unknown")
        expect(row(page, "who-knows").locator(".what")).to_have_text("its source cannot be read")
        for part in ("for", "c-context", "c-cpu", "c-memory", "c-sign"):
            expect(row(page, "who-knows").locator(f".{part}")).to_have_text(DASH)
        expect(page.locator("#rows .group b")).to_have_text(["app", "Redis alone"])
        page.locator("#host summary").click()
        expect(page.locator("#charts .gap").first).to_be_attached()
        assert complaints(page) == []
        failing = {
            "jsonl": {"state": "failing", "written": 5, "backlog": 70, "dropped": 2, "error": "No space left"}
        }
        down = {**redis, "connected": False, "error": "Connection refused"}
        problems = ["sink jsonl fails: No space left (70 records wait)", "Redis does not answer"]
        fake.answers["status"] = {
            **document,
            "redis": down,
            "sinks": failing,
            "health": "degraded",
            "problems": problems,
        }
        expect(page.locator("#slim .bad").first).to_have_text("Redis down: Connection refused")
        expect(page.locator("#slim .bad").last).to_have_text("records jsonl failing, 70 wait, 2 dropped")
        expect(page.locator("#problems li")).to_have_text(problems)
        expect(page.locator("#health")).to_have_text("2 problems")
        assert complaints(page) == []
        store(page, "rare")


def test_the_login_form(browser: Browser, scene: Scene, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("correct-horse-battery-staple\n")
    token.chmod(0o600)
    with dashboard(
        "--token-file", str(token), sock=scene.coordd.socket, home=tmp_path, wait_for_daemon=False
    ) as dash:
        with opened(browser, dash.url, scheme="dark") as page:
            expect(page).to_have_url(f"{dash.url}/login")
            assert complaints(page) == []
            page.get_by_label("Token").fill("guess")
            page.get_by_role("button", name="Log in").click()
            expect(page.get_by_role("alert")).to_have_text("This is not the token.")
            assert complaints(page) == []
        with opened(browser, dash.url) as page:
            page.get_by_label("Token").fill("correct-horse-battery-staple")
            page.get_by_role("button", name="Log in").click()
            expect(page.locator("#alive")).to_have_text("5 of 6 alive")
            expect(page.locator("#live")).to_contain_text("live")
            store(page, "logged-in")


def test_it_works_below_a_path(browser: Browser, scene: Scene, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("correct-horse-battery-staple\n")
    token.chmod(0o600)
    arguments = ("--token-file", str(token), "--root-path", "/of/coordd")
    with (
        dashboard(*arguments, sock=scene.coordd.socket, home=tmp_path, wait_for_daemon=False) as dash,
        opened(browser, f"{dash.url}/of/coordd") as page,
    ):
        expect(page).to_have_url(f"{dash.url}/of/coordd/login")
        page.get_by_label("Token").fill("correct-horse-battery-staple")
        page.get_by_role("button", name="Log in").click()
        expect(page).to_have_url(f"{dash.url}/of/coordd/")
        expect(page.locator("#live")).to_contain_text("live")
        row(page, "coder-1").get_by_role("link").first.click()
        expect(page.locator("#pane-body")).to_contain_text("active / heartbeat")
        assert page.url.startswith(f"{dash.url}/of/coordd/?agent=coder-1")
        page.reload()
        expect(page.locator("#pane-body")).to_contain_text("active / heartbeat")
        page.get_by_role("button", name="Close").click()
        expect(page).to_have_url(f"{dash.url}/of/coordd/")
