"""What is erased is gone from every store; before the request, it was there."""

import asyncio
import dataclasses
import datetime
import hashlib
from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from aima_common import erasures, object_keys, pages
from aima_common.contracts import messages as m
from aima_common.contracts.telling import tell
from aima_common.contracts.topics import TOPICS, all_groups
from aima_common.errors import StaleLeaseError
from aima_common.ids import Sha256, TenantId, derive, medium_id
from aima_common.ports.documents import Change, Document, Expect
from aima_common.references import REFERRING
from aima_monitoring import snapshot
from aima_monitoring.invariants import check
from aima_storage import service, sweeping
from aima_storage.domain import OWNERS
from aima_storage.service import Storage
from aima_storage.sweeping import Sweeper
from tests.service.pretended import Everyone, everyone
from tests.service.stage import NOW, ORIGINAL, TENANT, Stage, derivatives, staged

FILM, PHOTO = b"film, about 4711", b"photo, about 4712"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as found:
        yield found


async def erase(house: Everyone, medium: str, cause: str) -> None:
    told = m.ErasureRequested(medium=medium, requested_by="a key")
    await house.stage.ports.bus.publish([tell(told, tenant=TENANT, key=medium, cause=cause, time=NOW)])
    before = len(await house.stage.all("erasures", state="erased"))

    async def over() -> bool:
        return len(await house.stage.all("erasures", state="erased")) > before and await house.at_rest()

    await house.until(over)


async def traces(house: Everyone, medium: str, words: bytes) -> dict[str, Any]:
    """Look for a medium in everything that is kept."""
    ports = house.stage.ports
    objects = {}
    async for info in ports.objects.list("t/"):
        objects[info.key] = await ports.objects.get(info.key)
    near = await ports.vectors.nearest("images", [1.0] * 32, where={"tenant": TENANT, "medium": medium})
    return {
        "objects": sorted(k for k, v in objects.items() if medium in k or words in v or medium.encode() in v),
        "vectors": [point.id for point in near],
        "passages": [hit.passage.id for hit in await ports.search.query(TENANT, "cat", medium=medium)],
        "jobs": [job.id for job in await house.stage.all("jobs", medium=medium)],
    }


async def test_an_erased_medium_is_gone_from_every_store_and_the_others_stay(stage: Stage) -> None:
    async with everyone(stage) as house:
        film = await house.upload(FILM, item="film.mp4")
        photo = await house.upload(PHOTO, item="photo.jpg")
        await house.ended()
        there = await traces(house, film, b"4711")
        assert all(there.values()), "the control: before the request everything is there"
        of_photo = await traces(house, photo, b"4712")
        await erase(house, film, "first")

        async def rewritten() -> bool:
            dossier = await stage.one("dossiers", "case")
            return bool(dossier.body["current"]) and await house.at_rest()

        await house.until(rewritten)
        assert await traces(house, film, b"4711") == {"objects": [], "vectors": [], "passages": [], "jobs": []}
        left = await traces(house, photo, b"4712")
        assert {k: v for k, v in left.items() if k != "objects"} == {
            k: v for k, v in of_photo.items() if k != "objects"
        }
        kept = {key for key in of_photo["objects"] if "/dossiers/" not in key}
        assert kept <= set(left["objects"])
        assert (await stage.one("items", "film.mp4")).state == "erased"
        assert (await stage.one("media", film)).state == "erased"
        seen = await snapshot.take(stage.ports, accepted=["film.mp4", "photo.jpg"], read_bytes=True)
        assert check(seen) == []


async def test_a_medium_can_be_uploaded_and_erased_again_and_again(stage: Stage) -> None:
    async with everyone(stage) as house:
        await house.upload(FILM, item="item-0")
        await house.ended()
        for number in (1, 2):
            medium = str((await stage.one("items", "item-0")).body["medium"])
            await erase(house, medium, f"erasure-{number}")
            assert (await traces(house, medium, b"4711"))["objects"] == []
            # Asked again for what is gone already, as people do: that ends, too.
            await erase(house, medium, f"erasure-{number} once more")
            await back(house, medium)
            await house.upload(FILM, case=f"case-{number}", item=f"item-{number}")
            await house.ended(f"case-{number}")
            assert all((await traces(house, medium, b"4711")).values())
        assert len(house.inference.calls) == 3 * house.decoder.segments


