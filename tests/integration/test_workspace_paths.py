"""One coordination folder is one workspace, by whatever paths; worktrees and new projects appear at once.

The real daemon on real directories, with real git. What has to be noticed is awaited for less than the time
after which the daemon looks for workspaces anyway.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from live import Coordd, Project, running, utc_now
from redisd import RedisServer
from sessions import Home
from waiting import eventually

NOTICED = 20.0
"""Seconds within which a change has to be noticed; looked for without being told it would be after 30."""

WITHOUT = "--bounding-set=-dac_override,-dac_read_search"
PLAIN_ROOT = ("setpriv", WITHOUT, "--inh-caps=-dac_override,-dac_read_search")
"""A user who may read what root owns, and nothing else."""

if shutil.which("git") is None:
    raise RuntimeError("these tests need git: .ci/run installs it")


@contextmanager
def watched(tmp_path: Path, *entries: object, arguments: tuple[str, ...] = ()) -> Iterator[Coordd]:
    """Run the user's daemon over these entries."""
    home = tmp_path / "home"
    named = [word for entry in entries for word in ("--workspace", str(entry))]
    sock = home / ".local/state/coordd/run/coordd.sock"
    # sessions of whoever runs the tests would be listed, too
    alone = {"COORDD_CLAUDE_CODE_ENABLED": "false"} if entries else {}
    with running(["--layout", "user", *named, *arguments], sock=sock, home=home, **alone) as daemon:
        yield daemon


def workspaces(daemon: Coordd) -> dict[str, dict[str, Any]]:
    return {one["path"]: one for one in daemon.rpc("status")["workspaces"]}


def aliases(daemon: Coordd) -> dict[str, set[str]]:
    return {path: set(one["aliases"]) for path, one in workspaces(daemon).items()}


def noticed(probe: Callable[[], object]) -> None:
    eventually(probe, within=NOTICED)


def agents(daemon: Coordd) -> list[tuple[str, str]]:
    """Return every agent that is listed, as often as it is, with its workspace."""
    return sorted((one["agent_id"], one["workspace"]) for one in daemon.rpc("agents.list")["agents"])


def repository(path: Path) -> Project:
    """Return a project that is a git repository with one commit."""
    project = Project(path, coordination=False)
    project.git("init", "-q")
    project.git("commit", "-q", "--allow-empty", "-m", "one")
    return project


def linked(path: Path, project: Project, part: str = ".claude") -> Path:
    """Return a directory whose ``.claude``, or coordination folder, is a link to a project's."""
    link = path / part
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(project.root / part)
    return path


@pytest.mark.parametrize("part", [".claude", ".claude/coordination"])
@pytest.mark.parametrize("entries", [("main", "one", "two"), ("*",), ("one", "two"), ("two", "*")])
def test_links_to_one_folder_count_nothing_twice(tmp_path: Path, part: str, entries: tuple[str, ...]) -> None:
    src = tmp_path / "src"
    main = Project(src / "main")
    main.beat("a")
    (main.coordination / "claims").mkdir()
    (main.coordination / "claims" / "t-1.claim").write_text(json.dumps({"agent_id": "a", "ttl": 300}))
    (main.coordination / "tasks").mkdir()
    (main.coordination / "tasks" / "t-2").touch()
    trees = {str(linked(src / name, main, part)) for name in ("one", "two")}
    with watched(tmp_path, *(src / entry for entry in entries)) as daemon:
        eventually(lambda: agents(daemon) == [("a", str(main.root))])
        assert aliases(daemon) == {str(main.root): trees}
        status = daemon.rpc("status")
        tasks = status["tasks"]
        assert (status["agents"]["total"], tasks["claimed"], tasks["available"]) == (1, 1, 1)
        assert len(daemon.rpc("tasks.list")["tasks"]) == 2
        main.beat("b")
        noticed(lambda: len(agents(daemon)) == 2)


