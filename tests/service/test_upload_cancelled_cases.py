"""What upload does with the items of a case that is cancelled."""

import datetime
from pathlib import Path

import pytest

from aima_common import pages
from aima_common.ports.documents import Insert
from aima_upload import cases
from tests.service.stage import TENANT, staged

NOW = datetime.datetime(2026, 11, 23, 12, tzinfo=datetime.UTC)


async def test_all_items_of_a_case_are_cancelled_but_those_whose_media_are_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE", 3)
    monkeypatch.setattr(cases, "MANY", 4)
    async with staged(tmp_path) as stage:
        await stage.ports.documents.insert("cases", Insert("case", TENANT, "open", {"name": "case"}))
        for number in range(23):
            body = {"case": "other" if number == 5 else "case", "medium": f"medium-{number}", "ordinal": number}
            await stage.put("items", f"item-{number:02d}", "accepted", **body)
        for number, state in ((3, "analysed"), (9, "failed"), (12, "analysing")):
            await stage.put("runs", f"run-{number}", state, medium=f"medium-{number}")
        upload = cases.Cases(stage.ports)
        await upload.cancel(TENANT, "case", "medium-7", "one medium")
        assert [one.id for one in await stage.all("items", state="cancelled")] == ["item-07"]
        assert (await stage.one("cases", "case")).state == "open"
        for _ in range(2):
            await upload.cancel(TENANT, "case", None, "the case")
            left = [one.id for one in await stage.all("items", state="accepted")]
            assert left == ["item-03", "item-05", "item-09"]
            assert (await stage.one("cases", "case")).state == "cancelled"
