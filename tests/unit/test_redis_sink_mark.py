"""The mark in the snapshot: out and in again, and whatever else may stand there."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.sinks.redis.mark import MAX_SNAPSHOT, Mark, load_mark, read_mark, with_mark
from coordd.snapshot import write_snapshot

MARK = {"run_id": "abc", "until": "2026-11-22T12:00:00.000Z", "place": "redis://localhost:6379/0"}


def test_a_mark_comes_back_from_the_snapshot(tmp_path):
    path = tmp_path / "run" / "snapshot.json"
    document = {"schema": 1, "written_at": "x", "agents": [{"deep": [1, 2]}]}
    options = {"mode": 0o600, "directory_mode": 0o700, "gitignore": False, "root": None}
    write_snapshot(str(path), with_mark(document, MARK), **options)
    assert load_mark(str(path)) == MARK
    assert read_mark(load_mark(str(path))) == Mark(**MARK)
    write_snapshot(str(path), with_mark(document, None), **options)
    assert load_mark(str(path)) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "7", '{"agents": []}', "[" * 100_000, "\xff"])
def test_a_snapshot_without_one(tmp_path, content):
    path = tmp_path / "snapshot.json"
    path.write_text(content)
    assert load_mark(str(path)) is None


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("fifo", "link", "missing", "."):
        assert load_mark(str(tmp_path / name)) is None


def test_a_snapshot_that_is_too_large(tmp_path):
    path = tmp_path / "snapshot.json"
    with path.open("wb") as file:
        file.write(json.dumps(with_mark({}, MARK)).encode())
        file.truncate(MAX_SNAPSHOT + 1)
    assert load_mark(str(path)) is None


@pytest.mark.parametrize(
    "bad",
    [
        {"run_id": ""},
        {"run_id": None},
        {"run_id": "x" * 1001},
        {"until": "yesterday"},
        {"until": 7},
        {"until": "1e400"},
        {"place": ["redis://"]},
        {"place": "x" * 1001},
    ],
)
def test_what_is_no_mark(bad):
    assert read_mark(MARK | bad) is None


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["run_id", "until", "place", "x"]), inner)
        ),
    )
)
def test_no_document_is_an_exception(document):
    mark = read_mark(document)
    assert mark is None or isinstance(mark, Mark)
