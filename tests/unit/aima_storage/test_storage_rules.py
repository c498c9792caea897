from aima_storage.domain import OWNERS, all_erased


def test_an_erasure_ends_when_every_owner_has_let_go_and_not_before() -> None:
    assert all_erased(OWNERS)
    assert all_erased([*OWNERS, *OWNERS])
    for owner in OWNERS:
        assert not all_erased(OWNERS - {owner})
