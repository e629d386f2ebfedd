"""``coordd check-redis`` and what ``coordctl doctor`` makes of it, against real servers."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from live import Project, coordctl, environment, running, watching
from redisd import RedisServer, free_port, redis_server, sentinel_of
from waiting import PATIENCE, eventually

from coordd.sources.redis.keys import Keyspace

README = Path(__file__).resolve().parents[2] / "README.md"


def check(tmp_path: Path, *options: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "coordd", "check-redis", "--layout", "user", *options],
        capture_output=True,
        text=True,
        env=environment(tmp_path / "home", **environ),
        cwd=tmp_path,
        timeout=PATIENCE,
        check=False,
    )


def states(tmp_path: Path, url: str, **environ: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and every check by its name."""
    done = check(tmp_path, "--json", COORDD_REDIS_URL=url, **environ)
    assert done.stderr == ""
    return done.returncode, {one["check"]: one for one in json.loads(done.stdout)["checks"]}


def test_a_sound_server(server: RedisServer, tmp_path: Path) -> None:
    server.run("SET", "heartbeat:a", "2026-11-22T06:05:00Z")
    code, found = states(tmp_path, server.url)
    assert code == 0
    assert {name: one["state"] for name, one in found.items()} == {
        **{"redis": "ok", "redis_version": "ok", "redis_tracking": "ok", "redis_read": "ok"},
        **{"redis_write": "ok", "redis_eviction": "ok", "redis_memory": "ok", "redis_clock": "ok"},
        "redis_traces": "ok",
    }
    assert found["redis_version"]["detail"].startswith(server.kind.capitalize())
    assert server.run("KEYS", "*") == [b"heartbeat:a"]  # nothing was changed
    done = check(tmp_path, COORDD_REDIS_URL=server.url)
    assert len(done.stdout.splitlines()) == 9


def test_a_redis_that_only_redis_url_names_is_not_to_be_written_to(
    server: RedisServer, tmp_path: Path
) -> None:
    done = check(tmp_path, REDIS_URL=server.url)
    assert "no samples are written there: REDIS_URL alone names it" in done.stdout


