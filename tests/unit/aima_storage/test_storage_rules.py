from aima_storage.domain import OWNERS, all_erased, folders_of


def test_an_erasure_ends_when_every_owner_has_let_go_and_not_before() -> None:
    assert all_erased(OWNERS)
    assert all_erased([*OWNERS, *OWNERS])
    for owner in OWNERS:
        assert not all_erased(OWNERS - {owner})


def test_folders_of_a_medium_belong_to_its_tenant_and_to_it_alone() -> None:
    assert folders_of("a", "m1") == ["t/a/derivatives/m1/"]
