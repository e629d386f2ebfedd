"""Compare two source trees by turns, in one run: memory, start, status, socket, lists, heartbeats.

    python tests/bench/compare.py 35a2750 .            a revision of this repository, and this checkout
    python tests/bench/compare.py OLD NEW start socket two directories, some of it

Both daemons run side by side on projects of their own, and are asked by turns in short rounds. Each value is
the median of the rounds, and CPU time stands beside wall-clock time, so that a busy machine moves neither the
ratio nor, much, the values. Linux only; figures of Redis need a server.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import io
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from asking import one_by_one, together
from harness import (
    ROOT,
    Agents,
    Client,
    Daemon,
    Settings,
    anonymous,
    cpu_seconds,
    daemon,
    median,
    percentile,
    request,
    resident,
    until,
    wait_for_agents,
    wall_and_cpu,
    workspace,
)
from intake import burst, timed_burst, wait_for_samples
from startup import STATUS
from throughredis import Fleet, scene

Values = dict[str, float]
"""Of one round: figures by their names, each with its unit."""
Probe = Callable[[], Values]
Row = tuple[str, float, float]
"""A figure's name with its unit, and its value in the first and in the second tree."""
Trees = tuple[Path, Path]

COLUMNS = "{:<52} {:>11} {:>11} {:>7}"
SETTLED = 10.0
"""Seconds after the start at which memory is read: what starting took is given back by then."""


def memory(settings: Settings, trees: Trees) -> Iterator[Row]:
    """Resident memory with agents in files, what each agent adds, and with agents in Redis."""
    sizes: dict[int, list[float]] = {}
    for count in (100, 1000, 10_000):
        with _services(settings, trees, count) as services:
            time.sleep(SETTLED)
            yield from by_turns(
                1, *(_sizes(service, f"{count:,} agents, files") for service, _, _ in services)
            )
            sizes[count] = [float(resident(service.pid) or 0) for service, _, _ in services]
    before, after = ((sizes[10_000][i] - sizes[1000][i]) / 9000 / 1e3 for i in (0, 1))
    yield "growth an agent, 1,000 to 10,000, kB", before, after
    with _redis_services(settings, trees, 100) as services:
        time.sleep(SETTLED)
        yield from by_turns(1, *(_sizes(service, "100 agents, Redis") for service, _ in services))


def start(settings: Settings, trees: Trees) -> Iterator[Row]:
    """From the spawn of a daemon to its answer to a ping, with 100 agents."""
    with contextlib.ExitStack() as stack:
        roots = [stack.enter_context(workspace(settings)) for _ in trees]
        for root in roots:
            Agents(root, 100)
        probes = [_first_answer(root, tree) for root, tree in zip(roots, trees, strict=True)]
        for probe in probes:
            probe()  # the disk's cache
        yield from by_turns(settings.pick(5, 9), *probes)


def status(settings: Settings, trees: Trees) -> Iterator[Row]:
    """``coordctl status`` with 100 agents."""
    with _services(settings, trees, 100) as services:
        probes = [
            _command(service.workspace, tree) for (service, _, _), tree in zip(services, trees, strict=True)
        ]
        for probe in probes:
            probe()
        yield from by_turns(settings.pick(9, 15), *probes)


def socket(settings: Settings, trees: Trees) -> Iterator[Row]:
    """``status`` asked by one client after the other, and by 32 together; 1,000 agents."""
    with _services(settings, trees, 1000) as services:
        yield from by_turns(
            settings.pick(15, 40), *(_asking(service, client) for service, client, _ in services)
        )
        seconds = settings.pick(1, 2) / 2
        yield from by_turns(settings.pick(3, 7), *(_crowd(service, seconds) for service, _, _ in services))


def lists(settings: Settings, trees: Trees) -> Iterator[Row]:
    """``agents.list`` of 1,000 agents, while nothing changes and after each heartbeat."""
    with _services(settings, trees, 1000) as services:
        rounds = settings.pick(10, 30)
        yield from by_turns(rounds, *(_unchanged(service, client) for service, client, _ in services))
        yield from by_turns(rounds, *(_changed(*one) for one in services))


