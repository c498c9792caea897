"""Which cases and uploads are acceptable."""

import base64
import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_common.ids import Sha256
from aima_common.problems import ProblemError
from aima_upload import domain
from aima_upload.domain import Content, Declared, Limits

NOW = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
DIGEST = Sha256("ab" * 32)


def code(refused: pytest.ExceptionInfo[ProblemError]) -> tuple[int, str]:
    return refused.value.problem.status, refused.value.problem.code


@given(st.text(min_size=1, max_size=60))
def test_a_name_is_kept_as_it_is_or_refused(name: str) -> None:
    try:
        assert domain.file_name(name) == name
    except ProblemError:
        assert "/" in name or "\x00" in name or name in {".", ".."}


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "\x00", "\ud800", "x" * 256, "é" * 128])
def test_what_is_no_name_of_one_file_is_refused(name: str) -> None:
    with pytest.raises(ProblemError) as refused:
        domain.file_name(name)
    assert code(refused) == (422, "bad_file_name")


@pytest.mark.parametrize("name", [None, 3, "", "  ", "x" * 201, "a\nb", "\ud800"])
def test_what_is_no_name_of_a_case_is_refused(name: object) -> None:
    with pytest.raises(ProblemError) as refused:
        domain.case_name(name)
    assert code(refused) == (422, "bad_case_name")


def test_a_cases_name_loses_the_space_around_it() -> None:
    assert domain.case_name(" Fall 12 – Zürich ") == "Fall 12 – Zürich"


def test_what_is_not_said_about_confidentiality_is_confidential() -> None:
    assert domain.case_options({"name": "x"}, NOW).body()["confidentiality"] == "confidential"


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({"priority": "now"}, {"priority"}),
        ({"deadline": "soon", "profile": "best"}, {"deadline", "profile"}),
        ({"deadline": "2026-01-02T03:04:05Z"}, {"deadline"}),
        ({"deadline": "2026-01-03T03:04:05"}, {"deadline"}),
        ({"deadline": "9999-12-31T23:59:59-14:00"}, {"deadline"}),
        ({"deadline": "0001-01-01T00:00:00+14:00"}, {"deadline"}),
        ({"deadline": 1e300}, {"deadline"}),
        ({"deadline": ["2099-01-01T00:00:00Z"]}, {"deadline"}),
        ({"priority": ["high"], "profile": {}, "confidentiality": 7}, {"priority", "profile", "confidentiality"}),
        ({"confidentiality": "secret", "odd": 1}, {"confidentiality", "odd"}),
    ],
)
def test_wrong_options_are_named_all_at_once(asked: dict[str, Any], fields: set[str]) -> None:
    with pytest.raises(ProblemError) as refused:
        domain.case_options(asked, NOW)
    assert {error.field for error in refused.value.problem.errors} == fields


def test_how_confidential_a_case_is_may_be_changed_and_its_profile_may_not() -> None:
    before = domain.case_options({}, NOW).body()
    after = domain.case_options({"confidentiality": "public"}, NOW, changing=before)
    assert after.confidentiality == "public"
    with pytest.raises(ProblemError) as refused:
        domain.case_options({"profile": "fast"}, NOW, changing=before)
    assert {error.field for error in refused.value.problem.errors} == {"profile"}


def test_a_change_keeps_what_it_does_not_name() -> None:
    before = domain.case_options(
        {"priority": "high", "profile": "fast", "deadline": "2026-02-01T00:00:00Z"}, NOW
    ).body()
    later = NOW + datetime.timedelta(days=365)
    after = domain.case_options({"priority": "low"}, later, changing=before).body()
    assert after == {**before, "priority": "low"}
    assert domain.case_options({"deadline": None}, later, changing=before).body()["deadline"] is None


def test_declared_and_arrived_must_agree() -> None:
    content = Content(DIGEST, 5)
    domain.check_complete(Declared("c", "x"), content)
    domain.check_complete(Declared("c", "x", 5, DIGEST), content)
    for declared, expected in (
        (Declared("c", "x", 6), "size_mismatch"),
        (Declared("c", "x", 5, Sha256("cd" * 32)), "sha256_mismatch"),
    ):
        with pytest.raises(ProblemError) as refused:
            domain.check_complete(declared, content)
        assert code(refused) == (422, expected)


def test_a_limit_is_the_largest_size_that_passes() -> None:
    domain.check_size(10, Limits(10))
    domain.check_size(None, Limits(10))
    with pytest.raises(ProblemError) as refused:
        domain.check_size(11, Limits(10))
    assert code(refused) == (413, "too_large")


def test_a_key_is_for_one_file() -> None:
    session = {"file_name": "x", "declared_sha256": None, "sha256": DIGEST}
    domain.check_repeat(session, Declared("c", "x"))
    domain.check_repeat(session, Declared("c", "x", sha256=DIGEST))
    for other in (Declared("c", "y"), Declared("c", "x", sha256=Sha256("cd" * 32))):
        with pytest.raises(ProblemError) as refused:
            domain.check_repeat(session, other)
        assert code(refused) == (422, "idempotency_key_reused")


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(max_size=40), max_size=5))
def test_metadata_are_read_back_as_they_were_sent(fields: dict[str, str]) -> None:
    header = ",".join(f"{name} {base64.b64encode(value.encode()).decode()}" for name, value in fields.items())
    assert domain.upload_metadata(header) == fields


@pytest.mark.parametrize("header", ["name !!", "name /w==", "name a"])
def test_metadata_that_cannot_be_read_are_refused(header: str) -> None:
    with pytest.raises(ProblemError) as refused:
        domain.upload_metadata(header)
    assert code(refused) == (400, "bad_metadata")


@pytest.mark.parametrize("text", ["-1", "1.0", "1e3", "", "٣", "9" * 19])
def test_what_is_no_number_of_bytes_is_refused(text: str) -> None:
    with pytest.raises(ProblemError):
        domain.byte_count(text)


def test_a_digest_may_be_written_in_capitals() -> None:
    assert domain.sha256("AB" * 32) == DIGEST
    assert domain.sha256(None) is None
    with pytest.raises(ProblemError):
        domain.sha256("ab" * 31)


def test_a_part_begins_where_the_upload_ends() -> None:
    domain.check_offset(5, 5)
    with pytest.raises(ProblemError) as elsewhere:
        domain.check_offset(5, 4)
    with pytest.raises(ProblemError) as nowhere:
        domain.check_offset(5, None)
    assert (code(elsewhere), code(nowhere)) == ((409, "wrong_offset"), (400, "no_offset"))
