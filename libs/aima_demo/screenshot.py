"""Takes the picture of a dossier that the README shows: `python -m aima_demo.screenshot DOSSIER.html PICTURE.png`.

Needs a Chromium: `$AIMA_CHROMIUM`, or the one on the path.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

WIDTH, HEIGHT = 1280, 1500
"""Pixels of the page that are seen: the overview and the first media."""

COLOURS = 128
"""Enough for a page of text and thumbnails, at a third of the size."""

TIMEOUT_SECONDS = 60.0


def take(dossier: Path, picture: Path, chromium: str) -> None:
    """Open the dossier, look, and write a PNG; raise `CalledProcessError` when the browser cannot."""
    from PIL import Image

    picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        command = [
            chromium,
            "--headless",
            # The page is one that AIMA wrote; containers seldom allow the browser's own sandbox.
            "--no-sandbox",
            "--hide-scrollbars",
            f"--user-data-dir={profile}",
            f"--window-size={WIDTH},{HEIGHT}",
            f"--screenshot={picture.resolve()}",
            dossier.resolve().as_uri(),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_SECONDS)
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
