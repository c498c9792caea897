"""What nobody can read is set aside with its coordinates, everything behind it goes on, and people decide about it."""

import base64
from pathlib import Path
from typing import Any

import orjson
import pytest

from aima_common.adapters.embedded.bus import SqliteBus
from aima_common.contracts import messages as m
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.ports.bus import Record
from aima_common.ports.documents import Document
from tests.journey.aima_process import RunningAima, aima, all_of, analysed, documents_of, until
from tests.unit.aima_preprocessing.made_media import photo, still

CANCEL_REQUESTED = BY_MESSAGE[m.CancelRequested].name
UPLOADED = BY_MESSAGE[m.MediumUploaded]
FORGED = orjson.dumps({"case": "c", "item": "i", "medium": "m", "original": {"key": "t/other/originals/x"}})
UNREADABLE = {
    "no JSON at all": b"\x00\xff this is no JSON",
    "nothing": b"",
    "a list": b"[1, 2, 3]",
    "too deep": b"[" * 5000 + b"]" * 5000,
    "too large": b'{"item": "' + b"x" * (2 << 20) + b'"}',
    "forged": FORGED,
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_an_unreadable_message_becomes_a_dead_letter_with_coordinates_and_work_goes_on(
    house: RunningAima, name: str, tmp_path: Path
) -> None:
    value, key = UNREADABLE[name], f"forged-{name}"
    headers = {"ce_type": "aima.MediumUploaded.v1", "aima_tenant": "default", "remark": "from a stranger"}
    async with SqliteBus.open(house.data / "log.db") as bus:
        await bus.publish([Record(UPLOADED.name, key, value, headers)])

    async def set_aside() -> list[Document]:
        async with documents_of(house.data) as documents:
            letters = [letter for letter in await all_of(documents, "dead_letters") if letter.body.get("key") == key]
        return letters if {letter.body["service"] for letter in letters} == set(UPLOADED.consumers) else []

    letters: list[Document] = await until("every service has set the message aside", set_aside)
    assert len(letters) == len(UPLOADED.consumers)
    assert len({(letter.body["partition"], letter.body["offset"]) for letter in letters}) == 1
    for letter in letters:
        assert letter.state == "open"
        assert letter.body["topic"] == UPLOADED.name
        assert isinstance(letter.body["offset"], int)
        assert letter.body["reason"] == "malformed_message"
        assert letter.body["detail"]
        assert letter.body["size_bytes"] == len(value)
        kept = base64.b64decode(letter.body["value"])
        assert kept == value[: len(kept)]
        assert len(kept) == len(value) or len(kept) >= 1 << 18
        assert letter.body["headers"]["remark"] == "from a stranger"
    async with house.client() as client:
        content = still(photo(120, 90, seed=sum(name.encode())))
        dossier = await analysed(client, {"after.png": content}, tmp_path)
        assert [item["status"] for item in dossier["items"]] == ["analysed"]
        assert f'aima_dead_letters_total{{reason="malformed_message",service="{UPLOADED.consumers[0]}"}}' in (
            await client.metrics()
        )


async def test_people_list_show_retry_and_discard_what_was_set_aside(house: RunningAima) -> None:
    headers = {"ce_type": "aima.CancelRequested.v1", "aima_tenant": "default"}
    async with SqliteBus.open(house.data / "log.db") as bus:
        await bus.publish([Record(CANCEL_REQUESTED, "by hand", b"no JSON", headers)])

    async def open_letters() -> list[dict[str, Any]]:
        listed = aima("dead-letters", "list", "--service", "upload", "--limit", "500", "--json")
        assert listed.status == 0, listed.err
        return [letter for letter in listed.json()["dead_letters"] if letter["key"] == "by hand"]

    (letter,) = await until("upload has set the message aside", open_letters)
    shown = aima("dead-letters", "show", letter["id"])
    assert shown.status == 0, shown.err
    assert "no JSON" in shown.out
    assert letter["id"] in aima("dead-letters", "list", "--service", "upload").out

    retried = aima("dead-letters", "retry", letter["id"])
    assert retried.status == 0, retried.err
    assert "is retried" in retried.out

    async def came_again() -> list[dict[str, Any]]:
        return [again for again in await open_letters() if again["offset"] != letter["offset"]]

    (again,) = await until("the message was said and set aside once more", came_again)
    both = aima("dead-letters", "discard", letter["id"], again["id"], "--reason", "a test", "--json")
    assert both.status == 1, "the first is not open any more"
    assert [one["id"] for one in both.json()["dead_letters"]] == [again["id"]]
    assert [one["code"] for one in both.json()["refused"]] == ["not_open"]
    assert await open_letters() == []
