"""Test imports without ssl, each in a process of its own, and what is imported afterwards."""

from __future__ import annotations

import ctypes
import gc
import subprocess
import sys

import pytest

from coordd.runtime.footprint import Growth

ASYNCIO = "from coordd.runtime.footprint import *\nimport sys\nimport_asyncio_without_ssl()\n"


def output(code: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_openssl_is_imported_only_on_demand() -> None:
    assert output(
        ASYNCIO
        + """
import_redis_without_ssl()
vain = {"ssl", "_ssl", "hashlib", "_hashlib", "importlib.metadata", "email"}
print(*sorted((vain | {"redis.asyncio.connection"}) & sys.modules.keys()))
import ssl, hashlib
print(hashlib.sha256.__module__, ssl.create_default_context().check_hostname)
"""
    ) == ["redis.asyncio.connection", "_hashlib", "True"]


@pytest.mark.parametrize("before", ["import ssl", "import redis.asyncio"])
def test_modules_imported_before_are_left_as_they_are(before: str) -> None:
    assert output(
        f"from coordd.runtime.footprint import *\nimport sys\n{before}\n"
        "known = dict(sys.modules)\n"
        "import_redis_without_ssl()\n"
        "from redis.asyncio.connection import ssl\n"
        "print(all(sys.modules.get(name) is module for name, module in known.items()))\n"
        "print(ssl is sys.modules['ssl'], ssl.CERT_REQUIRED.value)"
    ) == ["True", "True", "2"]


def test_a_redis_py_that_needs_the_real_ssl_gets_it() -> None:
    assert output(
        ASYNCIO
        + """
import builtins
really = __import__
def insisting(name, *rest):
    module = really(name, *rest)
    if name == "ssl":
        module.PROTOCOL_TLS_CLIENT.value  # no placeholder has that
    return module
builtins.__import__ = insisting
import_redis_without_ssl()
import redis.asyncio.connection as connection
print(connection.ssl is sys.modules["ssl"], "_ssl" in sys.modules)
"""
    ) == ["True", "True"]


def test_a_cpython_without_hash_functions_of_its_own_keeps_openssl() -> None:
    assert output(
        ASYNCIO
        + """
import coordd.runtime.footprint
coordd.runtime.footprint.find_spec = lambda name: None
import_redis_without_ssl()
print("redis.asyncio.connection" in sys.modules, "_hashlib" in sys.modules)
"""
    ) == ["True", "True"]


SCHEDULER = """
import asyncio, sys
from datetime import datetime, timedelta, timezone
from coordd.runtime.footprint import import_apscheduler
import_apscheduler()
from apscheduler.triggers.base import BaseTrigger

class Once(BaseTrigger):
    def get_next_fire_time(self, previous, now):
        return None if previous else now

async def main():
    ran = asyncio.Event()
    async def job():
        ran.set()
    scheduler = sys.modules["apscheduler.schedulers.asyncio"].AsyncIOScheduler(timezone=timezone.utc)
    scheduler.add_job(job, Once())
    scheduler.start()
    await asyncio.wait_for(ran.wait(), 30)
    scheduler.shutdown()

asyncio.run(main())
"""


def test_apscheduler_runs_jobs_without_what_it_imports_in_vain() -> None:
    assert (
        output(
            SCHEDULER
            + """
vain = {"importlib.metadata", "multiprocessing", "concurrent.futures.process", "tzlocal", "zoneinfo", "email"}
print(*sorted(vain & sys.modules.keys()))
import importlib.metadata, zoneinfo
from importlib.metadata import version
zoneinfo.ZoneInfo("UTC").key, version("apscheduler"), importlib.metadata.version("apscheduler")
"""
        )
        == []
    )


def test_modules_that_apscheduler_imports_are_left_as_they_are_where_they_were_imported_before() -> None:
    assert output(
        "import importlib.metadata, sys, zoneinfo\nknown = dict(sys.modules)\n"
        + SCHEDULER
        + "print(all(sys.modules.get(name) is module for name, module in known.items()))"
    ) == ["True"]


def test_an_apscheduler_that_needs_more_is_imported_whole() -> None:
    assert output(
        """
import builtins
really = __import__
def insisting(name, globals=None, *rest):
    module = really(name, globals, *rest)
    if name == "importlib.metadata" and globals["__name__"] == "apscheduler.schedulers.base":
        module.entry_points(group="apscheduler.triggers")["date"]  # no stand-in has one
    return module
builtins.__import__ = insisting
"""
        + SCHEDULER
        + "print('tzlocal' in sys.modules, 'importlib.metadata' in sys.modules)"
    ) == ["True", "True"]


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="a C library other than glibc")
@pytest.mark.parametrize(("before", "heaps"), [("", 2), ("share_one_heap()", 1)])
def test_threads_share_one_heap(before: str, heaps: int) -> None:
    told = output(
        f"""
import ctypes, threading
from coordd.runtime.footprint import share_one_heap
{before}
thread = threading.Thread(target=lambda: bytearray(10_000))
thread.start()
thread.join()
libc = ctypes.CDLL(None)
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""
    )
    assert told.count("<heap") == heaps


def test_agents_are_frozen_once_for_each_step_of_growth() -> None:
    growth, frozen = Growth(step=100), gc.get_freeze_count()
    growth.note_count(99)
    assert gc.get_freeze_count() == frozen
    try:
        growth.note_count(100)
        first = gc.get_freeze_count()
        assert first > frozen
        kept = [[] for _ in range(1000)]  # type: ignore[var-annotated]
        growth.note_count(199)
        assert gc.get_freeze_count() <= first
        growth.note_count(50)  # it shrank
        growth.note_count(150)
        assert gc.get_freeze_count() > first
        assert len(kept) == 1000
    finally:
        gc.unfreeze()
