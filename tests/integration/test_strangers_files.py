"""Files in coordd's folders that coordd did not make, and folders that become somebody else's while it
runs."""

from __future__ import annotations

import contextlib
import glob
import gzip
import hashlib
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from faketime import set_clock
from live import Project, RpcFailed, coordctl, read_records, running, watching
from waiting import eventually

HEADER = "TIMESTAMP,CPU,MEMORY,REDIS_MEMORY,REDIS_KEYS,COORD_MODE"
FAKETIME = next(iter(glob.glob("/usr/lib/*/faketime/libfaketime.so.1")), "")
MANIFEST = ".coordd-files.jsonl"


def days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d")


def plant(project: Project, days: Iterable[int] = range(45)) -> list[Path]:
    """What a project's own scripts leave: the names of coordd's files, in the folders of coordd's."""
    metrics, logs = project.claude / "metrics", project.claude / "logs"
    metrics.mkdir()
    logs.mkdir()
    made = []

    def put(path: Path, text: str) -> None:
        path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
        made.append(path)

    for day in days:
        stamp = f"{days_ago(day)}T12:00:00Z"
        packed = ".gz" if day % 7 == 3 else ""
        torn = "" if day % 5 else '{"timestamp": "2026'
        for kind in ("system", "agent", "event"):
            record = {"timestamp": stamp, "cpu_percent": 1.5, "agent_id": "theirs", "status": "active"}
            put(metrics / f"{kind}_{days_ago(day)}.jsonl{packed}", json.dumps(record) + "\n" + torn)
        put(logs / f"performance_{days_ago(day)}.csv{packed}", f"{HEADER}\n{stamp},1.5,40.0,N/A,N/A,file\n")
    for name in ("agent", "event"):
        put(metrics / f"{name}.jsonl", "somebody's own\n")
    put(logs / "performance.log", "somebody's own\n")
    for day in range(31):
        put(metrics / f"agent_9999-12-{day + 1:02d}.jsonl", '{"timestamp": "9999-12-01T00:00:00Z"}\n')
    put(metrics / f"agent_{days_ago(0)}.999999999.jsonl", "the last number\n")
    put(metrics / f".agent_{days_ago(2)}.jsonl.gz.tmp", "a copy\n")
    put(metrics / f"agent_{days_ago(2)}.jsonl.damaged", "set aside\n")
    return made


def contents(paths: Iterable[Path]) -> dict[str, str]:
    return {
        path.name: "a link" if path.is_symlink() else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
        if os.path.lexists(path)
    }


def kept_house(coordd: Any, *sinks: str) -> dict[str, Any]:
    """Wait for the first housekeeping, and for samples; the sinks' status."""

    def counted() -> Any:
        found = coordd.rpc("status")["sinks"]
        return all(found[name]["unproven"] and found[name]["written"] for name in sinks) and found

    result: dict[str, Any] = eventually(counted)
    return result


def test_every_byte_of_a_projects_own_scripts_stays(project: Project, tmp_path: Path) -> None:
    made = plant(project)
    before = contents(made)
    with watching(project, tmp_path) as coordd:
        project.beat("mine")
        sinks = kept_house(coordd, "jsonl", "csv")
        assert [sinks[name]["state"] for name in ("jsonl", "csv")] == ["ok", "ok"]
        assert sinks["csv"]["unproven"] == 45
        assert sinks["jsonl"]["unproven"] == 45 * 3 + 31 + 1 + 1
        status = coordd.rpc("status")
        assert (status["health"], status["problems"]) == ("ok", [])
        links = [path for path in made if path.name in ("agent.jsonl", "event.jsonl", "performance.log")]
        for link in links:
            assert any(f"mv {link} {link}.other" in warning for warning in status["warnings"])
        said = coordd.ctl("status")
        assert said.returncode == 0
        assert "213 files with names of coordd's are not its own" in said.stdout
        assert "Warnings" in said.stdout
        doctor = json.loads(coordd.ctl("doctor", "--json").stdout)["checks"]
        assert not any("rm " in str(check["fix"]) for check in doctor)
        assert sum(f"mv {link} " in str(check["fix"]) for check in doctor for link in links) == len(links)
        assert contents(made) == before
        # The records of today go beside theirs.
        eventually((project.claude / "metrics" / f"agent_{days_ago(0)}.2.jsonl").read_text)
        assert (project.claude / "logs" / f"performance_{days_ago(0)}.2.csv").read_text().startswith(HEADER)
        links[0].rename(f"{links[0]}.other")
        eventually(lambda: os.readlink(links[0]) == f"agent_{days_ago(0)}.2.jsonl")
        Path(f"{links[0]}.other").replace(links[0])  # as it was
        assert coordd.stop() == 0
    with watching(project, tmp_path) as coordd:
        kept_house(coordd, "jsonl", "csv")
        assert coordd.stop() == 0
    assert contents(made) == before


