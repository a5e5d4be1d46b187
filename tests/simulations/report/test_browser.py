"""The report in a real browser with the network off: Debian's Chromium, driven by Playwright.

Each look is a width and a colour scheme. In each: no error on the console, no request but the page
itself, nothing wider than the window, every plot drawn, and no violation that axe-core finds.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

DESKTOP, TELEPHONE = (1280, 900), (390, 844)
LOOKS = [(DESKTOP, "light"), (DESKTOP, "dark"), (TELEPHONE, "light"), (TELEPHONE, "dark")]
FOCUSABLE = "a[href], summary, [tabindex='0']"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, since Playwright's own is fetched from elsewhere."""
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("no chromium here: apt-get install chromium")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox"],  # which root in a container cannot have
        )
        yield chromium
        chromium.close()


class Visit:
    """A page that was opened with the network off, and what it did."""

    def __init__(self, browser: Browser, report: Path, size: tuple[int, int], scheme: str) -> None:
        width, height = size
        context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if scheme == "dark" else "light",
            reduced_motion="reduce",
            offline=True,
        )
        self.page = context.new_page()
        self.console: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.console.append(message.text))
        self.page.on("pageerror", lambda error: self.console.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(report.as_uri())


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_report_opens_alone_and_is_accessible(
    browser: Browser, finished_run: Path, size: tuple[int, int], scheme: str
) -> None:
    report = finished_run / "report.html"
    visit = Visit(browser, report, size, scheme)
    page = visit.page
    try:
        plots = page.locator("svg[role=img]")
        assert plots.count() == report.read_text().count("<figure>") >= 2
        for i in range(plots.count()):
            box = plots.nth(i).bounding_box()
            assert box is not None
            assert box["width"] > 250
            assert box["height"] > 150
            assert box["x"] + box["width"] <= size[0]
        assert page.evaluate("document.documentElement.scrollWidth") == size[0]
        for shown in page.locator("summary").all():
            shown.click()
        found = Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        assert visit.console == []
        assert visit.requests == [report.as_uri()]
    finally:
        page.context.close()


def test_the_keyboard_goes_through_the_page_in_order(browser: Browser, finished_run: Path) -> None:
    page = Visit(browser, finished_run / "report.html", DESKTOP, "light").page
    try:
        closed = walked(page)
        assert closed == list(range(len(closed)))
        for shown in page.locator("summary").all():
            shown.focus()
            page.keyboard.press("Enter")
        assert walked(page) == list(range(page.locator(FOCUSABLE).count()))
        assert len(closed) == page.locator(FOCUSABLE).count() - page.locator("details").count()
        page.reload()
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # the first stop leads past the links
        assert page.evaluate("document.activeElement.id") == "main"
    finally:
        page.context.close()


def walked(page: Page) -> list[int]:
    """Where in the document each stop of the Tab key is, from the first one to the end."""
    place = f"""[...document.querySelectorAll("{FOCUSABLE}")]
        .filter(e => e.checkVisibility()).indexOf(document.activeElement)"""
    page.locator("a.skip").focus()
    stops = [page.evaluate(place)]
    while True:
        page.keyboard.press("Tab")
        number = page.evaluate(place)
        if number == -1 or number in stops:
            return stops
        stops.append(number)


def test_colours_follow_the_scheme_in_plots_too(browser: Browser, finished_run: Path) -> None:
    seen = {}
    for scheme in ("light", "dark"):
        page = Visit(browser, finished_run / "report.html", DESKTOP, scheme).page
        seen[scheme] = [
            page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor"),
            page.locator("svg text").first.evaluate("e => getComputedStyle(e).fill"),
        ]
        page.context.close()
    assert seen["light"][0] != seen["dark"][0]
    assert seen["light"][1] != seen["dark"][1]


def test_printed_it_has_its_figures_and_none_of_the_controls(
    browser: Browser, finished_run: Path
) -> None:
    page = Visit(browser, finished_run / "report.html", DESKTOP, "dark").page
    try:
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        assert not page.locator("summary").first.is_visible()
        assert page.locator("svg[role=img]").first.is_visible()
        background = page.locator("body").evaluate("e => getComputedStyle(e).backgroundColor")
        assert background == "rgb(255, 255, 255)"
        assert page.pdf(format="A4").startswith(b"%PDF")
    finally:
        page.context.close()
