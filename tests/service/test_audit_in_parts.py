"""An audit looks at a part of the stores at a time: it finds what looking at all at once finds, and holds little."""

from collections.abc import AsyncIterator, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from aima_common.ports.documents import Change, Insert
from aima_monitoring import snapshot
from aima_monitoring.evidence import Snapshot
from aima_monitoring.invariants import check
from tests.service.stage import NOW, TENANT, Stage, staged

LONG_AGO = NOW.replace(year=2020).isoformat()
MEDIA = 12


def reference(name: str) -> dict[str, Any]:
    return {"key": f"t/{TENANT}/{name}", "sha256": "a" * 64, "size_bytes": len(name)}


async def put(stage: Stage, collection: str, identity: str, state: str, tenant: str = TENANT, **body: Any) -> None:
    assert await stage.ports.documents.insert(collection, Insert(identity, tenant, state, body))


async def medium(stage: Stage, number: int) -> None:
    """Put a medium there with all that is made of one."""
    name = f"m{number:02}"
    about = {"medium": name}
    await put(stage, "cases", f"c{number:02}", "open", name=f"case {number}")
    await put(stage, "items", f"i{number:02}", "accepted", **about, case=f"c{number:02}", accepted_at=LONG_AGO)
    await put(stage, "media", name, "stored", object=reference(f"originals/{name}"))
    await put(stage, "runs", f"r{number:02}", "accepted", **about, accepted_at=LONG_AGO)
    await put(stage, "pictures", f"r{number:02}", "complete", **about, picture=reference(f"pictures/{name}"))
    await put(stage, "jobs", f"j{number:02}", "ready", **about, attempts=0, kind="analyse", submitted_at=LONG_AGO)
    await put(stage, "dossiers", f"c{number:02}", "current", case=f"c{number:02}", versions=[])
    for folder in ("originals", "pictures"):
        await stage.ports.objects.put(f"t/{TENANT}/{folder}/{name}", f"{folder}/{name}".encode())


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(snapshot, "PART", 4)
    monkeypatch.setattr(snapshot, "ASKED", 3)
    async with staged(tmp_path) as found:
        for number in range(MEDIA):
            await medium(found, number)
        yield found


async def wrong(seen: Snapshot) -> set[tuple[str, str]]:
    return {(violation.invariant, violation.subject) for violation in check(seen)}


async def in_parts(stage: Stage, turns: int = 12) -> set[tuple[str, str]]:
    """Audit until every object has had its turn."""
    found = set()
    for turn in range(turns):
        async for part in snapshot.parts(stage.ports, turn):
            found |= await wrong(part)
    return found


async def erased(stage: Stage) -> None:
    documents = stage.ports.documents
    await documents.transition("media", "m05", change=Change(state="erased"))
    await put(stage, "erasures", "e", "erased", medium="m05")


async def made_of_what_was_erased(stage: Stage) -> None:
    await erased(stage)
    await stage.ports.objects.put(f"t/{TENANT}/derivatives/m05/frames/1", b"a frame")


async def rejected(stage: Stage) -> None:
    await put(stage, "preparations", "m07", "preparing", medium="m07")
    await stage.ports.documents.transition("preparations", "m07", change=Change(state="rejected"))


FAULTS: dict[str, Callable[[Stage], Coroutine[Any, Any, object]]] = {
    "I1": lambda stage: stage.ports.documents.delete("runs", "r03"),
    "I2": lambda stage: stage.ports.documents.delete("cases", "c11"),
    "I5": lambda stage: stage.ports.documents.transition("jobs", "j08", change=Change(state="done")),
    "I7": lambda stage: stage.ports.objects.delete(f"t/{TENANT}/originals/m09"),
    "I12": lambda stage: stage.ports.documents.transition("jobs", "j02", change=Change(set={"attempts": 99})),
    "I14": rejected,
    "I15": lambda stage: put(stage, "corrections", "x", "made", tenant="another", medium="m04"),
    "I16": made_of_what_was_erased,
}


async def test_where_all_is_well_neither_finds_anything(stage: Stage) -> None:
    assert await wrong(await snapshot.take(stage.ports)) == set()
    assert await in_parts(stage) == set()


@pytest.mark.parametrize("invariant", FAULTS)
async def test_parts_find_what_all_at_once_finds(stage: Stage, invariant: str) -> None:
    await FAULTS[invariant](stage)
    whole = await wrong(await snapshot.take(stage.ports))
    assert invariant in {found for found, _ in whole}
    assert await in_parts(stage) == whole


async def test_a_rejection_with_its_letter_is_as_it_should_be(stage: Stage) -> None:
    await rejected(stage)
    letter = {"medium": "m07", "reason": "broken", "detail": "it is broken", "service": "preprocessing"}
    await put(stage, "dead_letters", "letter", "open", **letter)
    assert await in_parts(stage) == await wrong(await snapshot.take(stage.ports)) == set()


async def test_no_part_grows_with_what_there_is(stage: Stage) -> None:
    async def largest() -> tuple[int, int, int]:
        seen = [part async for part in snapshot.parts(stage.ports)]
        documents = max(sum(map(len, part.documents.values())) for part in seen)
        lines = max(sum(map(len, part.histories.values())) for part in seen)
        return documents, lines, max(len(part.objects) for part in seen)

    before = await largest()
    for number in range(MEDIA, 4 * MEDIA):
        await medium(stage, number)
    assert await largest() == before
    whole = await snapshot.take(stage.ports)
    assert len(whole.of("jobs")) == 4 * MEDIA, "control: there is more"
