"""What the dashboard costs and how fast it answers, beside a bare Starlette route of the same bytes.

The page's figures need Chromium and playwright; where they are missing those rows stay out.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import os
import re
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from harness import (
    Agents,
    Daemon,
    Figure,
    Metronome,
    Settings,
    cpu_seconds,
    daemon,
    environment,
    percentile,
    resident,
    running,
    until,
    wait_for_agents,
    workspace,
)

AGENTS = 1000
PAGES = 10
CHANGES = 100.0
"""Beats a second under an open page."""
PATH = "/api/agents/active"
CHROMIUM = "/usr/bin/chromium"
FLOOR = "bare Starlette, same bytes"
BARE = """
import socket, sys
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
body = open(sys.argv[1], "rb").read()
async def answer(request):
    return Response(body, media_type="application/json")
sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
sock.bind(("127.0.0.1", int(sys.argv[2])))
sock.listen(128)
print(flush=True)
app = Starlette(routes=[Route("/api/agents/active", answer)])
uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, ws="none")).run(sockets=[sock])
"""


def measure(settings: Settings) -> Iterator[Figure]:
    """Answers, memory, and what open pages cost."""
    with workspace(settings) as root:
        agents = Agents(root, AGENTS)
        with daemon(root) as service:
            client = service.wait_until_it_answers()
            wait_for_agents(client, AGENTS)
            client.close()
            with _dashboard(service) as (process, port):
                until(lambda: len(_get(port)) > 1000 * AGENTS // 4, pause=0.1)
                yield from _answers(settings, root, port)
                yield from _cost(settings, service, process.pid, port, Metronome(agents, 30.0))
                if importlib.util.find_spec("playwright") and os.path.exists(CHROMIUM):
                    yield from _page(settings, port, Metronome(agents, AGENTS / CHANGES))


@contextlib.contextmanager
def _dashboard(service: Daemon) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A dashboard before the daemon, and its port."""
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "coordd.cli",
            "dashboard",
            "--socket",
            service.socket,
            "--listen",
            "127.0.0.1:0",
        ],
        stdout=subprocess.PIPE,
        env=environment(),
    )
    try:
        assert process.stdout is not None
        found = re.search(rb":(\d+)/", process.stdout.readline())
        assert found is not None
        yield process, int(found.group(1))
    finally:
        process.terminate()
        process.wait(20)
        if process.stdout is not None:
            process.stdout.close()


def _get(port: int) -> bytes:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", PATH)
        return connection.getresponse().read()
    finally:
        connection.close()


def _answers(settings: Settings, root: str, port: int) -> Iterator[Figure]:
    """One client's p50 and p99 by turns with the floor, then what 16 clients get through."""
    body = os.path.join(root, "body.json")
    with open(body, "wb") as file:
        file.write(_get(port))
    with socket.create_server(("127.0.0.1", 0)) as free:
        bare = free.getsockname()[1]
    with running(BARE, body, str(bare)):
        until(lambda: _listens(bare), pause=0.05)
        took: list[float] = []
        floors: list[float] = []
        ours, theirs = (http.client.HTTPConnection("127.0.0.1", p, timeout=30) for p in (port, bare))
        for _ in range(settings.pick(10, 40)):  # by turns: the machine's mood hits both
            took += _one_by_one(ours, 50)
            floors += _one_by_one(theirs, 50)
        for share in (50, 99):
            yield Figure(
                f"{PATH}, 1,000 agents, p{share}",
                "ms",
                percentile(took, share) * 1e3,
                "2, 1.5x",
                FLOOR,
                percentile(floors, share) * 1e3,
            )
        rates, floor_rates = [], []
        for _ in range(3):
            rates.append(_together(port, 16, settings.pick(1, 3)))
            floor_rates.append(_together(bare, 16, settings.pick(1, 3)))
        yield Figure(f"{PATH}, 16 clients", "/s", max(rates), "0.67x", FLOOR, max(floor_rates))


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError):
        return bool(_get(port))
    return False


def _one_by_one(connection: http.client.HTTPConnection, count: int) -> list[float]:
    took = []
    for _ in range(count):
        begin = time.perf_counter()
        connection.request("GET", PATH)
        connection.getresponse().read()
        took.append(time.perf_counter() - begin)
    return took


def _together(port: int, clients: int, seconds: float) -> float:
    """Requests a second; this process asks, and on few cores is part of the limit."""
    request = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    left: dict[socket.socket, int] = {}
    with selectors.DefaultSelector() as selector:
        for _ in range(clients):
            sock = socket.create_connection(("127.0.0.1", port))
            selector.register(sock, selectors.EVENT_READ)
            sock.sendall(request)
            left[sock] = 0
        done = 0
        begin = time.perf_counter()
        while (elapsed := time.perf_counter() - begin) < seconds:
            for key, _ in selector.select(1):
                sock = key.fileobj  # type: ignore[assignment]  # sockets are registered
                data = sock.recv(1 << 20)
                if left[sock] == 0:
                    head, _, rest = data.partition(b"\r\n\r\n")
                    size = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
                    assert size is not None
                    left[sock], data = int(size.group(1)), rest
                left[sock] -= len(data)
                if left[sock] == 0:
                    done += 1
                    sock.sendall(request)
        for sock in left:
            sock.close()
    return done / elapsed


