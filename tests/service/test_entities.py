"""Entities: promoted, numbered, forgotten; and what a tenant sees of them."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from aima_common.contracts import messages as m
from aima_common.contracts.media import MediumType
from aima_common.contracts.picture import Picture, PictureFinding
from aima_common.errors import PermanentError
from aima_common.ports.documents import Change
from aima_fusion.entities import entity_id
from aima_fusion.entity_register import EntityRegister
from aima_fusion.service import Fusion
from aima_gateway.keys import Role
from tests.service.conftest import bearer
from tests.service.stage import STILL, TENANT, Stage, staged

PHRASE = "North Station"


def label(name: str, start: float = 1.0) -> PictureFinding:
    return PictureFinding(id=f"label-{name}-{start}", kind="label", label=name, **when(start))


def text(words: str, start: float = 1.0) -> PictureFinding:
    return PictureFinding(id=f"text-{words}-{start}", kind="text", text=words, **when(start))


def when(start: float) -> Any:
    return {"start_seconds": start, "end_seconds": start + 1, "confidence": 0.5, "analyzer": "any"}


class Register:
    """A register, and what it keeps."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.entities = EntityRegister(stage.ports.documents)

    async def note(self, medium: str, *findings: PictureFinding, tenant: str = TENANT) -> None:
        await self.entities.note(tenant, medium, findings)

    async def names(self, tenant: str = TENANT) -> list[str]:
        return sorted(e.body["name"] for e in await self.stage.all("entities", tenant=tenant, state="current"))

    async def everything(self) -> list[Any]:
        return [
            (name, one.id, one.state, one.version, one.body)
            for name in ("entities", "appearances", "ordinals")
            for one in await self.stage.all(name)
        ]

    async def said(self) -> list[Any]:
        """List what is known of entities without their numbers and histories."""
        current = [(e.id, e.body["name"]) for e in await self.stage.all("entities", state="current")]
        return [*current, *((a.id, a.body) for a in await self.stage.all("appearances"))]


@pytest.fixture
async def register(tmp_path: Path) -> AsyncIterator[Register]:
    async with staged(tmp_path) as stage:
        yield Register(stage)


async def test_a_thing_is_an_entity_at_once_and_a_phrase_when_a_second_medium_shows_it(register: Register) -> None:
    await register.note("one", label("dog"), text(PHRASE))
    assert await register.names() == ["dog"]
    await register.note("two", text(PHRASE.upper(), 7.0))
    assert await register.names() == ["dog", "north station"]
    phrase = entity_id(TENANT, "phrase", "north station")
    seen = await register.stage.all("appearances", entity=phrase)
    assert {(one.body["medium"], one.body["stretches"][0]["start_seconds"]) for one in seen} == {
        ("one", 1.0),
        ("two", 7.0),
    }


async def test_the_same_picture_twice_changes_nothing(register: Register) -> None:
    for medium in ("one", "two"):
        await register.note(medium, label("dog"), text(PHRASE))
    before = await register.everything()
    for medium in ("two", "one"):
        await register.note(medium, label("dog"), text(PHRASE))
    assert await register.everything() == before


MEDIA: dict[str, Sequence[PictureFinding]] = {
    "one": (label("dog"), text(PHRASE)),
    "two": (label("cat"), label("dog", 3.0)),
    "three": (text(PHRASE, 9.0),),
}


@pytest.mark.parametrize("order", list(itertools.permutations(MEDIA)), ids="-".join)
async def test_the_order_of_media_leaves_no_trace_but_numbers(register: Register, order: tuple[str, ...]) -> None:
    for medium in order:
        await register.note(medium, *MEDIA[medium])
    said = await register.said()
    for medium in MEDIA:
        await register.entities.forget(TENANT, medium)
    assert await register.said() == []
    for medium, findings in MEDIA.items():
        await register.note(medium, *findings)
    assert await register.said() == said


async def test_media_that_come_at_the_same_time_promote_a_phrase_once(register: Register) -> None:
    media = [f"medium {number}" for number in range(8)]
    await asyncio.gather(*(register.note(medium, text(PHRASE), label("dog")) for medium in media))
    current = await register.stage.all("entities", state="current")
    assert sorted(entity.body["name"] for entity in current) == ["dog", "north station"]
    assert len({entity.body["ordinal"] for entity in current}) == 2
    await asyncio.gather(*(register.entities.forget(TENANT, medium) for medium in media))
    assert await register.names() == []


async def test_a_number_is_never_given_twice_and_stays(register: Register) -> None:
    await register.note("one", label("dog"), label("cat"))
    numbers = {e.body["name"]: e.body["ordinal"] for e in await register.stage.all("entities")}
    assert sorted(numbers.values()) == [1, 2]
    await register.entities.forget(TENANT, "one")
    await register.note("two", label("horse"))
    await register.note("three", label("dog"))
    after = {e.body["name"]: e.body["ordinal"] for e in await register.stage.all("entities", state="current")}
    assert after == {"horse": 3, "dog": numbers["dog"]}


