"""The doctor: rights by modes and ACLs as the kernel has them, and what each check makes of what it finds."""

from __future__ import annotations

import errno
import json
import os
import shlex
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_coordd import status_document
from hypothesis import given
from hypothesis import strategies as st

from coordd import __version__
from coordd.cli.common import DaemonTarget
from coordd.cli.doctor import daemon as doctor_daemon
from coordd.cli.doctor import facts as doctor_facts
from coordd.cli.doctor import machine as doctor_machine
from coordd.cli.doctor import redis as doctor_redis
from coordd.cli.doctor import storage as doctor_storage
from coordd.cli.doctor import workspaces as doctor_workspaces
from coordd.cli.doctor.access import (
    READ,
    SEARCH,
    WRITE,
    Credentials,
    FileRights,
    Obstacle,
    allows,
    first_obstacle,
    grant,
    in_letters,
    parse_acl,
    process,
    rights_of,
    user_of,
)
from coordd.cli.doctor.command import examine
from coordd.cli.doctor.daemon import (
    check_config,
    check_lock,
    check_sinks,
    check_socket,
    check_traces,
)
from coordd.cli.doctor.daemon import check_version as check_versions
from coordd.cli.doctor.facts import ConfigAnswer, DoctorFacts, gather
from coordd.cli.doctor.findings import Finding, failed, finding_lines
from coordd.cli.doctor.redis import check_redis
from coordd.cli.doctor.storage import check_directories
from coordd.cli.doctor.trust import believable
from coordd.cli.doctor.workspaces import check_workspace, check_workspaces
from coordd.cli.patience import within
from coordd.errors import CannotTell, DaemonNotRunning
from coordd.util.timestamps import format_utc

STRANGER = Credentials(uid=4_000_001, gids=frozenset([4_000_002]))
ROOT = Credentials(0, frozenset([0]), 0b110)
NOW = 1_795_000_000.0


def facts(**changes: Any) -> DoctorFacts:
    values: dict[str, Any] = {
        "tried": ("/run/x.sock",),
        "socket": "/run/x.sock",
        "error": None,
        "ping": {"version": __version__, "pid": os.getpid(), "uptime": 5},
        "status": status_document(timestamp=format_utc(NOW)),
        "snapshot_age": None,
        "daemon": process(os.getpid()) or user_of(os.geteuid()),
        "me": process(os.getpid()) or user_of(os.geteuid()),
        "asked_at": NOW,
        "config": ConfigAnswer(0, "/etc/coordd/coordd.toml", values={"sampling": {"interval": "60s"}}),
    }
    return DoctorFacts(**{**values, **changes})


def only(findings: Any) -> Finding:
    (found,) = list(findings)
    assert isinstance(found, Finding)
    return found


# rights


@given(st.integers(0, 0o777), st.integers(0, 7))
def test_the_owner_has_the_owners_bits_and_no_others(mode: int, wanted: int) -> None:
    rights = FileRights(stat.S_IFREG | mode, 10, 20)
    assert allows(rights, Credentials(10, frozenset([20])), wanted) == ((mode >> 6) & wanted == wanted)
    assert allows(rights, Credentials(11, frozenset([20, 3])), wanted) == ((mode >> 3) & wanted == wanted)
    assert allows(rights, Credentials(11, frozenset([3])), wanted) == (mode & wanted == wanted)


def test_capabilities_read_all_and_write_only_with_override() -> None:
    closed = FileRights(stat.S_IFDIR, 10, 20)
    reader = Credentials(0, frozenset(), 0b100)
    assert allows(closed, reader, READ | SEARCH)
    assert not allows(closed, reader, WRITE)
    assert allows(closed, ROOT, READ | WRITE | SEARCH)
    assert not allows(FileRights(stat.S_IFREG | 0o644, 10, 20), ROOT, SEARCH)  # to run it, one x is needed
    assert not allows(closed, Credentials(0, frozenset()), READ)  # root without capabilities is a user


