"""The store's time is asked for now and again, and carried on in between."""

import datetime
from pathlib import Path

from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.jobs.store_time import TRUSTED_SECONDS, StoreTime
from tests.service.moved_clock import MovedClock


def ahead(clock: MovedClock, seconds: float) -> datetime.datetime:
    return clock.now() + datetime.timedelta(seconds=seconds)


async def test_between_two_answers_the_own_clock_counts_on_from_the_stores_time(tmp_path: Path) -> None:
    own, stores = MovedClock(1_000.0), MovedClock(5_000.0)
    async with SqliteDocuments.open(tmp_path / "documents.db", clock=stores) as documents:
        time = StoreTime(documents, own)
        assert await time.now() == stores.now()
        own.seconds += TRUSTED_SECONDS
        assert await time.now() == ahead(stores, TRUSTED_SECONDS)


async def test_an_answer_that_is_too_old_is_not_relied_upon(tmp_path: Path) -> None:
    own, stores = MovedClock(1_000.0), MovedClock(5_000.0)
    async with SqliteDocuments.open(tmp_path / "documents.db", clock=stores) as documents:
        time = StoreTime(documents, own)
        await time.now()
        own.seconds += TRUSTED_SECONDS + 1
        stores.seconds += 100.0
        assert await time.now() == stores.now()
        own.seconds += 1
        assert await time.now() == ahead(stores, 1)
