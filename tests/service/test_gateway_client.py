"""The client and the command, against running services."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aima_client import Client, sending
from aima_client.__main__ import app
from aima_client.errors import BusyError, MissingError, NotRunningError, UnauthorizedError
from aima_common.ports.documents import Change, Insert
from aima_gateway.keys import Role

RUN = {"accepted_at": "2026-01-02T03:04:05+00:00", "parts_done": 0, "parts_total": 1, "reason": None}


@pytest.fixture
async def aima(doors: Any) -> AsyncIterator[Client]:
    async with Client(doors.url, await doors.key(Role.operator), attempts=3) as client:
        yield client


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "media" / "a photo [1].jpg"
    path.parent.mkdir()
    path.write_bytes(b"p" * 3_000_000)
    return path


async def finish(doors: Any, case: str, medium: str) -> None:
    """Write what scheduler and dossier write when a medium is done."""
    run = Insert(f"run-{medium}", "default", "analysing", {"medium": medium, **RUN})
    await doors.ports.documents.insert("runs", run)
    await asyncio.sleep(0.2)
    await doors.ports.documents.transition("runs", f"run-{medium}", change=Change("analysed", {"parts_done": 1}))
    data = b'{"schema": "x"}'
    digest = hashlib.sha256(data).hexdigest()
    await doors.ports.objects.put(f"t/default/dossiers/{digest}", data)
    reference = {"key": f"t/default/dossiers/{digest}", "sha256": digest, "size_bytes": len(data)}
    current = {"version": 1, "complete": True, "items": 1, "json": reference, "html": reference}
    await doors.ports.documents.insert(
        "dossiers", Insert(case, "default", "current", {"case": case, "current": current})
    )


async def test_from_a_file_to_a_dossier(doors: Any, aima: Client, photo: Path) -> None:
    case = await aima.create_case("holiday", priority="high")
    item = await aima.upload(case["id"], photo)
    working = asyncio.create_task(finish(doors, case["id"], item["medium"]))
    done = await aima.wait(case["id"])
    await working
    assert done["counts"]["analysed"] == 1
    assert await aima.dossier(case["id"]) == {"schema": "x"}
    assert (await aima.find_case("holiday"))["id"] == case["id"]
    with pytest.raises(MissingError):
        await aima.find_case("no such case")


async def test_a_file_is_sent_once_and_counts_once(doors: Any, aima: Client, photo: Path) -> None:
    case = (await aima.create_case("one"))["id"]
    sent: list[int] = []
    first = await aima.upload(case, photo, moved=sent.append)
    assert sum(sent) == 3_000_000
    assert await aima.upload(case, photo, moved=sent.append) == first
    other = (await aima.create_case("two"))["id"]
    assert (await aima.upload(other, photo, moved=sent.append))["medium"] == first["medium"]
    assert sum(sent) == 3_000_000
    assert await doors.ports.documents.count("items", {}) == 2


async def test_where_nothing_goes_straight_to_the_store_the_client_asks_once_and_sends_through_aima(
    doors: Any, aima: Client, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aima_client.direct.LARGE_BYTES", 1_000_000)
    asked: list[str] = []
    send = aima._http.send

    async def listening(method: str, path: str, *given: Any, **named: Any) -> Any:
        asked.append(path)
        return await send(method, path, *given, **named)

    monkeypatch.setattr(aima._http, "send", listening)
    case = (await aima.create_case("one"))["id"]
    for number in range(2):
        photo.write_bytes(bytes([number]) * 3_000_000)
        await aima.upload(case, photo)
    assert asked.count("/v1/uploads/direct") == 1
    assert await doors.ports.documents.count("items", {}) == 2


async def test_a_file_that_shrinks_while_it_is_sent_is_refused(doors: Any, aima: Client, photo: Path) -> None:
    case = (await aima.create_case("one"))["id"]
    content = await sending.digest(photo)
    photo.write_bytes(b"q" * 3_000_000)
    with pytest.raises(Exception, match="SHA-256"):
        await aima.upload(case, photo, content=content)
    assert await doors.ports.documents.count("items", {}) == 0


async def test_busy_answers_are_heeded_and_given_up_in_the_end(
    doors: Any, aima: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    urls = doors.gateway._replicas._urls

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    async def nowhere() -> list[str]:
        return [] if len(waited) < 2 else await urls()

    monkeypatch.setattr("aima_client.transport.asyncio.sleep", sleep)
    monkeypatch.setattr(doors.gateway._replicas, "_urls", nowhere)
    await aima.create_case("one")
    assert len(waited) == 2
    assert all(seconds >= 5 for seconds in waited)
    waited.clear()
    monkeypatch.setattr(doors.gateway._replicas, "_urls", doors.gateway._replicas._urls)

    async def never() -> list[str]:
        return []

    monkeypatch.setattr(doors.gateway._replicas, "_urls", never)
    with pytest.raises(BusyError, match="no upload process answers"):
        await aima.create_case("two")


async def test_a_wrong_key_and_a_wrong_place_are_told_apart(doors: Any) -> None:
    async with Client(doors.url, "wrong", attempts=1) as stranger:
        with pytest.raises(UnauthorizedError, match="not known"):
            await stranger.cases()
    async with Client("http://127.0.0.1:9", "key", attempts=1) as lost:
        with pytest.raises(NotRunningError, match="no AIMA answers"):
            await lost.cases()


async def test_keys_are_made_and_revoked(doors: Any, aima: Client) -> None:
    made = await aima.create_key("reader", tenant="press", name="desk")
    async with Client(doors.url, made["token"]) as press:
        assert (await press.cases())["cases"] == []
        with pytest.raises(UnauthorizedError):
            await press.create_case("x")
    await aima.revoke_key(made["id"])
    assert [key["state"] for key in (await aima.keys())["keys"] if key["id"] == made["id"]] == ["revoked"]


async def command(doors: Any, *arguments: str) -> Any:
    """Run `aima` in a thread, with the doors' address and a key in its environment."""
    environment = {"AIMA_URL": doors.url, "AIMA_KEY": await doors.key(Role.operator), "COLUMNS": "200"}
    return await asyncio.to_thread(lambda: CliRunner().invoke(app, list(arguments), env=environment))