def test_links_appear_change_and_vanish(tmp_path: Path) -> None:
    src = tmp_path / "src"
    main, other = Project(src / "main"), Project(src / "other")
    main.beat("a")
    other.beat("o")
    tree = src / "tree"
    with watched(tmp_path, src / "*") as daemon:
        eventually(lambda: len(agents(daemon)) == 2)
        before = agents(daemon)
        linked(tree, main)
        noticed(lambda: aliases(daemon)[str(main.root)] == {str(tree)})
        assert agents(daemon) == before
        (tree / ".claude").unlink()
        (tree / ".claude").symlink_to(other.claude)
        noticed(lambda: aliases(daemon) == {str(main.root): set(), str(other.root): {str(tree)}})
        (tree / ".claude").unlink()
        noticed(lambda: not any(aliases(daemon).values()))
        Project(tree).beat("t")
        noticed(lambda: ("t", str(tree)) in agents(daemon))
        assert len(agents(daemon)) == 3
        shutil.rmtree(tree / ".claude")
        (tree / ".claude").symlink_to(main.claude)
        noticed(lambda: aliases(daemon) == {str(main.root): {str(tree)}, str(other.root): set()})
        noticed(lambda: agents(daemon) == before)


def test_a_link_that_comes_before_what_it_leads_to(tmp_path: Path) -> None:
    late = tmp_path / "far" / "late"
    tree = tmp_path / "src" / "tree"
    tree.mkdir(parents=True)
    (tree / ".claude").symlink_to(late / ".claude")
    with watched(tmp_path, tree) as daemon:
        eventually(lambda: aliases(daemon) == {str(late): {str(tree)}})
        Project(late).beat("a")
        noticed(lambda: agents(daemon) == [("a", str(late))])


def test_what_a_link_alone_leads_to_leaves_with_the_link_and_not_before(tmp_path: Path) -> None:
    main = Project(tmp_path / "main")
    main.beat("a")
    tree = linked(tmp_path / "src" / "tree", main)
    with watched(tmp_path, tree.parent / "*") as daemon:
        eventually(lambda: agents(daemon) == [("a", str(main.root))])
        main.coordination.rename(tmp_path / "unmounted")
        noticed(lambda: workspaces(daemon)[str(main.root)]["state"] == "unreadable")
        assert agents(daemon) == [("a", str(main.root))]
        assert aliases(daemon) == {str(main.root): {str(tree)}}
        (tmp_path / "unmounted").rename(main.coordination)
        noticed(lambda: workspaces(daemon)[str(main.root)]["state"] == "inotify")
        (tree / ".claude").unlink()
        noticed(lambda: workspaces(daemon) == {})
        assert agents(daemon) == []


def test_links_that_lead_to_each_other_are_no_workspace_until_one_is_real(tmp_path: Path) -> None:
    one, two = tmp_path / "src" / "one", tmp_path / "src" / "two"
    for here, there in ((one, two), (two, one)):
        here.mkdir(parents=True)
        (here / ".claude").symlink_to(there / ".claude")
    with watched(tmp_path, one.parent / "*") as daemon:
        eventually(lambda: daemon.rpc("status")["workspace_entries"])
        assert workspaces(daemon) == {}
        (two / ".claude").unlink()
        Project(two).beat("a")
        noticed(lambda: agents(daemon) == [("a", str(two))])
        assert aliases(daemon) == {str(two): {str(one)}}


