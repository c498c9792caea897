"""Takes the picture of a dossier that the README shows: `python -m aima_demo.screenshot DOSSIER.html PICTURE.png`.

Needs the developers' environment (Playwright) and a Chromium: `$AIMA_CHROMIUM`, or the one on the path.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

WIDTH, HEIGHT = 1280, 1500
"""Pixels of the page that are seen: the overview and the first media."""

COLOURS = 128
"""Enough for a page of text and thumbnails, at a third of the size."""


def take(dossier: Path, picture: Path, chromium: str) -> None:
    """Open the dossier, look, and write a PNG."""
    from PIL import Image
    from playwright.sync_api import sync_playwright

    picture.parent.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(dossier.resolve().as_uri())
        page.screenshot(path=picture)
        browser.close()
    with Image.open(picture) as taken:
        taken.convert("RGB").quantize(COLOURS).save(picture, optimize=True)


def main() -> None:
    """Take the picture; exit status 2 when there is nothing to take it of, or with."""
    parser = argparse.ArgumentParser(prog="python -m aima_demo.screenshot", description=__doc__)
    parser.add_argument("dossier", type=Path)
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    chromium = os.environ.get("AIMA_CHROMIUM") or shutil.which("chromium")
    if not options.dossier.is_file():
        sys.exit(f"{options.dossier} is not there: run `make demo` first")
    if chromium is None:
        sys.exit("no Chromium was found: install it, or say where it is with AIMA_CHROMIUM")
    take(options.dossier, options.picture, chromium)


if __name__ == "__main__":
    main()
