"""Imports run one way, down the list; clients and service never import each other."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import coordd

PACKAGE = Path(coordd.__file__).resolve().parent
REPOSITORY = Path(__file__).resolve().parents[2]

VALUES = {
    "__init__",
    "model",
    "errors",
    "timestamps",
    "units",
    "text",
    "traces",
    "liveness",
    "clocks",
    "reducer",
    "claims",
    "deadlines",
    "rooms",
    "doubles",
    "departures",
    "news",
    "merge",
    "sightings",
    "roll",
    "wire",
    "sockets",
    "quickjson",
    "config",
    "config_agents",
    "config_kinds",
    "config_project",
    "config_sources",
    "config_table",
    "config_url",
    "layout",
    "parts",
    "manifest",
    "ages",
    "history",
    "loglimit",
    "fairqueue",
    "oneatatime",
    "doors",
    "memory",
    "directories",
    "safeopen",
    "origin",
}
SOURCES_AND_SINKS = {
    "host",
    "coordination",
    "redislink",
    "sinks",
    "snapshotfile",
    "holding",
    "lock",
    "peer",
    "worker",
    "configfile",
    "notify",
    "lean",
}
STATE = {
    "past",
    "upkeep",
    "state",
    "schedule",
    "steady",
    "recorder",
    "pipeline",
    "hosting",
    "restore",
    "snapshot",
    "document",
    "hub",
    "hands",
    "tasks",
    "tasklist",
    "tasklog",
    "judging",
    "sight",
    "evidence",
    "redisstate",
    "redisfeed",
    "agentlog",
    "supervision",
}
SERVICE = {
    "server",
    "turns",
    "connection",
    "rpc",
    "methods",
    "listening",
    "inherited",
    "detached",
    "holder",
    "logfile",
    "logs",
    "daemon",
    "main",
    "launch",
    "background",
    "__main__",
    "places",
    "redisservice",
    "lastrun",
    "rounds",
}
CLIENTS = {"client", "cli", "dashboard"}
TOOLS = {"installer"}
"""Beside the daemon: they know values, ask as clients do, and nothing of the daemon's inside."""

LEVELS = [VALUES, SOURCES_AND_SINKS, STATE, SERVICE]
CLIENT_MAY = {"errors", "model", "wire", "timestamps", "units", "text", "sockets", "quickjson", "__init__"}
CLIENT_MAY |= {"doors", "memory", "oneatatime"}  # the dashboard is a server too
CLIENT_MAY |= {"loglimit"}  # the dashboard logs
CLIENT_MAY |= {"directories", "safeopen", "origin"}  # and what lies in a project, with suspicion
CLIENT_MAY |= {"parts", "manifest", "ages", "history"}  # clients read record files themselves


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path: Path) -> set[str]:
    """The rooms of coordd that a module imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [node.module or ""]
            if node.module == "coordd":
                names = [f"coordd.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        for name in names:
            head, _, rest = name.partition(".")
            if head == "coordd":
                inner = rest.split(".")[0]
                found.add("__init__" if inner in ("", "__version__") else inner)
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


def test_every_module_has_its_room() -> None:
    rooms = {room(path) for path in MODULES}
    assert rooms - set().union(*LEVELS, CLIENTS, TOOLS) == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_down(path: Path) -> None:
    own = room(path)
    used = imports(path) - {own}
    if own in CLIENTS:
        assert used <= CLIENT_MAY | CLIENTS
        return
    if own in TOOLS:
        assert used <= VALUES | CLIENTS
        return
    level = next(i for i, rooms in enumerate(LEVELS) if own in rooms)
    allowed = set().union(*LEVELS[: level + 1])
    assert used <= allowed, f"{own} imports upwards or a client: {sorted(used - allowed)}"


@pytest.mark.parametrize("name", ["model", "liveness", "clocks", "reducer", "traces", "timestamps", "wire"])
def test_values_do_no_io(name: str) -> None:
    tree = ast.parse((PACKAGE / f"{name}.py").read_text())
    used = {
        alias.name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {(node.module or "").split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert used & {"os", "io", "socket", "time", "asyncio", "threading", "subprocess"} == set()


def test_packaging_is_no_package() -> None:
    # It would shadow PyPI's packaging, which pytest imports.
    assert not list((REPOSITORY / "packaging").rglob("__init__.py"))
