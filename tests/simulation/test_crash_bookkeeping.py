"""The crash harness itself: it draws the same kills from the same seed, and its book would notice a loss."""

import dataclasses

import pytest

from aima_common.ports.documents import Document
from tests.chaos.campaign import Outcome, Peace, Plan
from tests.chaos.controls import Control
from tests.chaos.killing import TARGETS, Kill, schedule
from tests.chaos.report import as_dict, as_markdown
from tests.chaos.uploading import Book
from tests.chaos.verdict import Verdict, compare

BOOK = Book(case="case", accepted={"a.jpg": "item-a", "b.jpg": "item-b"}, sha256={"a.jpg": "A", "b.jpg": "B"})
VERDICT = Verdict([], b"{}", [], redone=2, jobs={"done": 9}, computed=4, objects=3, bytes=30)
PASSED = [Control("fencing", "", ("I4",)), Control("inbox", "", ("I6",))]


def item(identity: str, name: str, sha256: str, case: str = "case") -> Document:
    body = {"case": case, "file_name": name, "sha256": sha256}
    return Document(identity, "default", "accepted", 0, 1, body)


WHOLE = [item("item-a", "a.jpg", "A"), item("item-b", "b.jpg", "B"), item("foreign", "c.jpg", "C", case="other")]


def test_the_book_agrees_with_a_store_that_has_everything_once() -> None:
    assert compare(BOOK, WHOLE) == []


@pytest.mark.parametrize(
    ("items", "word"),
    [
        (WHOLE[1:], "is not there"),
        ([*WHOLE, item("item-c", "b.jpg", "B")], "became 2 items"),
        ([*WHOLE, item("item-c", "never.jpg", "N")], "never sent"),
        ([WHOLE[0], item("item-b", "b.jpg", "other bytes")], "other bytes"),
    ],
    ids=["lost", "doubled", "invented", "changed"],
)
def test_the_book_notices(items: list[Document], word: str) -> None:
    assert [complaint for complaint in compare(BOOK, items) if word in complaint]


def test_the_same_seed_draws_the_same_kills_and_another_draws_others() -> None:
    assert schedule(10, 5.0, 1) == schedule(10, 5.0, 1) != schedule(10, 5.0, 2)


@pytest.mark.parametrize("seed", range(20))
def test_every_kind_of_target_comes_up_and_the_main_process_always(seed: int) -> None:
    assert {target for _, target in schedule(len(TARGETS), 1.0, seed)} == set(TARGETS)
    assert "main process" in {target for _, target in schedule(2, 1.0, seed)}


def outcome(**changed: object) -> Outcome:
    plan, peace = Plan(1, 1, 1.0), Peace(VERDICT, 3.0)
    whole = Outcome(plan, 2, peace, VERDICT, [Kill(1.0, "main process", 2)], BOOK, PASSED, 4.0)
    return dataclasses.replace(whole, **changed)  # type: ignore[arg-type]


def test_a_campaign_in_which_all_is_well_passes() -> None:
    assert outcome().failures() == []
    assert "**Passed.**" in as_markdown(as_dict(outcome()), "make chaos")


@pytest.mark.parametrize(
    ("changed", "word"),
    [
        ({"verdict": dataclasses.replace(VERDICT, canonical=b'{"a":1}')}, "differ"),
        ({"verdict": dataclasses.replace(VERDICT, redone=3)}, "begun again"),
        ({"verdict": dataclasses.replace(VERDICT, complaints=["a.jpg is not there"])}, "is not there"),
        ({"controls": [PASSED[0], Control("inbox", "", ())]}, "noticed nothing"),
        ({"controls": [Control("fencing", "a late holder wrote", ("I4",)), PASSED[1]]}, "late holder"),
    ],
    ids=["another dossier", "too much done again", "a loss", "a blind checker", "no protection"],
)
def test_a_campaign_in_which_a_promise_is_broken_fails_and_says_which(changed: dict[str, object], word: str) -> None:
    (failure,) = outcome(**changed).failures()
    assert word in failure
    assert "**Failed.**" in as_markdown(as_dict(outcome(**changed)), "make chaos")
