"""Apprise, the real one, with its own scheme for JSON against a real server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from messages import MESSAGE, TEXTS, message
from waiting import until
from webhooks import answer, hang, hook

from coordd.alerts.actions.apprise import MISSING, AppriseAction
from coordd.alerts.actions.base import ActionFailed
from coordd.alerts.actions.python_child import PythonChild
from coordd.util.text import escape, escape_lines

SECRET = "T0K3NOFAPPRISE"
ENVIRON = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}


def action(port: int, *, deadline: float = 30.0, **environ: str) -> AppriseAction:
    url = f"json://ann:{SECRET}@127.0.0.1:{port}/{SECRET}"
    return AppriseAction(url, environ=ENVIRON | environ, deadline=deadline)


async def why(one: AppriseAction) -> str:
    with pytest.raises(ActionFailed) as failed:
        await one.perform(MESSAGE)
    assert SECRET not in str(failed.value)
    return str(failed.value)


async def test_texts_of_strangers_arrive_as_they_are() -> None:
    async def told(text: str) -> None:
        with hook(answer("200 OK")) as served:
            one = action(served.port)
            assert (one.label, one.check()) == ("apprise json", None)
            await one.perform(message(title=text, text=f"{text}\nsecond"))
            (request,) = served.requests
        document = json.loads(request.body)
        assert request.line.startswith(f"POST /{SECRET}")
        assert document["type"] == "warning"
        if len(text) < 200:
            assert document["title"] == escape(text).strip()
            assert document["message"] == escape_lines(f"{text}\nsecond").strip()
        else:
            assert len(document["title"]) <= 200
            assert len(document["message"]) <= 3000

    for text in TEXTS:
        await told(text)


async def test_what_is_over_is_told_as_success() -> None:
    with hook(answer("200 OK")) as served:
        await action(served.port).perform(message(state="resolved"))
        assert json.loads(served.requests[0].body)["type"] == "success"


async def test_a_failure_says_nothing_of_the_address() -> None:
    with hook(answer("500 Internal Server Error")) as served:
        assert "apprise could not deliver it" in await why(action(served.port))
    for bad in ("nosuchscheme://", "mailto://"):
        one = AppriseAction(bad + SECRET, environ=ENVIRON)
        assert "apprise does not take its address" in await why(one)


async def test_a_service_that_hangs_is_left_at_the_deadline() -> None:
    with hook(hang) as served:
        said = await why(action(served.port, deadline=2.0))
        assert said == "it was not told within 2 s, and the process that sends was killed"


async def test_nothing_of_the_address_shows_while_it_tells() -> None:
    with hook(hang) as served:
        task = asyncio.create_task(action(served.port).perform(MESSAGE))
        await until(lambda: served.requests)
        shown = _shown_of_others()
        assert "coordd.alerts.actions.apprise_child" in shown
        assert SECRET not in shown
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


def _shown_of_others() -> str:
    """What everybody, and what this user, can see of the other processes."""
    shown = ""
    for process in Path("/proc").glob("[0-9]*"):
        if process.name != str(os.getpid()):
            with suppress(OSError):
                for what in ("cmdline", "environ", "comm"):
                    shown += (process / what).read_text(errors="replace")
    return shown


async def test_what_apprise_prints_goes_nowhere(tmp_path: Path) -> None:
    (tmp_path / "apprise.py").write_text(
        "import os, sys\n"
        f"print('{SECRET}', flush=True); print('{SECRET}', file=sys.stderr); os.write(1, b'noise')\n"
        "class Apprise:\n"
        "    def add(self, url): return True\n"
        "    def notify(self, **_): return True\n"
    )
    await action(1, PYTHONPATH=str(tmp_path)).perform(MESSAGE)


async def test_what_a_child_says_is_escaped_and_bounded(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("print(chr(123) + '\"failed\": \"\\\\u001b[31m' + 'x' * 999 + '\"}')\n")
    child = PythonChild("odd", environ=ENVIRON | {"PYTHONPATH": str(tmp_path)}, seconds=10)
    with pytest.raises(ActionFailed) as failed:
        await child.ask({})
    assert str(failed.value).startswith(r"\x1b[31mxxx")
    assert len(str(failed.value)) == 300


async def test_where_it_is_missing_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "apprise.py").write_text("raise ImportError\n")
    assert await why(action(1, PYTHONPATH=str(tmp_path))) == MISSING
    (tmp_path / "apprise.py").write_text(f"raise RuntimeError('{SECRET}')\n")
    said = await why(action(1, PYTHONPATH=str(tmp_path)))
    assert said == "apprise ends in an error (RuntimeError)"
    (tmp_path / "apprise.py").write_text(f"import os; print('{SECRET}'); os.kill(os.getpid(), 9)\n")
    said = await why(action(1, PYTHONPATH=str(tmp_path)))
    assert said == "the process that sends has ended: killed by SIGKILL"


def test_the_actions_load_neither_apprise_nor_tls() -> None:
    program = (
        "import sys, coordd.alerts.actions.build\n"
        "print([name for name in ('apprise', 'ssl', 'http.client', 'requests') if name in sys.modules])"
    )
    # asyncio loads ssl by itself; what runs coordd-alert keeps it out
    stub = "import sys; sys.modules['ssl'] = None; import asyncio; del sys.modules['ssl']\n"
    done = subprocess.run([sys.executable, "-c", stub + program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("scheme", ["foo", "nosuchservice"])
def test_an_address_that_apprise_does_not_take_is_found_before_there_is_anything_to_tell(scheme: str) -> None:
    why = AppriseAction(f"{scheme}://{SECRET}", environ=ENVIRON).check()
    assert why is not None
    assert "apprise does not take its address" in why
    assert SECRET not in why
