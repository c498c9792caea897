"""Many lines of one stream at a time: no gaps, each once, and not many more questions than lines."""

import asyncio
import secrets

import pytest

from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.errors import PermanentError

LINES = 400
LARGER_THAN_A_DOCUMENT = 17 << 20


async def questions(documents: MongoDocuments) -> int:
    """Count what this server was asked, by anybody."""
    counters = (await documents.database.client.admin.command("serverStatus"))["opcounters"]
    return int(counters["query"]) + int(counters["insert"])


async def test_two_processes_that_write_one_stream_at_once_do_not_wear_each_other_out(mongod_uri: str) -> None:
    name = f"t{secrets.token_hex(8)}"
    async with MongoDocuments.open(mongod_uri, name) as one, MongoDocuments.open(mongod_uri, name) as two:
        before = await questions(one)
        appends = [(one, two)[n % 2].append("events", f"entry-{n}", {"n": n}) for n in range(LINES)]
        numbers = await asyncio.gather(*appends)
        asked = await questions(one) - before
        assert sorted(numbers) == list(range(1, LINES + 1))
        lines = await one.read("events")
        assert [line.id for line in lines] == [f"entry-{numbers.index(n)}" for n in range(1, LINES + 1)]
    # A line is a question itself. One after the other each would be three, and with every collision three more.
    assert asked < 2 * LINES


async def test_a_line_that_cannot_be_stored_takes_no_others_with_it(mongod_uri: str) -> None:
    async with MongoDocuments.open(mongod_uri, f"t{secrets.token_hex(8)}") as documents:
        bodies = [{"n": "1"}, {"n": "x" * LARGER_THAN_A_DOCUMENT}, {"n": "3"}, {"n": "4"}]
        told = await asyncio.gather(
            *(documents.append("events", f"entry-{n}", body) for n, body in enumerate(bodies)), return_exceptions=True
        )
        assert isinstance(told[1], PermanentError)
        assert sorted(one for one in told if isinstance(one, int)) == [1, 2, 3]
        assert len(await documents.read("events")) == 3


@pytest.mark.parametrize("again", [True, False])
async def test_a_line_that_is_added_again_with_others_keeps_its_number(mongod_uri: str, again: bool) -> None:
    async with MongoDocuments.open(mongod_uri, f"t{secrets.token_hex(8)}") as documents:
        assert await documents.append("events", "first", {"n": 1}) == 1
        names = ["second", "first" if again else "another", "third"]
        numbers = await asyncio.gather(*(documents.append("events", name, {"n": 2}) for name in names))
        assert numbers == ([2, 1, 3] if again else [2, 3, 4])
        assert (await documents.read("events"))[0].body == {"n": 1}
