"""Settings of every test. live.py and fake_coordd.py beside it are found by pytest's pythonpath."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from typing import Any

import hypothesis
import pytest

# A loaded machine is no failure: what hangs is caught by pytest's own timeout. CI judges a change by the same
# examples each time; new ones are looked for wherever people work.
hypothesis.settings.register_profile("coordd", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "coordd")

# The processes under test start as they do where users run them: from bytecode, not from the source each time.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """A report goes from a worker to the terminal as UTF-8; what a test logged or compared need not be that."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_encodable, value))
    return value
