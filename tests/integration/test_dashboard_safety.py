"""What strangers may not: the real dashboard against other sites, wrong tokens, slow and greedy clients."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from dash import Dashboard, dashboard
from fake_coordd import fake_coordd
from live import Project, coordctl, environment, watching
from waiting import PATIENCE, eventually

pytestmark = pytest.mark.usefixtures("many_descriptors")

MOST = 1024


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """A daemon's socket and a home directory."""
    tmp_path = tmp_path_factory.mktemp("safety")
    project = Project(tmp_path / "app")
    project.beat("coder")
    with watching(project, tmp_path) as coordd:
        yield coordd.socket, tmp_path / "home"


@pytest.fixture(scope="module")
def dash(place: tuple[Path, Path]) -> Iterator[Dashboard]:
    with dashboard("--allow-host", "Dash.example.org", sock=place[0], home=place[1]) as running:
        yield running


@pytest.fixture(scope="module")
def locked(place: tuple[Path, Path]) -> Iterator[Dashboard]:
    token = place[1] / "token"
    made = ctl("dashboard", "--make-token", "--token-file", str(token), home=place[1])
    assert made.returncode == 0, made.stderr
    with dashboard("--token-file", str(token), sock=place[0], home=place[1]) as running:
        running.token = token.read_text().strip()
        yield running


def ctl(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return coordctl(*arguments, environ=environment(home))


# other sites


@pytest.mark.parametrize(
    "host", ["evil.example:8000", "127.0.0.1.evil.example", "10.0.0.1", "", "[::1", "a:b"]
)
def test_a_rebound_name_is_refused(dash: Dashboard, host: str) -> None:
    for path in ("/", "/api/status", "/metrics", "/api/events", "/healthz"):
        answer = dash.get(path, host=host)
        assert answer.status == 421
        assert answer.json()["error"]["kind"] == "host"
        assert "coder" not in answer.body.decode()


@pytest.mark.parametrize(
    "host", ["localhost:{}", "127.0.0.1:{}", "[::1]:{}", "dash.example.org", "LOCALHOST"]
)
def test_its_own_names_are_taken(dash: Dashboard, host: str) -> None:
    assert dash.get("/api/status", host=host.format(dash.port)).status == 200


def test_a_missing_or_second_host_is_refused(dash: Dashboard) -> None:
    for hosts in ("", "Host: localhost\r\nHost: evil.example\r\n"):
        with dash.raw(f"GET /api/status HTTP/1.0\r\n{hosts}\r\n".encode()) as sock:
            assert b" 400 " in sock.recv(100)


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:1"},
        {"origin": "file://"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "cors", "sec_fetch_dest": "empty"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "script"},
        {"sec_fetch_site": "same-site", "sec_fetch_mode": "no-cors", "sec_fetch_dest": "image"},
        {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "iframe"},
    ],
)
def test_other_sites_read_nothing(dash: Dashboard, headers: dict[str, str]) -> None:
    answer = dash.get("/api/agents/active", **headers)
    assert answer.status == 403
    assert answer.json()["error"]["kind"] == "origin"
    assert "access-control-allow-origin" not in answer.headers


def test_its_own_page_and_a_followed_link_may(dash: Dashboard) -> None:
    own = {"origin": dash.url, "sec_fetch_site": "same-origin", "sec_fetch_mode": "cors"}
    assert dash.get("/api/status", **own).status == 200
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate", "sec_fetch_dest": "document"}
    assert dash.get("/", **link).status == 200
    assert dash.get("/api/status", sec_fetch_site="none", sec_fetch_mode="navigate").status == 200


@pytest.mark.parametrize("path", ["/", "/api/status", "/nothing", "/static/app.js", "/metrics", "/login"])
def test_every_answer_carries_the_rules_for_browsers(dash: Dashboard, path: str) -> None:
    headers = dash.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "server" not in headers
    assert not [name for name in headers if name.startswith("access-control")]


