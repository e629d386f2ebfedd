"""Test the page with ids, links and answers of strangers."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from browser import chromium, opened
from live import environment
from page_scene import PlayedFleet, played_fleet
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.page

IDS = ("\u202egnp.exe", "zw\u200bid", "new\u00a0space", "-1", "it's", "__proto__")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedFleet]:
    with played_fleet(tmp_path_factory.mktemp("strangers"), ended=2) as found:
        for one in IDS:
            found.shop.beat(one)
        said = {"agent_id": "it's", "claimed_at": int(time.time()), "ttl": 3600}
        (found.shop.coordination / "claims" / "talk.claim").write_text(json.dumps(said))
        told = {"task_id": "talk", "progress": 5, "message": "word " * 200, "timestamp": int(time.time())}
        (found.shop.coordination / "status" / "talk.progress").write_text(json.dumps(told))
        yield found


def link(fleet: PlayedFleet, agent_id: str) -> str:
    return f"{fleet.dash.url}/?agent={quote(agent_id)}&in={quote(str(fleet.shop.root))}"


@pytest.mark.parametrize("agent_id", IDS)
def test_the_next_command_works_as_it_is_copied(browser: Browser, fleet: PlayedFleet, agent_id: str) -> None:
    with opened(browser, link(fleet, agent_id)) as page:
        code = page.locator("#pane .command code")
        expect(code).to_contain_text("coordctl why")
        command = code.inner_text().replace("coordctl", "exec $0 -m coordd.cli", 1)
        assert command.isprintable()
    home = fleet.shop.root.parent / "home"
    said = subprocess.run(
        ["sh", "-c", command, sys.executable],
        env={**environment(home), "COORDD_SOCKET": str(fleet.coordd.socket)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert said.returncode == 0, said.stderr
    assert "It lives" in said.stdout


def test_a_link_without_a_project_opens_all_of_the_agent(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, f"{fleet.dash.url}/?agent=reviewer") as page:
        expect(page.locator("#pane-body")).to_contain_text("checkout held, 60 %")
        expect(page.locator("#rows .row[data-open] .who")).to_have_text("reviewer")


def test_of_an_unknown_agent_one_sentence_is_said(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, f"{fleet.dash.url}/?agent=nobody") as page:
        expect(page.locator("#pane-body .state")).to_have_text("No agent 'nobody' is known")
        expect(page.locator("#pane-body section:visible")).to_have_count(0)


@pytest.mark.parametrize("query", ["agent=", "state=bogus", "state=__proto__", "task=", "sort=x&group=y"])
def test_what_a_link_says_and_means_nothing_is_passed_over(
    browser: Browser, fleet: PlayedFleet, query: str
) -> None:
    with opened(browser, f"{fleet.dash.url}/?{query}") as page:
        expect(page.locator("#rows .row").first).to_be_visible()
        expect(page.locator("#pane")).to_be_hidden()
        expect(page.locator("#states input:checked")).to_have_value("")


def test_going_back_takes_the_range_back(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        chosen = page.locator("#range input:checked")
        expect(chosen).to_have_value("15m")
        page.locator("#range label", has_text="24h").click()
        expect(chosen).to_have_value("24h")
        page.go_back()
        expect(chosen).to_have_value("15m")


def test_a_long_message_does_not_push_the_other_tasks_away(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        one = page.locator("#tasks li", has_text="talk")
        expect(one).to_contain_text("word word")
        box = one.bounding_box()
        assert box is not None and box["height"] < 100
        one.locator(".id").click()
        expect(page.locator("#pane-body")).to_contain_text("word " * 50)


@pytest.mark.parametrize("size", [(720, 450), (320, 480)])
def test_agents_can_be_reached_however_far_they_are(
    browser: Browser, fleet: PlayedFleet, size: tuple[int, int]
) -> None:
    with opened(browser, fleet.dash.url, size=size) as page:
        expect(page.locator("#rows .row").first).to_be_attached()
        page.evaluate("scrollTo(0, 1e6)")
        page.locator("#foot a").first.focus()
        page.wait_for_function(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
        )
        assert page.locator("#rows .row").count() > 0


def test_a_refused_clipboard_is_said(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        page.evaluate("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
        button = page.locator("#needs .copy").first
        button.click()
        expect(button).to_have_text("Selected")
        assert page.evaluate("String(getSelection())").startswith("coordctl agent")


def test_when_a_task_expires_is_told_by_the_clock_of_the_server(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        page.add_init_script("{ const real = Date.now; Date.now = () => real() + 864e5; }")
        page.goto(f"{fleet.dash.url}/?task=talk&in={quote(str(fleet.shop.root))}")
        expect(page.locator("#pane-body dd").nth(2)).to_have_text("in 59 min")


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Pass requests on to a dashboard, until ``answer`` says what to answer in its place."""

    target = ""
    answer: tuple[int, dict[str, str]] | None = None

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.answer is not None:
            self.send_response(self.answer[0])
            for name, value in self.answer[1].items():
                self.send_header(name, value)
            self.end_headers()
            return
        connection = http.client.HTTPConnection(self.target, timeout=30)
        passed = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        with (
            contextlib.closing(connection),
            contextlib.suppress(OSError, ValueError, http.client.HTTPException),
        ):
            connection.request("GET", self.path, headers=passed)
            with connection.getresponse() as response:
                self.send_response(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in ("transfer-encoding", "connection"):
                        self.send_header(name, value)
                self.end_headers()
                while (data := response.read1(65536)) and self.answer is None:
                    self.wfile.write(data)


@pytest.mark.parametrize(
    ("status", "headers", "said"),
    [
        (302, {"Location": "/login-of-another"}, "wants a login"),
        (403, {"Content-Type": "text/html"}, "403"),
        (502, {"Content-Type": "text/html"}, "502"),
    ],
)
def test_a_proxy_that_wants_a_login_or_refuses_is_told_of(
    browser: Browser, fleet: PlayedFleet, status: int, headers: dict[str, str], said: str
) -> None:
    class Proxy(_Proxy):
        target = f"{fleet.dash.host}:{fleet.dash.port}"

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with opened(browser, f"http://127.0.0.1:{server.server_port}/") as page:
                expect(page.locator("#needs li").first).to_be_visible()
                Proxy.answer = (status, headers)
                expect(page.locator("#banner")).to_contain_text(said)
                Proxy.answer = None
                expect(page.locator("#banner")).to_be_hidden()
        finally:
            server.shutdown()