def beats(settings: Settings, trees: Trees) -> Iterator[Row]:
    """Heartbeats that the daemon takes in for each second of its CPU time, all beating at once."""
    rounds, count = settings.pick(3, 7), settings.pick(1000, 5000)
    with _services(settings, trees, count) as services:
        for service, _, _ in services:
            wait_for_samples(service, count)
        yield from by_turns(rounds, *(_burst(service, agents) for service, _, agents in services))
    with _redis_services(settings, trees, count) as services:
        yield from by_turns(rounds, *(_redis_burst(service, fleet) for service, fleet in services))


MEASUREMENTS = {
    "memory": memory,
    "start": start,
    "status": status,
    "socket": socket,
    "lists": lists,
    "beats": beats,
}


def by_turns(rounds: int, *probes: Probe) -> Iterator[Row]:
    """Run both probes so many times, each first in every second round; a row for each of their figures."""
    found: tuple[list[Values], list[Values]] = ([], [])
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            found[which].append(probes[which]())
    for name in found[0][0]:
        before, after = (median([values[name] for values in side]) for side in found)
        yield name, before, after


def _sizes(service: Daemon, what: str) -> Probe:
    return lambda: {
        f"resident, {what}, MB": (resident(service.pid) or 0) / 1e6,
        f"of it anonymous, {what}, MB": (anonymous(service.pid) or 0) / 1e6,
    }


def _first_answer(root: str, tree: Path) -> Probe:
    def probe() -> Values:
        begin = time.perf_counter()
        with daemon(root, tree=tree) as service:
            client = service.wait_until_it_answers()
            took, cpu = time.perf_counter() - begin, _cpu(service)
            client.close()
        return {"spawn to first answer, ms": took * 1e3, "its CPU time, ms": cpu * 1e3}

    return probe


def _command(root: str, tree: Path) -> Probe:
    def probe() -> Values:
        took, cpu = wall_and_cpu(STATUS, cwd=root, tree=tree)
        return {"coordctl status, ms": took * 1e3, "CPU time of coordctl status, ms": cpu * 1e3}

    return probe


def _asking(service: Daemon, client: Client, count: int = 200) -> Probe:
    def probe() -> Values:
        cpu = _cpu(service)
        took = one_by_one(client, count)
        spent = _cpu(service) - cpu
        return {
            "socket status, 1 client, p50, us": percentile(took, 50) * 1e6,
            "socket status, 1 client, p99, us": percentile(took, 99) * 1e6,
            "CPU time for each, us": spent / count * 1e6,
        }

    return probe


def _crowd(service: Daemon, seconds: float) -> Probe:
    def probe() -> Values:
        cpu = _cpu(service)
        rate = together(service.socket, 32, seconds)
        spent = _cpu(service) - cpu
        return {
            "socket status, 32 clients, /s": rate,
            "CPU time for each of 32 clients' requests, us": spent / (rate * seconds) * 1e6,
        }

    return probe


def _unchanged(service: Daemon, client: Client, count: int = 20) -> Probe:
    def probe() -> Values:
        cpu = _cpu(service)
        took = one_by_one(client, count, request("agents.list"))
        spent = _cpu(service) - cpu
        return {
            "agents.list unchanged, p50, us": median(took) * 1e6,
            "its CPU time, us": spent / count * 1e6,
        }

    return probe


def _changed(service: Daemon, client: Client, agents: Agents, count: int = 5) -> Probe:
    def probe() -> Values:
        took, spent = [], 0.0
        for index in range(count):
            written, agent_id = agents.beat(index), agents.ids[index]
            until(
                lambda agent_id=agent_id, written=written: (  # type: ignore[misc]  # a default has no type
                    client.call("agents.get", agent_id=agent_id)["last_heartbeat"] == written
                ),
                pause=0.002,
            )
            cpu = _cpu(service)
            took += one_by_one(client, 1, request("agents.list"))
            spent += _cpu(service) - cpu
        return {
            "agents.list after a change, p50, us": median(took) * 1e6,
            "CPU time of it after a change, us": spent / count * 1e6,
        }

    return probe


