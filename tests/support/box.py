"""Boot a real systemd for tests: systemd-nspawn on an overlay of a root directory, removed afterwards.

Everything that is changed in the box lies on a tmpfs of its own; the root below it is only read. The box sees
no network but its own loopback.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from live import ask
from waiting import PATIENCE, eventually

REPOSITORY = Path(__file__).resolve().parents[2]
SYSTEM_PYTHON = "/usr/bin/python3"
"""The distribution's: every user can run it, which is not so of one below /root."""
PROGRAMS = "/opt/coordd/bin"
SOCKET = "/run/coordd/coordd.sock"
NEXT = "99.0.0"
"""A version of the same code, to upgrade to."""

_BOOT = r"""
set -eu
mkdir -p "$CG"; echo $$ >"$CG/cgroup.procs"
mount -t tmpfs -o size=1g,mode=755 "$MACHINE" "$BASE/overlay"
cd "$BASE/overlay"; mkdir upper work root; ROOT=$BASE/overlay/root
mount -t overlay "$MACHINE" -o "lowerdir=$LOWER,upperdir=upper,workdir=work" "$ROOT"
mkdir -p "$ROOT/etc/systemd/system" "$ROOT/srv/wheels"
printf '[Unit]\nRequires=basic.target dbus.socket\nAfter=basic.target\n' \
    >"$ROOT/etc/systemd/system/box.target"
cp "$WHEELS"/*.whl "$ROOT/srv/wheels/"
umount -R /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup
trap 'kill $child' TERM
code=133  # nspawn's, when the machine inside reboots
while [ $code = 133 ]; do
    setpriv --pdeathsig TERM systemd-nspawn -q --register=no --keep-unit --private-network -M "$MACHINE" \
        -D "$ROOT" --console=read-only --capability=CAP_BPF,CAP_PERFMON --system-call-filter=bpf \
        --boot systemd.unit="$TARGET" & child=$!
    wait $child && code=0 || code=$?
done
wait $child
"""


