from dataclasses import replace
from typing import Any

import pytest

from aima_common.contracts.media import MediumType, ObjectReference, Profile, Segment, SegmentDerivatives
from aima_common.ids import Sha256, TenantId, medium_id
from aima_scheduler.domain import (
    AnalyzerFacts,
    Preparation,
    demand,
    missing_capabilities,
    pipeline_digest,
    plan,
    result_key,
)

SHA = "ab" * 32
MEDIUM = medium_id(TenantId("acme"), Sha256(SHA))
LATER = "2026-11-24T08:00:00+00:00"
SOONER = "2026-11-24T08:30:00+02:00"
"""Written with a later hour, in another time zone."""


def facts(name: str, *, given: str = "frames", accepts: tuple[str, ...] = ("video",), **more: str) -> AnalyzerFacts:
    return AnalyzerFacts(
        name, "1", more.get("capability", name), accepts, given, more.get("digest", "d1"), {}, more.get("unavailable")
    )


def reference(key: str) -> ObjectReference:
    return ObjectReference(key=key, sha256=SHA, size_bytes=1)


def segment(index: int) -> Segment:
    return Segment(
        index=index,
        core_start=index * 60.0,
        core_end=index * 60.0 + 60,
        context_start=max(0.0, index * 60.0 - 2),
        context_end=index * 60.0 + 62,
    )


def film(*, sound: bool = True, count: int = 2) -> Preparation:
    parts = [
        SegmentDerivatives(
            segment=segment(i),
            frames=reference(f"frames-{i}"),
            thumbnails=reference(f"thumbnails-{i}"),
            sound=reference(f"sound-{i}") if sound else None,
        )
        for i in range(count)
    ]
    return Preparation(MediumType.VIDEO, MEDIUM, parts, None)


SHOTS = facts("shots", given="thumbnails")
FACES = facts("faces", accepts=("video", "image"))
SPEECH = facts("speech", given="sound", accepts=("video", "audio"))
ALL = [SHOTS, FACES, SPEECH]


def planned(preparation: Preparation, analyzers: list[AnalyzerFacts]) -> list[tuple[str, int | None, str]]:
    jobs = plan(preparation, analyzers)
    return [(job.analyzer.name, job.segment.index if job.segment else None, job.input.key) for job in jobs]


def test_a_film_is_planned_segment_by_segment_with_the_derivative_that_each_analyzer_reads() -> None:
    assert planned(film(), ALL) == [
        ("shots", 0, "thumbnails-0"),
        ("faces", 0, "frames-0"),
        ("speech", 0, "sound-0"),
        ("shots", 1, "thumbnails-1"),
        ("faces", 1, "frames-1"),
        ("speech", 1, "sound-1"),
    ]


def test_a_silent_film_has_no_speech_to_look_for() -> None:
    assert {name for name, _, _ in planned(film(sound=False), ALL)} == {"shots", "faces"}


def test_a_still_is_looked_at_once_by_those_who_look_at_stills() -> None:
    still = Preparation(MediumType.IMAGE, MEDIUM, [], reference("poster"))
    assert planned(still, ALL) == [("faces", None, "poster")]


def test_a_still_whose_picture_is_not_there_yet_is_planned_later() -> None:
    assert planned(Preparation(MediumType.IMAGE, MEDIUM, [], None), ALL) == []


def test_a_missing_model_is_named_where_it_would_have_been_used_and_plans_nothing() -> None:
    absent = facts("ocr", accepts=("image",), capability="text", unavailable="its model is missing")
    still = Preparation(MediumType.IMAGE, MEDIUM, [], reference("poster"))
    assert planned(still, [absent]) == []
    assert [(x.capability, x.reason) for x in missing_capabilities(still, [absent, FACES])] == [
        ("text", "its model is missing")
    ]
    assert missing_capabilities(film(), [absent]) == []