def test_a_folder_that_is_shared_from_elsewhere_is_one_workspace(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (shared / "agents").mkdir(parents=True)
    (shared / "agents" / "a.heartbeat").touch()
    src = tmp_path / "src"
    for name in ("one", "two"):
        (src / name / ".claude").mkdir(parents=True)
        (src / name / ".claude" / "coordination").symlink_to(shared)
    with watched(tmp_path, src / "*") as daemon:
        eventually(lambda: len(agents(daemon)) == 1)
        ((path, others),) = aliases(daemon).items()
        assert {path} | others == {str(src / "one"), str(src / "two")}
        (shared / "agents" / "b.heartbeat").touch()
        noticed(lambda: len(agents(daemon)) == 2)
        elsewhere = tmp_path / "elsewhere"
        (elsewhere / "agents").mkdir(parents=True)
        (elsewhere / "agents" / "c.heartbeat").touch()
        link = Path(path) / ".claude" / "coordination"
        link.unlink()
        link.symlink_to(elsewhere)
        noticed(lambda: ("c", path) in agents(daemon) and len(agents(daemon)) == 3)


def test_a_link_in_the_path_of_a_project_is_an_alias(tmp_path: Path) -> None:
    project, other = Project(tmp_path / "disk" / "app"), Project(tmp_path / "new" / "app")
    project.beat("a")
    other.beat("b")
    way = tmp_path / "src"
    way.symlink_to(tmp_path / "disk")
    with watched(tmp_path, way / "app") as daemon:
        eventually(lambda: agents(daemon) == [("a", str(project.root))])
        assert aliases(daemon) == {str(project.root): {str(way / "app")}}
        way.unlink()
        way.symlink_to(tmp_path / "new")
        noticed(lambda: agents(daemon) == [("b", str(other.root))])


@pytest.mark.root
def test_a_bind_mount_is_an_alias(tmp_path: Path) -> None:
    project = Project(tmp_path / "app")
    project.beat("a")
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    subprocess.run(["mount", "--bind", project.root, mounted], check=True)
    try:
        with watched(tmp_path, project.root, mounted) as daemon:
            eventually(lambda: agents(daemon) == [("a", str(project.root))])
            assert aliases(daemon) == {str(project.root): {str(mounted)}}
    finally:
        subprocess.run(["umount", mounted], check=True)


@pytest.mark.root
def test_somebodys_link_shows_nobody_elses_agents(tmp_path: Path) -> None:
    private = Project(tmp_path / "private")
    private.beat("secret")
    subprocess.run(["chown", "-R", "1001", private.root], check=True)
    os.chmod(tmp_path, 0o755)
    link = linked(tmp_path / "src" / "mine", private)
    os.chown(link / ".claude", 1002, 1002, follow_symlinks=False)
    with watched(tmp_path, tmp_path / "src" / "*") as daemon:
        status = eventually(lambda: daemon.rpc("status"))
        assert status["agents"]["total"] == 0
        assert status["health"] == "degraded"
        assert any("a link of uid 1002 to what is uid 1001's" in one for one in status["problems"])
        os.chown(link / ".claude", 1001, 1001, follow_symlinks=False)
        (link / ".claude").rename(link / "x")
        (link / "x").rename(link / ".claude")
        noticed(lambda: agents(daemon) == [("secret", str(private.root))])
        assert daemon.rpc("status")["problems"] == []


def test_redis_and_a_folder_behind_links_pair(tmp_path: Path, server: RedisServer) -> None:
    src = tmp_path / "src"
    main = Project(src / "main")
    main.beat("a")
    for name in ("one", "two"):
        linked(src / name, main)
    server.client.set("heartbeat:a", utc_now(), ex=120)
    config = tmp_path / "coordd.toml"
    config.write_text(f'[coordination]\nredis_url = "{server.url}"\n')
    with watched(tmp_path, src / "*", arguments=("--config", str(config))) as daemon:
        eventually(lambda: daemon.agent("a")["sources"] == ["file", "redis"])
        assert agents(daemon) == [("a", str(main.root))]


def test_an_alias_names_its_workspace_everywhere(tmp_path: Path) -> None:
    main = Project(tmp_path / "main")
    main.beat("a")
    (main.coordination / "tasks").mkdir()
    (main.coordination / "tasks" / "t").touch()
    tree = str(linked(tmp_path / "tree", main))
    with watched(tmp_path, main.root, tree) as daemon:
        eventually(lambda: len(agents(daemon)) == 1)
        for method, key in (("agents.list", "agents"), ("tasks.list", "tasks")):
            assert len(daemon.rpc(method, {"workspace": tree})[key]) == 1
        assert daemon.agent("a", tree)["workspace"] == str(main.root)
        for command in (["agents", "--json"], ["agent", "a", "--json"], ["why", "a"], ["tasks", "--json"]):
            shown = daemon.ctl(*command, "--workspace", tree)
            assert shown.returncode == 0, shown
            assert '"a"' in shown.stdout or "a " in shown.stdout or '"t"' in shown.stdout


def test_in_an_alias_its_workspace_comes_first(tmp_path: Path) -> None:
    main, other = Project(tmp_path / "main"), Project(tmp_path / "other")
    for project in (main, other):
        project.beat("a")
    tree = linked(tmp_path / "tree", main)
    with watched(tmp_path, main.root, tree, other.root) as daemon:
        eventually(lambda: len(agents(daemon)) == 2)
        for here, there in ((tree, main.root), (main.root, main.root), (other.root, other.root)):
            shown = daemon.ctl("agent", "a", "--json", cwd=here)
            assert json.loads(shown.stdout)["workspace"] == str(there)


@pytest.mark.parametrize("place", [".claude/worktrees/x", ".worktrees/x", "../elsewhere/x"])
@pytest.mark.parametrize("pattern", [True, False])
def test_worktrees_are_watched_with_their_project_and_vanish_with_git(
    tmp_path: Path, place: str, pattern: bool
) -> None:
    project = repository(tmp_path / "src" / "app")
    tree = Path(os.path.normpath(project.root / place))
    with watched(tmp_path, tmp_path / "src" / "*" if pattern else project.root) as daemon:
        eventually(lambda: daemon.rpc("status")["workspace_entries"])
        project.git("worktree", "add", "-q", "--detach", str(tree))
        inner = Project(tree)
        inner.beat("w")
        noticed(lambda: agents(daemon) == [("w", str(tree))])
        one = workspaces(daemon)[str(tree)]
        assert one["project"] == str(project.root)
        assert daemon.agent("w")["project"] == str(project.root)
        project.git("worktree", "remove", "--force", str(tree))
        noticed(lambda: str(tree) not in workspaces(daemon))
        noticed(lambda: agents(daemon) == [])


def test_worktrees_that_move_or_that_nobody_made_there(tmp_path: Path) -> None:
    project = repository(tmp_path / "app")
    tree, moved = tmp_path / "t" / "one", tmp_path / "t" / "two"
    project.git("worktree", "add", "-q", "--detach", str(tree))
    Project(tree).beat("w")
    stranger = Project(tmp_path / "t" / "stranger")
    stranger.beat("s")
    (stranger.root / ".git").write_text("gitdir: /nowhere\n")
    fake = project.root / ".git" / "worktrees" / "fake"
    fake.mkdir()
    (fake / "gitdir").write_text(f"{stranger.root}/.git\n")
    (fake / "commondir").write_text("../..\n")
    with watched(tmp_path, project.root) as daemon:
        eventually(lambda: agents(daemon) == [("w", str(tree))])
        project.git("worktree", "move", str(tree), str(moved))
        noticed(lambda: agents(daemon) == [("w", str(moved))])
        assert str(stranger.root) not in workspaces(daemon)


def test_worktrees_of_a_bare_repository_in_the_project(tmp_path: Path) -> None:
    origin = repository(tmp_path / "origin")
    project = Project(tmp_path / "app", coordination=False)
    project.git("clone", "-q", "--bare", str(origin.root), str(project.root / ".bare"))
    (project.root / ".git").write_text("gitdir: ./.bare\n")
    with watched(tmp_path, project.root) as daemon:
        project.git("worktree", "add", "-q", "--detach", str(project.root / "feature"))
        Project(project.root / "feature").beat("w")
        noticed(lambda: agents(daemon) == [("w", str(project.root / "feature"))])


@pytest.mark.parametrize("pattern", ["*", "**"])
def test_new_projects_are_noticed_however_they_come(tmp_path: Path, pattern: str) -> None:
    src = tmp_path / "src"
    src.mkdir()
    origin = repository(tmp_path / "origin")
    (origin.root / ".claude" / "coordination" / "agents").mkdir(parents=True)
    (origin.agents / "cloned.heartbeat").touch()
    origin.git("add", "-A")
    origin.git("commit", "-q", "-m", "two")
    away = Project(tmp_path / "away")
    away.beat("moved")
    deep = src / "a" / "b" if pattern == "**" else src / "b"
    with watched(tmp_path, src / pattern) as daemon:
        eventually(lambda: daemon.rpc("status")["workspace_entries"])
        subprocess.run(["mkdir", "-p", deep / ".claude/coordination/agents"], check=True)
        noticed(lambda: str(deep) in workspaces(daemon))
        (deep / ".claude/coordination/agents/made.heartbeat").touch()
        noticed(lambda: ("made", str(deep)) in agents(daemon))
        away.root.rename(src / "moved")
        noticed(lambda: ("moved", str(src / "moved")) in agents(daemon))
        origin.git("clone", "-q", str(origin.root), str(src / "cloned"))
        noticed(lambda: ("cloned", str(src / "cloned")) in agents(daemon))


@pytest.mark.root
@pytest.mark.parametrize(("closed", "entry"), [("bob", "*/src/*"), ("bob/src", "*/src/*"), ("bob", "*")])
def test_what_a_pattern_names_and_may_not_be_looked_into_is_a_problem_until_it_may(
    tmp_path: Path, closed: str, entry: str
) -> None:
    homes = tmp_path / "homes"
    Project(homes / "ann" / "src" / "app").beat("a")
    Project(homes / "bob" / "src" / "app").beat("b")
    Project(homes / "bob").beat("c")
    (homes / closed).chmod(0o700)
    os.chown(homes / closed, 1001, 1001)
    home = tmp_path / "home"
    sock = home / ".local/state/coordd/run/coordd.sock"
    arguments = ["--layout", "user", "--workspace", str(homes / entry)]
    alone = {"COORDD_CLAUDE_CODE_ENABLED": "false"}
    with running(arguments, sock=sock, home=home, prefix=PLAIN_ROOT, **alone) as daemon:
        status = eventually(lambda: daemon.rpc("status"))
        assert status["health"] == "degraded"
        (problem,) = status["problems"]
        assert f"{homes / closed}" in problem
        assert "needs --x on it" in problem or "needs r-x on it" in problem
        (one,) = status["workspace_entries"]
        assert [place["named"] for place in one["unreadable"]] == [True]
        (homes / closed).chmod(0o755)
        noticed(lambda: daemon.rpc("status")["problems"] == [])
        noticed(lambda: any(path.startswith(str(homes / "bob")) for path in workspaces(daemon)))


def test_a_session_in_an_alias_works_in_the_workspace(tmp_path: Path) -> None:
    main = Project(tmp_path / "main")
    main.beat("a")
    tree = linked(tmp_path / "tree", main)
    home = Home(tmp_path / "home" / ".claude")
    try:
        home.session("s-1", cwd=str(tree))
        with watched(tmp_path) as daemon:
            noticed(lambda: {("a", str(main.root)), ("s-1", str(main.root))} <= set(agents(daemon)))
            assert str(tree) not in workspaces(daemon)
    finally:
        home.close()


def test_the_project_layout_in_an_alias_shows_the_workspace(tmp_path: Path) -> None:
    main = Project(tmp_path / "main")
    main.beat("a")
    tree = linked(tmp_path / "tree", main, ".claude/coordination")
    with running(
        [],
        sock=tree / ".claude/run/coordd.sock",
        home=tmp_path / "home",
        cwd=tree,
        COORDD_CLAUDE_CODE_ENABLED="false",
    ) as daemon:
        eventually(lambda: agents(daemon) == [("a", str(main.root))])
        assert daemon.rpc("status")["daemon"]["layout"] == "project"
        assert aliases(daemon) == {str(main.root): {str(tree)}}