def test_no_redis_and_none_that_answers(tmp_path: Path) -> None:
    done = check(tmp_path)
    assert (done.returncode, done.stdout.startswith("no Redis is configured")) == (0, True)
    done = check(tmp_path, COORDD_REDIS_URL=f"redis://u:hunter2@127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "refuses connections: nothing listens there" in done.stdout
    assert "hunter2" not in done.stdout + done.stderr
    assert check(tmp_path, COORDD_REDIS_URL="http://x").returncode == 78


@pytest.mark.parametrize("kind", ["cluster", "sentinel"])
def test_what_is_no_single_redis_is_told_what_to_configure_and_no_rights_to_grant(
    server: RedisServer, tmp_path: Path, kind: str
) -> None:
    bus = ("--cluster-port", str(free_port()))
    clustered = ("--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", *bus)
    directory = tmp_path / "other"
    other = (
        redis_server(directory, *clustered, kind=server.kind)
        if kind == "cluster"
        else sentinel_of(server, directory)
    )
    with other as running:
        url = f"redis://127.0.0.1:{running.port}"
        # Valkey's clusters may have several databases: there it is the number that is wrong first
        for database in ("", "/1") if (kind, server.kind) != ("cluster", "valkey") else ("",):
            _, found = states(tmp_path, url + database)
            assert {"cluster": "a single Redis", "sentinel": "the master"}[kind] in found["redis"]["detail"]
        code, found = states(tmp_path, url)
        assert (code, list(found)) == (1, ["redis"])
        words = {"cluster": "a single Redis", "sentinel": "the master"}[kind]
        assert words in found["redis"]["detail"]
        assert words.partition(" ")[2] in found["redis"]["fix"]
        assert "ACL" not in found["redis"]["fix"] and "start it" not in found["redis"]["fix"]
        with watching(Project(tmp_path / "app"), tmp_path, COORDD_REDIS_URL=url) as daemon:
            told = eventually(
                lambda: told if (told := daemon.rpc("status")["redis"])["error"] else None,
                what="it is refused",
            )
            assert words in told["error"]
            assert (told["connected"], told["fix"]) == (False, found["redis"]["fix"])


def acl_of_the_readme() -> list[str]:
    """The ``ACL SETUSER`` line of the README as its arguments."""
    (line,) = [line for line in README.read_text().splitlines() if line.startswith("ACL SETUSER coordd ")]
    return [word.strip("'") for word in line.split()]


def test_the_rights_that_the_readme_names_are_all_that_is_needed(server: RedisServer, tmp_path: Path) -> None:
    server.run(*acl_of_the_readme())
    url = f"redis://coordd:PASSWORD@127.0.0.1:{server.port}/0"
    code, found = states(tmp_path, url)
    assert (code, [one for one in found.values() if one["state"] != "ok"]) == (0, [])


def test_each_right_that_is_missing_is_named_with_its_fix_which_helps(
    server: RedisServer, tmp_path: Path
) -> None:
    server.run(
        "ACL", "SETUSER", "ann", "on", "nopass", "resetchannels", "+ping", "+multi", "+discard", "+info"
    )
    url = f"redis://ann:x@127.0.0.1:{server.port}"
    code, found = states(tmp_path, url)
    assert code == 1
    wrong = {name: one["state"] for name, one in found.items() if one["state"] != "ok"}
    assert wrong == {
        **{"redis_tracking": "warn", "redis_read": "fail", "redis_write": "fail", "redis_clock": "warn"},
    }
    assert "SCAN, HSCAN agents:registry" in found["redis_read"]["detail"]
    for name in wrong:
        server.run(*found[name]["fix"].split())
    code, found = states(tmp_path, url)
    assert (code, [one for one in found.values() if one["state"] != "ok"]) == (0, [])


@pytest.mark.parametrize("prefix", ["shop:", "[a-z]*?^\\", "'\"é:"])
def test_check_redis_names_the_keys_with_their_prefix_and_its_fix_helps(
    server: RedisServer, tmp_path: Path, prefix: str
) -> None:
    rights = ("+ping", "+info", "+multi", "+discard", "+time", "~heartbeat:*", "~agents:registry", "~a*")
    server.run("ACL", "SETUSER", "ann", "on", "nopass", "resetchannels", *rights)
    url = f"redis://ann:x@127.0.0.1:{server.port}"
    code, found = states(tmp_path, url, COORDD_REDIS_PREFIX=prefix)
    assert code == 1
    pattern = Keyspace(prefix).pattern("agents:registry")
    assert f"HSCAN {pattern}" in found["redis_read"]["detail"]
    for name in ("redis_tracking", "redis_read", "redis_write"):
        server.run(*shlex.split(found[name]["fix"]))
    code, found = states(tmp_path, url, COORDD_REDIS_PREFIX=prefix)
    assert (code, [one for one in found.values() if one["state"] != "ok"]) == (0, [])
    assert found["redis_read"]["detail"] == f"every kind of trace can be read behind {prefix!r}"
    keys = server.run("ACL", "GETUSER", "ann")
    assert "metrics:*" in str(keys)  # what is written stands behind no prefix
    code, found = states(tmp_path, url, COORDD_REDIS_PREFIX="other:")
    assert found["redis_read"]["state"] == "fail"


def test_where_transactions_are_forbidden_nothing_is_written(server: RedisServer, tmp_path: Path) -> None:
    server.run("ACL", "SETUSER", "ann", "on", "nopass", "~*", "&*", "+@all", "-multi")
    _, found = states(tmp_path, f"redis://ann:x@127.0.0.1:{server.port}")
    assert (found["redis_write"]["state"], server.run("DBSIZE")) == ("warn", 0)


def test_a_replica_a_full_memory_and_what_may_be_evicted(server: RedisServer, tmp_path: Path) -> None:
    server.run("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
    server.run("CONFIG", "SET", "maxmemory", "100mb")
    _, found = states(tmp_path, server.url)
    assert (found["redis_eviction"]["state"], found["redis_memory"]["state"]) == ("warn", "ok")
    server.run("CONFIG", "SET", "maxmemory-policy", "noeviction")
    server.run("CONFIG", "SET", "maxmemory", "1")
    _, found = states(tmp_path, server.url)
    assert "memory is full" in found["redis_write"]["detail"]
    assert found["redis_memory"]["state"] == "warn"
    server.run("CONFIG", "SET", "maxmemory", "0")
    server.run("REPLICAOF", "127.0.0.1", str(free_port()))
    _, found = states(tmp_path, server.url)
    assert "read-only replica" in found["redis_write"]["detail"]


def findings(done: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    assert done.stderr == "", done.stderr
    return {one["name"]: one for one in json.loads(done.stdout)["checks"]}


def test_doctor_asks_the_redis_of_the_running_daemon(server: RedisServer, tmp_path: Path) -> None:
    """By the daemon's own environment, which is not the one of whoever asks."""
    project = Project(tmp_path / "app")
    with watching(project, tmp_path, COORDD_REDIS_URL=server.url) as daemon:
        daemon.environ.pop("COORDD_REDIS_URL")
        found = findings(daemon.ctl("doctor", "--json"))
    assert found["redis_version"]["result"] == "ok"
    assert found["redis_tracking"]["result"] == "ok"
    assert "redis_check" not in found


def test_doctor_asks_the_configured_redis_with_the_daemon_down(server: RedisServer, tmp_path: Path) -> None:
    config = tmp_path / "home" / ".config" / "coordd" / "coordd.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[coordination]\nredis_url = "unix://{server.socket}"\n')
    environ = environment(tmp_path / "home")
    found = findings(coordctl("doctor", "--json", environ=environ, cwd=tmp_path))
    assert found["redis"]["message"].startswith(f"unix://{server.socket} answers in ")
    assert found["redis_read"]["result"] == "ok"
    server.kill()
    found = findings(coordctl("doctor", "--json", environ=environ, cwd=tmp_path))
    assert (found["redis"]["result"], "redis_read" in found) == ("fail", False)


OWN_AND_OTHER = [
    # (configured, where agents' keys are, what is said, what is to be set)
    ("", "shop:", "no key of agents is found without a prefix, while 3 are there behind 'shop:'", '"shop:"'),
    ("shop", "shop:", "no key of agents is found behind 'shop', while 3 are there behind 'shop:'", '"shop:"'),
    ("other:", "", "no key of agents is found behind 'other:', while 3 are there without a prefix", '""'),
    ("", "é'\\\"/", "while 3 are there behind 'é'\\\"/'", '"é\'\\\\\\"/"'),
]


@pytest.mark.parametrize("row", OWN_AND_OTHER, ids=range(len(OWN_AND_OTHER)))
def test_doctor_tells_of_agents_behind_another_prefix(
    server: RedisServer, tmp_path: Path, row: tuple[str, str, str, str]
) -> None:
    configured, there, said, value = row
    server.client.mset({f"session:{n}:heartbeat": "1" for n in range(1500)})
    for key in ("heartbeat:a", "agent:heartbeat:b"):
        server.client.set(f"{there}{key}", "1")
    server.client.hset(f"{there}agents:registry", "a", "{}")
    environ = {"COORDD_REDIS_URL": server.url, "COORDD_REDIS_PREFIX": configured}
    code, found = states(tmp_path, server.url, COORDD_REDIS_PREFIX=configured)
    assert (code, found["redis_traces"]["state"]) == (0, "warn")
    assert said in found["redis_traces"]["detail"]
    assert f"set coordination.redis_prefix = {value} " in found["redis_traces"]["fix"]
    with running(
        ["--layout", "user"],
        sock=tmp_path / "home/.local/state/coordd/run/coordd.sock",
        home=tmp_path / "home",
        **environ,
    ) as daemon:
        told = findings(daemon.ctl("doctor", "--json"))["redis_traces"]
        assert (told["result"], said in told["message"]) == ("warn", True)
    _, found = states(tmp_path, server.url, COORDD_REDIS_PREFIX=there)
    assert found["redis_traces"]["state"] == "ok"


def test_no_trace_at_all_is_no_wrong_prefix(server: RedisServer, tmp_path: Path) -> None:
    for key in (b"heartbeat", b"myheartbeat:a", b"cache:agents", b"\xff:heartbeat:a", b"a b:heartbeat:a"):
        server.client.set(key, "1")
    _, found = states(tmp_path, server.url)
    assert found["redis_traces"]["state"] == "ok"
    assert "no agent has left a trace there yet" in found["redis_traces"]["detail"]
