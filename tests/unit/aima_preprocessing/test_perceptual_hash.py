import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aima_preprocessing.perceptual_hash import format_hash, hamming_distance, parse_hash, perceptual_hash
from tests.unit.aima_preprocessing.made_media import photo, still

hashes = st.integers(min_value=0, max_value=2**64 - 1)


def hash_of(picture: Image.Image) -> int:
    return perceptual_hash(np.asarray(picture.convert("L").resize((32, 32), Image.Resampling.BOX)))


def test_a_re_encoded_and_a_scaled_picture_keep_their_hash_within_a_few_bits() -> None:
    original = hash_of(photo())
    poor = hash_of(Image.open(io.BytesIO(still(photo(), "JPEG", quality=30))))
    half = hash_of(photo().resize((200, 150)))
    assert hamming_distance(original, poor) <= 4
    assert hamming_distance(original, half) <= 4


def test_other_pictures_differ_in_about_half_of_the_bits() -> None:
    distances = [hamming_distance(hash_of(photo(seed=1)), hash_of(photo(seed=other))) for other in range(2, 12)]
    assert min(distances) > 16


def test_only_32_by_32_grey_pixels_are_hashed() -> None:
    with pytest.raises(ValueError, match="32 x 32"):
        perceptual_hash(np.zeros((16, 16), np.uint8))


@given(hashes)
def test_a_hash_survives_writing_and_reading(value: int) -> None:
    assert parse_hash(format_hash(value)) == value


def test_what_is_no_hash_is_not_read() -> None:
    for text in ("", "12", "g" * 16, "0" * 17):
        with pytest.raises(ValueError, match=r"hash|literal"):
            parse_hash(text)


@given(hashes, hashes, hashes)
def test_the_distance_is_a_distance(one: int, two: int, three: int) -> None:
    assert hamming_distance(one, one) == 0
    assert hamming_distance(one, two) == hamming_distance(two, one)
    assert hamming_distance(one, three) <= hamming_distance(one, two) + hamming_distance(two, three)
