"""What every plug for vectors promises, stated once; a plug's tests inherit it and give it `vectors`."""

import asyncio
import math
import uuid
from collections.abc import Sequence

import pytest

from aima_common.errors import PermanentError
from aima_common.ports.vectors import Point, Vectors


def identifier(number: int) -> str:
    return str(uuid.UUID(int=number))


def at_angle(number: int, degrees: float, tenant: str = "acme", **payload: str) -> Point:
    radians = math.radians(degrees)
    return Point(identifier(number), [math.cos(radians), math.sin(radians)], {"tenant": tenant, **payload})


EAST: Sequence[float] = (1.0, 0.0)
ACME = {"tenant": "acme"}


class VectorsPromise:
    """Tests of the socket `Vectors`."""

    async def test_the_nearest_come_first_with_their_cosine(self, vectors: Vectors) -> None:
        await vectors.put("faces", [at_angle(1, 60), at_angle(2, 0), at_angle(3, 180), at_angle(4, 90)])
        found = await vectors.nearest("faces", EAST, where=ACME)
        assert [point.id for point in found] == [identifier(n) for n in (2, 1, 4, 3)]
        assert [point.similarity for point in found] == pytest.approx([1.0, 0.5, 0.0, -1.0], abs=1e-5)

    async def test_length_does_not_matter_only_direction_does(self, vectors: Vectors) -> None:
        await vectors.put("faces", [Point(identifier(1), [250.0, 0.0], ACME), Point(identifier(2), [0.001, 0.0], ACME)])
        found = await vectors.nearest("faces", (3.0, 0.0), where=ACME)
        assert [point.similarity for point in found] == pytest.approx([1.0, 1.0], abs=1e-5)

    async def test_a_limit_is_kept(self, vectors: Vectors) -> None:
        await vectors.put("faces", [at_angle(n, n) for n in range(30)])
        found = await vectors.nearest("faces", EAST, where=ACME, limit=3)
        assert [point.id for point in found] == [identifier(n) for n in range(3)]
        assert len(await vectors.nearest("faces", EAST, where=ACME)) == 10

    async def test_equally_near_points_come_in_the_order_of_their_ids(self, vectors: Vectors) -> None:
        numbers = [37, 5, 80, 12, 99, 64, 3, 41, *range(100, 160)]
        await vectors.put("faces", [at_angle(n, 0) for n in numbers] + [at_angle(1, 45)])
        found = await vectors.nearest("faces", EAST, where=ACME, limit=4)
        assert [point.id for point in found] == [identifier(n) for n in sorted(numbers)[:4]]

    async def test_a_tenant_sees_only_its_own(self, vectors: Vectors) -> None:
        await vectors.put("faces", [at_angle(1, 10), at_angle(2, 0, "other")])
        assert [point.id for point in await vectors.nearest("faces", EAST, where=ACME)] == [identifier(1)]
        assert [point.id for point in await vectors.nearest("faces", EAST, where={"tenant": "other"})] == [
            identifier(2)
        ]
        assert list(await vectors.nearest("faces", EAST, where={"tenant": "nobody"})) == []

    async def test_every_named_field_must_match(self, vectors: Vectors) -> None:
        await vectors.put(
            "faces",
            [at_angle(1, 0, medium="a", kind="x"), at_angle(2, 0, medium="a", kind="y"), at_angle(3, 0, medium="b")],
        )
        found = await vectors.nearest("faces", EAST, where={**ACME, "medium": "a", "kind": "y"})
        assert [point.id for point in found] == [identifier(2)]

    async def test_a_payload_comes_back_as_it_was(self, vectors: Vectors) -> None:
        payload: dict[str, str | float | int] = {"tenant": "acme", "text": "Ünïcödé ' \" \n", "at": 1.5, "n": 7}
        await vectors.put("words", [Point(identifier(1), [1.0, 2.0, 3.0], payload)])
        (found,) = await vectors.nearest("words", [1.0, 2.0, 3.0], where=ACME)
        assert found.payload == payload

    async def test_putting_a_point_again_replaces_it(self, vectors: Vectors) -> None:
        await vectors.put("faces", [at_angle(1, 0, medium="old"), at_angle(2, 20)])
        await vectors.put("faces", [at_angle(1, 90, medium="new")])
        found = await vectors.nearest("faces", EAST, where=ACME)
        assert [(point.id, point.payload.get("medium")) for point in found] == [
            (identifier(2), None),
            (identifier(1), "new"),
        ]

    async def test_spaces_do_not_meet(self, vectors: Vectors) -> None:
        await vectors.put("faces", [at_angle(1, 0)])
        await vectors.put("words", [Point(identifier(1), [1.0, 0.0, 0.0], ACME)])
        assert len(await vectors.nearest("faces", EAST, where=ACME)) == 1
        await vectors.forget("words", ACME)
        assert len(await vectors.nearest("faces", EAST, where=ACME)) == 1

    async def test_a_space_that_was_never_filled_is_empty(self, vectors: Vectors) -> None:
        assert list(await vectors.nearest("nothing", EAST, where=ACME)) == []
        await vectors.forget("nothing", ACME)
        await vectors.put("nothing", [])
        assert list(await vectors.nearest("nothing", EAST, where=ACME)) == []

    async def test_the_first_vector_decides_the_length_of_all(self, vectors: Vectors) -> None:
        await vectors.put("faces", [at_angle(1, 0)])
        with pytest.raises(PermanentError):
            await vectors.put("faces", [Point(identifier(2), [1.0, 0.0, 0.0], ACME)])
        with pytest.raises(PermanentError):
            await vectors.nearest("faces", [1.0, 0.0, 0.0], where=ACME)
        with pytest.raises(PermanentError):
            await vectors.put("new", [at_angle(1, 0), Point(identifier(2), [1.0], ACME)])
        await vectors.put("faces", [at_angle(2, 0)])
        assert len(await vectors.nearest("faces", EAST, where=ACME)) == 2

    @pytest.mark.parametrize(
        "point",
        [
            Point(identifier(2), [0.0, 0.0], ACME),
            Point(identifier(2), [math.nan, 1.0], ACME),
            Point(identifier(2), [math.inf, 1.0], ACME),
            Point(identifier(2), [], ACME),
            Point("no uuid", [1.0, 0.0], ACME),
            Point(identifier(2), [1.0, 0.0], {"medium": "without tenant"}),
        ],
    )
    async def test_a_point_that_cannot_be_compared_is_refused(self, vectors: Vectors, point: Point) -> None:
        await vectors.put("faces", [at_angle(1, 0)])
        with pytest.raises(PermanentError):
            await vectors.put("faces", [at_angle(3, 0), point])
        assert [found.id for found in await vectors.nearest("faces", EAST, where=ACME)] == [identifier(1)]

    async def test_forgetting_removes_what_matches_and_nothing_else(self, vectors: Vectors) -> None:
        await vectors.put("faces", [at_angle(n, n, medium="a" if n % 2 else "b") for n in range(10)])
        await vectors.put("faces", [at_angle(20, 0, "other", medium="a")])
        await vectors.forget("faces", {**ACME, "medium": "a"})
        left = await vectors.nearest("faces", EAST, where=ACME, limit=50)
        assert [point.id for point in left] == [identifier(n) for n in (0, 2, 4, 6, 8)]
        assert len(await vectors.nearest("faces", EAST, where={"tenant": "other"})) == 1
        await vectors.forget("faces", {**ACME, "medium": "a"})

    async def test_forgetting_without_saying_what_is_refused(self, vectors: Vectors) -> None:
        await vectors.put("faces", [at_angle(1, 0)])
        with pytest.raises(PermanentError):
            await vectors.forget("faces", {})
        assert len(await vectors.nearest("faces", EAST, where=ACME)) == 1

    async def test_many_points_and_questions_at_once(self, vectors: Vectors) -> None:
        await asyncio.gather(*(vectors.put("faces", [at_angle(n * 100 + k, k) for k in range(90)]) for n in range(8)))
        answers = await asyncio.gather(*(vectors.nearest("faces", EAST, where=ACME, limit=8) for _ in range(20)))
        assert all([point.id for point in answer] == [identifier(n * 100) for n in range(8)] for answer in answers)