class Box:
    """A booted machine; commands run in it as root unless ``user`` says otherwise."""

    def __init__(self, process: subprocess.Popen[bytes], console: Path) -> None:
        self._process = process
        self._console = console
        self._pid: int | None = None

    @property
    def pid(self) -> int:
        """The pid, outside the box, of the box's pid 1."""
        return self._pid or self._first_child()

    def up(self) -> bool:
        """Whether systemd has started everything."""
        if self._process.poll() is not None:
            raise RuntimeError(f"the box ended:\n{self.console()}")
        pid = self._first_child()  # nspawn's first child is not yet the box's pid 1
        state = self.try_("systemctl", "is-system-running").stdout.strip()
        if state in ("running", "degraded"):
            self._pid = pid
        return self._pid is not None

    def reboot(self) -> None:
        """Shut down, and boot again from the same disk."""
        before = self._pid
        self._pid = None
        self.try_("systemctl", "reboot")
        eventually(lambda: not Path(f"/proc/{before}").exists(), what="the box is down")
        eventually(self.up, what="the box is up again", within=PATIENCE * 2)

    def _first_child(self) -> int:
        holder = self._process.pid
        for _ in range(2):  # the shell's nspawn, and its first child
            holder = int(Path(f"/proc/{holder}/task/{holder}/children").read_text().split()[0])
        return holder

    def path(self, inside: str) -> Path:
        """Return a path in the box as seen from outside, its own /run and /proc included."""
        return Path(f"/proc/{self.pid}/root{inside}")

    def try_(
        self, *argv: str, user: str = "root", env: Mapping[str, str] | None = None, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command; return its exit code and output."""
        clean = {"PATH": f"{PROGRAMS}:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **(env or {})}
        clean.setdefault("HOME", "/root" if user == "root" else f"/home/{user}")
        who = [] if user == "root" else ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"]
        return subprocess.run(
            [
                *("nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-p", "-n", "-C", "--"),
                *("env", "-i", *[f"{name}={value}" for name, value in clean.items()], *who, *argv),
            ],
            capture_output=True,
            text=True,
            input=text,
            timeout=PATIENCE * 4,
            check=False,
        )

    def run(self, *argv: str, user: str = "root", env: Mapping[str, str] | None = None) -> str:
        """Run a command that has to succeed; return its output."""
        done = self.try_(*argv, user=user, env=env)
        assert done.returncode == 0, f"{shlex.join(argv)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def shell(self, script: str, user: str = "root") -> str:
        """Run a script of sh that has to succeed."""
        return self.run("sh", "-euc", script, user=user)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Return properties by ``systemctl show``."""
        out = self.run("systemctl", "show", unit, *[f"--property={name}" for name in properties])
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def main_pid(self, unit: str = "coordd") -> int:
        """Return the unit's main pid inside the box."""
        return int(self.show(unit, "MainPID")["MainPID"])

    def active(self, unit: str = "coordd") -> bool:
        return self.show(unit, "ActiveState")["ActiveState"] == "active"

    def journal(self, unit: str = "coordd", **fields: str) -> list[dict[str, Any]]:
        """Return all entries of a unit, oldest first."""
        self.run("journalctl", "--sync")
        wanted = [f"{name}={value}" for name, value in fields.items()]
        out = self.run("journalctl", "-u", unit, "-o", "json", "--no-pager", *wanted)
        return [json.loads(line) for line in out.splitlines() if line]

    def rpc(self, method: str, params: object = None, *, path: str = SOCKET) -> Any:
        """Send one request from outside, as root; return the result."""
        return ask(self.path(path), method, params)

    def drop_in(self, text: str, unit: str = "coordd") -> None:
        """Replace the unit's drop-in; an empty text removes it."""
        folder = self.path(f"/etc/systemd/system/{unit}.service.d")
        folder.mkdir(exist_ok=True)
        (folder / "test.conf").write_text(text)
        self.run("systemctl", "daemon-reload")

    def console(self) -> str:
        return self._console.read_text(errors="replace")


@contextlib.contextmanager
def booted(base: Path, *, wheels: Path, lower: str = "/", target: str = "box.target") -> Iterator[Box]:
    """Boot a box until systemd is up.

    Args:
        base: an empty directory of the test's.
        wheels: a directory of wheels, which the box finds in /srv/wheels.
        lower: the root directory that the box is an overlay of.
        target: what is booted into; box.target is the least, without this machine's own services.
    """
    name = f"coordd-{os.getpid()}-{base.name}"[:60]
    cgroup = Path(_cgroup2()) / name
    (base / "overlay").mkdir(parents=True, exist_ok=True)
    console = base / "console.log"
    environ = {
        "PATH": os.environ["PATH"],
        "BASE": str(base),
        "MACHINE": name,
        "CG": str(cgroup),
        "LOWER": lower,
        "WHEELS": str(wheels),
        "TARGET": target,
    }
    with console.open("wb") as output:
        process = subprocess.Popen(
            [
                "setpriv",
                "--pdeathsig",
                "TERM",
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "bash",
                "-c",
                _BOOT,
            ],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environ,
            start_new_session=True,
        )
    box = Box(process, console)

    try:
        eventually(box.up, what="systemd is up in the box", within=PATIENCE * 2)
        yield box
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        eventually(lambda: _remove_cgroup(cgroup), what=f"{cgroup} is gone")


def install_wheel(box: Box, requirement: str = f"coordd<{NEXT}") -> None:
    """Install coordd into /opt/coordd of a box, with pip alone."""
    if not box.path("/opt/coordd/bin/python").exists():
        box.run(SYSTEM_PYTHON, "-m", "venv", "/opt/coordd")
    box.run(
        *("/opt/coordd/bin/python", "-m", "pip", "install", "-q", "--no-index", "--no-compile"),
        *("--find-links", "/srv/wheels", "--upgrade", requirement),
    )


def make_wheels(directory: Path) -> None:
    """Build coordd's wheel, one of a next version, and all dependencies, for the distribution's Python."""
    environment = directory / "venv"
    subprocess.run([SYSTEM_PYTHON, "-m", "venv", environment], check=True, timeout=120)
    pip = [environment / "bin/pip", "wheel", "-q", "-w", directory]
    subprocess.run([*pip, f"{REPOSITORY}[dashboard,alerts]"], check=True, timeout=300, cwd=directory)
    source = directory / "next"
    source.mkdir()
    for name in ("coordd", "packaging"):
        shutil.copytree(REPOSITORY / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md"):
        shutil.copy(REPOSITORY / name, source)
    (source / "coordd/__init__.py").write_text(f'"""The next one."""\n\n__version__ = "{NEXT}"\n')
    subprocess.run([*pip, "--no-deps", source], check=True, timeout=300, cwd=directory)
    shutil.rmtree(source)
    shutil.rmtree(environment)


def make_root(directory: Path) -> None:
    """Make a fresh Debian with only systemd and Python."""
    subprocess.run(
        [
            *("mmdebstrap", "--quiet", "--variant=minbase", "--dpkgopt=force-unsafe-io"),
            *("--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-exclude=/usr/share/locale/*"),
            "--include=systemd,systemd-sysv,dbus,python3,python3-venv",
            *("bookworm", directory),
        ],
        check=True,
        timeout=600,
    )


def beat(box: Box, workspace: str, agent: str, user: str, content: str = "") -> None:
    """Write one heartbeat as a user of the box, by rename as hooks do."""
    agents = f"{workspace}/.claude/coordination/agents"
    box.run(
        "sh",
        "-euc",
        'mkdir -p "$1"; printf %s "$3" >"$1/.$2.new"; mv "$1/.$2.new" "$1/$2.heartbeat"',
        *("sh", agents, agent, content),
        user=user,
    )


def _cgroup2() -> str:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split()
        if kind == "cgroup2":
            return place
    raise RuntimeError("there is no cgroup2 here, which a booted systemd needs")


def _remove_cgroup(path: Path) -> bool:
    for folder, _, _ in os.walk(path, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)
    return not path.exists()