def acl(*entries: tuple[int, int, int]) -> bytes:
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 1, 2, 4, 8, 16, 32
NONE = 0xFFFFFFFF


def test_an_acl_decides_before_the_mode() -> None:
    entries = parse_acl(
        acl(
            (USER_OBJ, 6, NONE),
            (USER, 5, 30),
            (GROUP_OBJ, 4, NONE),
            (GROUP, 7, 40),
            (MASK, 5, NONE),
            (OTHER, 0, NONE),
        )
    )
    rights = FileRights(stat.S_IFDIR | 0o650, 10, 20, entries)
    assert allows(rights, Credentials(30, frozenset()), READ | SEARCH)
    assert not allows(rights, Credentials(30, frozenset([40])), WRITE)  # the named user's entry, and masked
    assert allows(rights, Credentials(31, frozenset([40])), READ | SEARCH)
    assert allows(rights, Credentials(31, frozenset([20])), READ)
    assert not allows(rights, Credentials(31, frozenset([20])), SEARCH)
    assert not allows(rights, Credentials(31, frozenset([1])), READ)
    assert allows(rights, Credentials(10, frozenset()), READ | WRITE)  # no mask for the owner


@pytest.mark.parametrize("data", [b"", b"\x02\0\0\0\1", struct.pack("<I", 1)])
def test_what_is_no_acl(data: bytes) -> None:
    with pytest.raises(ValueError, match="another version"):
        parse_acl(data)


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that every user may enter; pytest's own are closed."""
    with tempfile.TemporaryDirectory(prefix="coordd-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_the_first_closed_component_is_named(open_directory: Path) -> None:
    deep = open_directory / "a" / "b" / "c"
    deep.mkdir(parents=True)
    for path in (open_directory / "a", open_directory / "a" / "b", deep):
        path.chmod(0o755)
    assert first_obstacle(str(deep), STRANGER, READ | SEARCH) is None
    deep.chmod(0o711)
    found = first_obstacle(str(deep), STRANGER, READ | SEARCH)
    assert found is not None
    assert (found.path, found.wanted) == (str(deep), READ | SEARCH)
    (open_directory / "a").chmod(0o700)
    (open_directory / "link").symlink_to(deep)
    found = first_obstacle(str(open_directory / "link"), STRANGER, READ | SEARCH)
    assert found is not None
    assert (found.path, found.wanted) == (str(open_directory / "a"), SEARCH)
    missing = first_obstacle(str(deep / "nothing"), facts().me, READ)
    assert missing is not None
    assert (missing.path, missing.missing) == (str(deep / "nothing"), True)


def test_a_grant_is_as_narrow_as_it_can_be() -> None:
    theirs = Obstacle("/home/ann x", SEARCH, FileRights(stat.S_IFDIR | 0o700, 1, 2))
    assert grant(theirs, STRANGER) == "setfacl -m u:4000001:x '/home/ann x'   or: chmod o+x '/home/ann x'"
    assert grant(theirs, Credentials(9, frozenset([2]))).endswith("or: chmod g+x '/home/ann x'")
    assert grant(theirs, Credentials(1, frozenset())) == "chmod u+x '/home/ann x'"
    assert in_letters(READ | WRITE | SEARCH) == "rwx"


def test_a_process_is_who_the_kernel_says() -> None:
    me = process(os.getpid())
    assert me is not None
    assert me.uid == os.geteuid()
    assert me.gids == frozenset([os.getegid(), *os.getgroups()])
    assert process(2**22 + 1) is None


@pytest.mark.root
def test_a_process_is_the_user_it_acts_as() -> None:
    act = "import os, sys; os.setegid(4002); os.seteuid(4001); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", act], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as acting:
        assert acting.stdout is not None
        acting.stdout.readline()
        who = process(acting.pid)
        acting.communicate()
    assert who is not None
    assert (who.uid, 4002 in who.gids, who.capabilities) == (4001, True, 0)


