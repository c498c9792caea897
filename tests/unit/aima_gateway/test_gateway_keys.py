"""What a key looks like."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_gateway import keys

RANDOM = st.binary(min_size=40, max_size=40)


@given(RANDOM)
def test_a_key_is_read_back_as_it_was_made(random_bytes: bytes) -> None:
    token = keys.make(random_bytes)
    assert keys.parse(token.text) == token
    assert re.fullmatch(r"aima_local_[0-9a-f]{16}_[0-9A-Za-z]{49}", token.text)
    assert keys.matches(token.text, token.digest)


@given(RANDOM, st.data())
def test_one_wrong_character_is_noticed_without_asking_the_store(random_bytes: bytes, data: st.DataObject) -> None:
    text = keys.make(random_bytes).text
    place = data.draw(st.integers(len("aima_local_"), len(text) - 1))
    other = data.draw(st.sampled_from([c for c in keys.ALPHABET if c != text[place]]))
    assert keys.parse(text[:place] + other + text[place + 1 :]) is None


@given(RANDOM, RANDOM)
def test_keys_of_other_bytes_are_other_keys(one: bytes, other: bytes) -> None:
    assert (keys.make(one) == keys.make(other)) == (one == other)
    assert keys.matches(keys.make(one).text, keys.make(other).digest) == (one == other)


@given(st.text())
def test_any_text_can_be_asked_about(text: str) -> None:
    assert keys.parse(text) is None


@pytest.mark.parametrize("size", [0, 39, 41])
def test_a_key_is_never_made_of_too_few_random_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="40 random bytes"):
        keys.make(b"x" * size)


@pytest.mark.parametrize(
    ("header", "credentials"),
    [("Bearer abc", "abc"), ("bearer  abc ", "abc"), ("Basic abc", None), ("Bearer ", None), ("", None), (None, None)],
)
def test_only_bearer_credentials_are_read(header: str | None, credentials: str | None) -> None:
    assert keys.bearer(header) == credentials


def test_a_role_may_what_the_ones_before_it_may() -> None:
    assert keys.Role.reader < keys.Role.writer < keys.Role.admin < keys.Role.operator
