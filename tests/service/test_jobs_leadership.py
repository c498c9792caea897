"""Of several equal processes one leads; when it falls silent, another does."""

import time
from pathlib import Path

from aima_common import wiring
from aima_common.adapters.embedded.documents import SqliteDocuments
from aima_common.jobs import Leadership, leadership
from aima_common.ports.documents import Change, Expect, Lease


async def test_one_of_two_leads_until_it_gives_up(tmp_path: Path) -> None:
    async with wiring.embedded(tmp_path) as ports:
        first, second = (Leadership(ports.documents, "placing", holder) for holder in ("a", "b"))
        assert await first.held()
        assert not await second.held()
        assert await first.held()
        await first.give_up()
        assert await second.held()
        assert not await first.held()


async def test_leaderships_of_different_things_do_not_meet(tmp_path: Path) -> None:
    async with wiring.embedded(tmp_path) as ports:
        assert await Leadership(ports.documents, "placing", "a").held()
        assert await Leadership(ports.documents, "sweeping", "b").held()


async def test_a_leader_that_fell_silent_is_followed_by_another_and_knows_it(tmp_path: Path) -> None:
    now = 0.0
    async with wiring.embedded(tmp_path) as ports:
        first = Leadership(ports.documents, "placing", "a", lambda: now)
        second = Leadership(ports.documents, "placing", "b", lambda: now)
        assert await first.held()
        # Its lease ran out in the store; nobody asked it meanwhile.
        await ports.documents.transition(
            leadership.COLLECTION, "placing", expect=Expect(), lease=Lease("a", -1.0, renew=True), change=Change()
        )
        assert not await second.held(), "what the first had sent may still be written"
        now += leadership.SETTLING_SECONDS
        assert await second.held()
        now += leadership.TRUSTED_SECONDS + 1
        assert not await first.held()
        assert await second.held(), "who goes on leading has nothing to wait for"


async def test_a_confirmed_leader_does_not_ask_the_store_every_time(tmp_path: Path) -> None:
    now = 0.0
    async with wiring.embedded(tmp_path) as ports:
        leader = Leadership(ports.documents, "placing", "a", lambda: now)
        assert await leader.held()
        before = await ports.documents.load(leadership.COLLECTION, "placing")
        assert await leader.held()
        assert await ports.documents.load(leadership.COLLECTION, "placing") == before
        now += leadership.TRUSTED_SECONDS + 1
        assert await leader.held()
        assert await ports.documents.load(leadership.COLLECTION, "placing") != before


async def test_whoever_owns_the_store_alone_need_not_wait_for_a_leader_that_died(tmp_path: Path) -> None:
    async with wiring.embedded(tmp_path) as ports:
        assert await Leadership(ports.documents, "placing", "a process that died").held()
        next_one = Leadership(ports.documents, "placing", "b")
        assert not await next_one.held(), "control"
        await Leadership.inherit(ports.documents)
        assert await next_one.held()


async def test_who_believes_to_lead_is_told_when_asking_for_sure(tmp_path: Path) -> None:
    wrong_by = now = 0.0
    async with SqliteDocuments.open(tmp_path / "documents.db", clock=lambda: time.time() + wrong_by) as documents:
        first, second = (Leadership(documents, "placing", holder, lambda: now) for holder in ("a", "b"))
        assert await first.held()
        assert await first.confirmed()
        wrong_by = 86_400.0  # the store's clock is set forward: the lease is over before its time
        assert not await second.held()
        now += leadership.SETTLING_SECONDS
        assert await second.held()
        assert await first.held(), "control: it believes so for a while yet"
        assert not await first.confirmed()
        assert not await first.held(), "and knows it then"
        assert await second.confirmed()