# The kernel's own verdict on files of many modes and owners, as several users.
ASK = r"""
import json, os, sys
answers = []
for uid, gid, groups in json.loads(sys.argv[2]):
    if os.fork() == 0:
        os.setgroups(groups); os.setresgid(gid, gid, gid); os.setresuid(uid, uid, uid)
        got = {p: sum(b for b in (4, 2, 1) if os.access(p, b)) for p in json.loads(sys.argv[1])}
        os.write(1, json.dumps([uid, gid, groups, got]).encode() + b"\n"); os._exit(0)
    os.wait()
"""


@pytest.mark.root
def test_rights_are_what_the_kernel_grants(open_directory: Path) -> None:
    paths = []
    for mode in (0, 0o400, 0o040, 0o004, 0o750, 0o705, 0o057, 0o644, 0o711, 0o777, 0o070, 0o007):
        for uid, gid in ((0, 0), (4001, 5001), (4002, 5002)):
            path = open_directory / f"{mode:o}-{uid}"
            path.touch()
            os.chown(path, uid, gid)
            path.chmod(mode)
            paths.append(str(path))
    for index, path in enumerate(paths[:12]):
        entries = [(USER_OBJ, 6, NONE), (USER, index % 8, 4001), (GROUP_OBJ, 4, NONE)]
        entries += [(GROUP, 7 - index % 8, 5002), (MASK, 5, NONE), (OTHER, index % 3, NONE)]
        try:
            os.setxattr(path, "system.posix_acl_access", acl(*entries))
        except OSError as error:
            assert error.errno == errno.ENOTSUP  # this file system has none
    users = [(4001, 5001, []), (4002, 5002, [5001]), (4003, 5003, [5002]), (4004, 5004, []), (0, 0, [])]
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(paths), json.dumps(users)],
        text=True,
        capture_output=True,
        check=True,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == len(users)
    own = process(os.getpid())
    assert own is not None
    for uid, gid, groups, granted in lines:
        who = Credentials(uid, frozenset([gid, *groups]), own.capabilities if uid == 0 else 0)
        for path, bits in granted.items():
            mine = sum(bit for bit in (READ, WRITE, SEARCH) if allows(rights_of(path), who, bit))
            assert mine == bits, (path, who, rights_of(path))


# the daemon


def test_a_daemon_that_answers_is_ok(tmp_path: Path) -> None:
    found = only(check_socket(facts(socket=str(tmp_path))))
    assert found.result == "ok"
    assert f"coordd {__version__}, pid {os.getpid()}, up 5 s" in found.message


def test_a_daemon_that_is_not_there_fails_and_a_stale_socket_is_told_of(tmp_path: Path) -> None:
    path = tmp_path / "s"
    error = DaemonNotRunning([(str(path), "nothing there")])
    found = only(check_socket(facts(error=error, socket=None)))
    assert (found.result, "nothing there" in found.message) == ("fail", True)
    assert "left at" not in str(found.fix)
    os.mknod(path, 0o600 | stat.S_IFSOCK)
    found = only(check_socket(facts(error=error, socket=None)))
    assert f"left at {path}" in str(found.fix)


def test_a_lock_is_no_failure_where_a_socket_was_there_and_gave_no_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".lock").write_text('{"pid": 4711}')
    monkeypatch.setattr(doctor_daemon, "_holds", lambda _pid, _inode: True)
    status = status_document(daemon={"metrics_dir": str(tmp_path)})
    stopped = only(check_lock(facts(error=CannotTell("/run/x.sock: no answer within 5 s"), status=status)))
    assert (stopped.result, stopped.fix) == ("ok", None)
    assert "not behind a socket" not in stopped.message
    astray = only(check_lock(facts(error=DaemonNotRunning([]), status=status, socket=None)))
    assert (astray.result, "kill 4711" in str(astray.fix)) == ("fail", True)


