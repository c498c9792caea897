"""The dossier's page in a real browser: on screen, on a telephone, on paper."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from aima_dossier.render import render
from tests.unit.aima_dossier.dossier_sample import Sample, film, film_findings, hostile, sample

CHROMIUM = os.environ.get("AIMA_CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not Path(CHROMIUM).exists():
        pytest.skip("no chromium here: install it (apt-get install chromium), or name one in AIMA_CHROMIUM")
    with sync_playwright() as playwright:
        # A container often runs as root, where Chromium's own sandbox cannot start; the page is ours.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


class Opened:
    """A page with everything it complained of and everything it asked for."""

    def __init__(self, page: Page, path: Path) -> None:
        self.page = page
        self.complaints: list[str] = []
        self.requests: list[str] = []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.as_uri())


def opened(browser: Browser, folder: Path, case: Sample, *, width: int = 1200, script: bool = True) -> Opened:
    path = folder / "dossier.html"
    path.write_text(render(case.dossier(), case.images), "utf-8")
    context = browser.new_context(
        viewport={"width": width, "height": 900}, java_script_enabled=script, reduced_motion="reduce"
    )
    return Opened(context.new_page(), path)


@pytest.mark.parametrize("case", [sample(), hostile()], ids=["sample", "hostile"])
def test_it_opens_in_silence_and_asks_for_nothing(browser: Browser, tmp_path: Path, case: Sample) -> None:
    shown = opened(browser, tmp_path, case)

    assert shown.page.locator("h1").inner_text()
    assert shown.complaints == []
    assert [url for url in shown.requests if not url.startswith("data:")] == [(tmp_path / "dossier.html").as_uri()]


def test_a_foreign_script_would_be_stopped(browser: Browser, tmp_path: Path) -> None:
    """The positive control of the silence above: the policy is in force, and complaints are heard."""
    shown = opened(browser, tmp_path, sample())
    shown.page.evaluate(
        "() => { const added = document.createElement('script'); added.textContent = 'window.ran = 1';"
        " document.body.append(added); const far = new Image(); far.src = 'http://127.0.0.1:9/x.png'; }"
    )
    shown.page.wait_for_timeout(100)

    assert shown.page.evaluate("window.ran") is None
    assert any("Content Security Policy" in complaint for complaint in shown.complaints)


def test_clicking_a_time_moves_the_marker_and_tells_what_is_there(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, sample()).page
    medium = page.locator("article.video")
    line = medium.locator(".transcript a.time").nth(2)
    line.click()

    start = float(line.get_attribute("data-start") or 0)
    at = float((medium.locator("[data-playhead]").get_attribute("x1") or "").removesuffix("%"))
    assert at == pytest.approx(100 * start / 48.0, abs=0.01)
    assert "it was the epoch of belief" in medium.locator("[data-readout]").inner_text()
    assert "it was the epoch of belief" in medium.locator(".transcript .now").inner_text()
    assert medium.locator(".timeline").evaluate("e => e.getBoundingClientRect().top < innerHeight")


def test_the_keyboard_moves_the_marker_too(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, sample()).page
    track = page.locator("article.video [data-track]")
    track.focus()
    page.keyboard.press("End")
    assert track.get_attribute("aria-valuenow") == "48.0"
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert track.get_attribute("aria-valuenow") == "0.5"


def test_an_address_can_name_a_moment(browser: Browser, tmp_path: Path) -> None:
    case = sample()
    film_id = next(medium.id for medium in case.dossier().media if medium.type == "video")
    page = opened(browser, tmp_path, case).page
    page.evaluate(f"location.hash = 'medium-{film_id}@24'")
    page.wait_for_selector("article.video [data-readout]:not([hidden])")

    assert page.locator("article.video [data-playhead]").get_attribute("x1") == "50%"


def test_words_are_found_wherever_they_were_said(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, sample()).page
    page.fill("#find", "season of light")
    page.wait_for_selector("article.miss", state="attached")

    assert page.locator("article.medium:visible").count() == 2
    assert page.locator(".hit").count() >= 2
    page.fill("#find", "")
    page.wait_for_selector("article.miss", state="detached")
    assert page.locator("article.medium:visible").count() == 6


@pytest.mark.parametrize("case", [sample(), hostile()], ids=["sample", "hostile"])
@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_is_wider_than_the_screen(browser: Browser, tmp_path: Path, case: Sample, width: int) -> None:
    page = opened(browser, tmp_path, case, width=width).page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_can_be_read_without_a_script(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, sample(), script=False).page

    page.locator("article.video").scroll_into_view_if_needed()
    assert page.locator("article.video .transcript").get_by_text("the winter of despair").is_visible()
    assert not page.locator("#find").is_visible()
    page.locator("summary").first.click()
    assert page.locator("details[open] table").first.is_visible()


def test_it_prints(browser: Browser, tmp_path: Path) -> None:
    page = opened(browser, tmp_path, sample()).page
    page.emulate_media(media="print")
    assert not page.locator(".bar").is_visible()

    printed = page.pdf(format="A4")
    assert printed.startswith(b"%PDF-")
    assert len(printed) > 20_000


def test_a_film_of_hours_can_still_be_used(browser: Browser, tmp_path: Path) -> None:
    case = Sample()
    case.add("long.mp4", film_findings(2 * 3600), film(2 * 3600))
    shown = opened(browser, tmp_path, case)
    shown.page.locator(".transcript a.time").nth(900).click()

    assert shown.page.locator("[data-readout]").inner_text().startswith(("0:", "1:"))
    assert shown.page.locator(".mark").count() <= 6 * 300
    assert shown.complaints == []