SCRIPT = r"""
cd "$1"; mkdir -p .claude/metrics .claude/logs
day=$(date -u +%Y-%m-%d); now=$(date -u +%Y-%m-%dT%H:%M:%SZ)
metrics=.claude/metrics
printf '{"timestamp": "%s", "cpu_percent": 1.5, "run": %s}\n' $now $2 >> $metrics/system_$day.jsonl
printf '{"timestamp": "%s", "agent_id": "theirs", "run": %s}\n' $now $2 >> $metrics/agent_$day.jsonl
table=.claude/logs/performance_$day.csv
[ -e $table ] || echo TIMESTAMP,CPU,MEMORY,REDIS_MEMORY,REDIS_KEYS,COORD_MODE > $table
echo "$now,1.5,40.0,1,$2,file" >> $table
echo "$now,1.5,40.0,2,$2,file" >> .claude/logs/performance.log
"""
"""What a project's own scripts do each minute, as the project had them before coordd."""


def test_scripts_go_on_writing_the_same_files_day_after_day(project: Project, tmp_path: Path) -> None:
    """They append, and coordd with the tightest bounds takes away nothing but its own."""
    offset = tmp_path / "offset"
    clock = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1"}
    clock["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
    bounds = {"COORDD_STORAGE_RETENTION_DAYS": "1", "COORDD_STORAGE_COMPRESS_AFTER_DAYS": "0"}
    metrics, logs = project.claude / "metrics", project.claude / "logs"
    runs: list[str] = []

    def run_script() -> None:
        runs.append(str(len(runs)))
        command = ["bash", "-c", SCRIPT, "script", str(project.root), runs[-1]]
        subprocess.run(command, env={**os.environ, **clock}, check=True, timeout=60)

    for day in range(3):
        set_clock(offset, f"+{day * 86_400}")
        with watching(project, tmp_path, **clock, **bounds) as coordd:
            eventually(lambda: coordd.rpc("status")["sinks"]["csv"]["written"], within=120)
            run_script()
            project.beat(f"on-day-{day}", "")
            eventually(lambda: f"on-day-{day}" in coordd.statuses())  # noqa: B023
            run_script()
            project.beat(f"on-day-{day}-too", "")
            found = ["history", "agent", "--since", "1h", "--format", "jsonl"]
            eventually(lambda: f"on-day-{day}-too" in coordd.ctl(*found).stdout, within=60)  # noqa: B023
            assert f"on-day-{day}" in coordd.ctl("tail", "agent", "-n", "50").stdout
            if day:
                yesterday = metrics / f"event_{days_ago(1 - day)}.jsonl"
                eventually(lambda: not yesterday.exists(), what="coordd's own is removed")  # noqa: B023
                eventually(lambda: coordd.rpc("status")["sinks"]["csv"]["unproven"])
            assert coordd.stop() == 0
        run_script()
    kept = b"\n".join(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in (*metrics.glob("*_*"), *logs.glob("*_*"))
        if path.is_file() and not path.is_symlink()
    )
    for number in runs:
        assert kept.count(f'"run": {number}}}\n'.encode()) == 2
        assert kept.count(f",40.0,1,{number},file\n".encode()) == 1
        assert kept.count(f",40.0,2,{number},file\n".encode()) == 1


def test_readers_read_on_beside_a_strangers_files(project: Project, tmp_path: Path) -> None:
    plant(project, range(3))
    with watching(project, tmp_path) as coordd:
        project.beat("mine")
        eventually(lambda: [one for one in coordd.rpc("agents.list")["agents"] if one["agent_id"] == "mine"])
        history = coordd.ctl("history", "agent", "--since", "1h", "--format", "jsonl")
        assert '"mine"' in history.stdout, history.stderr
        tail = coordd.ctl("tail", "agent", "-n", "1")
        assert json.loads(tail.stdout)["agent_id"] == "mine", "and not of the year 9999"
        events = coordd.rpc("history.query", {"type": "event", "since": "1h"})
        assert "daemon.started" in [event["kind"] for event in events["records"]]


def older_version(project: Project, days: Iterable[int]) -> dict[str, dict[str, str]]:
    """Files as a coordd without a manifest left them."""
    metrics = project.claude / "metrics"
    metrics.mkdir()
    own = {"agent": {"cause": "heartbeat"}, "event": {"kind": "x"}, "system": {"self": {"rss": 1}}}
    for day in days:
        for kind, field in own.items():
            record = {"timestamp": f"{days_ago(day)}T12:00:00.000Z", "host": "h", **field}
            line = json.dumps(record, separators=(",", ":")) + "\n"
            path = metrics / f"{kind}_{days_ago(day)}.jsonl"
            if day % 3 == 2:
                path.with_name(path.name + ".gz").write_bytes(gzip.compress(line.encode() * 3))
            else:
                path.write_text(line * 3 + (line[:20] if day == 0 else ""))
    return own  # type: ignore[return-value]


def test_records_of_the_version_before_are_adopted_and_nothing_else(project: Project, tmp_path: Path) -> None:
    older_version(project, range(40))
    metrics, logs = project.claude / "metrics", project.claude / "logs"
    strange = {
        metrics / f"agent_{days_ago(50)}.jsonl": '{"host": "h", "cause": "x"}\n{"host": "h"}\n',
        metrics / f"event_{days_ago(50)}.jsonl": '{"host": "h", "cause": "x"}\n',
        metrics / f"system_{days_ago(50)}.jsonl": "not json\n",
        metrics / f"agent_{days_ago(51)}.jsonl": "",
        logs / f"performance_{days_ago(50)}.csv": f"{HEADER}\n",
    }
    logs.mkdir()
    for path, text in strange.items():
        path.write_text(text)
    with watching(project, tmp_path) as coordd:
        kept_house(coordd, "jsonl", "csv")

        def tidy() -> bool:
            names = {path.name for path in metrics.glob("*_*")} - {path.name for path in strange}
            dates = {name[6:16] for name in names if name.startswith("agent_")}
            plain = {name for name in names if name.endswith(".jsonl")}
            return len(dates) == 30 and not [name for name in plain if days_ago(2) in name]

        eventually(tidy)
        assert coordd.rpc("status")["sinks"]["jsonl"]["unproven"] == 4
        assert coordd.stop() == 0
    with watching(project, tmp_path) as coordd:  # which sets the torn tails of what is its own now aside
        eventually(lambda: coordd.rpc("status")["sinks"]["jsonl"]["written"])
        assert coordd.stop() == 0
    assert {path: path.read_text() for path in strange} == strange
    assert len(read_records(metrics, "event")) > 0


@pytest.mark.parametrize("when", ["after it began", "while files lie there"])
def test_files_that_come_later_are_nobodys_but_their_owners(
    project: Project, tmp_path: Path, when: str
) -> None:
    """They look like coordd's: copied from another machine, say."""
    with watching(project, tmp_path) as coordd:
        eventually(lambda: coordd.rpc("status")["sinks"]["jsonl"]["written"])
        if when == "after it began":
            assert coordd.stop() == 0
        else:
            coordd.process.kill()
            coordd.process.wait()
    metrics = project.claude / "metrics"
    copied = metrics / f"event_{days_ago(5)}.jsonl"
    copied.write_text('{"timestamp":"2026-01-01T00:00:00.000Z","host":"other","kind":"x"}\n')
    with watching(project, tmp_path) as coordd:
        kept_house(coordd, "jsonl")
        assert copied.exists()
        assert coordd.stop() == 0


@pytest.mark.parametrize("folder", ["metrics", "logs"])
@pytest.mark.parametrize("kind", ["link", "file", "link of .claude's"])
def test_a_checkout_under_a_running_coordd_leads_it_nowhere(
    project: Project, tmp_path: Path, folder: str, kind: str
) -> None:
    outside = tmp_path / "outside"
    for name in ("metrics", "logs", "run", "coordination/agents"):
        (outside / name).mkdir(parents=True)
    victim = outside / folder / f"agent_{days_ago(1)}.jsonl"
    victim.write_text("precious\n")
    before = {path: path.stat().st_mtime_ns for path in outside.rglob("*")}
    project.git("init", "-q", "-b", "main")
    project.git("commit", "-q", "--allow-empty", "-m", "one")
    project.git("checkout", "-q", "-b", "hostile")
    place = project.claude / folder
    if kind == "link of .claude's":
        shutil.rmtree(project.claude)
        project.claude.symlink_to(outside)
    elif kind == "link":
        place.symlink_to(outside / folder)
    else:
        place.write_text("in the way")
    project.git("add", "-A", "-f")
    project.git("commit", "-q", "-m", "two")
    project.git("checkout", "-q", "main")
    project.agents.mkdir(parents=True, exist_ok=True)
    sock = tmp_path / "sock" / "coordd.sock"
    sink = "jsonl" if folder == "metrics" else "csv"
    with watching(project, tmp_path, "--socket", str(sock), sock=sock) as coordd:
        eventually(lambda: coordd.rpc("status")["sinks"][sink]["written"])
        if kind == "link of .claude's":  # git keeps what it does not track: somebody moves it away
            project.claude.rename(tmp_path / "moved")
        project.git("checkout", "-q", "-f", "hostile")
        if kind != "link of .claude's":
            assert place.is_symlink() or place.is_file()
            eventually(lambda: coordd.rpc("status")["sinks"][sink]["state"] == "failing")
            error = coordd.rpc("status")["sinks"][sink]["error"]
            assert f"mv {place} {place}.other" in error
            assert (f"a link to {outside / folder}" if kind == "link" else "no directory") in error
        else:
            eventually(lambda: coordd.rpc("status")["sinks"][sink]["state"] == "failing")
        if sink == "csv" and kind != "link of .claude's":  # its events are told by the other sink

            def displaced() -> list[dict[str, Any]]:
                events = coordd.rpc("history.query", {"type": "event"})["records"]
                return [event for event in events if event["kind"] == "records.displaced"]

            assert eventually(displaced)[0]["subject"] == str(place)
        with contextlib.suppress(RpcFailed):  # the project's own file may be behind a link by now
            coordd.rpc("reload")  # and even that does not make it follow one
        project_is_back = ["checkout", "-q", "-f", "main"]
        assert {path: path.stat().st_mtime_ns for path in outside.rglob("*")} == before
        project.git(*project_is_back)
        if kind != "link of .claude's":
            eventually(lambda: coordd.rpc("status")["sinks"][sink]["state"] == "ok")
            eventually((place / MANIFEST).read_text)
        assert {path: path.stat().st_mtime_ns for path in outside.rglob("*")} == before
        coordd.process.send_signal(signal.SIGKILL)
        coordd.process.wait()


def test_another_directory_in_its_place_is_taken_when_its_owner_says_so(tmp_path: Path) -> None:
    home = tmp_path / "home"
    sock = tmp_path / "run" / "coordd.sock"
    metrics = tmp_path / "records" / "metrics"
    (tmp_path / "coordd.toml").write_text(
        f'[storage]\nmetrics_dir = "{metrics}"\nlog_dir = "{tmp_path / "logs"}"\n'
    )
    project = Project(tmp_path / "app")
    arguments = ["--config", str(tmp_path / "coordd.toml"), "--layout", "user", "--socket", str(sock)]
    with running([*arguments, "--workspace", str(project.root)], sock=sock, home=home) as coordd:
        eventually(lambda: coordd.rpc("status")["sinks"]["jsonl"]["written"])
        disk = tmp_path / "larger-disk"
        metrics.rename(disk)
        (disk / "something").touch()
        metrics.symlink_to(disk)  # the same directory by a link of one's own: nothing has happened
        project.beat("a")
        eventually(lambda: "a" in coordd.statuses())
        metrics.unlink()
        shutil.copytree(disk, metrics)
        project.beat("b")
        eventually(lambda: coordd.rpc("status")["sinks"]["jsonl"]["state"] == "failing")
        assert "coordctl reload" in coordd.rpc("status")["sinks"]["jsonl"]["error"]
        assert coordd.ctl("reload").returncode == 0
        eventually(lambda: coordd.rpc("status")["sinks"]["jsonl"]["state"] == "ok")
        eventually(lambda: [one for one in read_records(metrics, "agent") if one["agent_id"] == "b"])
        assert coordd.rpc("status")["sinks"]["jsonl"]["dropped"] == 0
        assert coordd.stop() == 0


def test_what_its_owner_gives_it_is_coordds(project: Project, tmp_path: Path) -> None:
    made = plant(project, range(6, 45))
    metrics, logs = project.claude / "metrics", project.claude / "logs"
    with watching(project, tmp_path) as coordd:
        kept_house(coordd, "jsonl", "csv")
        listed = json.loads(coordd.ctl("records", "list", "--json").stdout)["files"]
        assert {Path(one["folder"]) / one["name"] for one in listed} == {
            path for path in made if "_" in path.name and path.suffix in (".jsonl", ".gz", ".csv")
        }
        one = f"performance_{days_ago(7)}.csv"
        assert f"would adopt {logs / one}" in coordd.ctl("records", "adopt", "--dry-run", one).stdout
        assert json.loads(coordd.ctl("records", "list", "--json").stdout)["files"] == listed
        assert coordd.ctl("records", "adopt", one).stdout == f"adopted {logs / one}\n"
        unknown = coordd.ctl("records", "adopt", one, "nothing")
        assert (unknown.returncode, "nothing" in unknown.stderr) == (4, True)
        assert coordd.ctl("records", "adopt").returncode == 0
        assert "every record file is coordd's own" in coordd.ctl("records").stdout
        assert f"{one}  " in coordd.ctl("records", "list", "--all").stdout
        config = project.claude / "coordd.toml"
        config.write_text("[storage]\nretention_days = 8\n")
        assert coordd.ctl("reload").returncode == 0

        def tidy() -> bool:
            dates = {path.name[12:22] for path in logs.glob("performance_*")}
            return len(dates) == 8 and all(days_ago(day) in dates for day in range(6, 13))

        eventually(tidy)
        eventually((logs / f"{one}.gz").exists)
        assert not list(metrics.glob("agent_9999*")), "a date to come is no true day's place"
        eventually(lambda: coordd.rpc("status")["sinks"]["csv"]["unproven"] == 0)
        assert coordd.stop() == 0
    down = coordctl("records", "-h", environ=coordd.environ)
    assert down.returncode == 0
    listed_down = coordctl("records", environ=coordd.environ, cwd=project.root)
    assert (listed_down.returncode, "own" in listed_down.stdout) == (0, True)


def test_a_clock_that_ran_ahead_and_came_back(project: Project, tmp_path: Path) -> None:
    """The writer goes on where it was; readers show as the last what was written last."""
    metrics = project.claude / "metrics"
    for offset in ("+0", "+400d", "+0"):
        with watching(
            project, tmp_path, LD_PRELOAD=FAKETIME, FAKETIME=offset, DONT_FAKE_MONOTONIC="1"
        ) as coordd:
            project.beat(f"at{offset}")
            eventually(lambda: coordd.rpc("status")["sinks"]["csv"]["written"])
            assert coordd.stop() == 0
    today = days_ago(0)
    # the run in the future may have compressed today's file before it ended: then a second part goes on
    assert os.readlink(metrics / "event.jsonl") in (f"event_{today}.jsonl", f"event_{today}.2.jsonl")
    with watching(project, tmp_path) as coordd:
        last = json.loads(coordd.ctl("tail", "system", "-n", "1").stdout)
        assert last["timestamp"].startswith(days_ago(0))
        checks = {
            check["name"]: check for check in json.loads(coordd.ctl("doctor", "--json").stdout)["checks"]
        }
        assert checks["records"]["result"] == "ok"
        assert checks["links"]["result"] == "ok"
        assert coordd.stop() == 0