def _burst(service: Daemon, agents: Agents) -> Probe:
    def probe() -> Values:
        rate, effort = burst(agents, service)
        return {"heartbeats, files, /s": rate, "heartbeats a CPU second, files": effort or 0.0}

    return probe


def _redis_burst(service: Daemon, fleet: Fleet) -> Probe:
    def probe() -> Values:
        rate, effort = timed_burst(service, len(fleet.ids), fleet.beat_all)
        time.sleep(1)  # until the samples are in Redis as well
        return {"heartbeats, Redis, /s": rate, "heartbeats a CPU second, Redis": effort or 0.0}

    return probe


@contextlib.contextmanager
def _services(settings: Settings, trees: Trees, count: int) -> Iterator[list[tuple[Daemon, Client, Agents]]]:
    """A daemon of each tree that knows so many agents, its client, and the agents."""
    with contextlib.ExitStack() as stack:
        services = []
        for tree in trees:
            root = stack.enter_context(workspace(settings))
            agents = Agents(root, count)
            service = stack.enter_context(daemon(root, tree=tree))
            client = service.wait_until_it_answers()
            stack.callback(client.close)
            wait_for_agents(client, count)
            services.append((service, client, agents))
        yield services


@contextlib.contextmanager
def _redis_services(settings: Settings, trees: Trees, count: int) -> Iterator[list[tuple[Daemon, Fleet]]]:
    """A daemon of each tree, with so many agents in a Redis of its own."""
    with contextlib.ExitStack() as stack:
        services = []
        for tree in trees:
            fleet, service, _ = stack.enter_context(scene(settings, count, tree=tree))
            services.append((service, fleet))
        yield services


def _cpu(service: Daemon) -> float:
    spent = cpu_seconds(service.pid)
    if spent is None:
        raise RuntimeError("this system does not tell a process's CPU time")
    return spent


def _tree(name: str, place: Path) -> Path:
    """Return the directory of that name, else the revision of that name, unpacked in ``place``."""
    if (Path(name) / "coordd").is_dir():
        tree = Path(name).resolve()
    else:
        archive = ["git", "-C", str(ROOT), "archive", name, "coordd", "packaging"]
        packed = subprocess.run(archive, stdout=subprocess.PIPE, check=True).stdout
        tree = place
        with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
            tar.extractall(tree, filter="data")
    compileall.compile_dir(tree / "coordd", quiet=1)
    return tree


def main() -> int:
    """Measure, print a row as soon as it is known."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("before", help="a source tree, or a revision of this repository")
    parser.add_argument("after", help="another")
    parser.add_argument("only", nargs="*", metavar="WHAT", help=f"some of: {', '.join(MEASUREMENTS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds")
    parser.add_argument("--dir", help="where the temporary projects lie; default: the system's choice")
    options = parser.parse_args()
    if unknown := set(options.only) - set(MEASUREMENTS):
        parser.error(f"no measurement is called {', '.join(sorted(unknown))}")
    settings = Settings(quick=options.quick, directory=options.dir)
    with tempfile.TemporaryDirectory() as place:
        trees = _tree(options.before, Path(place) / "before"), _tree(options.after, Path(place) / "after")
        print(COLUMNS.format("figure", options.before[-11:], options.after[-11:], "ratio"), flush=True)
        for name, measure in MEASUREMENTS.items():
            if not options.only or name in options.only:
                for figure, before, after in measure(settings, trees):
                    ratio = f"{after / before:.2f}x" if before else "-"
                    print(COLUMNS.format(figure, _number(before), _number(after), ratio), flush=True)
    return 0


def _number(value: float) -> str:
    return f"{value:,.2f}" if value < 10 else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


if __name__ == "__main__":
    sys.exit(main())