def test_the_page_has_nothing_inline_and_nothing_from_elsewhere(dash: Dashboard) -> None:
    page = dash.get("/").body.decode()
    assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\son\w+=|\sstyle=|https?://|//cdn", page)
    script = dash.get("/static/app.js").headers
    assert dash.get("/static/app.js", if_none_match=script["etag"]).status == 304


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(dash: Dashboard, method: str) -> None:
    for path in ("/api/status", "/api/tasks", "/api/agents/coder", "/", "/metrics"):
        answer = dash.get(path, method)
        assert answer.status == 405, (path, method)
        assert answer.json()["error"]["kind"] == "method"


# tokens


def test_without_the_token_nothing_is_told(locked: Dashboard) -> None:
    for path in ("/api/status", "/metrics", "/api/events", "/openapi.json", "/api/nothing"):
        for headers in (
            {"authorization": ""},
            {"authorization": "Bearer wrong"},
            {"authorization": f"Basic {locked.token}"},
            {"authorization": "Bearer \xff\xfe"},
            {"authorization": "", "cookie": "coordd_dashboard=99999999999.00"},
        ):
            answer = locked.get(path, **headers)
            assert answer.status == 401
            assert answer.headers["www-authenticate"].startswith("Bearer")
    assert locked.get("/healthz", authorization="").status == 200
    assert locked.get("/static/style.css", authorization="").status == 200
    there = locked.get("/", authorization="")
    assert (there.status, there.headers["location"]) == (303, "login")
    assert locked.get("/api/status").status == 200


def test_the_login_form_gives_a_cookie_that_is_not_the_token(locked: Dashboard) -> None:
    assert locked.token is not None
    form = {"content_type": "application/x-www-form-urlencoded", "authorization": "", "origin": locked.url}
    wrong = locked.get("/login", "POST", b"token=guess", **form)
    assert wrong.status == 403
    assert b"This is not the token" in wrong.body
    assert "set-cookie" not in wrong.headers
    right = locked.get("/login", "POST", f"token={locked.token}".encode(), **form)
    assert (right.status, right.headers["location"]) == (303, "./")
    cookie = right.headers["set-cookie"]
    assert locked.token not in cookie
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(cookie.split("; "))
    assert "Secure" not in cookie
    pair = cookie.split(";")[0]
    assert locked.get("/api/status", authorization="", cookie=f'other="x; {pair}').status == 200
    until, _, signature = pair.partition("=")[2].partition(".")
    later = f"coordd_dashboard={int(until) + 1}.{signature}"
    assert locked.get("/api/status", authorization="", cookie=later).status == 401
    secure = locked.get("/login", "POST", f"token={locked.token}".encode(), **form, x_forwarded_proto="https")
    assert "Secure" in secure.headers["set-cookie"]
    foreign = locked.get("/login", "POST", b"token=x", **{**form, "origin": "http://evil.example"})
    assert foreign.status == 403
    assert locked.get("/login", "POST", b"token=" + b"x" * 5000, **form).status == 413


def test_a_token_is_asked_for_where_the_socket_would_be_bypassed(place: tuple[Path, Path]) -> None:
    sock, home = place
    said = ctl("dashboard", "--socket", str(sock), "--listen", "0.0.0.0:0", home=home)
    assert said.returncode == 2
    assert "--make-token" in said.stderr
    said = ctl("dashboard", "--socket", "/run/coordd/coordd.sock", "--listen", "127.0.0.1:0", home=home)
    assert said.returncode == 2
    assert "/etc/coordd/dashboard.token" in said.stderr
    made = ctl("dashboard", "--make-token", home=home)
    assert made.returncode == 0
    path = home / ".config" / "coordd" / "dashboard.token"
    assert str(path) in made.stdout
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    token = path.read_text()
    assert ctl("dashboard", "--make-token", home=home).returncode == 0
    assert path.read_text() == token  # made once
    with dashboard(sock=sock, home=home, listen="0.0.0.0:0", wait_for_daemon=False) as dash:
        assert "TLS" in dash.log.read_text()
        assert dash.get("/api/status").status == 401
        dash.token = token.strip()
        eventually(lambda: dash.get("/api/status").status == 200)
        assert dash.get("/api/status", host="192.0.2.7:8000").status == 200  # an address is no rebinding
        assert dash.get("/api/status", host="evil.example").status == 421
    path.chmod(0o644)
    said = ctl("dashboard", "--socket", str(sock), "--listen", "0.0.0.0:0", home=home)
    assert said.returncode == 1
    assert "chmod o=" in said.stderr
    path.unlink()


