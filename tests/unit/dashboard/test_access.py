"""Test which requests may be answered (names, origins, tokens), and which query strings are accepted."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.dashboard.access import LOOPBACK, Access, Headers, cookie_of, host_name
from coordd.dashboard.answers import BadRequest
from coordd.dashboard.listen import Address, BadAddress, ListenError, bind, parse_address
from coordd.dashboard.query import read_query
from coordd.dashboard.tokens import COOKIE_AGE, Keys, TokenError, make_token, read_token, token_path

NOW = 1_800_000_000.0


def headers(**given: str | None) -> Headers:
    fields: dict[str, str | None] = dict.fromkeys(
        ("host", "origin", "site", "mode", "dest", "authorization", "cookie")
    )
    fields |= {"host": "localhost:8000"} | given
    return Headers(hosts=1, **fields)


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("localhost", "localhost"),
        ("LOCALHOST:8000", "localhost"),
        ("localhost.", "localhost"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("[::1", None),
        ("[::1]x", None),
        ("localhost:80a", None),
        ("a:b:c", None),
        ("", None),
        (":80", None),
    ],
)
def test_the_name_in_a_host_header(host: str, name: str | None) -> None:
    assert host_name(host) == name


def test_an_address_is_ours_only_when_more_than_loopback_is_listened_on() -> None:
    narrow = Access(names=LOOPBACK, any_address=False, keys=None)
    wide = Access(names=LOOPBACK, any_address=True, keys=None)
    for host in ("192.0.2.1", "[2001:db8::1]:8000"):
        refusal = narrow.refusal("GET", "/", headers(host=host), NOW)
        assert refusal is not None
        assert refusal.status == 421
        assert wide.refusal("GET", "/", headers(host=host), NOW) is None
    assert wide.refusal("GET", "/", headers(host="evil.example"), NOW) is not None


def test_a_form_of_our_own_without_a_referrer() -> None:
    access = Access(names=LOOPBACK, any_address=False, keys=None)
    assert access.refusal("POST", "/login", headers(origin="null", site="same-origin"), NOW) is None
    for site in (None, "none", "cross-site", "same-site"):
        assert access.refusal("POST", "/login", headers(origin="null", site=site), NOW) is not None


@given(st.text(max_size=300), st.text(max_size=300), st.text(max_size=100))
def test_no_header_breaks_the_rules(host: str, origin: str, cookie: str) -> None:
    access = Access(names=LOOPBACK, any_address=True, keys=Keys("0123456789abcdef"))
    refusal = access.refusal(
        "GET", "/", headers(host=host, origin=origin, cookie=f"coordd_dashboard={cookie}"), NOW
    )
    assert refusal is not None
    assert refusal.status in (400, 401, 403, 421)


def test_a_cookie_opens_for_its_time_and_with_its_token_alone() -> None:
    keys, others = Keys("0123456789abcdef"), Keys("another-token-entirely")
    cookie = keys.cookie(NOW)
    assert keys.takes_cookie(cookie, NOW)
    assert keys.takes_cookie(cookie, NOW + COOKIE_AGE - 1)
    assert not keys.takes_cookie(cookie, NOW + COOKIE_AGE)
    assert not others.takes_cookie(cookie, NOW)
    for wrong in ("", ".", cookie[:-1], "9" + cookie, cookie.replace(".", ".0"), "ünï.code"):
        assert not keys.takes_cookie(wrong, NOW)
    assert keys.opens(b"0123456789abcdef")
    assert not keys.opens(b"")


def test_our_cookie_is_found_among_those_of_others() -> None:
    assert cookie_of('a="b; coordd_dashboard=x.y; c') == "x.y"
    assert cookie_of("xcoordd_dashboard=1") is None
    assert cookie_of(None) is None


def test_a_token_is_made_once_and_read_with_suspicion(tmp_path: Path) -> None:
    path = str(tmp_path / "deep" / "dashboard.token")
    assert make_token(path)
    token = read_token(path)
    assert len(token) >= 43
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert not make_token(path)
    assert read_token(path) == token
    shared = str(tmp_path / "shared")
    make_token(shared, mode=0o640, gid=os.getgid())
    assert read_token(shared)
    os.chmod(path, 0o604)
    with pytest.raises(TokenError, match="chmod o="):
        read_token(path)


@pytest.mark.parametrize(
    "content", [b"", b"short\n", b"x" * 300, b"two words of a token\n", b"\xff" * 40, b"a\nb" * 10]
)
def test_what_is_no_token_is_said(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(TokenError, match="holds no token"):
        read_token(str(path))


def test_a_token_that_is_missing_or_no_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="--make-token"):
        read_token(str(tmp_path / "none"))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(TokenError, match="holds no token"):
        read_token(str(tmp_path / "fifo"))
    (tmp_path / "file").touch()
    with pytest.raises(TokenError, match=r"Not a directory|File exists"):
        make_token(str(tmp_path / "file" / "token"))


@pytest.mark.root
def test_a_token_of_another_group_is_not_to_be_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "token"
    make_token(str(path))
    tmp_path.chmod(0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(TokenError, match=r"Permission denied.*member of that group"):
            read_token(str(path))
    finally:
        os.seteuid(0)


def test_where_tokens_lie() -> None:
    assert token_path("system", {}, "linux") == "/etc/coordd/dashboard.token"
    assert token_path("user", {"HOME": "/home/me"}, "linux") == "/home/me/.config/coordd/dashboard.token"


# addresses


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("8000", Address("127.0.0.1", 8000), True),
        ("127.0.0.1:8000", Address("127.0.0.1", 8000), True),
        ("127.9.9.9:1", Address("127.9.9.9", 1), True),
        ("localhost:0", Address("localhost", 0), True),
        ("[::1]:8000", Address("::1", 8000), True),
        ("0.0.0.0:8000", Address("0.0.0.0", 8000), False),
        ("[::]:8000", Address("::", 8000), False),
        ("192.0.2.1:80", Address("192.0.2.1", 80), False),
        ("unix:/run/d.sock", Address(None, 0, "/run/d.sock"), True),
    ],
)
def test_addresses(text: str, address: Address, loopback: bool) -> None:
    assert parse_address(text) == address
    assert address.loopback is loopback


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "host:80",
        "127.0.0.1",
        "1.2.3.4:x",
        "1.2.3.4:65536",
        "::1:80",
        "unix:",
        "unix:" + "x" * 200,
        "8000 ",
    ],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BadAddress, match="--listen"):
        parse_address(text)


def test_what_is_accepted_answers_at_once() -> None:
    """With Nagle's algorithm an answer takes 40 ms; asyncio turns it off by the protocol's number."""
    with bind(Address("127.0.0.1", 0)) as sock:
        assert sock.proto == socket.IPPROTO_TCP


def test_a_unix_socket_replaces_a_dead_one_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "d.sock"
    first = bind(Address(None, 0, str(path)))
    with pytest.raises(ListenError, match="already"):
        bind(Address(None, 0, str(path)))
    first.close()
    with bind(Address(None, 0, str(path)), group_may=True):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
    path.unlink()
    path.write_text("mine")
    with pytest.raises(ListenError, match="not a socket"):
        bind(Address(None, 0, str(path)))
    assert path.read_text() == "mine"
    with pytest.raises(ListenError, match="No such file"):
        bind(Address(None, 0, str(tmp_path / "none" / "d.sock")))


# queries


def test_a_query_is_read_whole_or_not_at_all() -> None:
    known = {"limit": int, "state": ("held", "lost"), "since": str}
    assert read_query(b"", known) == {}
    assert read_query(b"limit=7&state=held&since=1h%2030m", known) == {
        "limit": 7,
        "state": "held",
        "since": "1h 30m",
    }
    for raw in (
        *(
            b"limit",
            b"limit=",
            b"limit=-1",
            b"limit=1.0",
            b"limit=\xd9\xa3",
            b"limit=100001",
            b"limit=1&limit=1",
        ),
        *(
            b"state=HELD",
            b"since=",
            b"since=" + b"x" * 5000,
            b"other=1",
            b"%ff=1",
            b"since=%ff",
            b"&&",
            b"x" * 9000,
        ),
    ):
        with pytest.raises(BadRequest):
            read_query(raw, known)


@given(st.binary(max_size=200))
def test_no_query_breaks_it(raw: bytes) -> None:
    try:
        found = read_query(raw, {"limit": int, "since": str})
    except BadRequest:
        return
    assert set(found) <= {"limit", "since"}
