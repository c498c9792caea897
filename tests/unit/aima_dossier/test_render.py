"""The page: self-contained, inert whatever it is told, and complete."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from aima_dossier import view
from aima_dossier.canonical import digest
from aima_dossier.frames import MediumImages, TimedFrame
from aima_dossier.render import render
from tests.unit.aima_dossier.dossier_sample import (
    Sample,
    film,
    film_findings,
    found,
    hostile,
    picture_of,
    sample,
    still,
)

VOID = {"meta", "link", "img", "input", "br"}


class Page(HTMLParser):
    """A page taken apart: its elements, its text, and whether everything that was opened was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)


@pytest.mark.parametrize("case", [sample(), hostile(), Sample()], ids=["sample", "hostile", "empty"])
def test_everything_that_is_opened_is_closed_and_ids_are_unique(case: Sample) -> None:
    page = Page(render(case.dossier(), case.images))

    assert page.open == []
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    targets = {str(attributes["href"])[1:] for tag, attributes in page.tags if tag == "a"}
    assert targets <= set(names)


@pytest.mark.parametrize("case", [sample(), hostile()], ids=["sample", "hostile"])
def test_nothing_is_loaded_from_elsewhere(case: Sample) -> None:
    page = Page(render(case.dossier(), case.images))

    for tag, attributes in page.tags:
        for name, value in attributes.items():
            if name in ("src", "href", "srcset", "action", "data", "poster", "xlink:href"):
                assert str(value).startswith(("data:", "#")), (tag, name, value)
            assert not name.startswith("on"), (tag, name)
            assert name != "style", tag
    assert "url(" not in render(case.dossier(), case.images)


def test_only_the_pages_own_style_and_script_may_run() -> None:
    text = render(hostile().dossier())
    page = Page(text)
    policy = next(str(a["content"]) for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")

    for tag in ("style", "script"):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        hashed = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{hashed}'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_hostile_words_add_no_element() -> None:
    harmless = {tag for tag, _ in Page(render(sample().dossier(), sample().images)).tags}
    blank_cards = {"svg", "path", "circle", "rect"}

    assert {tag for tag, _ in Page(render(hostile().dossier())).tags} <= harmless | blank_cards


def test_hostile_words_stay_readable() -> None:
    text = Page(render(hostile().dossier())).text

    assert "<img src=x onerror=alert(1)>.jpg" in text
    assert "]]><script>alert('x')</script>{{ 7*7 }}.mp4" in text
    assert "invoiceU+202Egpj.exe" in text
    assert "\u202e" not in render(hostile().dossier())
    assert "&lt;already&gt;" in text


def test_it_tells_everything_a_reader_asks_for() -> None:
    case = sample()
    text = Page(render(case.dossier(), case.images)).text

    for told in (
        "Ten files came in.",
        "The file is an HTML page, although its name says .jpg.",
        "Copy it again from its source",
        "it was the spring of hope, it was the winter of despair.",
        "SCENE 1: The city",
        "M. Reader says",
        "took longer than its limit twice",
        "12 frames at the end could not be decoded",
        "Moonshine tiny",
        "urn:aima:dossier:1",
        digest(case.dossier()),
    ):
        assert told in text, told


def test_faces_are_marked_in_stills_and_in_frames() -> None:
    case = sample()
    page = Page(render(case.dossier(), case.images))

    assert sum(attributes.get("class") == "boxes" for _, attributes in page.tags) >= 2
    assert any("1 face marked" in str(attributes.get("alt")) for tag, attributes in page.tags if tag == "img")


def test_what_is_no_image_is_not_shown() -> None:
    case = Sample()
    medium = case.add("a.png", [], still())

    assert "<img" in render(case.dossier(), {medium: picture_of(1)})
    assert "<img" not in render(case.dossier(), {medium: b"<svg onload=alert(1)>"})
    assert "<img" not in render(case.dossier(), {medium: MediumImages(frames=(TimedFrame(1.0, b"GIF89a"),))})


def test_large_images_give_way_to_thumbnails(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Sample()
    images = {case.add(f"{n}.png", [], still()): MediumImages(picture_of(n), picture_of(n, 16, 10)) for n in range(3)}
    monkeypatch.setattr(view, "IMAGE_BUDGET_BYTES", len(picture_of(0)) + 10)

    shown = view.page(case.dossier(), images).media
    assert [one.preview == one.thumbnail for one in shown] == [False, True, True]


def test_a_long_film_stays_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Sample()
    case.add("long.mp4", film_findings(2 * 3600), film(2 * 3600))
    dossier = case.dossier()
    text = render(dossier)

    assert len(dossier.media[0].findings) > view.MAX_STATEMENTS
    assert f"The first 2\u202f000 statements; all {len(dossier.media[0].findings):,}".replace(",", "\u202f") in text
    assert len(text) < 3_000_000


def test_the_same_dossier_makes_the_same_page() -> None:
    assert render(sample().dossier(), sample().images) == render(sample().dossier(), sample().images)


def test_a_dossier_in_the_making_says_so() -> None:
    case = Sample()
    case.item("a.mp4", status="analysing")
    text = Page(render(case.dossier())).text

    assert "Work in progress" in text
    assert "Still being worked on" in text
    assert "No medium has been analysed yet." in text


def test_a_finding_of_a_rule_names_no_model() -> None:
    case = Sample()
    rule = found("label", label="cat").model_copy(update={"model": None})
    case.add("a.png", [rule], still())

    assert "none: a rule" in Page(render(case.dossier())).text