def test_a_daemon_of_the_system_layout_is_not_shown_without_a_token(tmp_path: Path) -> None:
    """Whatever its socket is called: what counts is what it says of itself."""
    status = {"daemon": {"layout": "system"}, "health": "ok"}
    with fake_coordd(
        str(tmp_path / "c.sock"), {"subscribe": {"seq": 0, "status": status, "agents": []}}
    ) as fake:
        home = tmp_path / "home"
        home.mkdir()
        with dashboard(sock=Path(fake.path), home=home, wait_for_daemon=False) as dash:
            eventually(lambda: "token" in dash.get("/api/status").json()["error"]["message"])
            assert dash.get("/api/status").status == 503


# bounds


def test_bodies_and_headers_are_bounded(dash: Dashboard) -> None:
    assert dash.get("/api/status", "GET", b"x" * 100).status == 413
    with dash.raw(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000) as sock:
        assert b" 400 " in sock.recv(100)
    with dash.raw(b"GET /" + b"x" * 40_000 + b" HTTP/1.1\r\n") as sock:
        assert b" 400 " in sock.recv(100)
    with dash.raw(b"\x16\x03\x01 this is no HTTP\r\n\r\n") as sock:
        assert b" 400 " in sock.recv(100)
    assert dash.get("/api/tasks?state=" + "a" * 9000).status == 400
    assert dash.get("/api/status").status == 200


CHUNKED = b"Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("apart", [False, True], ids=["at-once", "later"])
@pytest.mark.parametrize(
    "line",
    [
        *(b"POST /login", b"POST /api/status", b"GET /api/status", b"GET /api/events", b"HEAD /api/events"),
        *(b"OPTIONS *", b"PUT /static/page.js", b"GET /healthz"),
    ],
)
def test_a_body_that_turns_out_to_be_none_fails_nothing(dash: Dashboard, line: bytes, *, apart: bool) -> None:
    expect = b"Expect: 100-continue\r\n"
    for head in (CHUNKED, expect + CHUNKED, CHUNKED.replace(b"chunked", b"chunked\r\nConnection: close")):
        for body in (b"zz\r\n", b"3\r\nabc", b"5\r\nabcde\r\n0\r\nX: \0\r\n\r\n", b"\0" * 70_000):
            sent = line + b" HTTP/1.1\r\n" + head
            with (
                contextlib.suppress(OSError),  # cut while we still send
                dash.raw(sent if apart else sent + body) as sock,
            ):
                if apart:
                    dash.get("/healthz")  # by now it has seen the head
                    sock.sendall(body)
                sock.shutdown(socket.SHUT_WR)
                while sock.recv(65536):
                    pass
    assert dash.get("/healthz").status == 200
    assert "Traceback" not in dash.log.read_text()


def test_what_is_no_http_is_told_so(dash: Dashboard) -> None:
    for nonsense in (b"\x16\x03\x01\r\n\r\n", b"POST /login HTTP/1.1\r\n" + CHUNKED + b"zz\r\n"):
        with dash.raw(nonsense) as sock:
            answer = sock.makefile("rb").read()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        assert json.loads(body)["error"]["kind"] == "http"


