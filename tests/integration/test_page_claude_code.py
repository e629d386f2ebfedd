"""The page while a real Claude Code works, asks and is answered; its model is a stub, all else is real."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import chromium, complaints, opened, store
from claude_scene import watched
from dash import dashboard
from model_stub import call
from playwright.sync_api import expect
from waiting import PATIENCE

pytestmark = [pytest.mark.page, pytest.mark.claude, pytest.mark.xdist_group("claude")]


def test_a_real_claude_code_asks_and_is_answered(tmp_path: Path) -> None:
    expect.set_options(timeout=PATIENCE * 1000)
    with watched(tmp_path) as watch, dashboard(sock=watch.daemon.socket, home=watch.claude.home) as dash:
        gate = watch.gate("asked")
        watch.claude.model.answers(
            "ASKME",
            call("Bash", command=f"{gate.waiting}; touch {tmp_path}/granted"),
            {"text": "It is over."},
        )
        terminal = watch.claude.interactive(watch.project("app"))
        agent = watch.of_process(terminal.pid, activity="idle")
        with chromium() as browser, opened(browser, f"{dash.url}/?find=app") as page:
            row = page.locator("#rows .row", has=page.locator(f"[title='{agent['agent_id']}']"))
            expect(row.locator("b")).to_have_text("idle")
            terminal.say("ASKME")
            expect(row.locator("b")).to_have_text("waiting")
            expect(row.locator(".what")).to_have_text("permission prompt")
            entry = page.locator("#needs li", has_text="permission prompt")
            expect(entry.locator(".needkind")).to_have_text("waiting")
            entry.locator(".subject").click()
            expect(page.locator("#pane-body")).to_contain_text("it says that it waits for a human")
            assert complaints(page) == []
            store(page, "real-claude-code")
            terminal.keys("Enter")  # the first choice: yes
            expect(row.locator("b")).to_have_text("working")
            expect(row.locator(".what")).to_have_text("Bash")
            gate.open()
            expect(row.locator("b")).to_have_text("idle")
            expect(row.locator(".c-context")).to_have_text(re.compile(r"^\d"))
