"""Follow real processes: shells that register and go, containers, pids that are used again, kill -9."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest
import pytest_asyncio
from real_processes import process_of, python, sleeper
from waiting import until

from coordd.agents.observation import ObservationKey
from coordd.agents.process import Here
from coordd.agents.process_claim import claim_of_registration, claim_of_session
from coordd.agents.session import Session
from coordd.agents.source import SourceName
from coordd.agents.traces import Registration
from coordd.host import processes
from coordd.host.process_facts import Process
from coordd.intake.processes import ProcessIntake
from coordd.runtime.clocks import LoopMonitor
from coordd.runtime.process_watch import ProcessWatch
from coordd.runtime.schedule import Schedule
from coordd.runtime.worker import Worker

PLACE: ObservationKey = (SourceName("file", "/p"), "a")


class Followed:
    """An intake of processes over this machine, and what it tells."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace.resolve()
        self.told: list[tuple[str, Process | None]] = []
        self.worker = Worker("processes", replaceable=True)
        self.schedule = Schedule(
            loop_monitor=LoopMonitor(), on_step=lambda _seconds: None, on_gap=lambda _seconds: None
        )
        self.watch: ProcessWatch[Process] = ProcessWatch(lives=processes.lives, worker=self.worker)
        self.intake = ProcessIntake(
            machine=processes,
            here=Here(frozenset({"box"}), own_pid=os.getpid()),
            worker=self.worker,
            watch=self.watch,
            schedule=self.schedule,
        )
        self.intake.listener = self

    def register(self, pid: int, **fields: float | str | None) -> None:
        """Claim as an ``agents/a.active`` does that this user writes now."""
        told: dict[str, float | str | None] = {"owner": os.geteuid(), "written": time.time(), **fields}
        registration = Registration(pid=pid, **told)  # type: ignore[arg-type]  # fields are a test's own
        claim = claim_of_registration(registration, str(self.workspace))
        assert claim is not None
        self.intake.claim(PLACE, claim)

    def alive(self, places: Collection[ObservationKey], process: Process) -> None:
        self.told.append(("alive", process))

    def ended(self, places: Collection[ObservationKey], process: Process) -> None:
        self.told.append(("ended", process))

    def refused(self, places: Collection[ObservationKey]) -> None:
        self.told.append(("refused", None))

    def unclear(self, places: Collection[ObservationKey]) -> None:
        self.told.append(("unclear", None))


@pytest_asyncio.fixture
async def followed(tmp_path: Path) -> AsyncIterator[Followed]:
    followed = Followed(tmp_path)
    followed.schedule.start()
    yield followed
    followed.intake.stop()
    followed.watch.close()
    followed.schedule.stop()
    followed.worker.close()
    await asyncio.sleep(0)


async def test_an_agent_that_registers_is_alive_until_it_is_killed(followed: Followed) -> None:
    with sleeper(cwd=followed.workspace) as child:
        process = process_of(child.pid)
        followed.register(child.pid)
        await until(lambda: followed.told == [("alive", process)])
        child.kill()
        await until(lambda: followed.told[1:] == [("ended", process)])


async def test_a_script_that_registers_its_shell_and_goes_never_counts(followed: Followed) -> None:
    with sleeper(cwd=followed.workspace) as shell:
        followed.register(shell.pid)
    await until(lambda: followed.told == [("refused", None)])
    assert followed.intake.refusal(PLACE) == "there is no such process"


@pytest.mark.parametrize(
    ("pid", "reason"),
    [
        (None, "coordd itself"),
        (1, "another user|no such process|pid 1"),
        (2**22 + 1, "no such process"),
    ],
)
async def test_what_a_shell_may_write_by_mistake_never_counts(
    followed: Followed, pid: int | None, reason: str
) -> None:
    followed.register(pid or os.getpid(), written=time.time() - 5)
    await until(lambda: followed.told == [("refused", None)])
    assert re.search(reason, followed.intake.refusal(PLACE) or "")


