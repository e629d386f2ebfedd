"""Past records, end to end: the real daemon, its socket, the real coordctl, real files, gzipped ones too."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from live import Project, RpcFailed, coordctl, environment, watching
from waiting import eventually

from coordd.records import manifest, manifest_file
from coordd.util.timestamps import format_utc, utc_date

NOON = 1795348800.0  # 2026-11-22T12:00:00Z
DAY = 86400.0


def agent(moment: float, agent_id: str, **fields: object) -> dict[str, Any]:
    return {
        "timestamp": format_utc(moment),
        "host": "there",
        "workspace": "/w",
        "agent_id": agent_id,
        "status": "active",
        "reason": "heartbeat",
        "cause": "heartbeat",
        "active_tasks": 1,
        "uptime": 5.0,
        "last_heartbeat": format_utc(moment),
        "declared_status": None,
        "sources": ["file"],
        "pid": None,
        "cpu_percent": None,
        "rss": None,
        **fields,
    }


def system(moment: float, cpu: float) -> dict[str, Any]:
    return {
        "timestamp": format_utc(moment),
        "host": "there",
        "cpu_percent": cpu,
        "memory_usage": {"total": 100, "available": 50, "percent": 50.0, "used": 50, "free": 50},
        "disk_usage": None,
        "load_average": [0.5, 0.25, 0.125],
        "cpu_count": 2,
        "swap_usage": None,
        "disk_io": None,
        "network_io": {"sent": 1.0, "recv": 2.0},
        "coord_mode": "file",
        "agents": {"active": 3, "inactive": 0, "unknown": 0},
        "self": {"cpu_percent": 0.1, "rss": 1, "open_fds": 9, "loop_lag_ms": None},
    }


def put(metrics: Path, kind: str, records: list[dict[str, Any]], *, packed: bool = False) -> Path:
    """A part of the date of the first record."""
    metrics.mkdir(parents=True, exist_ok=True)
    date = records[0]["timestamp"][:10]
    data = b"".join(json.dumps(one, separators=(",", ":")).encode() + b"\n" for one in records)
    path = metrics / f"{kind}_{date}.jsonl{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(data) if packed else data)
    return path


@pytest.fixture
def past(project: Project) -> list[dict[str, Any]]:
    """Three days of records of two agents, long ago: one gzipped, one rotated, one with a damaged line."""
    metrics = project.claude / "metrics"
    made = []
    for day in range(3):
        records = [
            agent(NOON - (1000 - day) * DAY + n * 600, f"agent-{n % 2}", active_tasks=n) for n in range(6)
        ]
        path = put(metrics, "agent", records, packed=day == 0)
        made += records
        if day == 1:
            lines = path.read_bytes().splitlines(keepends=True)
            path.write_bytes(b"".join(lines[:3]))
            path.with_name(path.name.replace(".jsonl", ".2.jsonl")).write_bytes(b"".join(lines[3:]))
        if day == 2:
            path.write_bytes(b'{"timestamp":"torn\n' + path.read_bytes())
    return made


def since(past: list[dict[str, Any]], index: int) -> str:
    timestamp: str = past[index]["timestamp"]
    return timestamp


def test_history_query_over_all_forms_of_files(
    project: Project, past: list[dict[str, Any]], tmp_path: Path
) -> None:
    with watching(project, tmp_path) as coordd:
        answer = coordd.rpc("history.query", {"type": "agent"})
        assert answer == {"records": past, "truncated": False}
        between = {"type": "agent", "since": since(past, 4), "until": since(past, 13)}
        assert coordd.rpc("history.query", between)["records"] == past[4:13]
        answer = coordd.rpc("history.query", {**between, "agent_id": "agent-1", "limit": 2})
        assert answer == {"records": [past[5], past[7]], "truncated": True}
        assert coordd.rpc("history.query", ["agent", since(past, 17)])["records"] == past[17:]
        assert coordd.rpc("history.query", {"type": "agent", "workspace": "/x"})["records"] == []
        (thin,) = coordd.rpc(
            "history.query", {**between, "agent_id": "agent-0", "step": "1d", "until": since(past, 6)}
        )["records"]
        assert (thin["records"], thin["step"]) == (1, DAY)
        assert thin["active_tasks"] == {"mean": 4, "min": 4, "max": 4}


def test_history_query_finds_what_was_recorded_just_now(project: Project, tmp_path: Path) -> None:
    with watching(project, tmp_path) as coordd:
        project.beat("lively")
        eventually(lambda: coordd.statuses() == {"lively": "active"})
        (record,) = coordd.rpc("history.query", {"type": "agent", "since": "1h"})["records"]
        assert (record["agent_id"], record["cause"]) == ("lively", "appeared")
        assert coordd.rpc("history.query", {"type": "agent", "until": "1h"})["records"] == []
        eventually(
            lambda: (
                "agent.active"
                in [
                    one["kind"]
                    for one in coordd.rpc("history.query", {"type": "event", "agent_id": "lively"})["records"]
                ]
            )
        )
        assert eventually(lambda: coordd.rpc("history.query", {"type": "system"})["records"])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "type"),
        ({"type": "performance"}, "performance"),
        ({"type": "agent", "since": "soon"}, "since: expected a duration"),
        ({"type": "agent", "until": 5}, "until: expected a duration"),
        ({"type": "agent", "since": "1h", "until": "2h"}, "since: it is after until"),
        ({"type": "agent", "step": 0}, "step: at least 1ms"),
        ({"type": "agent", "step": "fast"}, "step: "),
        ({"type": "agent", "limit": 0}, "limit"),
        ({"type": "agent", "from": "1h"}, "from"),
        ({"type": "system", "agent_id": "a"}, "no agent"),
    ],
)
def test_bad_params_are_told_in_words(
    project: Project, tmp_path: Path, params: dict[str, Any], words: str
) -> None:
    with watching(project, tmp_path) as coordd, pytest.raises(RpcFailed) as failed:
        coordd.rpc("history.query", params)
    assert failed.value.error["code"] == -32602
    assert words in failed.value.error["message"]


def test_an_answer_is_bounded_and_others_are_served_meanwhile(project: Project, tmp_path: Path) -> None:
    start = NOON - 1000 * DAY
    put(
        project.claude / "metrics",
        "agent",
        [agent(start + n * 0.2, f"agent-{n % 500}") for n in range(60_000)],
    )
    with watching(project, tmp_path) as coordd:
        assert len(coordd.rpc("history.query", {"type": "agent"})["records"]) == 10_000
        answer = coordd.rpc("history.query", {"type": "agent", "limit": 100_000})
        assert answer["truncated"]
        assert 10_000 < len(answer["records"]) < 60_000
        results: list[int] = []

        def ask(agent_id: str) -> None:
            results.append(
                len(coordd.rpc("history.query", {"type": "agent", "agent_id": agent_id})["records"])
            )

        threads = [threading.Thread(target=ask, args=(f"agent-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        asked = 0
        while any(thread.is_alive() for thread in threads):
            assert coordd.rpc("ping")["pid"] == coordd.pid
            asked += 1
        assert results == [120] * 8
        assert asked > 0


def test_a_client_that_leaves_in_the_middle_of_a_query_costs_nothing(
    project: Project, past: list[dict[str, Any]], tmp_path: Path
) -> None:
    import socket

    with watching(project, tmp_path) as coordd:
        before = len(os.listdir(f"/proc/{coordd.pid}/fd")) if sys.platform == "linux" else 0
        for _ in range(20):
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(coordd.socket))
                request = {"jsonrpc": "2.0", "id": 1, "method": "history.query", "params": {"type": "agent"}}
                sock.sendall(json.dumps(request).encode() + b"\n")
        # they have closed their end, and are answered all the same
        eventually(lambda: coordd.rpc("history.query", {"type": "agent"})["records"] == past)
        if sys.platform == "linux":
            eventually(lambda: len(os.listdir(f"/proc/{coordd.pid}/fd")) <= before)


def formats(run: Any, past: list[dict[str, Any]]) -> None:
    """Every format of coordctl history agrees with the files."""
    span = ["--since", since(past, 4), "--until", since(past, 13)]
    done = run("history", "agent", *span, "--format", "jsonl")
    assert [json.loads(one) for one in done.stdout.splitlines()] == past[4:13]
    assert done.returncode == 0
    done = run("history", "agent", *span, "--agent", "agent-1", "--utc")
    heading, *rows = done.stdout.splitlines()
    assert heading.split()[:4] == ["TIME", "(UTC)", "AGENT", "STATUS"]
    assert [row.split()[:4] for row in rows] == [
        [*one["timestamp"].removesuffix("Z").split("T"), "agent-1", "active"]
        for one in past[4:13]
        if one["agent_id"] == "agent-1"
    ]
    done = run("history", "agent", *span, "--format", "csv")
    table = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["timestamp"] for row in table] == [one["timestamp"] for one in past[4:13]]
    assert [row["active_tasks"] for row in table] == [str(one["active_tasks"]) for one in past[4:13]]
    assert {row["sources"] for row in table} == {"file"}
    done = run("history", "agent", *span, "--agent", "agent-1", "--format", "chart")
    assert "agent-1" in done.stdout
    assert "tasks" in done.stdout
    assert done.returncode == 0
    done = run("history", "agent", "--since", since(past, 12), "--format", "jsonl")
    assert [json.loads(one) for one in done.stdout.splitlines()] == past[12:]
    assert "1 damaged line" in done.stderr


def test_every_format_with_the_daemon_up_and_down(
    project: Project, past: list[dict[str, Any]], tmp_path: Path
) -> None:
    with watching(project, tmp_path) as coordd:
        formats(coordd.ctl, past)
        assert coordd.stop() == 0
    environ = environment(tmp_path / "home")
    formats(lambda *arguments: coordctl(*arguments, environ=environ, cwd=project.root), past)


def test_step_thins_by_mean_least_and_most(project: Project, tmp_path: Path) -> None:
    metrics = project.claude / "metrics"
    put(metrics, "system", [system(NOON + n * 60, cpu=float(n)) for n in range(60)])
    environ = environment(tmp_path / "home")

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        span = ("--since", format_utc(NOON), "--until", format_utc(NOON + 3600), "--step", "30m")
        return coordctl("history", "system", *span, *arguments, environ=environ, cwd=project.root)

    thin = [json.loads(one) for one in run("--format", "jsonl").stdout.splitlines()]
    assert [one["timestamp"] for one in thin] == [format_utc(NOON), format_utc(NOON + 1800)]
    assert thin[1]["cpu_percent"] == {"mean": 44.5, "min": 30, "max": 59}
    assert thin[0]["memory_usage"]["percent"] == {"mean": 50, "min": 50, "max": 50}
    assert thin[0]["load_average"][2] == {"mean": 0.125, "min": 0.125, "max": 0.125}
    assert (thin[0]["coord_mode"], thin[0]["records"]) == ("file", 30)
    rows = list(csv.DictReader(io.StringIO(run("--format", "csv").stdout)))
    assert [row["cpu_percent.max"] for row in rows] == ["29", "59"]
    assert rows[0]["disk_usage.percent.mean"] == ""
    table = run().stdout.splitlines()
    assert "14.5 % (0.0 % to 29.0 %)" in table[1]
    assert "system" not in run("--format", "chart").stderr


def test_usage_errors_and_a_missing_plotext(project: Project, tmp_path: Path) -> None:
    put(project.claude / "metrics", "agent", [agent(NOON, "a")])
    environ = environment(tmp_path / "home")
    for arguments, words in (
        (("--since", "soon"), "since: expected a duration"),
        (("--step", "0"), "step"),
        (("--since", "1h", "--until", "2h"), "after until"),
    ):
        done = coordctl("history", "agent", *arguments, environ=environ, cwd=project.root)
        assert done.returncode == 2
        assert words in done.stderr
    (tmp_path / "hide").mkdir()
    (tmp_path / "hide" / "plotext.py").write_text("raise ImportError")
    path = os.pathsep.join([str(tmp_path / "hide"), os.getcwd(), os.environ.get("PYTHONPATH", "")])
    done = coordctl(
        "history", "agent", "--format", "chart", environ={**environ, "PYTHONPATH": path}, cwd=project.root
    )
    assert done.returncode == 4
    assert "coordd[chart]" in done.stderr


def test_an_id_that_would_move_the_cursor_is_escaped_in_the_table(project: Project, tmp_path: Path) -> None:
    put(project.claude / "metrics", "agent", [agent(NOON, "evil\x1b[2J")])
    environ = environment(tmp_path / "home")
    done = coordctl("history", "agent", "--since", format_utc(NOON), environ=environ, cwd=project.root)
    assert "\x1b" not in done.stdout
    assert "evil\\x1b[2J" in done.stdout


def test_tail_reaches_back_into_gzipped_parts(
    project: Project, past: list[dict[str, Any]], tmp_path: Path
) -> None:
    environ = environment(tmp_path / "home")
    metrics = project.claude / "metrics"
    (damaged,) = metrics.glob("agent_*-28.jsonl")
    damaged.write_bytes(damaged.read_bytes().split(b"\n", 1)[1])
    for wanted in (18, 14, 3, 100):
        done = coordctl("tail", "agent", "-n", str(wanted), environ=environ, cwd=project.root)
        assert [json.loads(one) for one in done.stdout.splitlines()] == past[-wanted:]


@pytest.fixture
def old_files(project: Project) -> Path:
    metrics = project.claude / "metrics"
    for age in range(2, 12):
        put(metrics, "agent", [agent(time.time() - age * DAY, f"agent-{age}")])
    return metrics


def test_tail_of_gzipped_csv_gives_the_heading_once(project: Project, tmp_path: Path) -> None:
    logs = project.claude / "logs"
    logs.mkdir()
    heading = "TIMESTAMP,CPU,MEMORY,REDIS_MEMORY,REDIS_KEYS,COORD_MODE"
    rows = [f"2026-11-{day}T12:00:0{n}Z,1.0,2.0,N/A,N/A,file" for day in (20, 21, 22) for n in range(3)]
    for number, day in enumerate((20, 21, 22)):
        data = "\n".join([heading, *rows[number * 3 : number * 3 + 3], ""]).encode()
        path = logs / f"performance_2026-11-{day}.csv"
        if day < 22:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data))
        else:
            path.write_bytes(data)
    environ = environment(tmp_path / "home")
    for wanted in (1, 3, 5, 9, 50):
        done = coordctl("tail", "performance", "-n", str(wanted), environ=environ, cwd=project.root)
        assert done.stdout.splitlines() == [heading, *rows[-wanted:]]


def names(metrics: Path, kind: str) -> list[str]:
    return sorted(path.name for path in metrics.iterdir() if path.name.startswith(f"{kind}_"))


def expected(ages: range, suffix: str) -> list[str]:
    return sorted(f"agent_{utc_date(time.time() - age * DAY)}.jsonl{suffix}" for age in ages)


def closed(metrics: Path) -> list[str]:
    today = utc_date(time.time())
    return [name for name in names(metrics, "agent") if today not in name]


def test_house_is_kept_at_start(project: Project, old_files: Path, tmp_path: Path) -> None:
    half = old_files / ".agent_2020-01-01.jsonl.gz.tmp"
    half.write_bytes(gzip.compress(b"cut off by a kill")[:12])
    (old_files / manifest_file.NAME).write_bytes(
        b"".join(manifest.finding(path.name) for path in sorted(old_files.glob("agent_*")))
        + manifest.announcement(half.name, b"")
    )
    with watching(project, tmp_path, COORDD_STORAGE_RETENTION_DAYS="6") as coordd:
        # today's counts as one of the six
        eventually(lambda: closed(old_files) == expected(range(2, 7), ".gz"))
        assert not half.exists()
        records = coordd.rpc("history.query", {"type": "agent"})["records"]
        assert [one["agent_id"] for one in records] == [f"agent-{age}" for age in range(6, 1, -1)]


def test_a_reload_applies_new_bounds(project: Project, old_files: Path, tmp_path: Path) -> None:
    config = project.claude / "coordd.toml"
    config.write_text("[storage]\ncompress_after_days = 1000\n")
    with watching(project, tmp_path) as coordd:
        eventually(lambda: coordd.rpc("system.latest"))
        assert closed(old_files) == expected(range(2, 12), "")
        config.write_text("[storage]\ncompress_after_days = 1\nretention_days = 4\n")
        answer = coordd.rpc("reload")
        assert answer["restart_required"] == []
        eventually(lambda: closed(old_files) == expected(range(2, 5), ".gz"))


def test_the_byte_budget_holds_while_records_come(project: Project, tmp_path: Path) -> None:
    metrics = project.claude / "metrics"
    budget = 1 << 16
    with watching(project, tmp_path, COORDD_STORAGE_MAX_BYTES=str(budget)) as coordd:

        def rotated_away() -> bool:
            for n in range(100):
                project.beat(f"agent-{n}", f"{time.time():.3f}")
            parts = names(metrics, "agent")
            return bool(parts) and not any(part.count(".") == 1 for part in parts)

        eventually(rotated_away, what="the first part is removed")
        coordd.rpc("ping")

        def bounded() -> bool:
            files = [metrics / name for name in names(metrics, "agent")]
            return sum(file.stat().st_size for file in files) <= budget

        eventually(bounded)
        assert names(metrics, "event")


def test_what_cannot_be_kept_is_an_event(project: Project, tmp_path: Path) -> None:
    metrics = project.claude / "metrics"
    (part,) = [put(metrics, "agent", [agent(NOON - 1000 * DAY, "a")])]
    line = part.read_bytes()
    part.write_bytes(line + b"one thing\n")
    part.with_name(f"{part.name}.gz").write_bytes(gzip.compress(line + b"something else\n"))
    (metrics / manifest_file.NAME).write_bytes(manifest.announcement(part.name, line[:-1]))
    with watching(project, tmp_path):

        def failed() -> list[dict[str, Any]]:
            return [one for one in project.records("event") if one["kind"] == "housekeeping.failed"]

        (event,) = eventually(failed)
        assert event["subject"] == str(part)
        assert "something of its own" in event["message"]