async def test_the_command_uploads_lists_and_cancels(doors: Any, photo: Path) -> None:
    folder = photo.parent
    (folder / "line\nbreak.png").write_bytes(b"x")
    done = await command(doors, "upload", str(photo), str(folder), str(folder / "missing"), "--case", "c 1", "--json")
    assert done.exit_code == 3, done.output
    shown = json.loads(done.stdout)
    assert (shown["media"], shown["sent_bytes"], len(shown["refused"])) == (2, 3_000_001, 1)
    names = [item.body["file_name"] for item in await doors.ports.documents.find("items", {}, order=["ordinal"])]
    assert sorted(names) == ["a photo [1].jpg", "line\nbreak.png"]
    assert (await command(doors, "jobs", "--json")).exit_code == 0
    assert "cancelled" in (await command(doors, "cancel", "c 1")).output
    missing = await command(doors, "watch", "no such case")
    assert (missing.exit_code, "no case has the id or name" in missing.output) == (1, True)


async def test_the_command_makes_keys(doors: Any) -> None:
    made = await command(doors, "keys", "create", "--role", "reader", "--tenant", "press", "--json")
    assert json.loads(made.stdout)["role"] == "reader"
    assert "press" in (await command(doors, "keys", "list")).output
    refused = await command(doors, "keys", "create", "--role", "god")
    assert refused.exit_code == 1
    assert "Correct the named fields" in refused.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["analyze", "/no/such/path", "--out", "o"], "there is no such file or folder"),
        (["analyze", "x"], "--out"),
        (["analyze", "x", "--out", "o", "--priority", "now"], "'now' is not one of"),
        (["analyze", __file__, "--out", "/proc/nowhere"], "cannot be written to"),
        (["cancel"], "name either a case"),
        (["nonsense"], "No such command"),
    ],
)
def test_wrong_usage_is_exit_status_2_and_says_what_to_do(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, arguments, env={"AIMA_STATE": str(tmp_path), "COLUMNS": "200"})
    assert done.exit_code == 2, done.output
    assert words in done.output


def test_the_doctor_says_what_there_is(tmp_path: Path) -> None:
    environment = {"AIMA_STATE": str(tmp_path), "AIMA_DATA": str(tmp_path)}
    done = CliRunner().invoke(app, ["doctor", "--no-models", "--json"], env=environment)
    found = {line["check"]: line for line in json.loads(done.stdout)}
    assert set(found) == {"python", "packages", "ports", "disk", "sandbox", "instances"}
    assert found["ports"]["ok"]
    assert done.exit_code == (0 if all(line["ok"] for line in found.values()) else 1)


def test_nobody_at_home_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["jobs"], env={"AIMA_STATE": str(tmp_path), "AIMA_URL": ""})
    assert done.exit_code == 1
    assert "Start one with `aima up`" in done.output
