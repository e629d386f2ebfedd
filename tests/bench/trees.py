"""Measure one pass over the process trees of 200 agents of ten processes each: the processor time of it.

``python tests/bench/trees.py`` starts 2,000 processes that only wait, a tenth of them re-parented, and makes
passes as the daemon does: all that a pass looks at, and all that it concludes. Linux only.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from statistics import median

from harness import ROOT

sys.path.insert(0, str(ROOT))

from coordd.host import processes
from coordd.host.forest import NOTHING, survey
from coordd.host.process_facts import Process

TREES, SIZE, PASSES = 200, 10, 40
TARGET = 60.0
"""Milliseconds of processor time."""
_FORKS = """
import os, signal, sys
count, size = int(sys.argv[1]), int(sys.argv[2])
def below(number):
    for _ in range(number):
        if os.fork() == 0:
            signal.pause()
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
roots = []
for _ in range(count):
    pid = os.fork()
    if pid == 0:
        if os.fork() == 0:  # what it starts is re-parented
            if os.fork() == 0:
                signal.pause()
            os._exit(0)
        below(size - 1)
        signal.pause()
    roots.append(pid)
print(*roots, flush=True)
sys.stdin.read()
os.killpg(0, signal.SIGKILL)
"""


@contextlib.contextmanager
def forest() -> Iterator[list[Process]]:
    """Have all these processes until the end of the block; return the roots."""
    parent = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FORKS, str(TREES), str(SIZE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    try:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        while sum(1 for one in processes.uses() if one.parent in pids) < TREES * (SIZE - 1):
            time.sleep(0.1)
        yield [Process(pid, start) for pid in pids if (start := processes.start_of(pid)) is not None]
    finally:
        parent.stdin.close()
        parent.wait()


def main() -> int:
    """Print the figures; return the exit code."""
    with forest() as roots:
        wanted = dict.fromkeys(roots)
        remembered, whole, looked = NOTHING, [], []
        for _ in range(PASSES):
            began = time.thread_time()
            uses = list(processes.uses())
            looked.append(time.thread_time() - began)
            found = survey(uses, wanted, remembered=remembered)
            whole.append(time.thread_time() - began)
            remembered = found.remembered
        sizes = [tree.processes for tree in found.trees.values()]
    print(f"{len(uses)} processes, {len(sizes)} trees of {median(sizes):.0f}")
    print(f"one pass: {median(whole) * 1000:.1f} ms of processor time (at most {TARGET:.0f})")
    print(f"of it looking at all processes: {median(looked) * 1000:.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
