"""A desktop for one test: an X server, a session bus, and dunst, a real notification daemon."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from waiting import eventually

PROGRAMS = ("Xvfb", "dbus-daemon", "dunst", "notify-send")
MISSING = [name for name in PROGRAMS if shutil.which(name) is None]
"""What of them is not installed: Debian's xvfb, dbus, dunst, libnotify-bin."""
if MISSING and os.environ.get("CI"):
    raise RuntimeError(f"CI tests with a real desktop, and there is no {', '.join(MISSING)}")


class Shown(NamedTuple):
    """A notification as the daemon shows it: the title, the body with its markup read, and the urgency."""

    title: str
    body: str
    urgency: str


class Desktop:
    """A running desktop; ``environ`` leads programs to it."""

    def __init__(self, folder: Path) -> None:
        self._shown = folder / "shown"
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8"}

    def shown(self) -> list[Shown]:
        """Return what was shown so far."""
        fields = self._shown.read_text().split("\0") if self._shown.exists() else []
        return [Shown(*fields[at : at + 3]) for at in range(0, len(fields) - 3, 3)]


@contextmanager
def desktop(folder: Path) -> Iterator[Desktop]:
    """Run a desktop below a folder."""
    scene = Desktop(folder)
    script = folder / "show"
    script.write_text(f'#!/bin/sh\nprintf \'%s\\0%s\\0%s\\0\' "$2" "$3" "$5" >>{folder}/shown\n')
    script.chmod(0o755)
    (folder / "dunstrc").write_text(f'[all]\nsummary = "*"\nscript = {script}\n')
    address = f"unix:path={folder}/bus"
    running: list[subprocess.Popen[bytes]] = []

    def start(*argv: str, descriptor: int | None = None, **more: str) -> None:
        running.append(
            subprocess.Popen(
                argv,
                env=scene.environ | more,
                pass_fds=() if descriptor is None else (descriptor,),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )

    try:
        reader, writer = os.pipe()
        start("Xvfb", "-displayfd", str(writer), "-screen", "0", "640x480x8", descriptor=writer)
        os.close(writer)
        with open(reader) as numbers:
            display = f":{numbers.readline().strip()}"
        start("dbus-daemon", "--session", "--nofork", f"--address={address}")
        eventually((folder / "bus").exists)
        scene.environ |= {"DBUS_SESSION_BUS_ADDRESS": address, "DISPLAY": display}
        start("dunst", "-conf", str(folder / "dunstrc"))
        eventually(lambda: _owned(scene.environ))
        yield scene
    finally:
        for one in reversed(running):
            one.kill()
            one.wait()


def _owned(environ: dict[str, str]) -> bool:
    """Return whether somebody on the bus shows notifications."""
    asked = subprocess.run(
        [
            *(
                "dbus-send",
                "--session",
                "--print-reply",
                "--dest=org.freedesktop.DBus",
                "/org/freedesktop/DBus",
            ),
            *("org.freedesktop.DBus.NameHasOwner", "string:org.freedesktop.Notifications"),
        ],
        env=environ,
        capture_output=True,
        check=False,
    )
    return b"boolean true" in asked.stdout
