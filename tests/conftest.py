"""Settings of every test. What they share, in support/, is found by pytest's pythonpath.

Tests run beside each other in several processes (pytest-xdist), and have nothing in common but what they only
read. Those that share a costly fixture of the session (a booted machine, a browser) run in one process, which
makes it once: ``@pytest.mark.xdist_group("NAME")``. What they are called is the same in every process.
"""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import inspect
import os
import re
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from waiting import PATIENCE

import coordd

expected = os.environ.get("EXPECT_COORDD_BELOW")
if expected and not coordd.__file__.startswith(expected):
    raise pytest.UsageError(f"coordd is imported from {coordd.__file__}, not from {expected}")

# A loaded machine is no failure: what hangs is caught by pytest's own timeout. CI judges a change by the same
# examples each time; new ones are looked for wherever people work.
hypothesis.settings.register_profile("coordd", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "coordd")

# The processes under test start as they do where users run them: from bytecode.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# Nor do they ignore what whoever started pytest ignores (nohup, a shell's &): exec resets what is caught.
for _number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, lambda *_: None)


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pytest's own, with a shorter name: the path of a socket in it may have 107 bytes."""
    return tmp_path_factory.mktemp(re.sub(r"\W", "_", request.node.name)[:20])


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="coordd-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


LONGEST = 3 * PATIENCE
"""Seconds of an async test. Below pytest's own timeout, which cannot tell where a coroutine waits."""


@pytest.fixture
async def nothing_left_running() -> AsyncIterator[None]:
    """What a test or its fixtures start ends with them: else the loop's end would cancel it unseen."""
    yield
    if left := asyncio.all_tasks() - {asyncio.current_task()}:
        _, left = await asyncio.wait(left, timeout=PATIENCE)
    assert not left, "tasks outlive their test"


def pytest_itemcollected(item: pytest.Item) -> None:
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.obj = _bounded(item.obj)
        if (
            nothing_left_running.__name__ not in item.fixturenames
        ):  # the parameter sets of one test share them
            item.fixturenames.insert(0, nothing_left_running.__name__)


def _bounded(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Coroutine[Any, Any, None]]:
    @functools.wraps(test)
    async def bounded(*args: Any, **kwargs: Any) -> None:
        async with asyncio.timeout(LONGEST):
            await test(*args, **kwargs)

    return bounded


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """CI skips nothing: what a test lacks there is missing in .ci/run."""
    report = yield
    if report.skipped and os.environ.get("CI"):
        report.outcome = "failed"
        report.longrepr = f"CI skips nothing: {report.longrepr}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """A worker sends its reports as UTF-8; what a test logged or compared need not be that."""
    return _encodable((yield))


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_encodable, value))
    return value


# Tests marked "page" import what the extra of that name brings; without it there is nothing to collect.
if importlib.util.find_spec("playwright") is None:
    collect_ignore = ["integration/test_dashboard_page.py"]
    collect_ignore_glob = ["integration/test_page_*.py"]
