"""Fixtures of the doctor's tests."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="coordd-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)
