"""Brings the photos and voices out of pinned packages; nothing third-party lies in the repository."""

import hashlib
import os
import platform
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from aima_common.errors import PermanentError, UnavailableError
from aima_models.archive import read_members
from aima_models.download import download
from aima_models.errors import DownloadError
from aima_models.manifest import Source

PHOTO_PACKAGE, PHOTO_VERSION = "scikit-image", "0.26.0"
PHOTO_ARCHIVES = {
    ("x86_64", 11): ("74aa5518ccea28121f57a95374581d3b979839adc25bb03f289b1bc9b99c58af", 13_711_217),
    ("x86_64", 12): ("7df650e79031634ac90b11e64a9eedaf5a5e06fcd09bcd03a34be01745744466", 13_561_683),
    ("x86_64", 13): ("b36ab5e778bf50af5ff386c3ac508027dc3aaeccf2161bdf96bde6848f44d21b", 13_660_939),
    ("aarch64", 11): ("9ea6207d9e9d21c3f464efe733121c0504e494dbdc7728649ff3e23c3c5a4953", 13_297_768),
    ("aarch64", 12): ("4c717490cec9e276afb0438dd165b7c3072d6c416709cc0f9f5a4c1070d23a44", 13_084_214),
    ("aarch64", 13): ("915bb3ba66455cf8adac00dc8fdf18a4cd29656aec7ddd38cb4dda90289a6f21", 13_094_910),
}
"""SHA-256 and bytes of the package's archive, by machine and minor version of Python 3."""
PHOTOS = {
    "astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
    "chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
    "coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
    "hubble_deep_field.jpg": "3a19c5dd8a927a9334bb1229a6d63711b1c0c767fb27e2286e7c84a3e2c2f5f4",
    "motorcycle_left.png": "db18e9c4157617403c3537a6ba355dfeafe9a7eabb6b9b94cb33f6525dd49179",
    "page.png": "341a6f0a61557662b02734a9b6e56ec33a915b2c41886b97509dedf2a43b47a3",
    "rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
}
"""The same in the archive of every platform, by name and SHA-256."""
VOICES = {
    "beckett.wav": "e5a26b3d29e5b0bc8dbd72c11d16a3808a4ec0ac45b21f12a27d2a2fe5c5ae61",
    "two_cities.wav": "f3348494d77cb74a02862f5e685ed09faf3e75832c5cc5c80703282c2cd8b52e",
}
VOICE_MODULE = "moonshine_voice"

Progress = Callable[[str, int, int], None]
"""Told a step in words, how much of it is done and how much there is."""


def cache_folder() -> Path:
    """Tell where made and downloaded files of the demo lie for this user (XDG Base Directory)."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "aima" / "demo"


def bring_photos(folder: Path, progress: Progress) -> dict[str, bytes]:
    """Give the photos' bytes; the archive is downloaded into `folder` once, and never installed.

    Raises UnavailableError when the package index cannot be reached, PermanentError when this
    platform is not one whose archive is pinned or the index serves other bytes.
    """
    machine, minor = platform.machine(), sys.version_info.minor
    if (machine, minor) not in PHOTO_ARCHIVES:
        raise PermanentError(
            f"the demo's photos are pinned for Python 3.11 to 3.13 on x86_64 and aarch64, not 3.{minor} on {machine}",
            code="demo_platform",
            remedy="use one of those, or analyse files of your own",
        )
    sha256, size_bytes = PHOTO_ARCHIVES[machine, minor]
    source = Source(kind="archive", package=PHOTO_PACKAGE, version=PHOTO_VERSION, sha256=sha256, size_bytes=size_bytes)
    try:
        archive = download(source, folder, lambda done: progress("download the photos", done, size_bytes))
    except DownloadError as error:
        # The last line tells what to do about a model.
        said = "\n".join(str(error).splitlines()[:-1])
        raise UnavailableError(
            f"{said}\nThe demo's photos come from there: check the network and pip's index settings, then try again.",
            code="demo_download",
        ) from error
    members = read_members(archive, [f"skimage/data/{name}" for name in PHOTOS])
    return {name: _checked(name, members[f"skimage/data/{name}"], PHOTOS[name]) for name in PHOTOS}


def bring_voices() -> dict[str, bytes]:
    """Give the recordings' bytes out of the installed package, without importing it."""
    found = find_spec(VOICE_MODULE)
    if found is None or not found.submodule_search_locations:
        raise PermanentError(
            "the demo's voices lie in the package moonshine-voice, which is not installed",
            code="demo_voices",
            remedy="install AIMA with its analysis extra",
        )
    assets = Path(found.submodule_search_locations[0]) / "assets"
    return {name: _checked(name, (assets / name).read_bytes(), sha256) for name, sha256 in VOICES.items()}


def _checked(name: str, content: bytes, sha256: str) -> bytes:
    if hashlib.sha256(content).hexdigest() != sha256:
        raise PermanentError(f"{name} is not the file that the demo was made with", code="demo_wrong_hash")
    return content
