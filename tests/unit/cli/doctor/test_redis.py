"""Checks of the Redis, and whom root asks for it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from doctor_facts import ROOT, facts, only
from fake_coordd import status_document

from coordd.cli.doctor import facts as doctor_facts
from coordd.cli.doctor import redis as doctor_redis
from coordd.cli.doctor.access import (
    Credentials,
)
from coordd.cli.doctor.facts import DoctorFacts
from coordd.cli.doctor.findings import Finding
from coordd.cli.doctor.redis import check_redis
from coordd.cli.doctor.service_command import ConfigAnswer
from coordd.errors import CannotTell, DaemonNotRunning


def redis_facts(up: dict[str, Any] | None = None, **changes: Any) -> DoctorFacts:
    """Facts of a daemon that uses a Redis; with ``up`` None it is down, and its configuration names one."""
    url = "redis://h/0"
    configured = {"coordination": {"redis_url": url}}
    values: dict[str, Any] = {"config": ConfigAnswer(0, "/f.toml", values=configured)}
    if up is None:
        values["error"] = DaemonNotRunning([])
        values["status"] = {}
    else:
        values["status"] = status_document(redis={"configured": True, "url": url, **up})
    return facts(**{**values, **changes})


def answering(monkeypatch: pytest.MonkeyPatch, answer: Any) -> list[DoctorFacts]:
    """Have ``coordd check-redis`` say this; whom it was asked for."""
    asked: list[DoctorFacts] = []

    def ask(about: DoctorFacts) -> Any:
        asked.append(about)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(doctor_redis, "ask_redis", ask)
    return asked


UP = {"connected": True, "latency_ms": 0.42, "feed": "push", "writes": True}
ANSWER = {
    "schema": 1,
    "url": "redis://h/0",
    "checks": [
        {"check": "redis", "state": "ok", "detail": "redis://h/0 answers in 0.5 ms", "fix": None},
        {"check": "redis_clock", "state": "warn", "detail": "its clock is 3.0 s ahead", "fix": "ntp"},
        {"check": "redis_new", "state": "a later one", "detail": "x", "fix": 7},
        {"check": 7},
        "nonsense",
    ],
}
CLOCK = Finding("redis_clock", "warn", "its clock is 3.0 s ahead", "ntp")


def test_without_a_redis_nothing_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, ANSWER)
    assert list(check_redis(facts())) == []
    assert list(check_redis(facts(error=DaemonNotRunning([]), status={}))) == []
    assert asked == []


def test_a_redis_is_shown_as_the_daemon_sees_it_and_as_it_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, ANSWER)
    first, *rest = check_redis(redis_facts(UP))
    assert first == Finding("redis", "ok", "redis://h/0 answers in 0.4 ms, changes come by push")
    assert rest == [CLOCK, Finding("redis_new", "warn", "x")]
    (foreign, *_) = check_redis(redis_facts({**UP, "writes": False}))
    assert "not written there, for REDIS_URL alone names it" in foreign.message


def test_a_redis_that_is_down_is_told_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    down = [
        {"check": "redis", "state": "fail", "detail": "redis://h/0 refuses connections", "fix": "start it"}
    ]
    answering(monkeypatch, {**ANSWER, "checks": down})
    found = only(check_redis(redis_facts({"connected": False, "error": "Redis refuses connections"})))
    assert (found.name, found.result) == ("redis", "fail")
    assert found.message == "redis://h/0: Redis refuses connections"
    assert found.fix and found.fix.startswith("start it")
    sentinel = redis_facts({"connected": False, "error": "Redis is a Sentinel", "fix": "name the master"})
    assert only(check_redis(sentinel)).fix == "name the master"
    differing = list(check_redis(redis_facts(UP)))
    assert [(f.name, f.result) for f in differing] == [("redis", "ok"), ("redis_check", "warn")]
    assert "redis://h/0 refuses connections" in differing[1].message


def test_with_the_daemon_down_the_configured_redis_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, ANSWER)
    first, second, _ = check_redis(redis_facts())
    assert (first.name, first.result, first.message) == ("redis", "ok", "redis://h/0 answers in 0.5 ms")
    assert second == CLOCK


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (CannotTell("'coordd check-redis' takes more than 30 s"), "takes more than 30 s"),
        ({"schema": 1, "url": None, "checks": []}, "this user does not see what makes the daemon use it"),
        ({**ANSWER, "url": "redis://new/0", "checks": []}, "its configuration now names redis://new/0"),
    ],
)
def test_what_cannot_be_asked_is_a_warning(monkeypatch: pytest.MonkeyPatch, answer: Any, words: str) -> None:
    answering(monkeypatch, answer)
    _, found = check_redis(redis_facts(UP))
    assert (found.name, found.result, words in found.message) == ("redis_check", "warn", True)
    assert found.fix


def test_a_configuration_that_is_not_ours_to_read_leads_to_no_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = answering(monkeypatch, ANSWER)
    _, found = check_redis(
        redis_facts(UP, config=ConfigAnswer(None, "/f", "/f may not be read by this user"))
    )
    assert "may not be read" in found.message
    assert asked == []


@pytest.mark.root
def test_root_asks_as_the_daemons_user(monkeypatch: pytest.MonkeyPatch, open_directory: Path) -> None:
    """Its configuration may name any socket and any file: root lends it no rights."""
    program = open_directory / "python"
    program.write_text('#!/bin/sh\nprintf \'{"url": "%s"}\' "$(id -u) $(id -G)"\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    theirs = Credentials(4001, frozenset([4002, 4003]))
    answer = doctor_facts.check_redis(facts(daemon=theirs, me=ROOT))
    uid, *groups = str(answer["url"]).split()
    assert (uid, set(groups)) == ("4001", {"4002", "4003"})
    assert str(doctor_facts.check_redis(facts(daemon=ROOT, me=ROOT))["url"]).startswith("0 ")
    monkeypatch.setattr(sys, "executable", "/dev/null")
    with pytest.raises(CannotTell, match="'coordd check-redis' cannot be run as 4001: Permission denied"):
        doctor_facts.check_redis(facts(daemon=theirs, me=ROOT))
