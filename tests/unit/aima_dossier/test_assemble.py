"""How a dossier is put together."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from aima_common import ids
from aima_common.contracts.picture import MissingPart
from aima_dossier.domain import CorrectionFacts, ItemFacts, Relation
from aima_dossier.model import Dossier, DossierMedium
from aima_dossier.summary import summarise
from tests.unit.aima_dossier.dossier_sample import (
    HOSTILE_NAMES,
    WRITTEN_AT,
    Sample,
    film,
    film_findings,
    found,
    hostile,
    sample,
    still,
)


def medium_of(dossier: Dossier, name: str) -> DossierMedium:
    return next(medium for medium in dossier.media if name in medium.file_names)


@given(st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_facts_may_come_in_any_order_and_any_number_of_times(chance: random.Random) -> None:
    case, shuffled = sample(), sample()
    for facts in (shuffled.items, shuffled.media, shuffled.relations, shuffled.corrections):
        facts += [fact for fact in facts if chance.random() < 0.5]  # type: ignore[operator,misc]
        chance.shuffle(facts)

    assert shuffled.dossier() == case.dossier()


def test_items_and_media_keep_the_order_of_arrival() -> None:
    dossier = sample().dossier()

    assert [item.file_name for item in dossier.items][:3] == [
        "astronaut.png",
        "coffee.png",
        "coffee, sent by phone.jpg",
    ]
    assert [medium.file_names[0] for medium in dossier.media][-1] == "worstward ho.opus"


def test_a_copy_shares_its_medium_and_names_its_original() -> None:
    dossier = sample().dossier()
    original, copy = (next(i for i in dossier.items if i.file_name == name) for name in ("chelsea.png", "IMG_0042.png"))

    assert copy.medium_id == original.medium_id is not None
    assert (original.duplicate_of, copy.duplicate_of) == (None, original.id)
    assert [same.file_names for same in dossier.exact_duplicates] == [["chelsea.png", "IMG_0042.png"]]
    assert medium_of(dossier, "IMG_0042.png").file_names == ["chelsea.png", "IMG_0042.png"]


def test_near_duplicates_know_each_other() -> None:
    dossier = sample().dossier()
    cup, crop = medium_of(dossier, "coffee.png"), medium_of(dossier, "coffee, sent by phone.jpg")

    assert [(near.medium_id, near.similarity) for near in cup.near_duplicates] == [(crop.id, 0.8731)]
    assert [near.medium_id for near in crop.near_duplicates] == [cup.id]
    assert dossier.summary.near_duplicates == 1


def test_a_relation_to_a_medium_of_another_case_is_not_told() -> None:
    case = sample()
    cup = medium_of(case.dossier(), "coffee.png").id
    case.relations.append(Relation(cup, ids.medium_id(ids.TenantId("default"), ids.Sha256("f" * 64)), 0.99))

    assert len(medium_of(case.dossier(), "coffee.png").near_duplicates) == 1


def test_what_was_not_analysed_says_why_and_what_to_do() -> None:
    dossier = sample().dossier()
    page = next(item for item in dossier.items if item.file_name == "holiday.jpg")

    assert (page.status, page.medium_id, page.code) == ("rejected", None, "unsupported_type")
    assert page.reason is not None
    assert "HTML" in page.reason
    assert [(one.file_name, bool(one.remedy)) for one in dossier.summary.rejections] == [
        ("holiday.jpg", True),
        ("interrupted copy.mp4", True),
        ("nothing.png", True),
    ]


def test_every_item_is_counted_in_exactly_one_state() -> None:
    case = sample()
    case.item("later.mp4", status="analysing")
    total = case.dossier().summary

    states = (total.analysed, total.rejected, total.failed, total.cancelled, total.erased, total.running)
    assert states == (7, 3, 0, 0, 0, 1)
    assert sum(states) == total.items


def test_a_dossier_is_complete_when_every_item_has_ended() -> None:
    case = sample()
    assert case.dossier().complete
    case.item("later.mp4", status="preparing")
    assert not case.dossier().complete


def test_the_summary_counts_what_was_found() -> None:
    case = sample()
    total = case.dossier().summary
    findings = [finding for medium in case.dossier().media for finding in medium.findings]

    assert (total.media, total.films, total.stills, total.recordings) == (6, 1, 4, 1)
    assert total.faces == sum(finding.kind == "face" for finding in findings)
    assert total.speech_lines == sum(finding.kind == "speech" for finding in findings)
    assert total.duration_seconds == 79.0
    assert total.languages == ["en"]
    assert total.labels[0] == "espresso"


def test_the_minutes_of_a_case_do_not_depend_on_the_order_in_which_its_media_came() -> None:
    media = sample().dossier().media
    lasting = [
        one.model_copy(update={"duration_seconds": seconds})
        for one, seconds in zip(media, (46.08, 27.3625, 26.975, 0.0, 0.1, 0.2), strict=True)
    ]
    orders = [[*lasting[start:], *lasting[:start]] for start in range(len(lasting))]
    naive = {sum(one.duration_seconds or 0.0 for one in order) for order in orders}
    assert len(naive) > 1, "the control: floating point depends on the order"
    assert len({summarise([], order).duration_seconds for order in orders}) == 1


def test_a_correction_stands_beside_the_statement_of_the_model() -> None:
    line = next(f for m in sample().dossier().media for f in m.findings if f.corrections)

    assert line.text == "It was the best of times, it was the worst of times,"
    assert [(made.field, made.author) for made in line.corrections] == [("text", "M. Reader")]


def test_the_last_correction_comes_last() -> None:
    case = Sample()
    medium = case.add("a.png", [found("label", label="cat")], still())
    finding = case.media[0].picture.findings[0].id
    for minute, value in ((2, "third"), (0, "first"), (1, "second")):
        at = WRITTEN_AT.replace(minute=minute)
        case.corrections.append(CorrectionFacts(medium, finding, "label", value, "someone", at))

    corrections = case.dossier().media[0].findings[0].corrections
    assert [made.value for made in corrections] == ["first", "second", "third"]


def test_what_is_missing_minute_after_minute_is_told_as_one_stretch() -> None:
    case = Sample()
    lacks = [
        MissingPart(capability="speech", reason="no model", start_seconds=60.0 * at, end_seconds=60.0 * (at + 1))
        for at in (0, 1, 2, 5)
    ]
    whole = MissingPart(capability="faces", reason="no model")
    case.add("long.mp4", film_findings(60), film(400), missing=[*lacks, whole])

    told = [(lack.capability, lack.stretches) for lack in case.dossier().media[0].missing]
    assert told == [("faces", []), ("speech", [(0.0, 180.0), (300.0, 360.0)])]


def test_names_that_are_no_text_can_still_be_told() -> None:
    case = Sample()
    case.item("broken\udcff.png", status="rejected", reason="no")
    case.items.append(ItemFacts("odd", 9, "plain.png", 3, "rejected"))

    assert [item.file_name for item in case.dossier().items] == ["broken\ufffd.png", "plain.png"]
    assert Dossier.model_validate_json(case.dossier().to_json()) == case.dossier()


def test_hostile_names_are_kept_as_they_are() -> None:
    assert [item.file_name for item in hostile().dossier().items][:-1] == list(HOSTILE_NAMES)
