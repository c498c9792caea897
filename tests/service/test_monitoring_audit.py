"""Messages are counted once, and what is wrong is found, told and kept."""

import datetime
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.ports.documents import Insert
from aima_monitoring import service as monitoring_service
from aima_monitoring.invariants import Violation
from aima_monitoring.service import FOLD_AFTER_SECONDS, Monitoring
from aima_monitoring.snapshot import take
from tests.service.stage import NOW, TENANT, Stage, staged


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setattr(monitoring_service, "SECOND_LOOK_SECONDS", 0.0)
    async with staged(tmp_path) as found:
        yield found


async def counted(stage: Stage) -> dict[str, int]:
    total: dict[str, int] = {}
    for rollup in await stage.all("rollups"):
        for name, count in rollup.body.get("messages", {}).items():
            total[name] = total.get(name, 0) + count
    return total


async def test_a_message_is_counted_once_however_often_it_comes(stage: Stage) -> None:
    monitoring = Monitoring(stage.ports)
    one, other = (stage.envelope(m.MediumErased(medium=medium)) for medium in ("a", "b"))
    for envelope in (one, other, one, one):
        await monitoring.count(envelope)
    assert await counted(stage) == {"MediumErased": 2}
    assert len(await stage.all("rollups")) == 2, "no document that every message changes"


async def test_what_was_counted_long_ago_is_put_together_once_and_what_is_young_is_not(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Monitoring(stage.ports)
    for medium in ("a", "b", "b"):
        await old.count(stage.envelope(m.MediumErased(medium=medium)))
    assert await old.fold_some() == 0, "control: all of it is young"
    later = NOW + datetime.timedelta(seconds=FOLD_AFTER_SECONDS + 3600)
    monkeypatch.setattr(stage.ports.clock, "now", lambda: later, raising=False)
    delete = stage.ports.documents.delete

    async def dies(_collection: str, _document: str) -> bool:
        raise ConnectionError("killed before the part was removed")

    monkeypatch.setattr(stage.ports.documents, "delete", dies)
    with pytest.raises(ConnectionError):
        await old.fold_some()
    monkeypatch.setattr(stage.ports.documents, "delete", delete)
    assert await old.fold_some() == 2
    assert await old.fold_some() == 0
    (whole,) = await stage.all("rollups")
    assert (whole.state, whole.body["messages"]) == ("whole", {"MediumErased": 3})
    assert await old._lasting() == []


async def test_with_the_inbox_switched_off_it_is_counted_each_time_and_the_audit_says_so(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitoring = Monitoring(stage.ports)
    assert isinstance(stage.ports.documents, SqliteDocuments)
    monkeypatch.setattr(stage.ports.documents, "_inbox", False)
    one = stage.envelope(m.MediumErased(medium="a"))
    for _ in range(3):
        await monitoring.count(one)
    assert await counted(stage) == {"MediumErased": 3}
    assert {violation.invariant for violation in await monitoring._lasting()} == {"I6"}


async def test_every_message_that_is_meant_for_monitoring_is_counted(stage: Stage) -> None:
    heard = set(Monitoring(stage.ports).handlers())
    # A hint counts nothing, a notice says again what others have said, advice and alarms are monitoring's own.
    assert set(m.PATH) - heard == {m.AnalysisRequested, m.NoticeGiven, m.ScalingAdvised, m.ViolationFound}


async def lost_item(stage: Stage) -> None:
    body = {"case": "c", "medium": "m", "accepted_at": NOW.replace(year=2020).isoformat()}
    await stage.ports.documents.insert("items", Insert("item", TENANT, "accepted", body))


async def test_a_clean_store_is_audited_as_clean(stage: Stage) -> None:
    monitoring = Monitoring(stage.ports)
    await monitoring.report(await monitoring._lasting())
    (audit,) = await stage.all("audits")
    assert (audit.state, audit.body["violations"]) == ("clean", [])
    assert await stage.told() == []


async def test_what_is_wrong_is_kept_and_told(stage: Stage) -> None:
    monitoring = Monitoring(stage.ports)
    await lost_item(stage)
    await monitoring.report(await monitoring._lasting())
    (audit,) = await stage.all("audits")
    assert (audit.state, audit.body["violations"][0]["invariant"]) == ("violated", "I1")
    (told,) = await stage.told(m.ViolationFound)
    assert (told.invariant, told.subject) == ("I1", "item")
    assert decode((await stage.ports.documents.outbox())[0].record).key == "item"


async def test_what_is_wrong_only_while_one_looks_is_not_reported(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monitoring = Monitoring(stage.ports)
    await lost_item(stage)

    async def mended(seconds: float) -> None:
        await stage.ports.documents.delete("items", "item")

    monkeypatch.setattr(stage.ports.clock, "sleep", mended, raising=False)
    assert await monitoring._lasting() == []


async def test_the_audit_goes_on_by_itself(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    reported: list[list[Violation]] = []

    class EnoughError(Exception):
        pass

    async def report(violations: list[Violation]) -> None:
        reported.append(violations)
        if len(reported) == 2:
            raise EnoughError

    monitoring = Monitoring(stage.ports, audit_seconds=0.0)
    monkeypatch.setattr(monitoring, "report", report)
    with pytest.raises(EnoughError):
        await monitoring.audit()
    assert reported == [[], []]


async def test_a_snapshot_sees_bytes_that_changed_under_their_name(stage: Stage, tmp_path: Path) -> None:
    await stage.ports.objects.put("t/default/pictures/film/x", b"as it was")
    one = (await take(stage.ports, read_bytes=True)).objects["t/default/pictures/film/x"]
    async with stage.ports.objects.lend("t/default/pictures/film/x") as path:
        Path(path).chmod(0o600)
        Path(path).write_bytes(b"as it is!")
    other = (await take(stage.ports, read_bytes=True)).objects["t/default/pictures/film/x"]
    assert one.size_bytes == other.size_bytes
    assert one.sha256 != other.sha256
