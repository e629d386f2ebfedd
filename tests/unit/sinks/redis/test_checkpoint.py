"""Test the checkpoint in the snapshot: written and read back, and anything else in its field."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordd.sinks.redis.checkpoint import Checkpoint, parse_checkpoint, with_checkpoint
from coordd.sinks.snapshot_reader import MAX_BYTES, read_snapshot
from coordd.sinks.snapshot_writer import write_snapshot
from coordd.util.directories import open_directory

DOCUMENT = {"schema": 1, "written_at": "2026-11-22T12:00:00.000Z", "agents": [{"deep": [1, 2]}]}
CHECKPOINT = {"run_id": "abc", "until": "2026-11-22T12:00:00.000Z", "place": "redis://localhost:6379/0"}


def load_checkpoint(path, root=None):
    snapshot = read_snapshot(path, root=root)
    return None if snapshot is None else parse_checkpoint(snapshot.checkpoint)


def test_a_checkpoint_comes_back_from_the_snapshot(tmp_path):
    path = tmp_path / "run" / "snapshot.json"
    with open_directory(str(path.parent), make=True) as directory:
        write_snapshot(directory, path.name, with_checkpoint(DOCUMENT, CHECKPOINT), mode=0o600)
        assert load_checkpoint(str(path)) == Checkpoint(**CHECKPOINT)
        assert load_checkpoint(str(path), str(tmp_path)) == Checkpoint(**CHECKPOINT)
        write_snapshot(directory, path.name, with_checkpoint(DOCUMENT, None), mode=0o600)
    assert load_checkpoint(str(path)) is None


def test_a_checkpoint_that_a_clone_brought_is_none(tmp_path):
    path = tmp_path / "run" / "snapshot.json"
    path.parent.mkdir()
    path.write_text(json.dumps(with_checkpoint(DOCUMENT, CHECKPOINT)))
    assert load_checkpoint(str(path)) == Checkpoint(**CHECKPOINT)
    assert load_checkpoint(str(path), str(tmp_path)) is None


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "7", json.dumps(DOCUMENT), "[" * 100_000, "\xff"])
def test_a_snapshot_without_one(tmp_path, content):
    path = tmp_path / "snapshot.json"
    path.write_bytes(content.encode("latin-1"))
    assert load_checkpoint(str(path)) is None


def test_what_is_no_regular_file(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "link").symlink_to("/etc/passwd")
    for name in ("fifo", "link", "missing", "."):
        assert load_checkpoint(str(tmp_path / name)) is None


def test_a_snapshot_that_is_too_large(tmp_path):
    path = tmp_path / "snapshot.json"
    with path.open("wb") as file:
        file.write(json.dumps(with_checkpoint(DOCUMENT, CHECKPOINT)).encode())
        file.truncate(MAX_BYTES + 1)
    assert load_checkpoint(str(path)) is None


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
def test_what_is_no_checkpoint(bad):
    assert parse_checkpoint(json.dumps(CHECKPOINT | bad).encode()) is None


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["run_id", "until", "place", "x"]), inner)
        ),
    )
)
def test_no_document_is_an_exception(document):
    checkpoint = parse_checkpoint(json.dumps(document).encode())
    assert checkpoint is None or isinstance(checkpoint, Checkpoint)
