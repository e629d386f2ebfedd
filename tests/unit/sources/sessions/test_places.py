"""Where sessions work is found out in time, or later."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Mapping

import pytest
from waiting import until

from coordd.runtime.worker import Worker
from coordd.sources.sessions import places as module
from coordd.sources.sessions.places import Places
from coordd.sources.sessions.work_tree import Place


class Resolver:
    """Finds places; what begins with /hung does not answer before it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()

    def __call__(self, cwd: str, configured: Mapping[str, str]) -> Place:
        self.asked.append(cwd)
        if cwd.startswith("/hung"):
            self.answers.wait(20)
        return Place(f"{cwd}!", ",".join(configured))


@pytest.fixture
async def worker() -> AsyncIterator[Worker]:
    worker = Worker("places", replaceable=True)
    yield worker
    worker.close()


def never() -> None:
    raise AssertionError("nothing was late")


async def test_what_was_found_is_remembered_until_it_is_forgotten(worker: Worker) -> None:
    resolve = Resolver()
    places = Places(worker=worker, configured=lambda: {"/w": "/w"}, resolve=resolve)
    assert await places.of(["/a"], never) == {"/a": Place("/a!", "/w")}
    await places.of(["/a"], never)
    assert resolve.asked == ["/a"]
    places.forget()
    await places.of(["/a"], never)
    assert resolve.asked == ["/a", "/a"]


async def test_what_was_found_is_found_anew_after_a_time(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "KEPT", 0.0)
    resolve = Resolver()
    places = Places(worker=worker, configured=lambda: {}, resolve=resolve)
    await places.of(["/a"], never)
    await places.of(["/a"], never)
    assert len(resolve.asked) == 2


async def test_no_more_than_so_many_are_remembered(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEPT", 2)
    places = Places(worker=worker, configured=lambda: {}, resolve=Resolver())
    found = await places.of([f"/{number}" for number in range(5)], never)
    assert len(found) == 5
    assert len(places._found) == 2


async def test_one_that_hangs_costs_one_deadline_and_is_told_when_it_answers(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEADLINE", 0.1)
    resolve, told = Resolver(), []
    places = Places(worker=worker, configured=lambda: {}, resolve=resolve)
    directories = ["/hung/1", "/hung/2", "/hung/3"]
    found = await places.of(directories, lambda: told.append(1))
    assert found == {one: Place(one, one) for one in directories}
    assert resolve.asked == ["/hung/1"]
    assert (await places.of(["/a"], never))["/a"] == Place("/a!", "")
    assert (await places.of(["/hung/1"], never))["/hung/1"] == Place("/hung/1", "/hung/1")
    assert resolve.asked.count("/hung/1") == 1, "it is not asked again before it answers"
    resolve.answers.set()
    await until(lambda: told)
    assert (await places.of(["/hung/1"], never))["/hung/1"] == Place("/hung/1!", "")
