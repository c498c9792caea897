"""When two stills are the same picture."""

import pytest

from aima_fusion.near_duplicates import hash_distance, near_duplicate, relation_id

ZERO = "0" * 16


def bits(count: int) -> str:
    return f"{(1 << count) - 1:016x}"


@pytest.mark.parametrize(
    ("phash", "cosine", "similarity"),
    [
        (bits(0), None, 1.0),
        (bits(8), None, 0.875),
        (bits(9), None, None),
        (bits(32), 0.75, 0.75),
        (bits(32), 0.7499, None),
        (bits(6), 0.96, 0.96),
        (None, 0.8, 0.8),
        (None, None, None),
        (bits(32), 1.0000001, 1.0),
    ],
)
def test_either_sign_is_enough_and_the_stronger_counts(
    phash: str | None, cosine: float | None, similarity: float | None
) -> None:
    assert near_duplicate(ZERO, phash, cosine) == similarity


def test_similarity_does_not_depend_on_which_is_named_first() -> None:
    assert near_duplicate(ZERO, bits(3), 0.5) == near_duplicate(bits(3), ZERO, 0.5)
    assert relation_id("a", "b") == relation_id("b", "a")
    assert relation_id("a", "b") != relation_id("a", "c")


def test_what_is_no_hash_is_refused() -> None:
    assert hash_distance(ZERO, bits(5)) == 5
    with pytest.raises(ValueError, match="16 hex digits"):
        hash_distance(ZERO, "abc")
