"""Test the words for errors of Redis and of the system, and that none holds a password."""

from __future__ import annotations

import errno
import os
import socket
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.redislink.codes import CODES, fix_of
from coordd.redislink.trouble import WITHHELD, scrub, server_error, system_trouble


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("NOAUTH Authentication required.", "NOAUTH", "wants a password"),
        ("NOAUTH HELLO must be called with the client already authenticated", "NOAUTH", "wants a password"),
        (
            "WRONGPASS invalid username-password pair or user is disabled.",
            "WRONGPASS",
            "refuses the user name or the password",
        ),
        ("ERR invalid password", "WRONGPASS", "refuses the user name or the password"),
        (
            "ERR AUTH <password> called without any password configured for the default user. Are you sure?",
            "NOPASSWORD",
            "has no password, but the URL gives one",
        ),
        ("ERR Client sent AUTH, but no password is set", "NOPASSWORD", "has no password"),
        ("ERR DB index is out of range", "NODB", "no database of the URL's number"),
        (
            "NOPERM this user has no permissions to run the 'get' command",
            "NOPERM",
            "does not permit this to its user (ACL): this user has no permissions to run the 'get' command",
        ),
        ("OOM command not allowed when used memory > 'maxmemory'.", "OOM", "memory is full"),
        ("READONLY You can't write against a read only replica.", "READONLY", "read-only replica"),
        ("LOADING Redis is loading the dataset in memory", "LOADING", "is loading its data set"),
        (
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL",
            "BUSY",
            "busy running a script",
        ),
        (
            "MISCONF Redis is configured to save RDB snapshots, but it's",
            "MISCONF",
            "cannot save its data set",
        ),
        ("MASTERDOWN Link with MASTER is down", "MASTERDOWN", "has lost its master"),
        ("MOVED 3999 127.0.0.1:6381", "MOVED", "a node of a Redis Cluster"),
        ("ERR SELECT is not allowed in cluster mode", "CLUSTER", "has to name a single Redis"),
        ("ERR unknown command 'SELECT', with args beginning with: '1'", "SENTINEL", "has to name the master"),
        ("ERR unknown command `SELECT`, with args beginning with: `1`", "SENTINEL", "is a Sentinel"),
        ("ERR max number of clients reached", "MAXCLIENTS", "takes no more clients"),
        ("DENIED Redis is running in protected mode because", "DENIED", "protected mode"),
        ("NOREPLICAS Not enough good replicas to write.", "NOREPLICAS", "too few replicas"),
        ("WRONGTYPE Operation against a key", "WRONGTYPE", "answers with an error: WRONGTYPE Operation"),
        ("ERR syntax error", "ERR", "answers with an error: syntax error"),
        ("nonsense", "ERR", "answers with an error: nonsense"),
        ("", "ERR", "answers with an error: "),
    ],
)
def test_an_error_of_the_server_has_its_code_and_words(text: str, code: str, words: str) -> None:
    found = server_error(text)
    assert found.code == code
    assert words in str(found)


def test_what_coordd_does_after_an_error() -> None:
    def codes(flag: str) -> set[str]:
        return {code for code, means in CODES.items() if getattr(means, flag)}

    no_single_redis = {"CLUSTERDOWN", "CLUSTER", "MOVED", "ASK", "CROSSSLOT", "SENTINEL"}
    assert codes("unusable") == {"NOAUTH", "LOADING", "BUSY", "MASTERDOWN", *no_single_redis}
    assert codes("final") == {"NOAUTH", "WRONGPASS", "DENIED", "MAXCLIENTS"}
    assert codes("lossy") == {"OOM", "READONLY"}
    assert codes("wrong_type") == {"WRONGTYPE"}
    assert server_error("OOM command not allowed").means is CODES["OOM"]
    assert not any(server_error("ERR syntax error").means)
    assert fix_of(None).startswith("start it")
    codes_known = (*CODES, "ERR", "NEW")
    assert not [code for code in codes_known if "start it" in fix_of(code) or not fix_of(code)]


def test_a_long_error_is_cut() -> None:
    assert len(server_error("ERR " + "x" * 10_000).text) == 200


@pytest.mark.parametrize("said", ["unknown command 'AUTH', with args", "unknown command `AUTH`, with args"])
def test_arguments_that_a_server_repeats_are_cut_off_whole_or_not(said: str) -> None:
    found = server_error(f"ERR {said} beginning with: 'user' 'the first half of a pass")
    assert "half" not in f"{found}{found!r}"
    assert "unknown command" in str(found)


@given(st.text(min_size=1, max_size=8), st.text(max_size=30), st.text(max_size=30))
def test_no_text_holds_a_secret(secret: str, before: str, after: str) -> None:
    kept = scrub(before + secret + after, ("", secret))
    assert kept == WITHHELD
    assert scrub("all is well", ("", "hunter2")) == "all is well"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ECONNREFUSED, "x"), "refuses connections"),
        (FileNotFoundError(errno.ENOENT, "x"), "no such socket"),
        (PermissionError(errno.EACCES, "x"), "no permission for its socket"),
        (OSError(errno.EHOSTUNREACH, "x"), "no route to its host"),
        (TimeoutError(errno.ETIMEDOUT, "x"), "does not answer"),
        (OSError(errno.EMFILE, "x"), "no file descriptor left"),
        (OSError(errno.EIO, "x"), f"cannot be reached: {os.strerror(errno.EIO)}"),
        (OSError("AF_UNIX path too long"), "cannot be reached: AF_UNIX path too long"),
        (ConnectionResetError(), "closed the connection"),
        (socket.gaierror(socket.EAI_NONAME, "x"), "its host name has no address"),
        (socket.gaierror(socket.EAI_AGAIN, "x"), "no name server answers"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS"),
        (ValueError("x"), None),
        (TimeoutError(), None),
    ],
)
def test_errors_of_the_system(error: Exception, words: str | None) -> None:
    found = system_trouble(error)
    assert found is None if words is None else words in str(found)


def test_the_cause_is_found_below_a_wrapper() -> None:
    outer = ValueError("wrapper")
    outer.__cause__ = OSError(errno.ECONNREFUSED, "x")
    outer.__cause__.__cause__ = outer  # a ring is no endless search
    assert system_trouble(outer) == "refuses connections: nothing listens there"
