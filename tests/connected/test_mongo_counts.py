"""Two count the first messages about one thing at the same time, each in a process of its own."""

import datetime
import secrets
from typing import Any

import pytest

from aima_common.adapters.mongo_documents import MongoDocuments
from aima_common.adapters.system_clock import SystemClock
from aima_common.contracts import messages as m
from aima_common.contracts.codec import decode
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.telling import tell
from aima_common.ports import Ports
from aima_common.ports.documents import Transitioned
from aima_monitoring.service import Monitoring


def monitoring_on(documents: MongoDocuments) -> Monitoring:
    nothing: Any = None
    return Monitoring(Ports(nothing, documents, nothing, nothing, nothing, SystemClock()))


def message(cause: str) -> Envelope[Any]:
    now = datetime.datetime.now(datetime.UTC)
    return decode(tell(m.MediumErased(medium="one"), tenant="t", key="one", cause=cause, time=now))


async def test_a_message_is_counted_though_another_made_the_count_between_two_looks(
    mongod_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"t{secrets.token_hex(8)}"
    async with MongoDocuments.open(mongod_uri, name) as mine, MongoDocuments.open(mongod_uri, name) as theirs:
        first, second, look = message("first"), message("second"), mine._not_applied

        async def overtaken(collection: str, document: str, inbox: str | None) -> Transitioned:
            # Nothing was there to be changed; by the time of the look that tells why, there is.
            await monitoring_on(theirs).count(first)
            return await look(collection, document, inbox)

        monkeypatch.setattr(mine, "_not_applied", overtaken)
        await monitoring_on(mine).count(second)
        (rollup,) = await mine.find("rollups", {})
    assert rollup.body["messages"] == {"MediumErased": 2}
