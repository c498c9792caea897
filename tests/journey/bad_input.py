"""Files that cannot be analysed, files that look as if they could not, and names that need care."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from tests.unit.aima_preprocessing.made_media import (
    Recipe,
    enormous_png,
    film,
    photo,
    recording_with_cover,
    still,
    unfolding_gif,
)

WEB_PAGE = b"<!DOCTYPE html>\n<html><head><title>404</title></head><body>The photo has moved.</body></html>\n"
DRAWING = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>\n'


def refused(address: str, secret: Path) -> dict[str, tuple[bytes, str]]:
    """Give files that are refused, by name, with the code of the refusal.

    `address` is what the disguised ones try to call, `secret` a film beside them that they try to open.
    """
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{address}/secret.ts\n#EXT-X-ENDLIST\n"
    script = f"ffconcat version 1.0\nfile '{secret}'\n"
    session = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n"
    whole = film(Recipe("mp4"))
    return {
        "cut off.mp4": (whole[: len(whole) // 2], "truncated"),
        "web page.jpg": (WEB_PAGE, "html"),
        "empty.png": (b"", "empty"),
        "enormous.png": (enormous_png(), "limit_still_pixels"),
        "unfolding.gif": (unfolding_gif(), "limit_animation_bytes"),
        "playlist.mp4": (playlist.encode(), "playlist"),
        "script.mp4": (script.encode(), "concat_script"),
        "session.mp4": (session.encode(), "session_description"),
        "drawing.png": (DRAWING, "svg"),
        "half a picture.png": (_broken_png(), "undecodable"),
    }


def _broken_png() -> bytes:
    """Give a PNG whose pixels are noise that nothing can unpack."""
    header = struct.pack(">IIBBBBB", 64, 64, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", b"these are no pixels"), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def unusual_but_good() -> dict[str, bytes]:
    """Give files that are analysed although something about them is unusual."""
    return {
        "one pixel.png": still(Image.new("RGB", (1, 1), (250, 120, 0))),
        "silent film.mp4": film(Recipe("mp4", sound=None)),
        "song with cover.mp3": recording_with_cover(),
        "photo.png": still(photo(seed=100)),
    }


def large_photo() -> bytes:
    """Give a picture of several megabytes: noise, which nothing packs smaller."""
    noise = np.random.default_rng(7).integers(0, 255, (1200, 1600, 3), dtype=np.uint8)
    return still(Image.fromarray(noise))


def unusual_names() -> dict[str, bytes]:
    """Give photos, all different, under names that shells, terminals and browsers stumble over."""
    names = (
        "[bold]brackets[-] (1) {2} <b>&amp; *?.png",
        "two\nlines.png",
        "abc\u202egnp.exe.png",
        "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627.png",
        "\u00e9" * 125 + "x.png",
        "'; rm -rf $HOME #`id`.png",
        "-rf --out.png",
    )
    assert len(names[4].encode()) == 255
    return {name: still(photo(320, 240, seed=number)) for number, name in enumerate(names)}
