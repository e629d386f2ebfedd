"""The mark in the snapshot: out and in again, and whatever else may stand there."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.sinks.redis.checkpoint import Checkpoint, load_mark, read_mark, with_mark
from coordd.sinks.snapshot import write_snapshot
from coordd.sinks.snapshot_file import MAX_BYTES
from coordd.util.directories import open_directory

MARK = {"run_id": "abc", "until": "2026-11-22T12:00:00.000Z", "place": "redis://localhost:6379/0"}


def test_a_mark_comes_back_from_the_snapshot(tmp_path):
    path = tmp_path / "run" / "snapshot.json"
    document = {"schema": 1, "written_at": "x", "agents": [{"deep": [1, 2]}]}
    with open_directory(str(path.parent), make=True) as directory:
        write_snapshot(directory, path.name, with_mark(document, MARK), mode=0o600)
        assert load_mark(str(path)) == MARK
        assert read_mark(load_mark(str(path))) == Checkpoint(**MARK)
        assert load_mark(str(path), str(tmp_path)) == MARK
        write_snapshot(directory, path.name, with_mark(document, None), mode=0o600)
    assert load_mark(str(path)) is None


def test_a_mark_that_a_clone_brought_is_none(tmp_path):
    path = tmp_path / "run" / "snapshot.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"redis_samples": MARK}))
    assert load_mark(str(path)) == MARK
    assert load_mark(str(path), str(tmp_path)) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "7", '{"agents": []}', "[" * 100_000, "\xff"])
def test_a_snapshot_without_one(tmp_path, content):
    path = tmp_path / "snapshot.json"
    path.write_bytes(content.encode("latin-1"))
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
        file.truncate(MAX_BYTES + 1)
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
    assert mark is None or isinstance(mark, Checkpoint)
