"""What an answer or an error means, and whether there is another try."""

from __future__ import annotations

import pytest

from coordd.alerts.actions.address import address_of, public_host
from coordd.alerts.actions.replies import Result, next_wait, of_error, of_status, seconds_of

NOW = 1_445_412_000.0  # Wed, 21 Oct 2015 07:20:00 GMT


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0.0),
        ("", 0.0),
        ("120", 120.0),
        (" 7 ", 7.0),
        ("-1", 0.0),
        ("1e9", 0.0),
        ("٣", 0.0),
        ("9" * 400, 999_999_999.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 480.0),
        ("Wed, 21 Oct 2015 07:00:00 GMT", 0.0),
        ("Wed, 99 Oct 99999999 07:00:00 GMT", 0.0),
    ],
)
def test_how_long_it_asks_to_wait(text: str | None, seconds: float) -> None:
    assert seconds_of(text, NOW) == seconds


def test_waits_grow_and_fit_the_deadline() -> None:
    passing = Result("busy", may_pass=True)
    assert next_wait(1, passing, 0.5, 30.0) == 1.0
    assert next_wait(2, passing, 1.0, 30.0) == 4.5
    assert next_wait(3, passing, 0.5, 30.0) is None
    assert next_wait(1, passing, 0.5, 1.5) is None
    assert next_wait(1, Result("busy", may_pass=True, wait=20.0), 0.5, 30.0) == 20.0
    assert next_wait(1, Result("busy", may_pass=True, wait=20.0), 0.5, 15.0) is None
    assert next_wait(1, Result("gone"), 0.5, 30.0) is None
    assert next_wait(1, Result(None), 0.5, 30.0) is None


def test_every_status_is_judged() -> None:
    for status in range(100, 1000):
        result = of_status(status, None, NOW)
        assert (result.failed is None) == (200 <= status < 300)
        assert result.may_pass == (status in (408, 425, 429) or 500 <= status < 600)


def test_words_of_unknown_errors_hold_nothing_of_theirs() -> None:
    assert of_error(ValueError("https://x/SECRET")) == Result("unexpected: ValueError")


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "hook.test/hook",
        "ftp://hook.test/",
        "https://",
        "https:///path",
        "https://hook.test:0/",
        "https://hook.test:99999/",
        "https://hook.test:x/",
        "https://[::1/",
        "https://hook.test/a b",
        "https://hook.test/a\nb",
        "https://hook.test/a%0d%0ab",
        "https://hook.test/\u202e",
        "https://" + "ä" * 70 + ".hook.test/",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(bad: str) -> None:
    with pytest.raises(ValueError, match="expected an address") as refused:
        address_of(bad)
    assert "hook.test" not in str(refused.value)


def test_an_address_in_parts() -> None:
    address = address_of("https://ann:p%40ss@Exämple.org:8443/ä/%41?q=ü&r=1#gone")
    assert address == (True, "xn--exmple-cua.org", 8443, "/%C3%A4/%41?q=%C3%BC&r=1", "ann:p@ss")
    assert address_of("http://[::1]").host == "::1"
    assert address_of("http://example.org") == (False, "example.org", 80, "/", "")


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("hooks.slack.com", "slack.com"),
        ("t0k3n.m.example.co.uk", "example.co.uk"),
        ("example.org", "example.org"),
        ("localhost", "localhost"),
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_of_a_host_its_end_is_shown(host: str, shown: str) -> None:
    assert public_host(host) == shown