def test_planning_the_first_half_gives_the_beginning_of_the_whole_plan() -> None:
    assert planned(film(count=3), ALL)[: len(ALL) * 2] == planned(film(count=2), ALL)


def test_a_pipeline_is_the_same_in_whatever_order_its_analyzers_are_listed() -> None:
    assert pipeline_digest(Profile.DEFAULT, ALL) == pipeline_digest(Profile.DEFAULT, reversed(ALL))


@pytest.mark.parametrize(
    ("profile", "analyzers"),
    [
        (Profile.FAST, ALL),
        (Profile.DEFAULT, ALL[:2]),
        (Profile.DEFAULT, [SHOTS, FACES, replace(SPEECH, digest="d2")]),
        (Profile.DEFAULT, [SHOTS, FACES, replace(SPEECH, unavailable="its model is missing")]),
    ],
    ids=["profile", "analyzers", "model", "availability"],
)
def test_a_pipeline_changes_with_its(profile: Profile, analyzers: list[AnalyzerFacts]) -> None:
    assert pipeline_digest(profile, analyzers) != pipeline_digest(Profile.DEFAULT, ALL)


def test_a_result_is_named_by_medium_stretch_analyzer_and_model_alone() -> None:
    known = result_key(MEDIUM, segment(1), FACES)
    moved_context = segment(1).model_copy(update={"context_start": 0.0})
    renumbered = segment(1).model_copy(update={"index": 7})
    same = (
        result_key(MEDIUM, moved_context, FACES),
        result_key(MEDIUM, renumbered, replace(FACES, needs={"cpus": 9.0})),
    )
    assert set(same) == {known}
    others = {
        result_key(medium_id(TenantId("another"), Sha256(SHA)), segment(1), FACES),
        result_key(MEDIUM, segment(2), FACES),
        result_key(MEDIUM, None, FACES),
        result_key(MEDIUM, segment(1), replace(FACES, digest="d2")),
        result_key(MEDIUM, segment(1), SPEECH),
    }
    assert known not in others
    assert len(others) == 5


def test_an_analyzers_document_is_read_with_the_reason_of_its_absence() -> None:
    body = {
        "name": "faces",
        "version": "2",
        "capability": "faces",
        "accepts": ["image"],
        "input": "picture",
        "digest": "d",
        "needs": {"cpus": 1},
    }
    assert AnalyzerFacts.of("available", body).unavailable is None
    assert AnalyzerFacts.of("unavailable", {**body, "reason": "no file"}).unavailable == "no file"
    assert AnalyzerFacts.of("unavailable", body).unavailable == "its model is missing"


@pytest.mark.parametrize(
    ("wishes", "told"),
    [
        ([], ("normal", None, "confidential")),
        ([{}], ("normal", None, "confidential")),
        ([{"priority": "low"}, {"priority": "batch"}], ("low", None, "confidential")),
        ([{"priority": "high"}, {"priority": "low", "deadline": LATER}], ("high", LATER, "confidential")),
        ([{"deadline": LATER}, {"deadline": SOONER}], ("normal", SOONER, "confidential")),
        ([{"confidentiality": "public"}], ("normal", None, "public")),
        ([{"confidentiality": "public"}, {"confidentiality": "internal"}], ("normal", None, "internal")),
        ([{"confidentiality": "public"}, {}], ("normal", None, "confidential")),
        ([{"confidentiality": "public"}, {"confidentiality": "secret"}], ("normal", None, "confidential")),
        ([{"deadline": "soon"}, {"deadline": LATER}, {"deadline": LATER[:19]}], ("normal", LATER, "confidential")),
        ([{"priority": "whenever"}, {"priority": "low"}], ("normal", None, "confidential")),
    ],
)
def test_of_several_wishes_the_most_urgent_and_the_strictest_count(
    wishes: list[dict[str, Any]], told: tuple[str, str | None, str]
) -> None:
    wanted = demand(wishes)
    assert (wanted.priority, wanted.deadline, wanted.confidentiality) == told