async def test_a_process_that_works_elsewhere_or_began_later_does_not_count(
    followed: Followed, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with sleeper(cwd=tmp_path_factory.mktemp("elsewhere")) as child:
        followed.register(child.pid)
        await until(lambda: followed.intake.refusal(PLACE))
        assert followed.intake.refusal(PLACE) == "its working directory lies outside the workspace"
        followed.register(child.pid, written=time.time() - 60)
        await until(lambda: "started after" in (followed.intake.refusal(PLACE) or ""))
        followed.register(child.pid, proc_start=float(process_of(child.pid).start))
        await until(lambda: followed.intake.phase(PLACE) == "alive")


async def test_a_session_whose_process_has_ended_meanwhile_is_told_of(followed: Followed) -> None:
    with sleeper() as child:
        process = process_of(child.pid)
    claim = claim_of_session(Session("claude-code", "s", process))
    assert claim is not None
    followed.intake.claim(PLACE, claim)
    await until(lambda: followed.told == [("ended", process)])


IN_CONTAINER = """
import os, subprocess, sys
code = '''
import os, sys
start = open("/proc/self/stat").read().rpartition(")")[2].split()[19]
print(os.getpid(), start, flush=True)
sys.stdin.read()
'''
child = subprocess.Popen(["unshare", "-pf", "--mount-proc", "--kill-child", sys.executable, "-c", code])
child.wait()
"""


@pytest.mark.root
@pytest.mark.parametrize("forked", [False, True], ids=["pid 1 of it", "another of it"])
async def test_a_process_of_a_container_is_found_and_its_end_told(followed: Followed, forked: bool) -> None:
    code = IN_CONTAINER.replace("import os, sys\nstart", "import os, sys\nif os.fork(): os.wait()\nstart")
    with python(code if forked else IN_CONTAINER) as starter:
        inner, start = map(int, starter.said.split())  # type: ignore[attr-defined]  # see python()
        assert (inner == 1) is not forked
        followed.register(inner, proc_start=float(start), hostname="f3a9c1")
        await until(lambda: followed.told)
        ((what, process),) = followed.told
        assert what == "alive"
        assert process is not None
        assert process.start == start
        assert process.pid != inner
        facts = followed.intake.facts(process)
        assert facts is not None
        assert (facts.inner, facts.inner_pid) == (True, inner)
        os.kill(process.pid, 9)
        await until(lambda: followed.told[1:] == [("ended", process)])


USED_AGAIN = """
import asyncio, os, subprocess, sys, time
from coordd.host import processes
from coordd.host.process_facts import Process
from coordd.runtime.process_watch import ProcessWatch
from coordd.runtime.worker import Worker

def start():
    child = subprocess.Popen(["sleep", "600"])
    return child, Process(child.pid, processes.start_of(child.pid))

def again(pid):
    while True:
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(pid - 1))
        child, process = start()
        if process.pid == pid:
            return child, process
        child.kill()
        child.wait()

async def main():
    worker = Worker("w", replaceable=True)
    watch = ProcessWatch(lives=processes.lives, worker=worker)
    ends = []
    child, first = start()
    watch.watch(first, ends.append)
    while time.clock_gettime(time.CLOCK_BOOTTIME) * os.sysconf("SC_CLK_TCK") < first.start + 3:
        await asyncio.sleep(0.01)
    child.kill()
    child.wait()
    child, second = again(first.pid)
    assert second.pid == first.pid and second.start > first.start, (first, second)
    assert processes.lives(second) and not processes.lives(first)
    while not ends:
        await asyncio.sleep(0.01)
    assert ends == [first]
    watch.watch(second, ends.append)
    watch.watch(first, ends.append)   # its pid is another's by now
    while len(ends) < 2:
        await asyncio.sleep(0.01)
    assert ends == [first, first] and watch.watched == 1
    child.kill()
    while len(ends) < 3:
        await asyncio.sleep(0.01)
    assert ends[2] == second
    worker.close()
    child.wait()

asyncio.run(main())
print("done")
"""


@pytest.mark.root
def test_a_pid_that_is_used_again_is_another_process() -> None:
    ran = subprocess.run(
        ["unshare", "-pf", "--mount-proc", "--kill-child", sys.executable, "-c", USED_AGAIN],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("done\n", "")


HIDDEN = """
import os, subprocess, sys
from coordd.host import processes
from coordd.host.process_facts import ProbeFailed, Process
child = subprocess.Popen(["sleep", "600"])
process = Process(child.pid, processes.start_of(child.pid))
subprocess.run(["mount", "-o", "remount,hidepid=" + sys.argv[1], "/proc"], check=True)
os.setgroups([])  # procfs hides nothing from its group, 0
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
assert processes.lives(process) is None
try:
    print(processes.look(process.pid))
except ProbeFailed:
    print("says nothing")
assert processes.look(4194301) is None
"""


@pytest.mark.root
@pytest.mark.parametrize("hidepid", ["1", "2"])
def test_a_procfs_that_hides_processes_says_nothing_of_them(hidepid: str) -> None:
    """In a pid namespace of its own, whose procfs may be mounted otherwise."""
    ran = subprocess.run(
        ["unshare", "-pf", "--mount-proc", "--kill-child", sys.executable, "-c", HIDDEN, hidepid],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("says nothing\n", "")
