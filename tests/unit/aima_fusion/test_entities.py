"""Which things and phrases a medium mentions."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_common.contracts.media import FindingKind
from aima_common.contracts.picture import PictureFinding
from aima_fusion.entities import (
    LEAST_LETTERS,
    MOST_PHRASES,
    MOST_STRETCHES,
    Mention,
    Stretch,
    entity_id,
    is_entity,
    mentions,
    normalised,
)


def finding(kind: FindingKind, words: str | None, start: float = 0.0, identity: str = "") -> PictureFinding:
    return PictureFinding(
        id=identity or f"{kind}-{words}-{start}",
        kind=kind,
        start_seconds=start,
        end_seconds=start + 1,
        text=words if kind != "label" else None,
        label=words if kind == "label" else None,
        confidence=0.9,
        analyzer=kind,
    )


def names(*findings: PictureFinding) -> list[tuple[str, str]]:
    return [(mention.kind, mention.name) for mention in mentions(findings)]


def test_a_label_that_is_seen_twice_is_one_thing_with_two_stretches() -> None:
    [mention] = mentions([finding("label", "Dog", 5.0), finding("label", "dog", 1.0)])
    assert mention == Mention("thing", "dog", (Stretch(1.0, 2.0, "label-dog-1.0"), Stretch(5.0, 6.0, "label-Dog-5.0")))


def test_every_line_of_a_text_is_a_phrase_of_its_own() -> None:
    assert names(finding("text", "North  STATION\nplatform nine")) == [
        ("phrase", "north station"),
        ("phrase", "platform nine"),
    ]


@pytest.mark.parametrize("line", ["a" * (LEAST_LETTERS - 1), "12345678901", "2026-11-23", "", " \n "])
def test_a_line_that_returns_by_chance_is_no_phrase(line: str) -> None:
    assert names(finding("text", line)) == []
    assert names(finding("text", "a" * LEAST_LETTERS)) == [("phrase", "a" * LEAST_LETTERS)]


@pytest.mark.parametrize("kind", ["face", "speech", "voice_activity", "shot", "cut"])
def test_nobody_becomes_an_entity(kind: FindingKind) -> None:
    assert names(finding(kind, "somebody said something")) == []


def test_the_same_words_are_one_phrase_however_they_are_written() -> None:
    # U+FB01 is one sign for "fi", U+00A0 a space that does not break.
    assert normalised("\ufb01rst\u00a0 PLATFORM\n") == "first platform"


@given(st.lists(st.tuples(st.sampled_from(["cat", "dog"]), st.floats(0, 1000)), max_size=30), st.randoms())
def test_the_order_of_findings_leaves_no_trace(seen: list[tuple[str, float]], rng: random.Random) -> None:
    findings = [finding("label", name, start) for name, start in seen]
    shuffled = [*findings, *findings]
    rng.shuffle(shuffled)
    assert mentions(shuffled) == mentions(findings)


def test_what_is_kept_of_a_medium_is_bounded() -> None:
    often = [finding("label", "dog", float(second)) for second in range(MOST_STRETCHES + 5)]
    [mention] = mentions(reversed(often))
    assert len(mention.stretches) == MOST_STRETCHES
    assert mention.stretches[0].start_seconds == 0.0
    lines = [finding("text", f"a line of words {number}", float(number)) for number in range(MOST_PHRASES + 5)]
    kept = {name for _, name in names(*reversed(lines))}
    assert len(kept) == MOST_PHRASES
    assert "a line of words 0" in kept


def test_a_thing_needs_one_medium_and_a_phrase_two() -> None:
    assert [is_entity("thing", media) for media in (0, 1, 2)] == [False, True, True]
    assert [is_entity("phrase", media) for media in (0, 1, 2)] == [False, False, True]


def test_tenants_and_kinds_never_share_an_entity() -> None:
    same = entity_id("one", "thing", "dog")
    assert same == entity_id("one", "thing", "dog")
    assert len({same, entity_id("two", "thing", "dog"), entity_id("one", "phrase", "dog")}) == 3
