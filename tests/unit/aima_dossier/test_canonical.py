"""The canonical form: equal content, equal bytes."""

import dataclasses
import datetime
import json
import random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aima_dossier.canonical import LEFT_OUT, SORTED_BY, canonical, digest
from tests.unit.aima_dossier.dossier_sample import WRITTEN_AT, Sample, film, film_findings, found, sample, still


def arrived(case: Sample, order: list[int]) -> Sample:
    """Let the same files arrive in another order, in another case."""
    case.items = [dataclasses.replace(case.items[old], ordinal=new, id=f"other-{new}") for new, old in enumerate(order)]
    return case


@given(st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_it_does_not_depend_on_the_order_of_arrival_nor_on_random_ids(chance: random.Random) -> None:
    order = list(range(len(sample().items)))
    chance.shuffle(order)

    assert canonical(arrived(sample(), order).dossier()) == canonical(sample().dossier())


def test_it_does_not_depend_on_when_and_how_often_it_was_written() -> None:
    first, later = sample().dossier(), sample().dossier(version=9)
    later = later.model_copy(update={"created_at": WRITTEN_AT + datetime.timedelta(days=3)})

    assert canonical(first) == canonical(later)
    assert digest(first) == digest(later)


def test_another_word_is_another_dossier() -> None:
    case = Sample()
    case.add("a.mp4", film_findings(60), film(60))
    other = Sample()
    other.add("a.mp4", film_findings(60, seed=8), film(60))

    assert digest(case.dossier()) != digest(other.dossier())


def test_numbers_that_differ_by_less_than_their_rounding_are_equal() -> None:
    def with_confidence(value: float) -> bytes:
        case = Sample()
        case.add("a.png", [found("label", label="cat", confidence=value)], still())
        return canonical(case.dossier())

    assert with_confidence(0.90001) == with_confidence(0.90004)
    assert with_confidence(0.9001) != with_confidence(0.9004)


def test_it_is_sorted_compact_json() -> None:
    text = canonical(sample().dossier())
    value = json.loads(text)

    assert list(value) == sorted(value)
    assert b": " not in text.replace(b"SCENE ", b"").split(b'"findings"')[0]
    assert "version" not in value
    assert "id" not in value["case"]


def lists(value: Any, path: str = "") -> set[str]:
    """Find the dotted path of every list of a document."""
    if isinstance(value, dict):
        return {found for key, child in value.items() for found in lists(child, f"{path}.{key}" if path else key)}
    if isinstance(value, list):
        return {path} | {found for child in value for found in lists(child, path)}
    return set()


def test_every_list_of_a_dossier_has_its_order() -> None:
    left_out = {f"{path}.{field}" for path, fields in LEFT_OUT.items() for field in fields}
    assert lists(sample().dossier().model_dump(mode="json")) - left_out == set(SORTED_BY)


def test_every_field_that_is_left_out_exists() -> None:
    dossier = sample().dossier().model_dump(mode="json")
    for path, fields in LEFT_OUT.items():
        values = [dossier]
        for name in filter(None, path.split(".")):
            below = [value[name] for value in values]
            values = [one for value in below for one in (value if isinstance(value, list) else [value])]
        assert values
        assert all(field in value for value in values for field in fields)
