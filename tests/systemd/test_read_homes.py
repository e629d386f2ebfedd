"""The homes of coding agents of other users: what the system's service sees of them, and by what right."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest
from box import Box
from sandbox_probe import PROBE
from waiting import eventually

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("box")]

DROP_IN = "/etc/systemd/system/coordd.service.d/read-homes.conf"
SESSION = "0f9c2a34-1111-4222-8333-444455556666"
OTHER = "77777777-1111-4222-8333-444455556666"
CODEX_SESSION = "01a22053-4979-70c1-be74-a6066a589632"
NAMED_SESSION = "02b33164-4979-70c1-be74-a6066a589632"
COPILOT_SESSION = "2c0a6d43-1111-4222-8333-444455556666"


def begin_session(box: Box, user: str, home: str, session: str) -> int:
    """Play a session of Claude Code of a user of the box: a process of its name, and its record."""
    box.shell("[ -e /opt/coordd/claude ] || cp /bin/sleep /opt/coordd/claude")
    box.run(
        "install", "-d", "-o", user, "-g", user, "-m", "0700", home, f"{home}/sessions", f"{home}/projects"
    )
    unit = f"session-{session[:8]}"
    box.run(
        *("systemd-run", f"--unit={unit}", f"--uid={user}", f"--setenv=CLAUDE_CONFIG_DIR={home}"),
        *(f"--working-directory=/home/{user}", "/opt/coordd/claude", "3600"),
    )
    eventually(lambda: box.shell(f"cat /proc/{box.main_pid(unit)}/comm").strip() == "claude")
    pid = box.main_pid(unit)
    start = box.path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[19]
    now = int(time.time() * 1000)
    record = {
        "pid": pid,
        "sessionId": session,
        "cwd": f"/home/{user}",
        "procStart": start,
        "version": "2.1.197",
        "status": "waiting",
        "waitingFor": "permission prompt",
        "updatedAt": now,
        "statusUpdatedAt": now,
    }
    script = 'umask 077; cat >"$1"'
    done = box.try_(
        "sh", "-euc", script, "sh", f"{home}/sessions/{pid}.json", user=user, text=json.dumps(record)
    )
    assert done.returncode == 0, done.stderr
    return pid


CODEX = """
import ctypes, json, os, sys, time
ctypes.CDLL(None).prctl(15, b"codex")
os.umask(0o077)
home, session = sys.argv[1:]
day = time.strftime("%Y/%m/%d", time.gmtime())
os.makedirs(f"{home}/sessions/{day}", exist_ok=True)
name = time.strftime("rollout-%Y-%m-%dT%H-%M-%S", time.gmtime())
with open(f"{home}/sessions/{day}/{name}-{session}.jsonl", "a") as rollout:
    def line(kind, **payload):
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        rollout.write(json.dumps({"timestamp": at, "type": kind, "payload": payload}) + "\\n")
        rollout.flush()
    line("session_meta", id=session, cwd=os.getcwd(), cli_version="0.171.0", source="exec")
    line("event_msg", type="task_started", turn_id="t")
    line("response_item", type="function_call", call_id="c", name="exec_command", arguments="{}")
    while not os.path.exists(f"{home}/finish"):
        time.sleep(0.1)
    line("response_item", type="function_call_output", call_id="c", output="x")
    line("event_msg", type="task_complete", turn_id="t")
    time.sleep(3600)
"""


def begin_codex(box: Box, user: str, home: str, session: str, **environ: str) -> int:
    """Play a session of Codex of a user of the box: a process of its name that holds its rollout open."""
    box.path("/opt/coordd/codex.py").write_text(CODEX)
    unit = f"session-{session[:8]}"
    box.run("install", "-d", "-o", user, "-g", user, "-m", "0700", home)
    box.run(
        *("systemd-run", f"--unit={unit}", f"--uid={user}", f"--working-directory=/home/{user}"),
        *(f"--setenv={name}={value}" for name, value in environ.items()),
        *("/opt/coordd/bin/python", "/opt/coordd/codex.py", home, session),
    )
    eventually(lambda: box.shell(f"cat /proc/{box.main_pid(unit)}/comm").strip() == "codex")
    return box.main_pid(unit)


# its threads are named as those of node, so that its file alone says what it is
COPILOT = """
import ctypes, json, os, sys, time
ctypes.CDLL(None).prctl(15, b"MainThread")
os.umask(0o077)
home, session = sys.argv[1:]
folder = f"{home}/session-state/{session}"
os.makedirs(folder)
hold = open(f"{folder}/inuse.{os.getpid()}.hold", "w")
open(f"{folder}/inuse.{os.getpid()}.lock", "w").close()
with open(f"{folder}/events.jsonl", "a") as events:
    def event(kind, **data):
        at = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        events.write(json.dumps({"type": kind, "data": data, "timestamp": at}) + "\\n")
        events.flush()
    event("session.start", copilotVersion="1.0.102", context={"cwd": os.getcwd()}, selectedModel="m")
    event("user.message")
    event("assistant.turn_start", turnId="0")
    event("tool.execution_start", toolCallId="c", toolName="bash", arguments={})
    time.sleep(3600)
