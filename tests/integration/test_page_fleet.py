"""The page before a played fleet, in a real browser: who needs me, who works on what, and every way to it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from browser import chromium, complaints, opened, store
from dash import dashboard
from live import Project, watching
from page_scene import SCRIPTS, PlayedFleet, played_fleet
from playwright.sync_api import Browser, Locator, Page, expect
from waiting import PATIENCE, eventually

from coordd.util.text import escape

pytestmark = [pytest.mark.page, pytest.mark.xdist_group("page-fleet")]
expect.set_options(timeout=PATIENCE * 1000)

SIZES = [(2560, 1440), (1440, 900), (1024, 768), (390, 844)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedFleet]:
    with played_fleet(tmp_path_factory.mktemp("fleet"), names=SCRIPTS) as played:
        yield played


def row(page: Page, name: str) -> Locator:
    return page.locator("#rows .row", has=page.get_by_role("link", name=name, exact=True))


def address(fleet: PlayedFleet, name: str, **more: str) -> str:
    agent = fleet.agent(name)
    parts = {"agent": agent["agent_id"], "in": agent["workspace"], **more}
    return f"{fleet.dash.url}/?" + "&".join(f"{k}={quote(str(v), safe='')}" for k, v in parts.items())


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES, ids=[str(width) for width, _ in SIZES])
def test_who_needs_me_is_seen_at_every_width(
    browser: Browser, fleet: PlayedFleet, scheme: str, size: tuple[int, int]
) -> None:
    with opened(browser, fleet.dash.url, size=size, scheme=scheme) as page:
        expect(row(page, "shop-2").locator(".strip .b-waiting")).to_be_attached()
        entries = fleet.coordd.rpc("status")["attention"]
        told = page.locator("#needs li")
        expect(told).to_have_count(len(entries))
        expect(page.locator("#needs .needkind")).to_have_text([one["kind"] for one in entries])
        expect(page.locator("#needs .subject")).to_have_text(["shop-2", "docs-2", "api-2", "lost"])
        expect(page.locator("#needs .where")).to_have_text(["shop", "docs", "api", "shop"])
        for index, entry in enumerate(entries):
            expect(told.nth(index).locator("code")).to_have_text(entry["command"])
            expect(told.nth(index).locator(".lasted")).to_have_text(re.compile(r"^\d+ (s|min|h)$"))
            expect(told.nth(index)).to_be_in_viewport()  # without scrolling
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], "it scrolls sideways"
        assert complaints(page) == []
        store(page, f"fleet-{scheme}-{size[0]}")
        row(page, "shop-2").get_by_role("link").first.click()
        expect(page.locator("#pane-body")).to_contain_text("it says that it waits for a human")
        expect(page.locator("#pane .command code")).to_have_text(entries[0]["command"])
        assert complaints(page) == []
        store(page, f"fleet-open-{scheme}-{size[0]}")


def test_the_headline_title_and_icon_say_how_many_need_me(browser: Browser, fleet: PlayedFleet) -> None:
    status = fleet.coordd.rpc("status")
    alive, listed = status["agents"]["active"], status["agents"]["total"] - status["agents"]["ended"]
    with opened(browser, fleet.dash.url) as page:
        expect(page.locator("#alive")).to_have_text(f"{alive} of {listed} alive")
        expect(page.locator("#health")).to_have_text("4 need you")
        expect(page).to_have_title(f"(4) {status['daemon']['host']} · coordd")
        expect(page.locator("#icon")).to_have_attribute("href", "static/favicon-4.svg")
        assert b">4</text>" in fleet.dash.get("/static/favicon-4.svg").body
        expect(page.locator("#today")).to_have_text("30 ended today")
        expect(page.locator("#slim")).to_contain_text(re.compile(r"cpu \d.*memory \d.*Redis not configured"))


def test_agents_stand_by_project_with_what_they_do(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        expect(page.locator("#rows .group b")).to_have_text(["shop", "docs", "api"])  # by who needs most
        expect(page.locator("#rows .group .path").first).to_have_text(str(fleet.shop.root))
        expect(page.locator("#rows .row .who").first).to_have_text("shop-2")
        waits = row(page, "shop-2")
        expect(waits.locator(".c-does")).to_contain_text("permission prompt")
        expect(waits.locator(".strip")).to_have_attribute("aria-label", re.compile("^In .*: .*waiting"))
        expect(row(page, "docs-2").locator(".strip .b-killed")).to_be_attached()
        expect(row(page, "api-2").locator(".strip .b-stalled")).to_be_attached()
        expect(row(page, "shop-3").locator(".what")).to_have_text("Bash")
        expect(row(page, "shop-4").locator("b")).to_have_text("idle")
        expect(row(page, "reviewer").locator(".c-task a")).to_have_text("checkout")
        expect(row(page, "shop-3").locator(".c-memory")).to_have_text(re.compile("MiB$"))
        expect(row(page, "shop-3").locator(".kind")).to_have_text("claude-code")
        # a gap is a gap: coordd did not run before it was started
        page.get_by_role("radio", name="24h").check()
        expect(waits.locator(".strip .b-gap")).to_have_count(0)  # the picture begins with the first sample


def test_those_that_ended_are_folded_by_project(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        fold = page.get_by_role("button", name="30 ended")
        expect(fold).to_have_attribute("aria-expanded", "false")
        expect(row(page, "old-07")).to_have_count(0)
        fold.click()
        expect(fold).to_have_attribute("aria-expanded", "true")
        expect(row(page, "old-07").locator("b")).to_have_text("ended")
        fold.click()
        expect(row(page, "old-07")).to_have_count(0)
        page.get_by_role("radio", name="ended 30").check()
        expect(row(page, "old-07")).to_have_count(1)
        # the heading, the project, and thirty agents, of which those in sight have elements
        expect(page.locator("#table")).to_have_attribute("aria-rowcount", "32")
        assert set(page.locator("#rows .row b").all_inner_texts()) == {"ended"}


def test_every_way_leads_to_its_agent_or_task_and_back(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        title = page.locator("#pane h2")
        for kind, name in (
            ("waiting", "shop-2"),
            ("killed", "docs-2"),
            ("stalled", "api-2"),
            ("orphaned", "lost"),
        ):
            page.locator(f"#needs [data-kind={kind}] .subject").click()
            expect(title).to_have_text(name)
            expect(title).to_be_focused()
        expect(page.locator("#pane-body .state")).to_contain_text("orphaned")
        page.locator("#pane-body").get_by_role("link", name="old-00").click()  # its holder
        expect(title).to_have_text("old-00")
        page.locator("#pane-body").get_by_role("link", name="lost").first.click()  # and what that holds
        expect(title).to_have_text("lost")
        page.go_back()
        expect(title).to_have_text("old-00")
        page.go_forward()
        expect(title).to_have_text("lost")
        for _ in range(6):
            page.go_back()
        expect(page.locator("#pane")).to_be_hidden()
        row(page, "reviewer").locator(".c-task a").click()
        expect(page.locator("#pane-body")).to_contain_text("60 % half of it")
        page.locator("#tasks").get_by_role("link", name="cart").click()
        expect(title).to_have_text("cart")
        page.locator("#tasks").get_by_role("link", name="tester").click()
        expect(title).to_have_text("tester")
        page.locator("#events").get_by_role("link", name="shop-2 in shop waits").first.click()
        expect(title).to_have_text("shop-2")
        page.get_by_role("button", name="Close").first.click()
        expect(page.locator("#pane")).to_be_hidden()


def test_an_agent_is_told_of_in_full(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, address(fleet, "api-2")) as page:
        body = page.locator("#pane-body")
        expect(body.locator(".state")).to_contain_text("stalled")
        full = fleet.coordd.rpc("agents.get", {"agent_id": fleet.agent("api-2")["agent_id"]})
        for rows in (full["verdict_rows"], full["activity_rows"]):
            (decided,) = [one for one in rows if one["decides"]]
            expect(body).to_contain_text(decided["when"])
        for fold in body.locator("details").all():
            fold.locator("summary").click()
            expect(fold).to_have_attribute("open", "")
        expect(body.locator("ol.table li")).to_have_count(
            len(full["verdict_rows"]) + len(full["activity_rows"])
        )
        expect(body.locator(".changes li").first).to_contain_text("stalled")
        for fact in ("claude-code", "claude-opus-4-8", full["agent_id"], str(full["pid"]), full["workspace"]):
            expect(body.locator("dl")).to_contain_text(fact)
        expect(body).to_contain_text("is stalled")  # an event
        assert complaints(page) == []


DEEP = {
    "range=1h": lambda page: expect(page.get_by_role("radio", name="1h", exact=True)).to_be_checked(),
    "find=api": lambda page: expect(page.locator("#rows .row .who")).to_have_text(
        ["api-2", re.compile("api-[13]"), re.compile("api-[13]")]
    ),
    "state=waiting": lambda page: expect(page.locator("#rows .row .who")).to_have_text(["shop-2"]),
    "group=none": lambda page: expect(page.locator("#rows .group")).to_have_count(0),
    "sort=name": lambda page: expect(page.locator("#rows .group b")).to_have_text(["api", "docs", "shop"]),
    "sort=sign&group=none": lambda page: expect(page.get_by_label("Sort")).to_have_value("sign"),
    "sort=activity": lambda page: expect(page.get_by_label("Sort")).to_have_value("activity"),
    "host=open": lambda page: expect(page.locator("#charts .line, #charts .dot").first).to_be_attached(),
    "task=checkout&in={shop}": lambda page: expect(page.locator("#pane-body")).to_contain_text("half of it"),
    "task=never": lambda page: expect(page.locator("#pane-body")).to_contain_text("there no longer"),
    "agent=never": lambda page: expect(page.locator("#pane-body")).to_contain_text("never"),
    "sort=odd&range=9d&group=x&state=%00&find=": lambda page: expect(page.get_by_label("Sort")).to_have_value(
        "need"
    ),
}


@pytest.mark.parametrize("link", DEEP)
def test_a_link_opened_fresh_shows_the_same(browser: Browser, fleet: PlayedFleet, link: str) -> None:
    where = link.replace("{shop}", quote(str(fleet.shop.root), safe=""))
    with opened(browser, f"{fleet.dash.url}/?{where}") as page:
        DEEP[link](page)


def test_every_control_does_what_it_says_and_is_in_the_address(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        expect(row(page, "shop-2")).to_have_count(1)
        for name in ("1h", "6h", "24h", "7d", "15m"):
            page.get_by_role("radio", name=name, exact=True).check()
            expect(page).to_have_url(re.compile(f"range={name}"))
            expect(page.locator("#past")).to_have_text("")
        for name in ("name", "activity", "last sign", "need"):
            page.get_by_label("Sort").select_option(label=name)
        expect(page).not_to_have_url(re.compile("sort="))
        page.get_by_label("by project").uncheck()
        expect(page).to_have_url(re.compile("group=none"))
        page.get_by_label("by project").check()
        for state in ("waiting", "killed", "stalled", "idle", "working", "all"):
            page.locator("#states").get_by_role("radio", name=re.compile(f"^{state}")).check()
            if state != "all":
                expect(page.locator("#rows .row b")).not_to_have_count(0)
                assert set(page.locator("#rows .row b").all_inner_texts()) == {state}
        for fieldset in ("#taskstates", "#kinds"):
            for radio in page.locator(f"{fieldset} input").all():
                radio.check()
                expect(radio).to_be_checked()
        page.get_by_role("radio", name="tasks", exact=True).check()
        expect(page.locator("#events .items li", has_text="waits for a human")).to_have_count(0)
        page.locator("#host summary").click()
        expect(page).to_have_url(re.compile("host=open"))
        expect(page.locator("#charts figure")).to_have_count(8)
        expect(page.locator("#charts .line, #charts .dot").first).to_be_attached()
        assert complaints(page) == []
        store(page, "charts")
        page.locator("#host summary").click()
        expect(page).not_to_have_url(re.compile("host=open"))
        page.get_by_role("button", name="Keys").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        assert complaints(page) == []
        page.get_by_role("dialog").get_by_role("button", name="Close").click()
        for theme in ("dark", "light", "system"):
            page.get_by_label("Theme").select_option(label=theme)
        page.get_by_role("searchbox").fill("nobody at all")
        expect(page.locator("#none")).to_have_text("No agent fits.")
        expect(page).to_have_url(re.compile("find=nobody"))


def test_a_command_is_copied(browser: Browser, fleet: PlayedFleet) -> None:
    may: list[Any] = ["clipboard-read", "clipboard-write"]
    with opened(browser, fleet.dash.url, permissions=may) as page:
        entry = page.locator("#needs li").first
        entry.get_by_role("button", name="Copy").click()
        expect(entry.locator(".copy")).to_have_text("Copied")
        wanted = fleet.coordd.rpc("status")["attention"][0]["command"]
        assert page.evaluate("navigator.clipboard.readText()") == wanted
    with opened(browser, fleet.dash.url) as page:  # without a clipboard it is selected
        page.evaluate("delete Navigator.prototype.clipboard")
        page.locator("#needs li").first.get_by_role("button", name="Copy").click()
        assert page.evaluate("String(getSelection())") == wanted


def test_it_works_by_keys_alone(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        expect(row(page, "shop-2")).to_have_count(1)
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.locator("#agents")).to_be_focused()
        page.keyboard.press("j")
        expect(row(page, "shop-2").locator(".who")).to_be_focused()
        page.keyboard.press("j")
        second = page.locator(":focus").inner_text()
        assert second != "shop-2"
        page.keyboard.press("k")
        page.keyboard.press("Enter")
        expect(page.locator("#pane h2")).to_have_text("shop-2")
        page.keyboard.press("j")  # the next one, in the pane too
        expect(page.locator("#pane h2")).to_have_text(second)
        page.keyboard.press("Escape")
        expect(page.locator("#pane")).to_be_hidden()
        page.keyboard.press("n")
        expect(page.locator("#needs .subject").first).to_be_focused()
        page.keyboard.press("n")
        expect(page.locator("#needs .subject").nth(1)).to_be_focused()
        page.keyboard.press("?")
        expect(page.get_by_role("dialog")).to_be_visible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_be_hidden()
        page.keyboard.press("/")
        expect(page.get_by_role("searchbox")).to_be_focused()
        page.keyboard.type("docs-2?")
        expect(page.get_by_role("searchbox")).to_have_value("docs-2?")
        page.keyboard.press("Backspace")
        expect(page.locator("#rows .row .who")).to_have_text(["docs-2"])


def test_on_a_phone_an_agent_is_a_sheet_that_covers_the_rest(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url, size=(390, 844), has_touch=True) as page:
        row(page, "shop-2").get_by_role("link").first.tap()
        expect(page.locator("#pane h2")).to_be_focused()
        assert page.locator("#agents").evaluate("node => node.inert") is True
        expect(page.locator("#pane-body")).to_contain_text("it waits for a human")
        page.get_by_role("button", name="Close").tap()
        assert page.locator("#agents").evaluate("node => node.inert") is False
        expect(row(page, "shop-2").locator(".who")).to_be_focused()
        expect(row(page, "shop-2")).to_be_in_viewport()


def test_names_are_text_in_every_script(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        for name in SCRIPTS.values():
            shown = name.replace("\u202e", "\\u{202e}")
            expect(row(page, shown)).to_have_count(1)
            row(page, shown).get_by_role("link").first.click()
            expect(page.locator("#pane h2")).to_have_text(shown)
            expect(page.locator("#pane-body dl")).to_contain_text(shown)
        assert page.locator("img, #rows x").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= 1440
        store(page, "scripts")
    assert escape(SCRIPTS["turned"]) != SCRIPTS["turned"]


def test_a_strip_tells_under_the_pointer(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, fleet.dash.url) as page:
        strip = row(page, "shop-2").locator(".strip")
        expect(strip.locator(".b-waiting")).to_be_attached()
        box = strip.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 8)
        expect(page.locator("#tip")).to_contain_text("waiting")
        page.mouse.move(box["x"] + box["width"] - 2, box["y"] - 400)
        expect(page.locator("#tip")).to_be_hidden()


def test_the_page_and_coordctl_say_the_same(browser: Browser, fleet: PlayedFleet) -> None:
    with opened(browser, f"{fleet.dash.url}/?group=none") as page:

        def same() -> bool:
            listed = fleet.coordd.rpc("agents.list")["agents"]
            alive = {one["name"] or one["agent_id"]: one for one in listed if one["reason"] != "ended"}
            shown = {
                one.locator(".who").inner_text(): one.locator("b").inner_text()
                for one in page.locator("#rows .row").all()
            }
            words = {
                "process": lambda a: a["activity"],
                "heartbeat": lambda a: a["activity"],
                "killed": lambda _: "killed",
            }
            told = {n.replace("\u202e", "\\u{202e}"): words[a["reason"]](a) for n, a in alive.items()}
            return shown == {n: "active" if what in (None, "unknown") else what for n, what in told.items()}

        assert eventually(same)


def test_two_daemons_each_page_stays_with_its_own(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("two")
    one, two = Project(root / "one"), Project(root / "two")
    one.beat("first")
    two.beat("second")
    with (
        watching(two, root) as other,
        watching(one, root) as doomed,
        dashboard(sock=doomed.socket, home=root / "home") as dash,
        dashboard(sock=other.socket, home=root / "home") as beside,
        opened(browser, dash.url) as page,
        opened(browser, beside.url) as second,
    ):
        expect(row(page, "first")).to_have_count(1)
        expect(row(second, "second")).to_have_count(1)
        doomed.process.kill()
        doomed.process.wait()
        expect(page.locator("#banner")).to_contain_text("coordd is not running")
        expect(row(page, "first")).to_have_count(1)
        expect(row(page, "second")).to_have_count(0)
        expect(second.locator("#live")).to_contain_text("live")
        expect(second.locator("#banner")).to_be_hidden()
        store(page, "killed-daemon")