@pytest.mark.parametrize("closed", ["run", "run/s"])
def test_a_daemon_that_refuses_us_is_judged_by_its_own_user(
    monkeypatch: pytest.MonkeyPatch, open_directory: Path, closed: str
) -> None:
    (open_directory / "run").mkdir(0o755)
    path = open_directory / "run" / "s"
    os.mknod(path, 0o600 | stat.S_IFSOCK)
    (open_directory / closed).chmod(0o700)

    class Refused(DaemonTarget):
        def connect(self) -> Any:
            raise CannotTell(f"{path}: permission denied")

    monkeypatch.setattr(doctor_facts, "process", lambda _pid: STRANGER)
    about = gather(Refused(str(path)))
    assert (about.me, about.daemon.uid) == (STRANGER, os.geteuid())


def test_versions() -> None:
    assert only(check_versions(facts())).result == "ok"
    found = only(check_versions(facts(ping={"version": "0.0.1\x1b"})))
    assert (found.result, "0.0.1\\x1b" in found.message, "restart" in str(found.fix)) == ("warn", True, True)
    assert list(check_versions(facts(error=CannotTell("no answer")))) == []


@pytest.mark.parametrize(
    ("answer", "result", "words"),
    [
        (ConfigAnswer(0, "/nowhere.toml"), "ok", "defaults hold"),
        (ConfigAnswer(78, "/x.toml", "/x.toml: agents.timeout = 'x': expected"), "fail", "agents.timeout"),
        (ConfigAnswer(1, None, "ModuleNotFoundError: msgspec"), "fail", "msgspec"),
        (ConfigAnswer(None, "/x.toml", "/x.toml may not be read"), "warn", "may not be read"),
    ],
)
def test_the_configuration(answer: ConfigAnswer, result: str, words: str) -> None:
    found = only(check_config(facts(config=answer)))
    assert (found.result, words in found.message) == (result, True)
    assert (found.fix is None) == (result == "ok")


def test_sinks_and_traces() -> None:
    sinks = {
        "jsonl": {"state": "failing", "error": "No space left on device", "backlog": 7},
        "csv": {"state": "ok", "dropped": 3},
    }
    failing, dropping = list(check_sinks(facts(status=status_document(sinks=sinks))))
    assert (failing.result, "No space left on device; 7 records wait" in failing.message) == ("fail", True)
    assert (dropping.result, "3 records" in dropping.message) == ("warn", True)

    traces = [{"path": f"/w/{i}", "reason": "a FIFO"} for i in range(5)]
    found = only(check_traces(facts(status=status_document(traces_malformed={"count": 5, "traces": traces}))))
    assert found.message.endswith("/w/0: a FIFO; /w/1: a FIFO; /w/2: a FIFO; and 2 more")


# Redis


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


# workspaces


def workspace(tmp_path: Path) -> Path:
    agents = tmp_path / "w" / ".claude" / "coordination" / "agents"
    agents.mkdir(parents=True)
    (agents / "a.heartbeat").write_text("2026-11-22T06:05:00Z")
    return tmp_path / "w"


def test_a_workspace_that_can_be_read(tmp_path: Path) -> None:
    root = workspace(tmp_path)
    found = check_workspace(str(root), "inotify", None, facts().me)
    assert (found.result, "followed by inotify" in found.message) == ("ok", True)
    polled = check_workspace(str(root), "poll", "nfs: inotify does not see it", facts().me)
    assert (polled.result, polled.fix) == ("ok", None)
    out = check_workspace(str(root), "poll", "raise fs.inotify.max_user_watches", facts().me)
    assert (out.result, "fs.inotify.max_user_watches=524288" in str(out.fix)) == ("warn", True)


def test_a_file_that_the_daemon_may_not_read_is_named_with_all_the_others(tmp_path: Path) -> None:
    root = workspace(tmp_path)
    agents = root / ".claude" / "coordination" / "agents"
    for name in ("b.heartbeat", "c.heartbeat"):
        (agents / name).touch()
    for path in agents.iterdir():
        path.chmod(0)
    me = Credentials(os.geteuid(), frozenset())  # no capabilities, so that root is like any owner
    found = check_workspace(str(root), "inotify", None, me)
    assert found.result == "fail"
    assert "lacks r on" in found.message
    assert found.message.endswith("and 2 more there")
    assert found.fix is not None
    subprocess.run(found.fix.partition("or: ")[2], shell=True, check=True)
    assert check_workspace(str(root), "inotify", None, me).result == "ok"


