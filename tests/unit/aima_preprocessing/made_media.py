"""Media made for tests: small, of any container, with contents that can be told apart."""

import io
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
SAMPLE_RATE = 48_000


@dataclass(frozen=True)
class Recipe:
    """What to put into a container."""

    container: str
    picture: str | None = "libx264"
    sound: str | None = "aac"
    pixel_format: str = "yuv420p"
    rate: int = 12
    seconds: float = 3.0
    width: int = 160
    height: int = 120
    key_every: int = 18
    options: Mapping[str, str] | None = None
    index_first: bool = False
    grain: bool = False
    """Noise that no encoder can make small."""


def picture_of(number: int, recipe: Recipe) -> Pixels:
    """Draw a frame that differs from every other: a moving bar over a slowly changing ground."""
    pixels = np.empty((recipe.height, recipe.width, 3), np.uint8)
    pixels[...] = np.linspace(0, 120, recipe.width, dtype=np.uint8)[None, :, None]
    pixels[..., 0] += np.uint8(number * 7 % 120)
    left = number * 5 % recipe.width
    pixels[:, left : left + 12] = 255
    if recipe.grain:
        pixels ^= np.random.default_rng(number).integers(0, 128, pixels.shape, dtype=np.uint8)
    return pixels


def tone(seconds: float, channels: int = 2) -> npt.NDArray[np.float32]:
    """Give a sweep, so that every moment sounds different."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    wave = 0.3 * np.sin(2 * np.pi * (200 + 40 * time) * time)
    return np.repeat(wave[None].astype(np.float32), channels, axis=0)


def film(recipe: Recipe) -> bytes:
    """Write a film, or with `picture` None a recording."""
    buffer = io.BytesIO()
    settings = {"moov_size": "65536"} if recipe.index_first else {}
    with av.open(buffer, "w", format=recipe.container, container_options=settings) as container:
        picture = _picture_stream(container, recipe)
        sound: Any = None
        if recipe.sound is not None:
            sound = container.add_stream(recipe.sound, rate=SAMPLE_RATE, layout="stereo")
        whole = tone(recipe.seconds)
        for number in range(max(1, round(recipe.seconds * recipe.rate))):
            if picture is not None:
                frame = av.VideoFrame.from_ndarray(picture_of(number, recipe), format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, recipe.rate)
                container.mux(picture.encode(frame))
            if sound is not None:
                first = number * SAMPLE_RATE // recipe.rate
                part = np.ascontiguousarray(whole[:, first : (number + 1) * SAMPLE_RATE // recipe.rate])
                samples = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
                samples.sample_rate, samples.pts, samples.time_base = SAMPLE_RATE, first, Fraction(1, SAMPLE_RATE)
                container.mux(sound.encode(samples))
        for stream in (picture, sound):
            if stream is not None:
                container.mux(stream.encode(None))
    return buffer.getvalue()


def _picture_stream(container: Any, recipe: Recipe) -> Any:
    if recipe.picture is None:
        return None
    stream = container.add_stream(recipe.picture, rate=recipe.rate, options=dict(recipe.options or {}))
    stream.width, stream.height, stream.pix_fmt = recipe.width, recipe.height, recipe.pixel_format
    if recipe.picture != "gif":
        stream.gop_size = recipe.key_every
    return stream


def recording_with_cover() -> bytes:
    """Write an MP3 with a red cover picture in its ID3 tag."""
    cover = still(Image.new("RGB", (64, 64), (200, 10, 10)), "JPEG")
    body = b"\x00image/jpeg\x00\x03\x00" + cover
    frame = b"APIC" + struct.pack(">I", len(body)) + b"\x00\x00" + body
    size = len(frame)
    synchsafe = bytes((size >> shift) & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x03\x00\x00" + synchsafe + frame + film(Recipe("mp3", picture=None, sound="libmp3lame"))


def turned(mp4: bytes) -> bytes:
    """Note in an MP4 that the camera was held on its side: the display matrix of a quarter turn."""
    place = mp4.index(b"tkhd") + 4 + 40
    one = 1 << 16
    matrix = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    return mp4[:place] + matrix + mp4[place + 36 :]


def still(picture: Any, container: str = "PNG", **settings: Any) -> bytes:
    """Encode a picture."""
    buffer = io.BytesIO()
    picture.save(buffer, container, **settings)
    return buffer.getvalue()


def photo(width: int = 400, height: int = 300, seed: int = 1) -> Image.Image:
    """Give a picture with soft shapes, such as a camera would see."""
    coarse = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def enormous_png(side: int = 30_000) -> bytes:
    """Give a complete, valid PNG of two colours whose pixels would fill hundreds of megabytes."""
    row = bytes(1 + side // 8)
    packer = zlib.compressobj(9)
    packed = b"".join(packer.compress(row * 100) for _ in range(side // 100)) + packer.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def unfolding_gif(side: int = 4000, frames: int = 80) -> bytes:
    """Give an animation of a few kilobytes whose frames take `side` x `side` x 4 bytes each."""
    first = still(Image.new("P", (side, side), 0), "GIF")
    second = still(Image.new("P", (side, side), 1), "GIF")
    one, two = _gif_image(first), _gif_image(second)
    control = b"\x21\xf9\x04\x00\x0a\x00\x00\x00"
    head = first[: first.index(one)]
    return head + (control + one + control + two) * (frames // 2) + b"\x3b"


def _gif_image(data: bytes) -> bytes:
    """Cut the first image out of a GIF: from its descriptor to before the trailer."""
    palette = 3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0
    place = 13 + palette
    while data[place] == 0x21:
        place += 2
        while data[place]:
            place += 1 + data[place]
        place += 1
    return data[place : data.rindex(b"\x3b")]
