"""What a dossier is made of is read for many media in few questions, and is the same as ever."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from aima_dossier import facts
from aima_dossier.facts import FactsReader
from tests.service.stage import NOW, SHA, Stage, staged

MEDIA = 60


async def furnished(stage: Stage) -> Any:
    """Make a case of many media; one in three has no run yet, and the first one has two."""
    await stage.put("cases", "case", "open", name="case", created_at=NOW.isoformat(), options={})
    for number in range(MEDIA):
        body = {"case": "case", "medium": f"m{number}", "ordinal": number, "file_name": f"{number}.png"}
        await stage.put("items", f"item {number:03}", "accepted", **body, size_bytes=8, sha256=SHA)
        await stage.put("media", f"m{number}", "stored", sha256=SHA, size_bytes=8)
        if number % 3:
            run = {"medium": f"m{number}", "accepted_at": NOW.isoformat(), "reason": None}
            await stage.put("runs", f"run {number}", "rejected", **run)
    for at, state in (("2026-01-01T00:00:00+00:00", "failed"), ("2026-01-02T00:00:00+00:00", "analysing")):
        await stage.put("runs", f"run {state}", state, medium="m0", accepted_at=at, reason=None)
    return await stage.one("cases", "case")


@pytest.mark.parametrize("at_a_time", [MEDIA, 7])
async def test_a_case_of_many_media_is_read_in_few_questions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_a_time: int
) -> None:
    monkeypatch.setattr(facts, "AT_A_TIME", at_a_time)
    async with staged(tmp_path) as stage:
        case = await furnished(stage)
        asked = []

        def counted(name: str, ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
            async def counting(*args: Any, **options: Any) -> Any:
                asked.append(name)
                return await ask(*args, **options)

            return counting

        for name in ("find", "load"):
            monkeypatch.setattr(stage.ports.documents, name, counted(name, getattr(stage.ports.documents, name)))
        told = await FactsReader(stage.ports).read(case)
    states = [item.status for item in told.items]
    assert states == ["analysing", *(("rejected" if number % 3 else "accepted") for number in range(1, MEDIA))]
    assert [item.file_name for item in told.items] == [f"{number}.png" for number in range(MEDIA)]
    rounds = -(-MEDIA // at_a_time)
    assert 0 < len(asked) <= 1 + 6 * rounds