def _cost(settings: Settings, service: Daemon, pid: int, port: int, fleet: Metronome) -> Iterator[Figure]:
    """Memory and CPU of the dashboard, and of the daemon with ten pages open and with none."""
    seconds = settings.pick(15, 60)
    fleet.rest(5)
    alone = _watch(service.pid, fleet, seconds)
    quiet = _watch(pid, fleet, settings.pick(5, 20))
    memory = resident(service.pid)
    streams = [_stream(port) for _ in range(PAGES)]
    looked = time.monotonic() + seconds
    before, began, mine = cpu_seconds(service.pid), time.monotonic(), cpu_seconds(pid)
    while time.monotonic() < looked:
        _get_all(port)  # what a page asks again when tasks or samples have changed
        _drain(streams, fleet, 2.0)
    elapsed = time.monotonic() - began
    with_pages, own = cpu_seconds(service.pid), cpu_seconds(pid)
    memory_with = resident(service.pid)
    for stream in streams:
        stream.close()
    yield Figure("dashboard, resident memory, ten pages", "MB", _scaled(resident(pid), 1e6), "50")
    yield Figure("dashboard, CPU with no page open", "%", _scaled(quiet, 0.01), "-")
    if own is not None and mine is not None:
        yield Figure("dashboard, CPU with ten pages", "%", (own - mine) / elapsed * 100, "-")
    if memory is not None and memory_with is not None:
        yield Figure("daemon, memory gained by ten pages", "MB", (memory_with - memory) / 1e6, "2")
    if before is not None and with_pages is not None and alone is not None:
        gained = (with_pages - before) / elapsed - alone
        yield Figure("daemon, CPU gained by ten pages", "%", gained * 100, "1")


def _scaled(value: float | None, unit: float) -> float | None:
    return None if value is None else value / unit


def _watch(pid: int, fleet: Metronome, seconds: float) -> float | None:
    """CPU seconds a second."""
    before, began = cpu_seconds(pid), time.monotonic()
    fleet.rest(seconds)
    after = cpu_seconds(pid)
    return None if before is None or after is None else (after - before) / (time.monotonic() - began)


def _stream(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port))
    sock.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    sock.setblocking(False)
    return sock


def _drain(streams: list[socket.socket], fleet: Metronome, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        fleet.rest(0.1)
        for stream in streams:
            with contextlib.suppress(BlockingIOError):
                while stream.recv(1 << 16):
                    pass


def _get_all(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for path in ("/api/tasks", "/api/metrics/system/series?range=6h"):
        for _ in range(PAGES):
            connection.request("GET", path)
            connection.getresponse().read()
    connection.close()


def _page(settings: Settings, port: int, fleet: Metronome) -> Iterator[Figure]:
    """Weight of the page, time to its first numbers, its longest task, and what it gains over time."""
    from playwright.sync_api import sync_playwright

    watch = """(() => {
      window.long = [];
      const keep = (list) => window.long.push(...list.getEntries().map((e) => [e.startTime, e.duration]));
      new PerformanceObserver(keep).observe({ type: 'longtask', buffered: true });
    })()"""
    weigh = """() => {
      const own = performance.getEntriesByType('resource').filter((e) => e.name.includes('/static/'));
      const all = [...own, ...performance.getEntriesByType('navigation')];
      return all.reduce((sum, e) => [sum[0] + e.transferSize, sum[1] + e.decodedBodySize], [0, 0]);
    }"""
    first: list[float] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-quic"]
        )
        for _ in range(settings.pick(2, 5)):
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            page.add_init_script(watch)
            page.goto(f"http://127.0.0.1:{port}/", wait_until="commit")
            page.wait_for_selector("#alive:not(:empty)")
            first.append(page.evaluate("performance.now()"))
            weight: Any = page.evaluate(weigh)
            page.wait_for_timeout(3000)
            loaded = page.evaluate("performance.now()")
            for step in range(settings.pick(20, 100)):
                page.evaluate(f"scrollTo(0, {step * 400})")
                fleet.rest(0.1)
            for order in ("sign", "name", "need"):
                page.locator("#sort").select_option(order)
                fleet.rest(1.0)
            page.get_by_role("searchbox").fill("agent-00")
            fleet.rest(1.0)
            after = f"window.long.filter(([at]) => at > {loaded}).map(([, took]) => took)"
            longest = page.evaluate(f"Math.max(0, ...{after})")
            page.close()
        grown, long = _grown(settings, browser, f"http://127.0.0.1:{port}/", watch, fleet)
        browser.close()
    yield Figure("page weight, as it is sent", "KB", weight[0] / 1e3, "80")
    yield Figure("page weight, unpacked", "KB", weight[1] / 1e3, "-")
    yield Figure("page, time to first numbers, 1,000 agents", "ms", percentile(first, 50), "500")
    yield Figure("page, longest task while it is used, 1,000 agents", "ms", longest, "100")
    yield Figure("page, longest task while it is open, 1,000 agents", "ms", long, "50")
    yield Figure("page, memory gained an hour", "MB", grown, "5")


def _grown(settings: Settings, browser: Any, url: str, watch: str, fleet: Metronome) -> tuple[float, float]:
    """Return megabytes that an open page gains an hour, and its longest task in milliseconds."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.add_init_script(watch)
    page.goto(url)
    session = page.context.new_cdp_session(page)

    def heap() -> float:
        session.send("HeapProfiler.collectGarbage")
        return float(session.send("Runtime.getHeapUsage")["usedSize"])

    fleet.rest(settings.pick(10, 60))
    before, began, loaded = heap(), time.monotonic(), page.evaluate("performance.now()")
    fleet.rest(settings.pick(30, 600))
    long = page.evaluate(
        f"Math.max(0, ...window.long.filter(([at]) => at > {loaded + 500}).map((e) => e[1]))"
    )
    gained = (heap() - before) / 1e6 / (time.monotonic() - began) * 3600
    page.close()
    return gained, long
