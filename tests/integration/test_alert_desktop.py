"""The desktop: what a real notification daemon shows of texts of strangers, and macOS by its command line."""

from __future__ import annotations

import dataclasses
import html
import json
import os
import sys
from pathlib import Path

import pytest
from desktop_scene import MISSING, desktop
from messages import ENTRY, MESSAGE, TEXTS, message
from waiting import until

from coordd.alerts.actions.base import ActionFailed
from coordd.alerts.actions.desktop import DesktopAction
from coordd.util.text import escape, escape_lines

KILLED = dataclasses.replace(ENTRY, kind="killed")


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
async def test_a_real_daemon_shows_texts_as_they_are(tmp_path: Path) -> None:
    with desktop(tmp_path) as scene:
        action = DesktopAction(environ=scene.environ, platform="linux")
        assert action.check() is None
        for number, text in enumerate(TEXTS):
            await action.perform(message(title=text, text=f"{number}: {text}\nsecond"))
            shown = (await until(lambda number=number: scene.shown()[number:]))[0]
            assert shown.urgency == "NORMAL"
            if len(text) < 1000:
                assert shown.title == escape(text)
                # dunst hands the body to scripts as it got it, markup in it
                assert html.unescape(shown.body) == escape_lines(f"{number}: {text}\nsecond")
                assert "<" not in shown.body
            else:
                assert shown.title.endswith("…")
                assert len(shown.body) < 2000


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
async def test_what_is_lost_is_urgent_and_what_is_over_is_not(tmp_path: Path) -> None:
    with desktop(tmp_path) as scene:
        action = DesktopAction(environ=scene.environ, platform="linux")
        await action.perform(message(title="lost", entries=(ENTRY, KILLED)))
        await action.perform(message(title="over", state="resolved", entries=(KILLED,)))
        shown = await until(lambda: scene.shown()[1:] and scene.shown())
        assert [(one.title, one.urgency) for one in shown] == [("lost", "CRITICAL"), ("over", "LOW")]


async def test_without_a_desktop_it_says_why(tmp_path: Path) -> None:
    nowhere = DesktopAction(environ={"PATH": str(tmp_path)}, platform="linux")
    assert nowhere.check() == "there is no notify-send in PATH (Debian: apt install libnotify-bin)"
    with pytest.raises(ActionFailed, match="there is no notify-send"):
        await nowhere.perform(MESSAGE)
    captured(tmp_path, "notify-send")
    no_bus = DesktopAction(
        environ={"PATH": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}, platform="linux"
    )
    assert no_bus.check() == f"there is no session bus at {tmp_path}/bus: is anybody logged in to a desktop?"
    with pytest.raises(ActionFailed, match="there is no session bus"):
        await no_bus.perform(MESSAGE)
    assert not (tmp_path / "got").exists()
    (tmp_path / "bus").touch()
    assert no_bus.check() is None
    await no_bus.perform(MESSAGE)
    assert json.loads((tmp_path / "got").read_text())[1] == f"unix:path={tmp_path}/bus"


def captured(folder: Path, name: str) -> None:
    """Put a program there that writes down how it was called."""
    program = folder / name
    program.write_text(
        f"#!{sys.executable}\nimport json, os, sys\n"
        "said = [sys.argv[1:], os.environ.get('DBUS_SESSION_BUS_ADDRESS')]\n"
        f"json.dump(said, open({str(folder / 'got')!r}, 'w'))\n"
    )
    program.chmod(0o755)


@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
async def test_on_macos_texts_are_arguments_of_the_script(tmp_path: Path, text: str) -> None:
    captured(tmp_path, "osascript")
    action = DesktopAction(environ={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, platform="darwin")
    assert action.check() is None
    await action.perform(message(title=text, text=text))
    (arguments, bus) = json.loads((tmp_path / "got").read_text())
    assert bus is None
    assert arguments[0:6:2] == ["-e", "-e", "-e"]
    assert arguments[1:6:2] == [
        "on run argv",
        "display notification (item 3 of argv) with title (item 1 of argv) subtitle (item 2 of argv)",
        "end run",
    ]
    assert arguments[6] == "coordd"
    if len(text) < 200:
        assert arguments[7:] == [escape(text), escape_lines(text)]
    assert len(arguments) == 9


@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
async def test_a_bus_on_which_nobody_shows_anything_is_a_failure(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/none"}
    (tmp_path / "none").touch()
    with pytest.raises(ActionFailed, match=r"notify-send: exit status 1: .*"):
        await DesktopAction(environ=environ, platform="linux").perform(MESSAGE)
