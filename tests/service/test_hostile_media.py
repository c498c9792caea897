"""Bad media through the real decoder: each gets a clear answer, and the others go on."""

import contextlib
import random
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from aima_common.contracts.media import MediumType
from aima_preprocessing.decoder_client import DecoderClient, PreparationPlan
from aima_preprocessing.decoder_connection import Ended
from aima_preprocessing.events import Event, Finished
from aima_preprocessing.limits import Limits
from aima_preprocessing.refusals import MediumRefusedError
from aima_preprocessing.segmentation import MICROSECONDS, SegmentPlan
from tests.unit.aima_preprocessing.made_media import (
    Recipe,
    enormous_png,
    film,
    photo,
    recording_with_cover,
    still,
    unfolding_gif,
)

PLAN = PreparationPlan()
ended: list[Ended] = []


@pytest.fixture
async def client() -> AsyncIterator[DecoderClient]:
    ended.clear()
    decoder = DecoderClient(on_ended=ended.append)
    await decoder.start()
    yield decoder
    await decoder.close()


async def decode(
    client: DecoderClient, folder: Path, data: bytes, name: str = "upload", plan: PreparationPlan = PLAN
) -> list[Event]:
    path = folder / name
    path.write_bytes(data)
    async with contextlib.aclosing(client.prepare(str(path), plan)) as events:
        return [event async for event in events]


WHOLE = film(Recipe("mp4"))

REFUSED: dict[str, tuple[bytes, str, str]] = {
    "a film that broke off": (WHOLE[: len(WHOLE) // 2], "film.mp4", "truncated"),
    "a page named as a picture": (b"<!DOCTYPE html><html><body>404</body></html>", "photo.jpg", "html"),
    "an empty file": (b"", "film.mp4", "empty"),
    "a picture of 900 megapixels": (enormous_png(), "small.png", "limit_still_pixels"),
    "an animation that unfolds to gigabytes": (unfolding_gif(), "funny.gif", "limit_animation_bytes"),
    "a drawing with a script": (b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>", "logo.png", "svg"),
    "noise": (random.Random(7).randbytes(100_000), "film.mp4", "unknown_type"),
    "a program in Python": (b"import os\n\n\ndef main():\n    os.system('true')\n" * 20, "film.mp4", "not_media"),
    "a shell script named as a picture": (b"#!/bin/sh\necho\n", "photo.jpg", "text"),
    "a photo cut in half": (still(photo(), "JPEG")[:8000], "photo.jpg", "truncated"),
    "a picture with a damaged header": (b"\x89PNG\r\n\x1a\n" + bytes(200), "photo.png", "undecodable"),
    "a film of headers alone": (WHOLE[:40] + bytes(4000), "film.mp4", "truncated"),
    "a codec with a bad history": (
        film(Recipe("avi", picture="magicyuv", sound=None, pixel_format="gbrp")),
        "film.avi",
        "unsupported_codec",
    ),
    "a tape of sync bytes": (b"\x47" + bytes(187) * 1 + (b"\x47" + bytes(187)) * 400, "tape.ts", "undecodable"),
}


@pytest.mark.parametrize(("data", "name", "code"), REFUSED.values(), ids=REFUSED.keys())
async def test_it_is_refused_with_reason_and_remedy_and_the_next_medium_goes_on(
    data: bytes, name: str, code: str, client: DecoderClient, tmp_path: Path
) -> None:
    with pytest.raises(MediumRefusedError) as caught:
        await decode(client, tmp_path, data, name)
    assert caught.value.code == code
    assert len(caught.value.reason) > 10
    assert len(caught.value.remedy) > 10
    assert len(await decode(client, tmp_path, WHOLE, "good.mp4")) == 3


async def test_odd_but_good_media_are_taken(client: DecoderClient, tmp_path: Path) -> None:
    found = {}
    for name, data in {
        "one pixel": still(Image.new("RGB", (1, 1))),
        "no sound": film(Recipe("mp4", sound=None)),
        "cover": recording_with_cover(),
        "misnamed": still(photo()),
    }.items():
        last = (await decode(client, tmp_path, data, f"{name}.mp4"))[-1]
        assert isinstance(last, Finished)
        found[name] = (last.probe.type, last.probe.has_video, last.probe.has_audio)
    assert found == {
        "one pixel": (MediumType.IMAGE, False, False),
        "no sound": (MediumType.VIDEO, True, False),
        "cover": (MediumType.AUDIO, False, True),
        "misnamed": (MediumType.IMAGE, False, False),
    }


async def test_no_mutant_brings_anything_down_but_itself(client: DecoderClient, tmp_path: Path) -> None:
    seeds = [
        WHOLE,
        film(Recipe("mpegts")),
        film(Recipe("matroska", sound="flac")),
        film(Recipe("gif", picture="gif", sound=None, pixel_format="rgb8", seconds=1)),
        still(photo(), "JPEG"),
        still(photo(), "WEBP"),
        recording_with_cover(),
    ]
    for seed in seeds:
        assert isinstance((await decode(client, tmp_path, seed))[-1], Finished)
    dice = random.Random(20261123)
    decoded = 0
    for _ in range(70):
        mutant = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 60)):
            mutant[dice.randrange(len(mutant))] = dice.randrange(256)
        # Anything but a refusal, a passing trouble for instance, fails the test here.
        with contextlib.suppress(MediumRefusedError):
            await decode(client, tmp_path, bytes(mutant))
            decoded += 1
    assert 10 < decoded < 70
    # A child that has given its refusal may be seen off before it has ended by itself.
    assert {end.signal for end in ended} <= {None, signal.SIGKILL}
    assert len(ended) == len(seeds) + 70


async def test_memory_does_not_grow_with_the_length_of_a_film(client: DecoderClient, tmp_path: Path) -> None:
    segments = SegmentPlan(
        core=5 * MICROSECONDS,
        shortest_remainder=MICROSECONDS,
        sound_context=MICROSECONDS,
        thumbnail_context=MICROSECONDS,
    )
    plan = PreparationPlan(limits=Limits(), segments=segments)
    peaks = []
    for seconds in (15, 150):
        recipe = Recipe("mp4", seconds=seconds, rate=6, width=640, height=360, options={"preset": "ultrafast"})
        await decode(client, tmp_path, film(recipe), plan=plan)
        peaks.append(ended[-1].peak_memory_bytes)
    short, long = peaks
    assert long - short < 16 * 1024**2
    assert long < 300 * 1024**2
