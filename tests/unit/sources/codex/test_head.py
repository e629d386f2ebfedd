"""What the first line of a rollout says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.sources.codex.head import MAX_HEAD, Head, parse_head, read_head, session_of
from coordd.util.fields import Malformed

NOW = 1_795_826_700.0


def meta(**payload: Any) -> bytes:
    return json.dumps(
        {"timestamp": "2026-11-28T00:44:18.187Z", "type": "session_meta", "payload": payload}
    ).encode()


def read(path: Path) -> Head | None:
    with path.open("rb") as file:
        return read_head(file.fileno(), NOW)


def test_a_session(tmp_path: Path) -> None:
    path = tmp_path / "rollout"
    usual = {"id": "x", "cwd": "/p", "cli_version": "0.171.0", "timestamp": "2026-11-28T00:44:18Z"}
    path.write_bytes(meta(**usual, source="exec", base_instructions={"text": "x" * 100_000}) + b"\n{")
    assert read(path) == Head("/p", "0.171.0", 1795826658.0)
    with path.open("rb") as file:
        assert session_of(file.fileno()) == "x"


@pytest.mark.parametrize(
    ("payload", "parent"),
    [
        ({"source": {"subagent": {"thread_spawn": {"parent_thread_id": "above", "depth": 1}}}}, "above"),
        ({"source": {"subagent": "review"}, "parent_thread_id": "above"}, "above"),
        ({"source": {"subagent": "review"}}, None),
        ({"source": {"subagent": {"other": {"a": {"b": {"c": {"parent_thread_id": "far"}}}}}}}, None),
    ],
)
def test_a_subagent_and_whose(payload: dict[str, Any], parent: str | None) -> None:
    head = parse_head(meta(**payload), NOW)
    assert head is not None and (head.subagent, head.parent) == (True, parent)


@pytest.mark.parametrize("cwd", ["p", "", None, 7, "/a\0b", "/" + "x" * 5000])
def test_a_directory_that_is_none(cwd: object) -> None:
    head = parse_head(meta(cwd=cwd), NOW)
    assert head is not None and head.cwd is None


def test_half_a_line_is_waited_for_and_another_format_is_malformed(tmp_path: Path) -> None:
    path = tmp_path / "rollout"
    path.write_bytes(meta(cwd="/p"))
    assert read(path) is None
    path.write_bytes(b'{"type": "another"}\n')
    with pytest.raises(Malformed):
        read(path)
    path.write_bytes(b"x" * (MAX_HEAD + 10))
    with pytest.raises(Malformed):
        read(path)


@given(st.binary(max_size=200) | st.builds(lambda source: meta(source=source), st.text()))
def test_whatever_is_written_is_taken(line: bytes) -> None:
    parse_head(line, NOW)
