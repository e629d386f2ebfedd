"""Imports run one way: up the list of folders, and nowhere in a circle, inside a folder either."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import coordd

PACKAGE = Path(coordd.__file__).resolve().parent
REPOSITORY = Path(__file__).resolve().parents[2]

SERVICE = (
    "errors",
    "model",
    "util",
    "runtime",
    "protocol",
    "records",
    "host",
    "config",
    "agents",
    "tasks",
    "redislink",
    "sources",
    "sinks",
    "control",
    "intake",
    "service",
    "commands",
)
"""The daemon, from values to what builds it: a row imports itself and rows above it, nothing else."""

SHARED = {"errors", "model", "util", "protocol", "records"}
"""What clients know: both ends of the socket, record files, and values."""

CLIENTS = {
    "dashboard": SHARED,
    "alerts": SHARED,
    "cli": SHARED | {"dashboard"},  # coordctl dashboard starts it
    # beside the daemon: writes what starts daemon and dashboard, and checks it as the doctor does
    "installer": SHARED | {"config", "cli", "dashboard"},
}

ROOT = {"__init__", "__main__", "errors", "model"}
"""The only modules that lie in no folder."""

PURE = ("agents", "tasks", "model", "errors")
"""Values and decisions: no files, no sockets, no clocks, no threads."""
IMPURE = {"os", "io", "socket", "time", "asyncio", "threading", "subprocess", "tempfile", "shutil"}

HEAVY = {"redis", "psutil", "apscheduler", "asyncio", "msgspec", "daemon"}
"""What would make coordctl slow to start."""
FOR_SERVERS = {"util/asyncio_without_ssl.py", "util/log_limit.py", "util/one_at_a_time.py"}
"""Shared by what runs an event loop (daemon, dashboard, alerts); no command of coordctl imports them."""


def folder(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def module_file(name: str) -> Path | None:
    """The file of ``coordd.util.text``; None for what is no module of coordd."""
    head, *rest = name.split(".")
    if head != "coordd":
        return None
    base = PACKAGE.joinpath(*rest)
    for path in (base.with_suffix(".py"), base / "__init__.py"):
        if path.is_file() and (rest or path.name == "__init__.py"):
            return path
    return None


def imported_names(path: Path) -> list[str]:
    """Every absolute name that a module imports, wherever in the file, as written."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
    return names


def imported_files(path: Path) -> set[Path]:
    """The modules of coordd that a module imports; of a name in a module, the module."""
    found = {module_file(name) or module_file(name.rpartition(".")[0]) for name in imported_names(path)}
    return {file for file in found if file is not None and file != path}


MODULES = sorted(PACKAGE.rglob("*.py"))
GRAPH = {path: imported_files(path) for path in MODULES}


def circles() -> list[list[str]]:
    """Groups of modules that import each other, however many steps apart (Tarjan 1972)."""
    index: dict[Path, int] = {}
    low: dict[Path, int] = {}
    stack: list[Path] = []
    found: list[list[str]] = []

    def visit(node: Path) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in GRAPH[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(str(path.relative_to(PACKAGE)) for path in group))

    for path in MODULES:
        if path not in index:
            visit(path)
    return found


def test_the_root_holds_folders_alone() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == ROOT
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    assert folders == (set(SERVICE) | set(CLIENTS)) - ROOT


@pytest.mark.parametrize("name", [*SERVICE, *CLIENTS])
def test_imports_run_up_the_list(name: str) -> None:
    allowed = set(SERVICE[: SERVICE.index(name)]) if name in SERVICE else CLIENTS[name]
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {other.relative_to(PACKAGE)}"
        for path in MODULES
        if folder(path) == name
        for other in sorted(GRAPH[path])
        if folder(other) not in allowed | {name, "__init__"}
    ]
    assert wrong == []


def test_nothing_imports_in_a_circle() -> None:
    assert circles() == []


@pytest.mark.parametrize("name", PURE)
def test_decisions_do_no_io(name: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in MODULES
        if folder(path) == name
        for module in imported_names(path)
        if module.split(".")[0] in IMPURE
    ]
    assert wrong == []


@pytest.mark.parametrize("name", sorted(SHARED))
def test_what_clients_share_is_light(name: str) -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {module}"
        for path in MODULES
        if folder(path) == name and str(path.relative_to(PACKAGE)) not in FOR_SERVERS
        for module in imported_names(path)
        if module.split(".")[0] in HEAVY
    ]
    assert wrong == []


def test_packaging_is_no_package() -> None:
    # It would shadow PyPI's packaging, which pytest imports.
    assert not list((REPOSITORY / "packaging").rglob("__init__.py"))
