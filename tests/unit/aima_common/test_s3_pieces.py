import asyncio
import random

import pytest

from aima_common.adapters.s3.pieces import Pieces
from aima_common.errors import UnavailableError


@pytest.mark.parametrize("seed", range(20))
async def test_what_comes_in_any_sizes_goes_on_in_pieces_of_one_size_and_a_rest(seed: int) -> None:
    chance, sent = random.Random(seed), {}
    content = chance.randbytes(chance.randrange(0, 100))

    async def send(number: int, piece: bytes) -> None:
        await asyncio.sleep(0)
        sent[number] = piece

    pieces, at = Pieces(10, 3, send), 0
    while at < len(content):
        size = chance.randrange(0, 25)
        await pieces.add(content[at : at + size])
        at += size
    await pieces.settle()
    assert sorted(sent) == list(range(1, pieces.cut + 1))
    assert {len(piece) for piece in sent.values()} <= {10}
    assert pieces.rest_bytes == len(pieces.rest()) <= 10
    assert b"".join(sent[number] for number in sorted(sent)) + pieces.rest() == content
    assert bool(pieces.rest()) == bool(content), "the last piece stays behind"


async def test_no_more_is_under_way_than_allowed() -> None:
    under_way, most = set(), 0

    async def send(number: int, _piece: bytes) -> None:
        nonlocal most
        under_way.add(number)
        most = max(most, len(under_way))
        await asyncio.sleep(0.001)
        under_way.remove(number)

    pieces = Pieces(1, 2, send)
    await pieces.add(b"x" * 20)
    await pieces.settle()
    assert most == 2


async def test_behind_a_piece_that_was_not_sent_nothing_is_taken() -> None:
    sent: list[int] = []

    async def send(number: int, _piece: bytes) -> None:
        if number == 2:
            raise UnavailableError("away", code="s3")
        sent.append(number)

    pieces = Pieces(1, 1, send)
    with pytest.raises(UnavailableError):
        await pieces.add(b"x" * 20)
    assert sent == [1]
    for attempt in (pieces.add(b"x"), pieces.settle()):
        with pytest.raises(UnavailableError, match="away"):
            await attempt


async def test_what_was_given_up_takes_nothing_and_leaves_nothing_under_way() -> None:
    ended: list[int] = []

    async def send(number: int, _piece: bytes) -> None:
        await asyncio.sleep(0.001)
        ended.append(number)

    pieces = Pieces(1, 4, send)
    await pieces.add(b"xyz")
    await pieces.stop()
    await pieces.stop()
    assert sorted(ended) == [1, 2]
    assert pieces.rest() == b""
    with pytest.raises(UnavailableError, match="given up"):
        await pieces.add(b"x")
