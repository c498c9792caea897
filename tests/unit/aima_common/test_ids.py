from hypothesis import given
from hypothesis import strategies as st

from aima_common import ids
from aima_common.ids import CaseId, MediumId, Sha256, TenantId


def test_names_do_not_change_between_releases() -> None:
    assert ids.medium_id(TenantId("default"), Sha256("ab" * 32)) == "90bc6bf8-7926-5992-a288-fb7c1f14f068"
    assert ids.job_id("run", "analyse", "faces", "3") == "a2df95a1-f3fe-5eb5-9cfa-be4bea96f146"


def test_tenants_never_share_a_medium() -> None:
    assert ids.medium_id(TenantId("a"), Sha256("0" * 64)) != ids.medium_id(TenantId("b"), Sha256("0" * 64))


def test_kinds_of_things_never_share_a_name() -> None:
    names = {
        ids.derive("run", "a", "b"),
        ids.derive("job", "a", "b"),
        ids.item_id(CaseId("a"), 1),
        ids.segment_id(MediumId("a"), 1, 1),
        ids.finding_id("a", 1),
    }
    assert len(names) == 5


def test_a_case_is_named_by_chance() -> None:
    assert len({ids.new_case_id() for _ in range(100)}) == 100


@given(st.lists(st.text(max_size=8), max_size=4), st.lists(st.text(max_size=8), max_size=4))
def test_other_parts_make_another_name(one: list[str], other: list[str]) -> None:
    assert (ids.derive("x", *one) == ids.derive("x", *other)) == (one == other)