"""


def begin_copilot(box: Box, user: str, home: str, session: str) -> int:
    """Play a session of Copilot of a user of the box, whose home its process alone names."""
    box.path("/opt/coordd/copilot.py").write_text(COPILOT)
    box.shell(
        '[ -e /opt/coordd/bin/copilot ] || cp "$(realpath /opt/coordd/bin/python)" /opt/coordd/bin/copilot'
    )
    unit = f"session-{session[:8]}"
    box.run("install", "-d", "-o", user, "-g", user, "-m", "0700", home)
    box.run(
        *("systemd-run", f"--unit={unit}", f"--uid={user}", f"--working-directory=/home/{user}"),
        *(
            f"--setenv=COPILOT_HOME={home}",
            "/opt/coordd/bin/copilot",
            "/opt/coordd/copilot.py",
            home,
            session,
        ),
    )
    eventually(lambda: box.shell(f"cat /proc/{box.main_pid(unit)}/comm").strip() == "MainThread")
    return box.main_pid(unit)


@pytest.fixture
def box(box: Box) -> Iterator[Box]:
    yield box
    for session in (SESSION, OTHER, CODEX_SESSION, NAMED_SESSION, COPILOT_SESSION):
        box.try_("systemctl", "stop", f"session-{session[:8]}")
    box.shell("rm -rf /home/carol/.claude /home/carol/.codex /srv/homes")
    box.run("coordd", "service", "install", "--system", "--no-read-homes")


def activities(box: Box) -> dict[str, str]:
    return {one["agent_id"]: one["activity"] for one in box.rpc("agents.list")["agents"]}


def test_sessions_of_other_users_are_seen_with_the_option_and_not_without(box: Box) -> None:
    box.run("chmod", "0700", "/home/carol")
    begin_session(box, "carol", "/home/carol/.claude", SESSION)
    box.run("systemctl", "restart", "coordd")
    assert SESSION not in activities(box)
    assert box.rpc("status")["daemon"]["reads_homes"] is False
    assert "--read-homes" in box.run("coordctl", "doctor")
    assert "coordd service install --system --read-homes" in box.run("coordctl", "workspaces")

    said = box.run("coordd", "service", "install", "--system", "--read-homes")
    assert f"written    {DROP_IN}" in said
    assert "CAP_DAC_READ_SEARCH and CAP_SYS_PTRACE" in said
    assert "  2.0, and 1.4 without it." in said
    eventually(lambda: activities(box).get(SESSION) == "waiting", what="carol's session is seen")
    assert box.rpc("status")["daemon"]["reads_homes"] is True
    assert "those of all users are read" in box.try_("coordctl", "status").stdout
    assert "homes of all users are read" in box.run("coordctl", "doctor")
    assert "homes of coding agents of all users are read" in box.run("coordctl", "workspaces")

    # a home that its process alone names, of a user who comes later
    box.run("install", "-d", "-m", "0711", "/srv/homes")
    begin_session(box, "bob", "/srv/homes/bob", OTHER)
    box.run("coordctl", "reload")
    eventually(lambda: activities(box).get(OTHER) == "waiting", what="bob's session is seen")

    pid = box.main_pid()
    again = box.run("coordd", "service", "install", "--system")
    assert "nothing has changed" in again, "an upgrade keeps it"
    assert "granted" in again
    assert box.main_pid() == pid
    back = box.run("coordd", "service", "install", "--system", "--no-read-homes")
    assert f"removed    {DROP_IN}" in back
    assert "granted" not in back
    assert not box.path(DROP_IN).parent.exists()
    eventually(lambda: box.rpc("status")["daemon"]["reads_homes"] is False)
    eventually(lambda: activities(box).get(SESSION) != "waiting", what="nothing tells of it any more")
    assert not {SESSION, OTHER} & {one for one, what in activities(box).items() if what != "unknown"}


def test_sessions_of_codex_of_other_users_are_seen_with_the_option_and_not_without(box: Box) -> None:
    box.run("chmod", "0700", "/home/carol")
    pid = begin_codex(box, "carol", "/home/carol/.codex", CODEX_SESSION)
    box.run("systemctl", "restart", "coordd")
    assert CODEX_SESSION not in activities(box)
    box.run("coordd", "service", "install", "--system", "--read-homes")
    eventually(lambda: activities(box).get(CODEX_SESSION) == "working", what="carol's session is seen")
    found = {one["agent_id"]: one for one in box.rpc("agents.list")["agents"]}[CODEX_SESSION]
    expected = {"kind": "codex", "pid": pid, "tool": "exec_command", "workspace": "/home/carol"}
    assert {name: found[name] for name in expected} == expected

    # a rollout that was moved is held as before; what is written to it is told
    box.run("mv", "/home/carol/.codex/sessions", "/home/carol/.codex/old")
    box.run("touch", "/home/carol/.codex/finish")
    eventually(lambda: activities(box).get(CODEX_SESSION) == "idle", what="its turn is over")

    # a home that its process alone names, of a user who comes later
    box.run("install", "-d", "-m", "0711", "/srv/homes")
    home = "/srv/homes/bobs-codex"
    begin_codex(box, "bob", home, NAMED_SESSION, CODEX_HOME=home)
    box.run("coordctl", "reload")
    eventually(lambda: activities(box).get(NAMED_SESSION) == "working", what="bob's session is seen")

    box.run("systemctl", "stop", f"session-{CODEX_SESSION[:8]}", f"session-{NAMED_SESSION[:8]}")

    def reasons() -> dict[str, str]:
        return {one["agent_id"]: one["reason"] for one in box.rpc("agents.list")["agents"]}

    eventually(lambda: reasons().get(CODEX_SESSION) == "ended", what="after its turn")
    eventually(lambda: reasons().get(NAMED_SESSION) == "killed", what="in its turn")


def test_a_session_of_copilot_of_another_user_is_seen_with_the_option_and_not_without(box: Box) -> None:
    box.run("install", "-d", "-m", "0711", "/srv/homes")
    pid = begin_copilot(box, "carol", "/srv/homes/carols-copilot", COPILOT_SESSION)
    box.run("systemctl", "restart", "coordd")
    assert COPILOT_SESSION not in activities(box)
    box.run("coordd", "service", "install", "--system", "--read-homes")
    eventually(lambda: activities(box).get(COPILOT_SESSION) == "working", what="carol's session is seen")
    found = {one["agent_id"]: one for one in box.rpc("agents.list")["agents"]}[COPILOT_SESSION]
    expected = {"kind": "copilot", "pid": pid, "tool": "bash", "workspace": "/home/carol"}
    assert {name: found[name] for name in expected} == expected
    box.run("systemctl", "kill", "--signal=SIGKILL", f"session-{COPILOT_SESSION[:8]}")
    eventually(
        lambda: [one["reason"] for one in box.rpc("agents.list")["agents"] if one["pid"] == pid] == ["killed"]
    )


def test_a_project_that_is_closed_to_others_is_readable_with_it(box: Box) -> None:
    box.run("mkdir", "-p", "/home/carol/src/web/.claude/coordination/agents", user="carol")
    box.run("chmod", "0700", "/home/carol")
    path = box.path("/etc/coordd/coordd.toml")
    path.write_text(path.read_text().replace('["/home/ann/src/*"]', '["/home/carol/src/web"]'))
    assert "fail       /home/carol/src/web" in box.run("coordd", "service", "install", "--system")
    said = box.run("coordd", "service", "install", "--system", "--read-homes")
    assert "/home/carol/src/web is readable for coordd" in said
    workspaces = eventually(lambda: box.rpc("status")["workspaces"])
    assert [one["state"] for one in workspaces] == ["inotify"]
    assert "is readable" in box.run("coordctl", "doctor")


def test_the_exposure_is_what_is_said(box: Box) -> None:
    box.run("coordd", "service", "install", "--system", "--read-homes")
    assert box.run("coordd", "service", "print", "--system", "--read-homes") == box.path(DROP_IN).read_text()
    done = box.try_("systemd-analyze", "security", "--no-pager", "--threshold=20", "coordd.service")
    assert done.returncode == 0, done.stdout[-200:]
    checked = box.try_("systemd-analyze", "verify", "--man=no", "/etc/systemd/system/coordd.service")
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
    without = box.try_("systemd-analyze", "security", "--no-pager", "--threshold=19", "coordd.service")
    assert without.returncode != 0, "then a smaller figure is true, and has to be said"


def test_it_may_read_and_look_and_do_nothing_more(box: Box) -> None:
    more = PROBE.replace(
        "outcome = {}", 'attempts["write into a process"] = write("/proc/1/mem")\noutcome = {}'
    )
    box.path("/opt/coordd/probe.py").write_text(more)
    box.run("coordd", "service", "install", "--system", "--read-homes")
    box.drop_in("[Service]\nExecStartPost=/opt/coordd/bin/python /opt/coordd/probe.py\n")
    box.run("systemctl", "restart", "coordd")
    outcome = json.loads(box.path("/var/lib/coordd/probe.json").read_text())
    box.path("/var/lib/coordd/probe.json").unlink()
    assert {name for name, said in outcome.items() if said == "SUCCEEDED"} == {"read shadow"}
    fields = box.path(f"/proc/{box.main_pid()}/status").read_text()
    assert f"CapEff:\t{1 << 2 | 1 << 19:016x}" in fields
    assert f"CapBnd:\t{1 << 2 | 1 << 19:016x}" in fields


def test_uninstalling_takes_it_away(box: Box) -> None:
    box.run("coordd", "service", "install", "--system", "--read-homes")
    assert f"removed    {DROP_IN}" in box.run("coordd", "service", "uninstall", "--system")
    assert not box.path(DROP_IN).exists()
    box.run("coordd", "service", "install", "--system")
    assert box.rpc("status")["daemon"]["reads_homes"] is False


def test_it_is_for_the_system_alone(machine: Box) -> None:
    refused = machine.try_("coordd", "service", "install", "--read-homes", user="carol")
    assert refused.returncode == 2
    assert "--read-homes goes with --system" in refused.stderr