async def tell_all_again(house: Everyone) -> None:
    """Publish every message that there ever was once more, and wait until all have been heard."""
    bus, topics = house.stage.ports.bus, [name for topic in TOPICS for name in topic.names]
    waiting, heard = await bus.lag("listener", topics), []
    async with bus.subscribe("listener", topics) as subscription:
        async for batch in subscription.batches():
            heard += [delivery.record for delivery in batch]
            if len(heard) >= waiting:
                break
    await bus.publish(heard)

    async def all_heard() -> bool:
        groups = {group: names for group, names in all_groups().items() if not group.startswith("gateway")}
        return not any([await bus.lag(*group) for group in groups.items()]) and await house.at_rest()

    await house.until(all_heard)


async def test_when_everything_is_told_again_what_was_erased_stays_gone(stage: Stage) -> None:
    async with everyone(stage) as house:
        film = await house.upload(FILM, item="film.mp4")
        await house.upload(PHOTO, item="photo.jpg")
        await house.ended()
        corrected = m.CorrectionMade(medium=film, finding="f", field="text", value="4711", author="a key")
        await stage.ports.bus.publish([tell(corrected, tenant=TENANT, key=film, cause="correction", time=NOW)])
        await erase(house, film, "first")
        await house.ended()
        await tell_all_again(house)
        assert not any((await traces(house, film, b"4711")).values())
        assert (await stage.one("dossiers", "case")).body["current"], "and the case is still told of"
        assert check(await snapshot.take(stage.ports, read_bytes=True)) == []


async def test_when_everything_is_told_again_what_came_back_after_its_erasure_stays(stage: Stage) -> None:
    async with everyone(stage) as house:
        film = await house.upload(FILM, item="film.mp4")
        await house.ended()
        await erase(house, film, "first")
        await back(house, film)
        await house.upload(FILM, case="again", item="again.mp4")
        await house.ended("again")
        await tell_all_again(house)
        assert all((await traces(house, film, b"4711")).values())
        assert (await stage.one("items", "again.mp4")).state == "accepted"
        assert (await stage.one("media", film)).state == "stored"
        assert (await stage.one("dossiers", "again")).body["current"]["complete"]
        assert check(await snapshot.take(stage.ports, read_bytes=True)) == []


async def back(house: Everyone, medium: str) -> None:
    """Do what upload does with an erased medium that comes again."""
    await house.stage.ports.documents.transition(
        "media", medium, expect=Expect(state="erased"), change=Change(state="stored")
    )


async def test_erasing_in_the_middle_of_decoding_leaves_no_derivative(stage: Stage) -> None:
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def before(index: int) -> None:
        if index == 1:
            reached.set()
            await go_on.wait()

    async with everyone(stage) as house:
        house.decoder.before = before
        medium = await house.upload(FILM)
        await asyncio.wait_for(reached.wait(), 30)
        assert [key for key in (await traces(house, medium, b"4711"))["objects"] if "/derivatives/" in key]
        await erase(house, medium, "erasure")
        go_on.set()
        await house.until(house.at_rest)
        assert (await traces(house, medium, b"4711"))["objects"] == []


