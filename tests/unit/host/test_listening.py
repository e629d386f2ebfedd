"""Test on which ports processes listen, with real sockets; what may not be seen is unknown."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_processes import process_of, python

from coordd.host.listening import parse_table, ports_of
from coordd.host.process_facts import Process

SERVES = """
import socket, sys
first = socket.create_server(("127.0.0.1", 0))
second = socket.create_server(("::1", 0), family=socket.AF_INET6) if sys.argv[1:] else first
client = socket.create_connection(first.getsockname())
print(first.getsockname()[1], second.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_the_ports_are_those_that_are_listened_on_of_either_family() -> None:
    code = SERVES.replace("sys.argv[1:]", str(socket.has_ipv6))
    with python(code) as child:
        process = process_of(child.pid)
        expected = tuple(sorted({int(port) for port in child.said.split()}))  # type: ignore[attr-defined]
        assert ports_of([process]) == {process: expected}


def test_one_that_listens_nowhere_has_none_and_one_that_has_ended_is_unknown() -> None:
    with python("import sys; print(1, flush=True); sys.stdin.read()") as child:
        process = process_of(child.pid)
        other = Process(process.pid, process.start + 1)
        assert ports_of([process, other]) == {process: (), other: None}
    assert ports_of([process]) == {process: None}


@pytest.mark.root
def test_of_another_users_process_they_are_unknown() -> None:
    """Asked by a user who is not root, of whom root's descriptors are closed."""
    own = process_of(os.getpid())
    code = (
        "from coordd.host.listening import ports_of; from coordd.host.process_facts import Process; "
        f"print(ports_of([Process({own.pid}, {own.start})]))"
    )
    user = ("setpriv", "--reuid", "4000001", "--regid", "4000001", "--clear-groups", "--bounding-set", "-all")
    said = subprocess.run([*user, sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert said.stdout.strip().endswith(": None}"), said.stderr


LINE = (
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 "
    "    0        0 4711 1 0 100 0 0 10 0"
)


def test_a_line_of_the_table() -> None:
    content = f"  sl  local_address\n{LINE}\n{LINE.replace(' 0A ', ' 01 ').replace('4711', '12')}\n".encode()
    assert parse_table(content) == {4711: 8080}


@given(st.binary(max_size=400))
def test_whatever_stands_in_a_table_is_read_without_an_error(content: bytes) -> None:
    parse_table(b"head\n" + content)
