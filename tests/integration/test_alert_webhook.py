"""Webhooks, with a real server that does all that servers do; whatever it does, nobody learns its address."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from certificates import Authority
from messages import MESSAGE, message
from waiting import until
from webhooks import Handler, answer, endless, hang, hook, raw

from coordd.alerts.actions.base import ActionFailed
from coordd.alerts.actions.webhook import WebhookAction

SECRET = "T0K3N"
PROXY_SECRET = "PR0XY"
OK = answer("200 OK")


def action(
    port: int, *, scheme: str = "http", deadline: float = 30.0, each: float = 10.0, **more: str
) -> WebhookAction:
    host = more.pop("host", "127.0.0.1")
    url = f"{scheme}://ann:{SECRET}@{host}:{port}/hook/{SECRET}?key={SECRET}"
    environ = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return WebhookAction(url, environ=environ | more, deadline=deadline, each=each)


async def why(one: WebhookAction) -> str:
    with pytest.raises(ActionFailed) as failed:
        await one.perform(MESSAGE)
    assert SECRET not in str(failed.value)
    assert PROXY_SECRET not in str(failed.value)
    assert failed.value.__cause__ is None
    return str(failed.value)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    yield Authority(tmp_path_factory.mktemp("ca"), "testers")


async def test_a_message_is_posted_as_json_with_its_id() -> None:
    told = message(title="$(x) {title}\n\u202e <b>", text="ä" * 100_000)
    with hook(OK) as served:
        one = action(served.port)
        await one.perform(told)
        (request,) = served.requests
    assert one.label == "webhook 127.0.0.1"
    assert one.check() is None
    assert request.line == f"POST /hook/{SECRET}?key={SECRET} HTTP/1.1"
    assert request.body == told.to_json()
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == told.id
    assert request.headers["authorization"].startswith("Basic ")
    assert request.headers["host"] == f"127.0.0.1:{served.port}"
    assert request.headers["user-agent"].startswith("coordd-alert/")


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content"])
async def test_any_success_counts_whatever_follows(status: str) -> None:
    head = f"HTTP/1.1 {status}\r\nContent-Length: 100\r\n\r\n".encode()
    for handler in (
        raw(head + b"short"),
        raw(head + b"short", reset=True),
        endless(b"x" * 65536, first=head.replace(b"100", b"10000000000")),
        endless(b"x", first=head, pause=0.3),
    ):
        with hook(handler) as served:
            started = time.monotonic()
            await action(served.port).perform(MESSAGE)
            assert time.monotonic() - started < 8
            assert served.connections == 1


FINAL: dict[str, tuple[Handler, str]] = {
    "not-found": (answer("404 Not Found"), "it answers 404 Not Found"),
    "gone": (answer("410 Gone", body=SECRET.encode()), "it answers 410 Gone"),
    "reason": (answer(f"403 {SECRET}\x1b[31m"), "it answers 403 Forbidden"),
    "odd": (answer("799 Odd"), "it answers 799"),
    "redirect": (
        answer("302 Found", f"Location: http://127.0.0.1:1/{SECRET}"),
        "it answers 302 Found, and redirects are not followed",
    ),
    "permanent": (answer("308 Permanent Redirect", "Location: /other"), "redirects are not followed"),
    "headers": (
        raw(
            b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 1000) for n in range(90)) + b"\r\n"
        ),
        "it answers with more than 64 KiB of headers",
    ),
    "one-header": (endless(b"x" * 4096, first=b"HTTP/1.1 200 OK\r\nX: "), "more than 64 KiB of headers"),
    "continue": (endless(b"HTTP/1.1 100 Continue\r\n\r\n"), "more than 64 KiB of headers"),
    "long-wait": (
        answer("429 Too Many Requests", "Retry-After: 3600"),
        "it answers 429 Too Many Requests, and asks to wait for 3600 s",
    ),
}


@pytest.mark.parametrize("name", FINAL)
async def test_what_will_not_pass_is_not_tried_again(name: str) -> None:
    handler, words = FINAL[name]
    with hook(handler, OK) as served:
        assert words in await why(action(served.port))
        assert served.connections == 1


PASSING: dict[str, Handler] = {
    "500": answer("500 Internal Server Error"),
    "503": answer("503 Service Unavailable", "Retry-After: 0"),
    "429": answer("429 Too Many Requests", "Retry-After: 1"),
    "date": answer("429 Too Many Requests", "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT"),
    "nonsense": answer("503 Service Unavailable", "Retry-After: -5 ducks"),
    "early": raw(b""),
    "half": raw(b"HTTP/1."),
    "reset": raw(b"", reset=True),
    "hang": hang,
}


async def test_what_may_pass_is_tried_again_with_the_same_id() -> None:
    async def tried(handler: Handler) -> None:
        with hook(handler, OK) as served:
            await action(served.port, each=2.0).perform(MESSAGE)
            assert served.connections == 2
            assert {request.headers["idempotency-key"] for request in served.requests} == {MESSAGE.id}

    await asyncio.gather(*map(tried, PASSING.values()))


async def test_after_three_tries_it_has_failed() -> None:
    cases: tuple[tuple[Handler, str], ...] = (
        (PASSING["500"], "it answers 500 Internal Server Error, tried 3 times"),
        (PASSING["early"], "it ends the connection without an answer, tried 3 times"),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n"), "it does not answer in HTTP, tried 3 times"),
        (PASSING["reset"], "it ends the connection without an answer, tried 3 times"),
        (hang, "no answer within 1 s (waiting for its answer), tried 3 times"),
        (endless(b"x", first=b"HTTP/1.1 200 OK\r\nX: ", pause=0.1), "no answer within 1 s"),
    )

    async def tried(handler: Handler, words: str) -> None:
        with hook(handler) as served:
            assert words in await why(action(served.port, each=1.0))
            assert served.connections == 3

    async def refused() -> None:
        with hook(OK) as served:
            closed = served.port
        assert await why(action(closed)) == "it refuses the connection, tried 3 times"

    async def unknown() -> None:
        assert (
            await why(action(80, host="no-such-host.invalid"))
            == "no address is found for its name, tried 3 times"
        )

    await asyncio.gather(refused(), unknown(), *[tried(*case) for case in cases])


async def test_one_deadline_ends_all_tries() -> None:
    with hook(hang) as served:
        started = time.monotonic()
        assert "no answer within" in await why(action(served.port, deadline=3.0, each=2.0))
        assert time.monotonic() - started < 8
    with hook(hang, read=False) as served:  # which does not even read
        big = message(text="x" * 20_000_000)
        with pytest.raises(ActionFailed, match=r"no answer within 1 s \(sending\)"):
            await action(served.port, deadline=2.0, each=1.0).perform(big)


async def test_a_try_that_is_given_up_ends_its_connection() -> None:
    closed = threading.Event()

    def handle(one: socket.socket, _: threading.Event) -> None:
        if not one.recv(1):
            closed.set()

    with hook(handle, hang) as served:
        task = asyncio.create_task(action(served.port, each=1.0).perform(MESSAGE))
        await until(lambda: served.connections == 2)
        assert closed.is_set()
        task.cancel()
        await asyncio.wait({task})


async def test_a_server_that_answers_before_it_has_read_is_heard() -> None:
    big = message(text="x" * 20_000_000)
    with (
        hook(answer("413 Content Too Large"), read=False) as served,
        pytest.raises(ActionFailed, match=r"it answers 413|ends the connection"),
    ):
        await action(served.port, deadline=3.0).perform(big)


async def test_tls_is_verified(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "others")
    good = authority.sign("good", "IP:127.0.0.1")
    trust = {"SSL_CERT_FILE": str(authority.file)}
    with hook(OK, certificate=good) as served:
        await action(served.port, scheme="https", **trust).perform(MESSAGE)
        assert served.requests[0].body == MESSAGE.to_json()
    for certificate, words in (
        (authority.sign("name", "DNS:elsewhere.example"), "it is for another name"),
        (authority.sign("old", "IP:127.0.0.1", days=-1), "certificate has expired"),
        (other.sign("stranger", "IP:127.0.0.1"), "unable to get local issuer certificate"),
        ((other.file, other.file.with_suffix(".key")), "self-signed certificate"),
    ):
        with hook(OK, certificate=certificate) as served:
            said = await why(action(served.port, scheme="https", **trust))
            assert said.startswith("its certificate is not accepted: ")
            assert words in said
            assert (served.connections, served.requests) == (1, [])
    with hook(raw(b"HTTP/1.1 400 Bad Request\r\n\r\n"), read=False) as served:
        assert "TLS fails: " in await why(action(served.port, scheme="https", **trust))
    with hook(hang, read=False) as served:
        said = await why(action(served.port, scheme="https", deadline=1.0, each=1.0, **trust))
        assert said == "no answer within 1 s (agreeing on TLS)"


async def test_a_proxy_of_the_environment_is_used(authority: Authority) -> None:
    certificate = authority.sign("proxied", "DNS:hooks.example")
    with hook(OK, connect=True) as proxy:
        via = f"http://joe:{PROXY_SECRET}@127.0.0.1:{proxy.port}"
        await action(80, host="hooks.example", http_proxy=via).perform(MESSAGE)
        (request,) = proxy.requests
    assert request.line.startswith("POST http://hooks.example:80/hook/")
    assert request.headers["host"] == "hooks.example:80"
    assert request.headers["proxy-authorization"].startswith("Basic ")
    assert request.body == MESSAGE.to_json()
    with hook(OK, connect=True, certificate=certificate) as proxy:
        via = f"127.0.0.1:{proxy.port}"
        one = action(
            443, scheme="https", host="hooks.example", HTTPS_PROXY=via, SSL_CERT_FILE=str(authority.file)
        )
        assert one.label == "webhook hooks.example"
        await one.perform(MESSAGE)
        connect, post = proxy.requests
    assert connect.line == "CONNECT hooks.example:443 HTTP/1.1"
    assert SECRET not in str(connect)
    assert post.headers["host"] == "hooks.example"
    assert "proxy-authorization" not in post.headers


async def test_a_proxy_that_refuses_and_one_that_is_none() -> None:
    with hook(answer("407 Proxy Authentication Required")) as proxy:
        said = await why(
            action(443, scheme="https", host="hooks.example", https_proxy=f"127.0.0.1:{proxy.port}")
        )
        assert said == "the proxy answers 407 Proxy Authentication Required"
    said = await why(
        action(443, scheme="https", host="hooks.example", https_proxy=f"socks5://{PROXY_SECRET}@x:1")
    )
    assert "no plain HTTP proxy" in said
    with hook(OK) as served:  # what is on this machine, and what no_proxy names, is asked directly
        await action(served.port, http_proxy="http://127.0.0.1:1").perform(MESSAGE)
        said = await why(
            action(1, host="x.invalid", http_proxy=f"127.0.0.1:{served.port}", no_proxy=".invalid")
        )
        assert "no address is found" in said


def others() -> bytes:
    """What everybody, and what this user, can see of the other processes."""
    shown = b""
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and process.name != str(os.getpid()):
            with suppress(OSError):
                shown += b"".join((process / what).read_bytes() for what in ("cmdline", "environ", "comm"))
    return shown


async def test_nothing_of_the_address_shows_while_it_is_asked() -> None:
    with hook(hang) as served:
        task = asyncio.create_task(action(served.port).perform(MESSAGE))
        await until(lambda: served.requests)
        shown = others()
        assert b"coordd.alerts.actions.post" in shown
        assert SECRET.encode() not in shown
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.root
def test_a_name_server_that_does_not_answer_holds_nobody_up(tmp_path: Path) -> None:
    resolv = tmp_path / "resolv.conf"
    resolv.write_text("nameserver 192.0.2.1\noptions timeout:30 attempts:5\n")
    program = tmp_path / "ask.py"
    program.write_text(
        textwrap.dedent("""
            import asyncio, os, sys, time
            sys.path.insert(0, sys.argv[1])
            from messages import MESSAGE
            from coordd.alerts.actions.webhook import WebhookAction
            started = time.monotonic()
            action = WebhookAction("http://slow.example/x", environ=os.environ, deadline=3.0, each=1.0)
            try:
                asyncio.run(action.perform(MESSAGE))
            except Exception as error:
                print(error, "|", time.monotonic() - started < 10)
        """)
    )
    support = str(Path(__file__).resolve().parents[1] / "support")
    done = subprocess.run(
        [
            *("unshare", "--mount", "--propagation", "private", "sh", "-c"),
            'mount --bind "$1" /etc/resolv.conf && shift && exec "$@"',
            *("sh", str(resolv), sys.executable, str(program), support),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.startswith("no answer within 1 s (looking up its name)"), done
    assert done.stdout.endswith("| True\n")
