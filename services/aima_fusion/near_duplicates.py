"""When two stills show the same picture."""

from aima_common import ids

HASH_BITS = 64

MAX_HASH_DISTANCE = 8
"""Bits of 64 that the pHash of the same picture may differ in.

Measured: strong JPEG, half size and greyscale change 0 bits, a watermark 6; unrelated pictures differ in 32 to 36.
"""

MIN_COSINE = 0.75
"""Cosine of EfficientNet-Lite0 embeddings from which two stills are the same picture.

Measured: a crop of 15 % keeps 0.80, greyscale 0.84, a rotation by 5 degrees 0.95, a mirror image 0.96;
unrelated pictures reach 0.32 at most. The hash alone does not survive crops, so both are asked.
"""


def near_duplicate(phash_a: str | None, phash_b: str | None, cosine: float | None) -> float | None:
    """Tell how similar two stills are, 0.75 to 1, or None when they are different pictures.

    `phash_a` and `phash_b` are 16 hex digits, `cosine` is that of the two embeddings; None where there is none.
    """
    signs: list[float] = []
    if phash_a is not None and phash_b is not None:
        distance = hash_distance(phash_a, phash_b)
        if distance <= MAX_HASH_DISTANCE:
            signs.append(1 - distance / HASH_BITS)
    if cosine is not None and cosine >= MIN_COSINE:
        signs.append(min(1.0, cosine))
    return round(max(signs), 6) if signs else None


def hash_distance(one: str, other: str) -> int:
    """Count the bits in which two perceptual hashes differ; raise ValueError for what is no hash."""
    if len(one) != HASH_BITS // 4 or len(other) != HASH_BITS // 4:
        raise ValueError(f"a perceptual hash has {HASH_BITS // 4} hex digits, got {one!r} and {other!r}")
    return (int(one, 16) ^ int(other, 16)).bit_count()


def relation_id(one: str, other: str) -> str:
    """Name the relation of two media, whichever is named first."""
    return ids.derive("relation", "near_duplicate", *sorted((one, other)))
