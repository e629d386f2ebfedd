"""Run a real headless Chromium for tests: one a session, a context of its own for each page."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

ARTEFACTS = Path(__file__).resolve().parents[1] / "artefacts"
"""Screenshots; not in the repository."""

_ARGUMENTS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
_AXE = (resources.files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
_RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}}
_EXPECTED = re.compile(
    r"Failed to load resource: (the server responded with a status of (403|404|409|502|503)|net::ERR_)"
)
"""What Chromium writes into its console when it is refused, or when the daemon or the dashboard is down."""


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Yield the browser that Debian packages."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@contextlib.contextmanager
def opened(
    browser: Browser, url: str, *, size: tuple[int, int] = (1440, 900), scheme: Any = "light", **more: Any
) -> Iterator[Page]:
    """Open a page; an error in its console or in a script fails the test at the end."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme=scheme, timezone_id="UTC", **more
    )
    page = context.new_page()
    page.set_default_timeout(30_000)
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
    page.on(
        "console",
        lambda said: (
            wrong.append(said.text) if said.type == "error" and not _EXPECTED.match(said.text) else None
        ),
    )
    try:
        page.goto(url)
        yield page
    finally:
        context.close()
    assert not wrong, wrong


def complaints(page: Page) -> list[str]:
    """Return what axe-core finds wrong (WCAG 2.1 AA): labels, roles, contrast and so on."""
    page.evaluate(_AXE)
    found = page.evaluate("rules => axe.run(document, rules)", _RULES)
    return [
        f"{problem['id']}: {problem['help']}: {node['target']} {node.get('failureSummary', '')}"
        for problem in found["violations"]
        for node in problem["nodes"]
    ]


def store(page: Page, name: str) -> None:
    """Keep a screenshot."""
    ARTEFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTEFACTS / f"{name}.png")
