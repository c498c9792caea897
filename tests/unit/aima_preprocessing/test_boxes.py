from aima_preprocessing.boxes import BoxWalk, walk_boxes
from tests.unit.aima_preprocessing.made_media import Recipe, film


def walk(data: bytes) -> BoxWalk:
    return walk_boxes(lambda length, offset: data[offset : offset + length], len(data))


def test_a_whole_film_has_an_index_and_misses_nothing() -> None:
    assert walk(film(Recipe("mp4"))) == BoxWalk(has_index=True, fragmented=False, missing_bytes=0)


def test_a_film_that_broke_off_has_no_index_and_a_box_that_reaches_beyond_its_end() -> None:
    whole = film(Recipe("mp4"))
    found = walk(whole[: len(whole) // 2])
    assert not found.has_index
    assert found.missing_bytes > 0


def test_a_film_with_the_index_in_front_that_broke_off_still_has_it() -> None:
    whole = film(Recipe("mp4", index_first=True))
    found = walk(whole[: len(whole) // 2])
    assert found.has_index
    assert found.missing_bytes > 0


def test_boxes_without_length_end_the_walk() -> None:
    assert walk(b"\x00\x00\x00\x04free" * 10) == BoxWalk(has_index=False, fragmented=False, missing_bytes=0)