async def test_what_a_new_fold_no_longer_finds_is_gone(register: Register) -> None:
    await register.note("one", label("dog"), label("cat"))
    await register.note("one", label("cat", 8.0))
    assert await register.names() == ["cat"]
    [seen] = await register.stage.all("appearances")
    assert [stretch["start_seconds"] for stretch in seen.body["stretches"]] == [8.0]


async def test_with_its_last_medium_an_entity_is_gone_and_its_name_too(register: Register) -> None:
    await register.note("one", label("dog"), text(PHRASE))
    await register.note("two", label("dog"), text(PHRASE))
    await register.entities.forget(TENANT, "one")
    # One medium is enough for a thing, and not for a phrase.
    assert await register.names() == ["dog"]
    assert len(await register.stage.all("appearances")) == 2
    await register.entities.forget(TENANT, "two")
    assert await register.names() == []
    kept = str([body for *_, body in await register.everything()])
    assert "dog" not in kept
    assert "north" not in kept


async def test_tenants_have_entities_and_numbers_of_their_own(register: Register) -> None:
    await register.note("one", text(PHRASE), label("dog"))
    await register.note("two", text(PHRASE), label("dog"), tenant="other")
    assert await register.names() == ["dog"]
    assert [e.body["ordinal"] for e in await register.stage.all("entities")] == [1, 1]
    await register.entities.forget("other", "one")
    assert len(await register.stage.all("appearances", tenant=TENANT)) == 2


async def test_erasure_forgets_the_entities_and_a_fold_under_way_brings_none_back(register: Register) -> None:
    stage, fusion = register.stage, Fusion(register.stage.ports, register.stage.ledger)
    picture = Picture(medium="one", run="run", type=MediumType.IMAGE, probe=STILL, findings=[label("dog")])
    await stage.put("pictures", "run", "complete", medium="one")
    await fusion._note_entities(TENANT, picture)
    assert await register.names() == ["dog"]
    request = stage.envelope(m.ErasureRequested(medium="one", requested_by="key"))
    await fusion.on_erasure_requested(request)
    assert await register.names() == []
    with pytest.raises(PermanentError, match="erased"):
        await fusion._note_entities(TENANT, picture)
    assert await register.said() == []
    await stage.ports.documents.transition("pictures", "run", change=Change(state="gathering"))
    await fusion._note_entities(TENANT, picture)
    assert await register.names() == ["dog"]


async def noted(doors: Any, tenant: str, *media: str) -> None:
    register = EntityRegister(doors.ports.documents)
    for medium in media:
        await register.note(tenant, medium, [label("dog"), label("guide dog", 4.0), text(PHRASE)])


async def test_entities_are_listed_by_number_kind_and_words(doors: Any) -> None:
    await noted(doors, "default", "one", "two")
    async with doors.http.get("/v1/entities?limit=2") as answer:
        page = await answer.json()
    assert [(e["ordinal"], e["name"], e["media"]) for e in page["entities"]] == [(1, "dog", 2), (2, "guide dog", 2)]
    async with doors.http.get("/v1/entities", params={"after": page["next"]}) as answer:
        assert [e["name"] for e in (await answer.json())["entities"]] == ["north station"]
    for query, names in (
        ("kind=phrase", ["north station"]),
        ("q=DOG", ["dog", "guide dog"]),
        ("q=dog+guide", ["guide dog"]),
        ("q=dog&kind=phrase", []),
    ):
        async with doors.http.get(f"/v1/entities?{query}") as answer:
            assert [e["name"] for e in (await answer.json())["entities"]] == names, query
    async with doors.http.get("/v1/entities?kind=person") as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, "bad_choice")


async def test_an_entity_shows_where_it_appears_under_the_names_of_files(doors: Any) -> None:
    made = await doors.upload(await doors.case(), b"hello", "walk.mp4")
    await noted(doors, "default", made["medium"])
    dog = entity_id("default", "thing", "dog")
    async with doors.http.get(f"/v1/entities/{dog}") as answer:
        shown = await answer.json()
    [appearance] = shown["appearances"]
    assert (shown["name"], shown["media"], appearance["medium"]) == ("dog", 1, made["medium"])
    assert [item["file_name"] for item in appearance["items"]] == ["walk.mp4"]
    assert appearance["stretches"][0]["start_seconds"] == 1.0
    await EntityRegister(doors.ports.documents).forget("default", made["medium"])
    async with doors.http.get(f"/v1/entities/{dog}") as answer:
        assert answer.status == 404


async def test_an_entity_of_another_tenant_is_not_there(doors: Any) -> None:
    await noted(doors, "default", "one")
    other = bearer(await doors.key(Role.admin, "other"))
    dog = entity_id("default", "thing", "dog")
    for headers, status, names in ((other, 404, []), ({}, 200, ["dog", "guide dog"])):
        async with doors.http.get(f"/v1/entities/{dog}", headers=headers) as answer:
            assert answer.status == status
        async with doors.http.get("/v1/entities", headers=headers) as answer:
            assert [e["name"] for e in (await answer.json())["entities"]] == names
