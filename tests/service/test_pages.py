"""Many documents are read a page at a time, each of them once."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_common import pages
from tests.service.stage import Stage, staged


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async with staged(tmp_path) as found:
        yield found


@pytest.mark.parametrize("page", [1, 2, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 9])
async def test_every_document_that_matches_is_read_once_whatever_the_page(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, count: int, page: int
) -> None:
    monkeypatch.setattr(pages, "PAGE", page)
    for number in range(count):
        await stage.put("cases", f"case-{number}", "open")
        await stage.put("cases", f"case-{number}-cancelled", "cancelled")
    found = [one.id async for one in pages.every(stage.ports.documents, "cases", {"state": "open"})]
    assert found == [f"case-{number}" for number in range(count)]
    assert len([one async for one in pages.every(stage.ports.documents, "cases")]) == 2 * count


async def test_what_is_removed_on_the_way_hides_nothing_behind_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 2)
    for number in range(5):
        await stage.put("cases", f"case-{number}", "open")
    met = []
    async for one in pages.every(stage.ports.documents, "cases"):
        met.append(one.id)
        await stage.ports.documents.delete("cases", one.id)
    assert met == [f"case-{number}" for number in range(5)]
    assert await stage.all("cases") == []