class Alone:
    """Storage by itself, and what it is told."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.storage, self.sweeper = Storage(stage.ports), Sweeper(stage.ports)
        self.request = stage.envelope(m.ErasureRequested(medium="film", requested_by="a key"), cause="request")

    async def hear(self, *envelopes: Any) -> None:
        for envelope in envelopes:
            await self.storage.handlers()[type(envelope.body)](envelope)

    async def litter(self) -> list[str]:
        return sorted([key async for key in self.sweeper.litter()])

    def part(self, owner: str) -> Any:
        return self.stage.envelope(m.PartErased(medium="film", owner=owner), cause=self.request.id)

    async def erasure(self) -> Document:
        (found,) = await self.stage.all("erasures")
        return found


@pytest.mark.parametrize("place", [0, 2, len(OWNERS)], ids=["first", "in the middle", "last"])
async def test_an_erasure_ends_with_the_last_owner_wherever_the_request_comes_in_between(
    stage: Stage, place: int
) -> None:
    alone = Alone(stage)
    said = [alone.part(owner) for owner in sorted(OWNERS)]
    said.insert(place, alone.request)
    await alone.hear(*said[:-1], *said[:-1])
    assert (await alone.erasure()).state == ("erased" if place == len(OWNERS) else "requested")
    await alone.hear(*said, *said)
    erasure = await alone.erasure()
    assert (erasure.state, erasure.body["requested_by"]) == ("erased", "a key")
    assert await stage.told(m.MediumErased) == [m.MediumErased(medium="film")]


async def test_until_the_last_owner_has_let_go_the_bytes_stay(stage: Stage) -> None:
    alone = Alone(stage)
    key = derivatives(0).frames
    assert key is not None
    await stage.ports.objects.put(key.key, b"abc")
    *early, last = sorted(OWNERS)
    await alone.hear(alone.request, *(alone.part(owner) for owner in early))
    assert await stage.ports.objects.info(key.key)
    await alone.hear(alone.part(last))
    assert await stage.ports.objects.info(key.key) is None


async def test_an_erasure_holds_a_page_of_what_it_looks_through(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", 2)
    documents, objects, read = stage.ports.documents, stage.ports.objects, []
    find = documents.find

    async def counted(*arguments: Any, **more: Any) -> Any:
        found = await find(*arguments, **more)
        read.append(len(found))
        return found

    monkeypatch.setattr(documents, "find", counted)
    for number in range(5):
        for kind, medium, there in (
            ("derivative", "film", True),
            ("derivative", "photo", True),
            ("dossier", "", False),  # removed by its owner, as it told of the film
            ("dossier", "", True),
        ):
            key = f"t/{TENANT}/{kind}s/{medium or 'case'}/{number}-{there}"
            await stage.put("locations", key, "present", kind=kind, medium=medium, key=key)
            if there:
                await objects.put(key, b"abc")
    alone = Alone(stage)
    await alone.hear(alone.request, *(alone.part(owner) for owner in sorted(OWNERS)))
    assert max(read) == 2
    kept = [f"derivatives/photo/{number}-True" for number in range(5)]
    kept += [f"dossiers/case/{number}-True" for number in range(5)]
    assert [info.key.removeprefix(f"t/{TENANT}/") async for info in objects.list("t/")] == kept
    assert [one.id.removeprefix(f"t/{TENANT}/") for one in await find("locations", {}, order=["id"])] == kept


async def test_an_erasure_finds_what_was_made_of_a_medium_without_reading_that_of_others(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, objects = Alone(stage), stage.ports.objects
    for medium in ("film", "photo"):
        for place in (object_keys.derivative, object_keys.result, object_keys.picture):
            await objects.put(place(TENANT, medium, "x"), b"bytes")

    async def get(key: str) -> bytes:
        raise AssertionError(f"{key} is read")

    monkeypatch.setattr(objects, "get", get)
    await alone.hear(alone.request, *(alone.part(owner) for owner in sorted(OWNERS)))
    assert [object_keys.medium_of(info.key) async for info in objects.list("t/")] == ["photo"] * 3


async def test_an_original_whose_bytes_changed_is_quarantined_and_one_that_vanished_is_missed(stage: Stage) -> None:
    alone = Alone(stage)
    await stage.ports.objects.put(ORIGINAL.key, b"12345678")
    body = m.MediumUploaded(case="c", item="i", medium="film", file_name="f", original=ORIGINAL)
    await alone.hear(stage.envelope(body), stage.envelope(body))
    (location,) = await stage.all("locations")
    assert location.state == "present"
    assert not await alone.storage.check(location)
    assert (await stage.one("locations", location.id)).state == "quarantined"


async def test_an_original_as_it_was_uploaded_passes_the_check_and_a_vanished_one_is_missed(stage: Stage) -> None:
    alone = Alone(stage)
    whole = ORIGINAL.model_copy(update={"sha256": hashlib.sha256(b"12345678").hexdigest()})
    await stage.ports.objects.put(whole.key, b"12345678")
    await alone.hear(stage.envelope(m.MediumUploaded(case="c", item="i", medium="film", file_name="f", original=whole)))
    (location,) = await stage.all("locations")
    assert await alone.storage.check(location)
    await stage.ports.objects.delete(whole.key)
    assert not await alone.storage.check(location)
    assert (await stage.one("locations", location.id)).state == "missing"


async def test_what_was_erased_while_it_was_read_again_is_no_damage(stage: Stage) -> None:
    alone = Alone(stage)
    await stage.put("locations", "gone", "erased", key=ORIGINAL.key, kind="original", sha256=ORIGINAL.sha256)
    await stage.put("locations", "lost", "present", key=ORIGINAL.key, kind="original", sha256=ORIGINAL.sha256)
    listed = [dataclasses.replace(one, state="present") for one in await stage.all("locations")]
    with capture_logs() as said:
        for one in listed:
            assert not await alone.storage.check(one)
    assert [line["event"] for line in said] == ["object_damaged"], "the control is the one that was not erased"
    assert (await stage.one("locations", "gone")).state == "erased"


async def test_originals_behind_the_first_thousand_are_read_again_too(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "SCRUB_SECONDS", 0)
    alone = Alone(stage)
    whole = f"t/{TENANT}/originals/whole"
    await stage.ports.objects.put(whole, b"12345678")
    said = {"kind": "original", "sha256": hashlib.sha256(b"12345678").hexdigest()}
    for number in range(1000):
        await stage.put("locations", f"{number:04}", "present", key=whole, **said)
    await stage.put("locations", "last", "present", key=f"t/{TENANT}/originals/vanished", **said)
    scrubbing = asyncio.create_task(alone.storage.scrub())
    try:
        async with asyncio.timeout(60):
            while (await stage.one("locations", "last")).state == "present":
                await asyncio.sleep(0.1)
    finally:
        scrubbing.cancel()
    assert (await stage.one("locations", "last")).state == "missing"
    assert (await stage.one("locations", "0000")).state == "present"


async def test_what_nobody_refers_to_is_swept_when_it_is_old_and_everything_else_stays(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, digest = Alone(stage), hashlib.sha256(b"x").hexdigest()
    photo = medium_id(TenantId(TENANT), Sha256(digest))
    referred = {
        "media": object_keys.original(TENANT, digest),
        "pictures": object_keys.picture(TENANT, photo, "now"),
        "preparations": object_keys.derivative(TENANT, photo, "frames"),
        "dossiers": object_keys.dossier(TENANT, "case", "1", "html"),
        "jobs": object_keys.derivative(TENANT, photo, "only a job says so"),
        "locations": object_keys.derivative(TENANT, photo, "only the register says so"),
    }
    assert set(referred) == set(REFERRING)
    for collection, key in referred.items():
        identity = {"media": photo, "locations": derive("location", key)}.get(collection, f"of {collection}")
        about = {"medium": photo, "case": "case", "kind": "derivative"}
        await stage.put(collection, identity, "stored", reference={"key": key, "sha256": "x", "size_bytes": 1}, **about)
    orphans = [
        object_keys.derivative(TENANT, photo, "orphan"),
        object_keys.dossier(TENANT, "case", "orphan", "html"),
        object_keys.original(TENANT, "0" * 64),
        object_keys.picture(TENANT, photo, "orphan"),
    ]
    kept = [object_keys.result(TENANT, photo, "kept to be found again"), f"t/{TENANT}/of/nobody knows whom"]
    for key in (*referred.values(), *orphans, *kept):
        await stage.ports.objects.put(key, b"bytes")
    assert await alone.litter() == []
    after(monkeypatch, stage, hours=25)
    assert await alone.litter() == sorted(orphans)


async def test_what_was_made_of_a_medium_while_it_was_erased_is_swept_soon(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = Alone(stage)
    for medium, state in (("film", "erased"), ("photo", "stored")):
        await stage.put("media", medium, state)
        await stage.ports.objects.put(f"t/{TENANT}/derivatives/{medium}/late", b"frames")
        await stage.ports.objects.put(f"t/{TENANT}/results/{medium}/late", b"findings")
        await stage.ports.objects.put(f"t/{TENANT}/pictures/{medium}/late", b"fused")
    assert await alone.litter() == []
    after(monkeypatch, stage, hours=0.1)
    assert await alone.litter() == [
        f"t/{TENANT}/{folder}/film/late" for folder in ("derivatives", "pictures", "results")
    ]


async def test_many_objects_are_swept_a_part_at_a_time(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    alone, orphans = Alone(stage), []
    for number in range(12):
        for place in (object_keys.picture, object_keys.derivative):
            key = place(TENANT, f"medium-{number}", "x")
            await stage.ports.objects.put(key, b"bytes")
            reference = {"key": key, "sha256": "x", "size_bytes": 5}
            if number % 3 == 0:
                orphans.append(key)
            elif number % 3 == 1:
                await stage.put("locations", derive("location", key), "present", kind="derivative", **reference)
            else:
                await stage.put("pictures", key, "complete", medium=f"medium-{number}", picture=reference)
    after(monkeypatch, stage, hours=25)
    assert await alone.litter() == sorted(orphans), "the control: all of them at once"
    monkeypatch.setattr(sweeping, "AT_A_TIME", 5)
    monkeypatch.setattr(pages, "PAGE", 2)
    assert await alone.litter() == sorted(orphans)
    await alone.sweeper.sweep()
    left = {info.key async for info in stage.ports.objects.list("t/")}
    assert (len(left), left & set(orphans)) == (24 - len(orphans), set())


async def test_bytes_that_are_uploaded_again_while_everything_is_looked_at_stay(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, digest = Alone(stage), hashlib.sha256(b"again").hexdigest()
    key = object_keys.original(TENANT, digest)
    for lies in (key, f"{key}.direct"):
        await stage.ports.objects.put(lies, b"again")
    after(monkeypatch, stage, hours=25)
    assert await alone.litter() == [key, f"{key}.direct"], "the control: nobody has uploaded it again"
    look, looks = alone.sweeper._unreferred, []

    async def upload_behind_it(keys: Iterable[str]) -> Sequence[str]:
        looks.append(found := await look(keys))
        if len(looks) == 1:
            medium = medium_id(TenantId(TENANT), Sha256(digest))
            await stage.put("media", medium, "stored", object={"key": key, "sha256": digest, "size_bytes": 5})
        return found

    monkeypatch.setattr(alone.sweeper, "_unreferred", upload_behind_it)
    assert await alone.litter() == [f"{key}.direct"], "and its double goes"
    assert looks[0] == [key, f"{key}.direct"]


async def test_nothing_is_kept_of_a_medium_that_was_erased_while_it_was_made(stage: Stage) -> None:
    key = object_keys.result(TENANT, "film", "late")
    await stage.put("media", "film", "stored")
    await erasures.keep(stage.ports, "film", key, b"findings")
    assert await stage.ports.objects.get(key) == b"findings", "the control"
    await stage.ports.objects.delete(key)
    await stage.ports.documents.transition("media", "film", change=Change("erased"))
    with pytest.raises(StaleLeaseError, match="erased meanwhile"):
        await erasures.keep(stage.ports, "film", key, b"findings")
    assert await stage.ports.objects.info(key) is None


def after(monkeypatch: pytest.MonkeyPatch, stage: Stage, hours: float) -> None:
    then = stage.ports.clock.now() + datetime.timedelta(hours=hours)
    monkeypatch.setattr(stage.ports.clock, "now", lambda: then, raising=False)