def test_a_workspace_that_waits_or_is_gone(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    waiting = check_workspace(str(tmp_path / "empty"), "waiting", None, facts().me)
    assert (waiting.result, "mkdir -p" in str(waiting.fix)) == ("warn", True)
    gone = check_workspace(str(tmp_path / "gone"), "unreadable", "No such file or directory", facts().me)
    assert (gone.result, gone.fix) == ("fail", "correct coordination.workspaces")


def test_what_the_daemon_cannot_read_fails_even_where_modes_allow_it(tmp_path: Path) -> None:
    found = check_workspace(str(workspace(tmp_path)), "unreadable", "Permission denied", facts().me)
    assert (found.result, "ProtectHome" in str(found.fix)) == ("fail", True)


def test_a_hung_mount_costs_one_workspace_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sound, hung = str(workspace(tmp_path)), str(tmp_path / "hung")
    really, over = doctor_workspaces.find_denied, threading.Event()

    def look(path: str, who: Credentials) -> Any:
        if path == hung:
            over.wait()
        return really(path, who)

    monkeypatch.setattr(doctor_workspaces, "find_denied", look)
    monkeypatch.setattr(doctor_workspaces, "LONGEST", 1.0)
    listed = [{"path": hung, "state": "unreadable"}, {"path": sound, "state": "inotify"}]
    listed.append({"path": "/nul\0byte", "state": "inotify"})
    try:
        found = list(check_workspaces(facts(status=status_document(workspaces=listed))))
    finally:
        over.set()
    assert [finding.result for finding in found] == ["warn", "ok", "warn"]
    assert "does the file system hang?" in found[0].message


def test_what_a_check_raises_comes_through() -> None:
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def test_no_workspace_is_worth_a_warning(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    found = only(check_workspaces(facts(status=status_document(workspaces=[]))))
    assert (found.result, "--workspace" in str(found.fix)) == ("warn", True)


# records and machine


@pytest.mark.parametrize(
    ("free", "inodes", "all_inodes", "result"),
    [
        (10 << 30, 900, 1000, "ok"),
        (10 << 30, 0, 0, "ok"),  # btrfs counts none
        (500 << 20, 900, 1000, "warn"),
        (10 << 30, 40, 1000, "warn"),
        (1 << 20, 900, 1000, "fail"),
        (10 << 30, 0, 1000, "fail"),
    ],
)
def test_room(free: int, inodes: int, all_inodes: int, result: str) -> None:
    found = doctor_storage.room_left("/var", free, 100 << 30, inodes, all_inodes)
    assert (found.result, found.fix is None) == (result, result == "ok")


def records(tmp_path: Path, age: float) -> DoctorFacts:
    metrics = tmp_path / "metrics"
    metrics.mkdir(exist_ok=True)
    (metrics / "system_2026-11-22.jsonl").write_text(json.dumps({"timestamp": format_utc(NOW - age)}) + "\n")
    status = status_document(timestamp=format_utc(NOW))
    status["daemon"] |= {"metrics_dir": str(metrics), "log_dir": str(tmp_path / "logs")}
    return facts(status=status)


@pytest.mark.parametrize(
    ("age", "result"), [(0, "ok"), (119, "ok"), (121, "fail"), (-59, "ok"), (-61, "warn")]
)
def test_freshness_is_two_intervals(tmp_path: Path, age: float, result: str) -> None:
    assert only(doctor_storage.check_records(records(tmp_path, age))).result == result


def test_without_any_sample_or_with_a_torn_one(tmp_path: Path) -> None:
    about = records(tmp_path, 0)
    part = tmp_path / "metrics" / "system_2026-11-22.jsonl"
    for content in ("", "{torn", "[]\n"):
        part.write_text(content)
        assert only(doctor_storage.check_records(about)).result == "fail"


def test_links_lead_to_the_newest_part(tmp_path: Path) -> None:
    about = records(tmp_path, 0)
    metrics = tmp_path / "metrics"
    link = metrics / "system.jsonl"
    assert "is missing" in only(doctor_storage.check_links(about)).message
    link.symlink_to("system_2026-11-22.jsonl")
    assert only(doctor_storage.check_links(about)).result == "ok"
    (metrics / "system_2026-11-22.2.jsonl").touch()
    found = only(doctor_storage.check_links(about))
    assert (found.result, "current file is system_2026-11-22.2.jsonl" in found.message) == ("warn", True)
    link.unlink()
    link.touch()
    found = only(doctor_storage.check_links(about))
    assert "is no symlink" in found.message
    assert str(found.fix).startswith(f"mv {link} {link}.other"), "and never rm"
    link.unlink()
    link.symlink_to("notes.txt")
    found = only(doctor_storage.check_links(about))
    assert (found.result, str(found.fix).startswith(f"mv {link} ")) == ("warn", True)


def test_files_that_are_not_coordds_are_told_of() -> None:
    status = status_document()
    status["sinks"] = {"jsonl": {"unproven": 40}, "csv": {"unproven": 5}}
    found = only(doctor_storage.check_strangers(facts(status=status)))
    assert (found.result, "45 files" in found.message) == ("ok", True)
    status["sinks"] = {"jsonl": {}}
    assert list(doctor_storage.check_strangers(facts(status=status))) == []


def test_directories(tmp_path: Path) -> None:
    about = records(tmp_path, 0)
    metrics, logs = doctor_storage.check_directories(about)
    assert (metrics.result, logs.result) == ("ok", "fail")
    (tmp_path / "metrics").chmod(0o500)
    plain = Credentials(os.geteuid(), frozenset())
    status: Any = about.status
    found = next(iter(doctor_storage.check_directories(facts(status=status, daemon=plain))))
    (tmp_path / "metrics").chmod(0o700)
    assert (found.result, "lacks rwx" in found.message) == ("fail", True)


def test_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_machine, "run_tool", lambda *_: "no\n")
    assert only(doctor_machine.check_clock(facts())).result == "warn"
    monkeypatch.setattr(doctor_machine, "run_tool", lambda *_: None)
    assert only(doctor_machine.check_clock(facts())).result == "ok"
    assert only(doctor_machine.check_clock(facts(asked_at=NOW + 5))).result == "warn"
    assert only(doctor_machine.check_clock(facts(asked_at=86400.0))).result == "fail"


def test_inotify_limits_warn_when_they_fill() -> None:
    limits = {"max_user_instances": 10, "max_user_watches": 100}
    low = doctor_machine.inotify_use(limits, {"max_user_instances": 8, "max_user_watches": 80}, "ann")
    assert (low.result, low.message) == ("ok", "ann uses 8 of 10 instances, 80 of 100 watches")
    full = doctor_machine.inotify_use(limits, {"max_user_instances": 1, "max_user_watches": 81}, "ann")
    assert (full.result, "max_user_watches" in str(full.fix)) == ("warn", True)


# all together


def test_a_strangers_words_are_escaped() -> None:
    lines = finding_lines([Finding("sink", "fail", "a\x1b[2Jb\nc", "rm '\u202e'")], colour=True)
    assert lines[0].endswith("a\\x1b[2Jb\\nc")
    assert lines[1].endswith("rm '\\u202e'")
    assert lines[-1] == "0 ok, 0 warnings, 1 failure"


def test_warnings_fail_only_when_asked_to() -> None:
    warned = [Finding("a", "ok", ""), Finding("b", "warn", "", "fix")]
    assert (failed(warned, strict=False), failed(warned, strict=True)) == (False, True)
    assert failed([Finding("a", "fail", "", "fix")], strict=False)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
SECTIONS = ("daemon", "redis", "sinks", "workspaces", "traces_malformed", "problems", "health", "timestamp")


@given(st.dictionaries(st.sampled_from(SECTIONS), json_values), json_values)
def test_any_answer_of_a_daemon_can_be_examined(status: Any, version: Any) -> None:
    found = examine(facts(status=status, ping={"version": version, "pid": version}, daemon=ROOT))
    assert {finding.result for finding in found} <= {"ok", "warn", "fail"}
    assert all(finding.fix for finding in found if finding.result != "ok")


def test_gathering_without_any_daemon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [n for n in os.environ if n.startswith(("COORDD_", "XDG_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    root = workspace(tmp_path)
    (root / ".claude" / "coordd.toml").write_text("[sampling]\ninterval = '5s'\n")
    monkeypatch.chdir(root)
    before = time.time()
    about = gather(DaemonTarget(str(tmp_path / "none.sock")))
    assert isinstance(about.error, DaemonNotRunning)
    assert about.config.code == 0
    assert about.config.file == str(root / ".claude" / "coordd.toml")
    assert about.interval == 5.0
    assert about.directory("metrics_dir") == str(root / ".claude" / "metrics")
    assert before <= about.asked_at <= time.time()
    names = {finding.name: finding.result for finding in examine(about)}
    assert (names["socket"], names["config"], names["workspace"]) == ("fail", "ok", "ok")


def test_a_package_in_the_current_directory_is_never_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "coordd").mkdir()
    for name in ("__init__", "__main__"):
        (tmp_path / "coordd" / f"{name}.py").write_text("open('pwned', 'w')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert gather(DaemonTarget(str(tmp_path / "none.sock"))).config.code == 0
    assert not (tmp_path / "pwned").exists()


# whose word leads to a configuration


NAMED = {"layout": "user", "config_file": "/tmp/named.toml", "socket": "/tmp/s"}


def test_the_word_of_a_daemon_of_ones_own_or_of_roots_leads_to_its_configuration() -> None:
    for by, me in ((1000, 1000), (0, 1000), (1000, 0), (None, 0)):
        assert believable(NAMED, left_at=None, by=by, me=me) == NAMED


def test_the_word_of_another_user_leads_to_no_file_but_roots(tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.toml"
    theirs.touch()
    if os.geteuid() == 0:
        os.chown(theirs, STRANGER.uid, -1)
    for by in (1000, None):
        for file in (str(theirs), "/nowhere", "a\0b"):
            found = believable({**NAMED, "config_file": file}, left_at=None, by=by, me=STRANGER.uid)
            assert found == {"layout": "user", "socket": "/tmp/s"}
        passwd = {**NAMED, "config_file": "/etc/passwd"}
        assert believable(passwd, left_at=None, by=by, me=STRANGER.uid) == passwd


def test_a_snapshot_is_believed_in_the_users_and_systems_own_place_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    for own in ("/home/ann/.local/state/coordd/snapshot.json", "/var/lib/coordd/snapshot.json"):
        assert believable(NAMED, left_at=own, by=None, me=1000) == NAMED
    found = believable(NAMED, left_at="/src/app/.claude/run/snapshot.json", by=None, me=1000)
    assert found == {"layout": "project", "socket": "/src/app/.claude/run/coordd.sock"}
    assert believable(NAMED, left_at="/tmp/snapshot.json", by=None, me=1000) == {}


def test_what_check_config_passed_over_is_a_warning() -> None:
    answer = ConfigAnswer(0, "/app/.claude/coordd.toml", warnings=("one", "two"))
    found = list(check_config(facts(config=answer)))
    assert [(f.result, f.message) for f in found] == [("warn", "one"), ("warn", "two")]


def test_a_fix_quotes_what_a_snapshot_says(tmp_path: Path) -> None:
    path = tmp_path / "x; touch pwned"
    path.touch()
    status = {"daemon": {"metrics_dir": str(path)}}
    found = next(f for f in check_directories(facts(status=status, daemon=ROOT)) if f.result == "fail")
    assert found.fix is not None
    assert shlex.split(found.fix.partition(": ")[2]) == ["mv", str(path), f"{path}.other"]