def test_slow_and_silent_clients_are_cut(place: tuple[Path, Path]) -> None:
    """All at once, for each takes its time: silent, a letter now and then, idle, an answer not read."""
    with dashboard(sock=place[0], home=place[1]) as dash:
        began = time.monotonic()
        silent = dash.raw()
        drip = dash.raw(b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n")
        line = dash.raw(b"GET /api/st")
        second = dash.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/st")
        idle = dash.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        unread = socket.socket()
        unread.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        unread.connect((dash.host, dash.port))
        unread.settimeout(PATIENCE)
        # far more than all buffers between the two hold
        request = b"GET /static/style.css HTTP/1.1\r\nHost: localhost\r\n\r\n"
        unread.sendall(request * 800)
        dripping = (drip, line, second)

        def all_cut() -> bool:
            for sock in dripping:
                with contextlib.suppress(OSError):
                    sock.send(b"X")
            return dash.metric("coordd_dashboard_cut_connections_total") >= 5

        eventually(all_cut, what="cut")
        assert time.monotonic() - began >= 4.5
        for sock in (silent, *dripping):
            eventually(lambda sock=sock: gone(sock), what="cut")
        eventually(lambda: gone(idle), what="cut")
        assert time.monotonic() - began >= 9
        for sock in (silent, *dripping, idle, unread):
            sock.close()
        assert dash.get("/api/status").status == 200


def gone(sock: socket.socket) -> bool:
    try:
        return sock.recv(65536) == b""
    except ConnectionResetError:
        return True


@contextlib.contextmanager
def held(dash: Dashboard, many: int, sent: bytes, source: str = "127.0.0.1") -> Iterator[list[socket.socket]]:
    """Connections with these bytes sent, from an address."""
    with contextlib.ExitStack() as stack:
        made = []
        for _ in range(many):
            sock = stack.enter_context(
                socket.create_connection((dash.host, dash.port), PATIENCE, source_address=(source, 0))
            )
            sock.sendall(sent)
            made.append(sock)
        yield made


HALVES = {
    "silent": b"",
    "line": b"GET /api/st",
    "headers": b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n",
    "second": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/st",
    "body": b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken=",
    "chunked": b"POST /login HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nt\r\n",
    "body that is not read": b"POST /api/status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nx",
}


@pytest.mark.parametrize("sent", HALVES.values(), ids=HALVES)
def test_half_requests_shut_nobody_out(locked: Dashboard, sent: bytes) -> None:
    with held(locked, MOST + 24, sent):
        for _ in range(20):
            assert locked.get("/api/status").status == 200
            assert locked.get("/healthz").status == 200


def test_event_streams_have_half_of_the_places(place: tuple[Path, Path]) -> None:
    with dashboard(sock=place[0], home=place[1]) as dash:
        streams = [dash.events() for _ in range(MOST)]
        assert [stream.status for stream in streams] == [200] * (MOST // 2) + [503] * (MOST // 2)
        for _ in range(20):
            assert dash.get("/api/status").status == 200
            assert dash.get("/healthz").status == 200
        refused = dash.get("/api/events")
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        assert f"{MOST // 2} places for event streams" in refused.json()["error"]["message"]
        assert dash.get("/api/events", "HEAD").status == 200
        assert dash.metric("coordd_dashboard_refused_connections_total") >= MOST // 2
        for stream in streams[: MOST // 2]:
            stream.until("hello")  # none gave way
        streams[0].close()
        again = eventually(lambda: [one for one in [dash.events()] if one.status == 200])
        for stream in (*streams[1:], *again):
            stream.close()


def test_an_address_with_most_of_the_streams_gives_one_up_to_another(place: tuple[Path, Path]) -> None:
    stream = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        dashboard(sock=place[0], home=place[1]) as dash,
        held(dash, MOST // 2, stream, "127.0.0.2") as greedy,
    ):
        for sock in greedy:
            assert sock.recv(20).startswith(b"HTTP/1.1 200 ")
        own = dash.events()
        own.until("hello")
        eventually(lambda: gone(greedy[-1]))
        own.close()


def hung(connection: socket.socket, ending: threading.Event) -> None:
    """A daemon that answers the first question alone."""
    status = {"daemon": {"layout": "project"}, "health": "ok"}
    for line in connection.makefile("rb"):
        request = json.loads(line)
        if request["method"] == "subscribe":
            result = {"seq": 0, "status": status, "agents": []}
            connection.sendall(
                json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": result}).encode() + b"\n"
            )
    ending.wait()


def test_health_is_answered_when_all_places_are_taken_and_the_rest_politely_refused(tmp_path: Path) -> None:
    most = 128  # few descriptors, few places: all is done long before the daemon is given up
    home = tmp_path / "home"
    home.mkdir()
    ask = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    stream = b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        fake_coordd(str(tmp_path / "c.sock"), {}, hung) as fake,
        dashboard(
            sock=Path(fake.path), home=home, prefix=["prlimit", f"--nofile={2 * most}:{2 * most}"]
        ) as dash,
        held(dash, most // 2, stream) as streams,
    ):
        for sock in streams:
            assert sock.recv(20).startswith(b"HTTP/1.1 200 ")

        def full() -> bool:
            """Within the five seconds for which the daemon is waited for."""
            health = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
            with held(dash, 1, health) as (last,), held(dash, most // 2 - 1, ask):
                for _ in range(30):  # turns of its loop, in which it reads what the others sent
                    assert last.recv(4096)
                    last.sendall(health)
                assert last.recv(4096)
                last.sendall(ask)
                refused = dash.get("/api/tasks")
                if refused.json()["error"]["kind"] != "busy":
                    return False
                assert (refused.status, refused.headers["retry-after"]) == (503, "5")
                assert f"{most} connections" in refused.json()["error"]["message"]
                for _ in range(20):
                    assert dash.get("/healthz").status == 200
                with held(dash, 100, b"GET /hea"):  # those who wait without a place
                    assert dash.get("/healthz").status == 200
            return True

        eventually(full)


def test_answers_that_nobody_reads_take_no_memory_without_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    status = {"daemon": {"layout": "project"}, "health": "ok"}
    answers = {
        "subscribe": {"seq": 0, "status": status, "agents": []},
        "status": {**status, "filler": "x" * 20_000_000},
    }
    ask = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with (
        fake_coordd(str(tmp_path / "c.sock"), answers) as fake,
        dashboard(sock=Path(fake.path), home=home) as dash,
        held(dash, 30, ask),
    ):
        # long before the five seconds of a client that reads nothing
        eventually(lambda: dash.metric("coordd_dashboard_cut_connections_total") >= 30 - 8)
        peak = int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{dash.process.pid}/status").read_text())[1])
        assert peak < 600 * 1024  # 30 of them are 600 MB, beside the one that is held for the next second


def test_wrong_tokens_are_braked_and_the_right_one_is_not(place: tuple[Path, Path]) -> None:
    token = place[1] / "token-of-its-own"
    assert ctl("dashboard", "--make-token", "--token-file", str(token), home=place[1]).returncode == 0
    with dashboard("--token-file", str(token), sock=place[0], home=place[1]) as dash:
        dash.token = token.read_text().strip()
        wrong = b"GET /api/status HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer guess\r\n\r\n"
        form = b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 11\r\n\r\ntoken=guess"
        with held(dash, 60, wrong) as bearers, held(dash, 60, form) as forms:
            said = [sock.recv(12) for sock in (*bearers, *forms)]
            assert dash.get("/api/status").status == 200
            right = dash.get("/login", "POST", f"token={dash.token}".encode(), authorization="")
            assert right.status == 303
        assert said.count(b"HTTP/1.1 401") + said.count(b"HTTP/1.1 403") < 40
        assert said.count(b"HTTP/1.1 429") >= 80
        assert dash.log.read_text().count("wrong tokens") == 1


def test_an_idle_connection_gives_way_to_a_newcomer(place: tuple[Path, Path]) -> None:
    with dashboard(sock=place[0], home=place[1]) as dash:
        idle = [dash.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n") for _ in range(MOST)]
        for sock in idle:
            assert sock.recv(4096).startswith(b"HTTP/1.1 200")
        assert dash.get("/api/status").status == 200
        for sock in idle:
            sock.close()


def test_closed_standard_streams_are_no_trap(place: tuple[Path, Path]) -> None:
    process = subprocess.Popen(
        [
            *("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", sys.executable, "-m", "coordd.cli", "dashboard"),
            *("--socket", str(place[0]), "--listen", f"unix:{place[1]}/closed.sock"),
        ],
        env=environment(place[1]),
    )
    try:
        eventually(lambda: os.path.exists(f"{place[1]}/closed.sock"))
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(PATIENCE)
