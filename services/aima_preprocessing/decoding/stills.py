"""Stills: one picture, upright, at most 1280 px, on a white ground, without what the camera noted."""

import io
import struct
import warnings
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from aima_common.contracts.media import MediumType, Probe
from aima_preprocessing.decoding.pictures import LONGEST_SIDE, STILL_QUALITY, encode_jpeg, fit, preview
from aima_preprocessing.decoding.source import NamelessFile
from aima_preprocessing.events import Finished
from aima_preprocessing.limits import Limits, check_still
from aima_preprocessing.refusals import LimitExceededError, truncated, undecodable
from aima_preprocessing.sniff import Kind

_DEEP_MODES = ("I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112
"""Exif 2.3, tag 274."""

_QUARTER_TURNED = (5, 6, 7, 8)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def is_animated(file: NamelessFile, kind: Kind, limits: Limits) -> bool:
    """Tell whether a picture file moves."""
    with _open(file, kind, limits) as picture:
        return bool(getattr(picture, "is_animated", False))


def decode_still(file: NamelessFile, kind: Kind, limits: Limits) -> Finished:
    """Decode a whole picture; raise `MediumRefusedError` when it cannot be, or is too large."""
    picture = _open(file, kind, limits)
    stored_width, stored_height = picture.size
    several = getattr(picture, "n_frames", 1) > 1
    _load(picture)
    seen = preview(encode_jpeg(_upright(picture), STILL_QUALITY))
    turned = _orientation(picture) in _QUARTER_TURNED
    probe = Probe(
        type=MediumType.IMAGE,
        mime_type=kind.image_type,
        container=kind.name,
        width=stored_height if turned else stored_width,
        height=stored_width if turned else stored_height,
    )
    problems = ("The file holds several pictures; the first was analysed.",) if several else ()
    return Finished(probe, 0, seen.poster, seen.thumbnail, seen.perceptual_hash, problems)


def decode_cover(data: bytes, limits: Limits) -> bytes:
    """Decode a cover picture that lies inside a recording; raise as `decode_still` does."""
    picture = _open(io.BytesIO(data), None, limits)
    _load(picture)
    return encode_jpeg(_upright(picture), STILL_QUALITY)


def _open(file: Any, kind: Kind | None, limits: Limits) -> Any:
    """Open with the one plug-in that the first bytes call for (for covers: JPEG and PNG), and check the header."""
    file.seek(0)
    try:
        with warnings.catch_warnings():
            # Pillow only warns between its limit and twice its limit; ours is checked below, exactly.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(file, formats=[kind.opener] if kind is not None else ["JPEG", "PNG"])
    except Image.DecompressionBombError as error:
        raise LimitExceededError("still_pixels", f"the picture is too large to unfold: {error}") from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        raise undecodable("its header is damaged") from error
    check_still(limits, *picture.size)
    return picture


def _load(picture: Any) -> None:
    try:
        # JPEG can be decoded at a half, a quarter or an eighth of its size, at a fraction of the cost.
        picture.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
        picture.load()
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, struct.error) as error:
        if "truncated" in str(error):
            raise truncated("the lower part of the picture is missing") from error
        raise undecodable("its pixels are damaged") from error


def _orientation(picture: Any) -> int:
    """Read which way up the camera was held; 1, upright, when it says nothing that can be read."""
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except (OSError, ValueError, SyntaxError, TypeError, struct.error):
        return 1


def _upright(picture: Any) -> Any:
    """Give loaded pixels upright, in RGB, at most 1280 px long."""
    flat = _flat(picture)
    if max(flat.size) > LONGEST_SIDE:
        flat = flat.resize(fit(flat.size, LONGEST_SIDE), Image.Resampling.LANCZOS)
    turn = _TURNS.get(_orientation(picture))
    return flat if turn is None else flat.transpose(turn)


def _flat(picture: Any) -> Any:
    """Give RGB: deep grey scaled to 8 bits, transparency laid on white."""
    if picture.mode in _DEEP_MODES or picture.mode in {"I", "F"}:
        return _eight_bits(picture).convert("RGB")
    if picture.has_transparency_data:
        layer = picture.convert("RGBA")
        ground = Image.new("RGBA", layer.size, "white")
        ground.alpha_composite(layer)
        return ground.convert("RGB")
    return picture.convert("RGB")


def _eight_bits(picture: Any) -> Any:
    """Scale 16-bit or real grey to what is seen: by its format, or between its extremes."""
    values = np.asarray(picture).astype(np.float32)
    if picture.mode in _DEEP_MODES:
        return Image.fromarray((values / 257).round().astype(np.uint8))
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if low >= 0 and high <= 255:
        return Image.fromarray(values.round().astype(np.uint8))
    scaled = (values - low) / max(high - low, 1e-12) * 255
    return Image.fromarray(np.nan_to_num(scaled).round().astype(np.uint8))


Image.MAX_IMAGE_PIXELS = 500_000_000
"""Only a last fence against absurd headers: the operator's limit is checked against every header, exactly."""
