"""The 64-bit perceptual hash of a picture: re-encoding and scaling change few bits, another picture about half.

The hash is the sign pattern of the lowest 8 x 8 frequencies of the 32 x 32 grey picture, against their
median (Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010). It does not
survive crops beyond about 5 % nor mirroring; embeddings do.
"""

import numpy as np
import numpy.typing as npt

SIDE = 32
_LOW = 8


def _cosines() -> npt.NDArray[np.float64]:
    """Give the first eight rows of the DCT-II of length 32."""
    frequency = np.arange(_LOW)[:, None]
    sample = np.arange(SIDE)[None, :]
    return np.cos(np.pi * frequency * (2 * sample + 1) / (2 * SIDE))


_COSINES = _cosines()


def perceptual_hash(grey: npt.NDArray[np.uint8]) -> int:
    """Hash a 32 x 32 grey picture to 64 bits, the first bit being the mean brightness.

    Raises `ValueError` for any other shape.
    """
    if grey.shape != (SIDE, SIDE):
        raise ValueError(f"a perceptual hash is taken of {SIDE} x {SIDE} grey pixels, not of {grey.shape}")
    # Rounded, so that the last bits of a product, which differ between processors, cannot flip a sign.
    frequencies = np.round(_COSINES @ grey.astype(np.float64) @ _COSINES.T, 3).ravel()
    bits = frequencies > np.median(frequencies)
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def format_hash(value: int) -> str:
    """Write a hash as 16 hexadecimal digits."""
    return f"{value:016x}"


def parse_hash(text: str) -> int:
    """Read what `format_hash` wrote; raise `ValueError` for anything else."""
    if len(text) != 16:
        raise ValueError(f"{text!r} is not a perceptual hash of 16 hexadecimal digits")
    return int(text, 16)


def hamming_distance(one: int, other: int) -> int:
    """Count the bits in which two hashes differ, 0 to 64. Up to 10 speaks for the same picture."""
    return (one ^ other).bit_count()
