"""Makes the files of the demo case; only the maker's process imports this."""

import dataclasses
import fcntl
import io
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from aima_demo.answers import Answers, FilmAnswers, Region
from aima_demo.case import ANSWERS_FILE, MEDIA_FOLDER, read_demo_case, recipe
from aima_demo.film import write_film
from aima_demo.sound import Voice, write_opus
from aima_demo.sources import Progress, bring_photos, bring_voices, cache_folder
from aima_demo.storyboard import lay_out

FILM = "films/six pictures and a voice.mp4"
TRUNCATED_FILM = "films/interrupted copy.mp4"
TALE = "recordings/a tale of two cities.wav"
WORSTWARD = "recordings/worstward ho.opus"
WORSTWARD_BITS_PER_SECOND = 48_000
PAGE = "documents/page.png"
HTML_PHOTO = "photos/holiday.jpg"
EMPTY = "photos/nothing.png"
PHOTO_NAMES = {
    "astronaut.png": "photos/astronaut.png",
    "chelsea.png": "photos/chelsea.png",
    "coffee.png": "photos/coffee.png",
    "hubble_deep_field.jpg": "photos/deep field.jpg",
    "motorcycle_left.png": "photos/motorcycle.png",
    "rocket.jpg": "photos/rocket.jpg",
    "page.png": PAGE,
}
EXACT_DUPLICATE = "photos/IMG_0042.png"
NEAR_DUPLICATE = "photos/coffee, sent by phone.jpg"
CROP, SHRINK, JPEG_QUALITY = 0.03, 0.6, 82
"""How much of each side of the near duplicate is cut off, how far it is scaled down, how well it is kept."""
TRUNCATED_PART = 0.6
TALE_WORDS = (
    "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness, "
    "it was the epoch of belief, it was the epoch of incredulity, it was the season of Light, it was the season of "
    "Darkness, it was the spring of hope, it was the winter of despair, we had everything before us, we had nothing "
    "before us, we were all going direct to Heaven, we were all going direct the other way; in short, the period was "
    "so far like the present period, that some of its noisiest authorities insisted on its being received, for good "
    "or for evil, in the superlative degree of comparison only."
)
"""Charles Dickens, A Tale of Two Cities (1859), the first sentence, as it is read in the recording."""
WORSTWARD_WORDS = "Ever tried. Ever failed. No matter. Try again. Fail again. Fail better."
"""Samuel Beckett, Worstward Ho (1983), as it is read in the recording."""
PAGE_WORDS = (
    "Region-based segmentation Let us first determine markers of the coins and the background. These markers are "
    "pixels that we can label unambiguously as either object or background. Here, the markers are found at the two "
    "extreme parts of the histogram of grey values: >>> markers = np.zeros_like(coins)"
)
ASTRONAUT_FACE = Region(178 / 512, 70 / 512, 95 / 512, 118 / 512)
"""From the hair to the chin and from ear to ear, drawn by hand on the photo of 512 x 512 pixels."""
HTML = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>File not found</title></head>
<body><h1>404</h1><p>The photo that you asked for has moved.</p></body>
</html>
"""


@contextmanager
def sole_maker() -> Iterator[None]:
    """Wait until nobody else of this user makes demo media."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_case(folder: Path, progress: Progress) -> None:
    """Make the whole case, so that the folder appears whole or not at all."""
    with sole_maker():
        if read_demo_case(folder) is not None:
            return
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".making-") as temporary:
            draft = Path(temporary) / folder.name
            _fill(draft, progress)
            shutil.rmtree(folder, ignore_errors=True)
            draft.rename(folder)
        _clear_old_recipes()


def _clear_old_recipes() -> None:
    for path in cache_folder().glob("case-*"):
        if recipe() not in path.name:
            shutil.rmtree(path, ignore_errors=True)
    for path in cache_folder().glob("round-*"):
        if recipe() not in path.name:
            path.unlink(missing_ok=True)


def _fill(draft: Path, progress: Progress) -> None:
    media = draft / MEDIA_FOLDER
    for name in ("films", "recordings", "photos", "documents"):
        (media / name).mkdir(parents=True)
    photos = bring_photos(cache_folder(), progress)
    voices = bring_voices()
    _write_pictures(media, photos)
    (media / TALE).write_bytes(voices["two_cities.wav"])
    write_opus(media / WORSTWARD, Voice.from_wav(voices["beckett.wav"]), WORSTWARD_BITS_PER_SECOND)
    write_film(media / FILM, lay_out(), photos, Voice.from_wav(voices["two_cities.wav"]), progress)
    film = (media / FILM).read_bytes()
    (media / TRUNCATED_FILM).write_bytes(film[: int(len(film) * TRUNCATED_PART)])
    answers = dataclasses.asdict(_answers(media))
    (draft / ANSWERS_FILE).write_text(json.dumps(answers, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _write_pictures(media: Path, photos: dict[str, bytes]) -> None:
    for source, name in PHOTO_NAMES.items():
        (media / name).write_bytes(photos[source])
    (media / EXACT_DUPLICATE).write_bytes(photos["chelsea.png"])
    coffee = Image.open(io.BytesIO(photos["coffee.png"])).convert("RGB")
    width, height = coffee.size
    box = (round(width * CROP), round(height * CROP), round(width * (1 - CROP)), round(height * (1 - CROP)))
    small = coffee.resize((round(width * SHRINK), round(height * SHRINK)), Image.Resampling.LANCZOS, box=box)
    small.save(media / NEAR_DUPLICATE, quality=JPEG_QUALITY)
    (media / HTML_PHOTO).write_text(HTML, encoding="utf-8")
    (media / EMPTY).write_bytes(b"")


def _answers(media: Path) -> Answers:
    timeline = lay_out()
    return Answers(
        recipe=recipe(),
        sizes={str(path.relative_to(media)): path.stat().st_size for path in sorted(media.rglob("*.*"))},
        film=FilmAnswers(
            name=FILM,
            duration_seconds=timeline.duration_seconds,
            frames_per_second=timeline.frames_per_second,
            cuts_seconds=timeline.cuts_seconds,
            dissolve_seconds=timeline.dissolve_seconds,
            titles=timeline.titles,
            speech=TALE_WORDS,
        ),
        recordings={TALE: TALE_WORDS, WORSTWARD: WORSTWARD_WORDS},
        page=(PAGE, PAGE_WORDS),
        faces={PHOTO_NAMES["astronaut.png"]: (ASTRONAUT_FACE,), PHOTO_NAMES["coffee.png"]: ()},
        exact_duplicates=((PHOTO_NAMES["chelsea.png"], EXACT_DUPLICATE),),
        near_duplicates=((PHOTO_NAMES["coffee.png"], NEAR_DUPLICATE),),
        rejected={
            TRUNCATED_FILM: "the copy was cut off before the film's index",
            HTML_PHOTO: "a web page that is named like a photo",
            EMPTY: "no bytes at all",
        },
    )
