"""The rule that keeps a nested playlist from opening what it likes, as a test over the source."""

import ast
from pathlib import Path

import aima_preprocessing

ROOT = Path(aima_preprocessing.__file__).parent


def calls_of(path: Path, owner: str, name: str) -> list[ast.Call]:
    """Find the calls `owner.name(...)` in a file."""
    return [
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == f"{owner}.{name}"
    ]


def keywords_of(call: ast.Call) -> dict[str, str]:
    return {keyword.arg or "": ast.unparse(keyword.value) for keyword in call.keywords}


def test_media_are_opened_in_one_place_with_a_white_list_and_a_forced_format() -> None:
    opened = {path.name: calls for path in ROOT.rglob("*.py") if (calls := calls_of(path, "av", "open"))}
    assert set(opened) == {"source.py"}
    reading = [call for call in opened["source.py"] if keywords_of(call)["mode"] == "'r'"]
    assert len(reading) == 1
    assert keywords_of(reading[0])["format"] == "kind.opener"
    options = keywords_of(reading[0])["container_options"]
    assert "'format_whitelist': kind.opener" in options
    assert "codec_whitelist" in options


def test_pictures_are_opened_with_named_plug_ins_only() -> None:
    opened = [call for path in ROOT.rglob("*.py") for call in calls_of(path, "Image", "open")]
    assert len(opened) >= 2
    assert all("formats" in keywords_of(call) for call in opened)


def test_no_film_is_ever_given_to_the_other_ffmpeg_that_opencv_carries() -> None:
    sources = [path.read_text(encoding="utf-8") for path in ROOT.rglob("*.py")]
    assert sources
    assert not any("import cv2" in source or "VideoCapture" in source for source in sources)
