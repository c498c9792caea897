"""Where objects lie, and whose they are by their keys."""

import pytest

from aima_common import object_keys
from aima_common.ids import Sha256, TenantId, medium_id

OF_M1 = (
    object_keys.derivative("a", "m1", "d" * 64),
    object_keys.result("a", "m1", "r" * 64),
    object_keys.picture("a", "m1", "p" * 64),
)


@pytest.mark.parametrize("key", OF_M1)
def test_what_was_made_of_a_medium_lies_in_its_folders_and_says_so(key: str) -> None:
    assert object_keys.medium_of(key) == "m1"
    assert [key.startswith(folder) for folder in object_keys.folders_of("a", "m1")].count(True) == 1
    for tenant, medium in (("b", "m1"), ("a", "m"), ("a", "m11"), ("a", "m2")):
        assert not any(key.startswith(folder) for folder in object_keys.folders_of(tenant, medium))


def test_what_is_no_folder_of_a_medium_is_not_taken_for_one() -> None:
    for key in (object_keys.original("a", "0" * 64), object_keys.dossier("a", "case", "0" * 64, "html"), "t/a", ""):
        assert object_keys.medium_of(key) is None
        assert not object_keys.is_result(key)
    assert [object_keys.is_result(key) for key in OF_M1] == [False, True, False]


def test_an_original_names_its_medium_and_a_direct_write_beside_it_does_too() -> None:
    key, film = object_keys.original("a", "0" * 64), medium_id(TenantId("a"), Sha256("0" * 64))
    assert object_keys.medium_of_original(key) == film
    assert object_keys.medium_of_original(f"{key}.session") == film
    assert object_keys.medium_of_original(OF_M1[0]) is None
