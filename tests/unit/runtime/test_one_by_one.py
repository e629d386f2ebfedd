"""Many are asked, and one that hangs costs only itself."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from waiting import until

from coordd.runtime import one_by_one
from coordd.runtime.one_by_one import OneByOne
from coordd.runtime.worker import Worker


class Asked:
    """Answer with the length of a word; words in ``hang`` wait until they are let go."""

    def __init__(self, *hang: str) -> None:
        self.hang = {one: threading.Event() for one in hang}
        self.asked: list[str] = []

    def __call__(self, word: str) -> int:
        self.asked.append(word)
        if word in self.hang:
            self.hang[word].wait(20)
        return len(word)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker("asks", replaceable=True)
    yield worker
    worker.close()


async def test_all_that_answer_are_answered_in_one_call(worker: Worker) -> None:
    ask = Asked()
    questions = OneByOne(ask, worker=worker, answered=lambda: None)
    assert await questions.answers(["a", "bb", "a"], deadline=5) == {"a": 1, "bb": 2}
    assert (ask.asked, questions.unanswered) == (["a", "bb"], frozenset())


async def test_one_that_hangs_costs_only_itself_and_answers_later(worker: Worker) -> None:
    ask, told = Asked("bb"), []
    questions = OneByOne(ask, worker=worker, answered=lambda: told.append(None))
    words = ["a", "bb", "ccc"]
    assert await questions.answers(words, deadline=0.05) == {"a": 1, "ccc": 3}
    assert questions.unanswered == {"bb"}
    assert await questions.answers(words, deadline=5) == {"a": 1, "ccc": 3}
    assert ask.asked.count("bb") == 1  # it is left alone
    ask.hang["bb"].set()
    await until(lambda: told)
    assert await questions.answers(words, deadline=5) == {"a": 1, "bb": 2, "ccc": 3}
    assert ask.asked.count("bb") == 2
    assert questions.unanswered == frozenset()


async def test_of_one_that_hangs_again_the_last_answer_counts_and_is_told_once(worker: Worker) -> None:
    """As of a file system that is only slow."""
    ask, told = Asked("bb"), []
    questions = OneByOne(ask, worker=worker, answered=lambda: told.append(None))
    await questions.answers(["bb"], deadline=0.05)
    for _ in range(2):
        ask.hang["bb"].set()
        await until(lambda: not questions._hanging)
        ask.hang["bb"].clear()
        assert await questions.answers(["a", "bb"], deadline=0.05) == {"a": 1, "bb": 2}
        assert questions.unanswered == {"bb"}
    ask.hang["bb"].set()
    await until(lambda: not questions._hanging)
    assert len(told) == 1
    assert await questions.answers(["a"], deadline=5) == {"a": 1}
    assert await questions.answers(["a", "bb"], deadline=5) == {"a": 1, "bb": 2}


async def test_no_more_than_so_many_hang_at_once(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(one_by_one, "MOST_HANGING", 2)
    ask = Asked("a", "b", "c")
    questions = OneByOne(ask, worker=worker, answered=lambda: None)
    assert await questions.answers(["a", "b", "c", "d"], deadline=0.05) == {}
    assert (ask.asked, questions.unanswered) == (["a", "b"], {"a", "b", "c", "d"})
    for one in ask.hang.values():
        one.set()
    await until(lambda: not questions._hanging)
    assert await questions.answers(["a", "b", "c", "d"], deadline=5) == dict.fromkeys("abcd", 1)
