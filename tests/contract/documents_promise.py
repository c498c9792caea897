"""What every plug for documents promises; a plug's tests inherit it and give it `documents` and `reopen`."""

import asyncio
import datetime
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from aima_common import pages
from aima_common.ports.documents import Change, Documents, Expect, Insert, Lease, Outcome, Range
from tests.contract.transitions_promise import BODY, TransitionsPromise, ids, job, message, waiting

Reopen = Callable[[], AbstractAsyncContextManager[Documents]]


class DocumentsPromise(TransitionsPromise):
    """Tests of the socket `Documents`: a document by itself, and then everything around it."""

    async def test_what_a_change_says_waits_until_it_is_published(self, documents: Documents) -> None:
        await documents.insert("jobs", job(), outbox=[message("a"), message("b")])
        await documents.transition("jobs", "j1", outbox=[message("c")])
        entries = await documents.outbox()
        assert [entry.record for entry in entries] == [message("a"), message("b"), message("c")]
        now = await documents.now()
        assert all(entry.written_at <= now for entry in entries)
        assert len({entry.token for entry in entries}) == 3
        await documents.published([entries[1].token])
        assert await waiting(documents) == ["a", "c"]
        await documents.published([entries[1].token, entries[0].token])
        assert await waiting(documents) == ["c"]
        await documents.published([])
        await documents.published([entry.token for entry in await documents.outbox()])
        assert await waiting(documents) == []
        assert (await documents.transition("jobs", "j1", outbox=[message("d")])).applied
        assert await waiting(documents) == ["d"]

    @pytest.mark.parametrize("page", [1, 2, 1000])
    async def test_many_documents_are_walked_a_page_at_a_time_whatever_their_ids(
        self, documents: Documents, monkeypatch: pytest.MonkeyPatch, page: int
    ) -> None:
        monkeypatch.setattr(pages, "PAGE", page)
        named = ["a", "a ", "a!", "aa", "b", "é", "中"]
        for one in named:
            await documents.insert("media", Insert(one, "acme", "stored", {}))
            await documents.insert("media", Insert(f"{one}-", "acme", "erased", {}))
        met = []
        async for document in pages.every(documents, "media", {"state": "stored", "tenant": "acme"}):
            met.append(document.id)
            await documents.transition("media", document.id, change=Change(state="erased"))
        assert met == named
        assert len([document async for document in pages.every(documents, "media")]) == 2 * len(named)

    async def test_the_oldest_entries_of_all_collections_come_first(self, documents: Documents) -> None:
        for number in range(9):
            collection, state = [("jobs", "ready"), ("media", "stored"), ("keys", "active")][number % 3]
            insert = Insert(f"d{9 - number}", "acme", state, {})
            await documents.insert(collection, insert, outbox=[message(f"m{number}"), message(f"n{number}")])
            await asyncio.sleep(0.003)
        expected = [f"{letter}{number}" for number in range(9) for letter in "mn"]
        assert await waiting(documents) == expected
        assert [entry.record.headers["ce.id"] for entry in await documents.outbox(limit=5)] == expected[:5]
        assert await documents.outbox(limit=0) == []

    async def test_the_outbox_tells_since_when_its_oldest_entry_waits(self, documents: Documents) -> None:
        assert await documents.outbox_since() is None
        await documents.insert("media", Insert("m1", "acme", "stored", {}), outbox=[message("a")])
        first = (await documents.outbox())[0]
        await asyncio.sleep(0.003)
        await documents.insert("jobs", job(), outbox=[message("b")])
        since = await documents.outbox_since()
        assert since is not None
        assert abs((since - first.written_at).total_seconds()) < 0.5
        await documents.published([first.token])
        later = await documents.outbox_since()
        assert later is not None
        assert later > since
        await documents.published([entry.token for entry in await documents.outbox()])
        assert await documents.outbox_since() is None

    async def test_publishing_is_no_change_of_the_document(self, documents: Documents) -> None:
        await documents.insert("jobs", job(), outbox=[message("a")])
        before = await documents.load("jobs", "j1")
        await documents.published([entry.token for entry in await documents.outbox()])
        assert await documents.load("jobs", "j1") == before

    async def test_a_token_never_removes_what_a_later_document_of_that_name_says(self, documents: Documents) -> None:
        await documents.insert("jobs", job(), outbox=[message("old")])
        (old,) = await documents.outbox()
        await documents.delete("jobs", "j1")
        assert await waiting(documents) == []
        await documents.insert("jobs", job(), outbox=[message("new")])
        await documents.published([old.token])
        assert await waiting(documents) == ["new"]

    async def test_whoever_listens_hears_of_new_entries(self, documents: Documents) -> None:
        heard: list[str] = []
        plug: Any = documents
        plug.on_outbox(lambda: heard.append("!"))
        await documents.insert("jobs", job())
        await documents.transition("jobs", "j1", expect=Expect(state="done"), outbox=[message("refused")])
        assert heard == []
        await documents.transition("jobs", "j1", outbox=[message("a")])
        await documents.insert("jobs", job("j2"), outbox=[message("b")])
        assert heard == ["!", "!"]

    # ----------------------------------------------------------------------------------------------- history

    async def test_every_change_leaves_a_line(self, documents: Documents) -> None:
        await documents.insert("jobs", job(), inbox="m0")
        leased = await documents.transition(
            "jobs", "j1", change=Change(state="leased"), lease=Lease("w1", 60), inbox="m1"
        )
        renewed = await documents.transition("jobs", "j1", lease=Lease("w1", 90, renew=True))
        await documents.transition("jobs", "j1", expect=Expect(epoch=7))
        await documents.transition("jobs", "j1", expect=Expect(epoch=1), change=Change(state="done"), release=True)
        lines = await documents.history("jobs", "j1")
        seen = [(x.version, x.state_before, x.state_after, x.epoch, x.holder, x.inbox) for x in lines]
        assert seen == [
            (1, None, "ready", 0, None, "m0"),
            (2, "ready", "leased", 1, "w1", "m1"),
            (3, "leased", "leased", 1, "w1", None),
            (4, "leased", "done", 1, "w1", None),
        ]
        assert leased.document is not None
        assert renewed.document is not None
        until = [None, leased.document.lease_until, renewed.document.lease_until, None]
        assert [line.lease_until for line in lines] == until
        times = [line.at for line in lines]
        assert times == sorted(times)

    async def test_the_history_of_a_collection_holds_every_document(self, documents: Documents) -> None:
        for name in ("j1", "j2"):
            await documents.insert("jobs", job(name))
        await asyncio.gather(*(documents.transition("jobs", name) for name in ("j1", "j2") for _ in range(5)))
        lines = await documents.history("jobs")
        for name in ("j1", "j2"):
            assert [line.version for line in lines if line.document == name] == [1, 2, 3, 4, 5, 6]
        assert await documents.history("media") == []
        assert await documents.history("jobs", ["j2", "nobody"]) == [line for line in lines if line.document == "j2"]
        assert await documents.history("jobs", ["j1", "j2"]) == lines
        assert await documents.history("jobs", []) == []

    async def test_a_collection_of_counters_keeps_no_history(self, documents: Documents) -> None:
        await documents.insert("counters", Insert("c1", "acme", "open", {"n": 0}))
        await documents.transition("counters", "c1", change=Change(add={"n": 1}))
        counted = await documents.load("counters", "c1")
        assert counted is not None
        assert (counted.body["n"], counted.version, await documents.history("counters")) == (1, 2, [])

    async def test_deleting_removes_everything_that_belongs_to_a_document(self, documents: Documents) -> None:
        for name in ("j1", "j2"):
            await documents.insert("jobs", job(name), outbox=[message(name)], inbox="m1")
        assert await documents.delete("jobs", "j1")
        assert not await documents.delete("jobs", "j1")
        assert await documents.load("jobs", "j1") is None
        assert await documents.history("jobs", "j1") == []
        assert await waiting(documents) == ["j2"]
        assert await documents.insert("jobs", job())
        assert (await documents.transition("jobs", "j1", inbox="m1")).applied

    # -------------------------------------------------------------------------------------------------- find

    @pytest.mark.parametrize(
        ("where", "expected"),
        [
            ({}, "abcd"),
            ({"tenant": "acme"}, "abc"),
            ({"tenant": "acme", "state": "ready"}, "ab"),
            ({"state": ["ready", "done"]}, "abd"),
            ({"state": ("done",)}, "d"),
            ({"state": {"leased"}}, "c"),
            ({"state": []}, ""),
            ({"kind": "fuse"}, "bd"),
            ({"kind": ["fuse", "write"]}, "bcd"),
            ({"lane": None}, "cd"),
            ({"holder": "w1"}, "c"),
            ({"holder": None}, "abd"),
            ({"id": ["a", "d", "z"]}, "ad"),
            ({"not_before": Range(at_least="2026-02")}, "bcd"),
            ({"not_before": Range(below="2026-03")}, "ab"),
            ({"not_before": Range("2026-02", "2026-03")}, "b"),
            ({"submitted_at": Range(at_least=2, below=4)}, "bc"),
            ({"submitted_at": 3}, "c"),
            ({"kind": "fuse", "submitted_at": Range(at_least=3)}, "d"),
            ({"kind": "nothing"}, ""),
            ({"kind": "$kind"}, ""),
        ],
    )
    async def test_documents_are_found_and_counted_by_their_fields(
        self, documents: Documents, where: dict[str, Any], expected: str
    ) -> None:
        await self.fill(documents)
        assert "".join(await ids(await documents.find("jobs", where, order=["id"]))) == expected
        assert await documents.count("jobs", where) == len(expected)

    @pytest.mark.parametrize(
        ("order", "expected"),
        [
            (["submitted_at"], "abcd"),
            (["-submitted_at"], "dcba"),
            (["kind", "-not_before"], "adbc"),
            (["-kind"], "cbda"),
            (["tenant", "-state", "id"], "abcd"),
            ([], "abcd"),
        ],
    )
    async def test_documents_come_in_the_order_that_was_asked_for(
        self, documents: Documents, order: list[str], expected: str
    ) -> None:
        await self.fill(documents)
        found = await documents.find("jobs", {}, order=order)
        assert "".join(await ids(found)) == expected
        assert await documents.find("jobs", {}, order=order, limit=2) == found[:2]
        assert await documents.find("jobs", {}, order=order, limit=0) == []

    async def fill(self, documents: Documents) -> None:
        rows = [
            ("a", "acme", "ready", {"kind": "analyse", "submitted_at": 1, "not_before": "2026-01", "lane": "video"}),
            ("b", "acme", "ready", {"kind": "fuse", "submitted_at": 2, "not_before": "2026-02", "lane": "audio"}),
            ("c", "acme", "leased", {"kind": "write", "submitted_at": 3, "not_before": "2026-03", "lane": None}),
            ("d", "zoo", "done", {"kind": "fuse", "submitted_at": 4, "not_before": "2026-04"}),
        ]
        for identity, tenant, state, body in reversed(rows):
            assert await documents.insert("jobs", Insert(identity, tenant, state, body))
        await documents.transition("jobs", "c", lease=Lease("w1", 60))

    # ----------------------------------------------------------------------------------------------- streams

    async def test_who_matches_all_along_is_found_whatever_changes_meanwhile(self, documents: Documents) -> None:
        names = [f"j{number:04}" for number in range(3000)]
        await asyncio.gather(*(documents.insert("jobs", job(name, kind="analyse")) for name in names))
        reading = True

        async def change(some: list[str]) -> int:
            changes = 0
            while reading:
                await asyncio.sleep(0)
                state = "ready" if changes // len(some) % 2 else "leased"
                changes += (
                    await documents.transition("jobs", some[changes % len(some)], change=Change(state=state))
                ).applied
            return changes

        changing = [asyncio.create_task(change(names[first::32])) for first in range(32)]
        wanted = {"kind": "analyse", "state": ["ready", "leased"]}
        found = []
        for _ in range(20):
            await asyncio.sleep(0)  # a plug in memory never waits, and would let nobody change anything
            found.append(len(await documents.find("jobs", wanted, limit=4000)))
        reading = False
        assert sum(await asyncio.gather(*changing)) > 0, "the control: there was change"
        assert found == [3000] * 20

    async def test_a_stream_numbers_its_lines_from_one_without_gaps(self, documents: Documents) -> None:
        numbers = await asyncio.gather(*(documents.append("case-1", f"e{n}", {"n": n, **BODY}) for n in range(12)))
        assert sorted(numbers) == list(range(1, 13))
        entries = await documents.read("case-1")
        assert [(entry.sequence, entry.body) for entry in entries] == [
            (sequence, {"n": numbers.index(sequence), **BODY}) for sequence in range(1, 13)
        ]
        assert [entry.id for entry in entries] == [f"e{numbers.index(sequence)}" for sequence in range(1, 13)]

    async def test_a_line_is_added_once(self, documents: Documents) -> None:
        assert await documents.append("case-1", "e1", {"n": 1}) == 1
        assert await documents.append("case-1", "e2", {"n": 2}) == 2
        repeated = await asyncio.gather(*(documents.append("case-1", "e1", {"n": 9}) for _ in range(5)))
        assert repeated == [1] * 5
        assert [entry.body for entry in await documents.read("case-1")] == [{"n": 1}, {"n": 2}]

    async def test_streams_do_not_know_each_other(self, documents: Documents) -> None:
        for stream in ("case-1", "case-2"):
            assert await documents.append(stream, "e1", {"of": stream}) == 1
        assert [entry.body for entry in await documents.read("case-2")] == [{"of": "case-2"}]
        assert await documents.read("case-3") == []

    async def test_a_stream_is_read_on_from_a_number(self, documents: Documents) -> None:
        for number in range(1, 6):
            await documents.append("case-1", f"e{number}", {})
        assert [entry.sequence for entry in await documents.read("case-1", after=2)] == [3, 4, 5]
        assert [entry.sequence for entry in await documents.read("case-1", after=2, limit=2)] == [3, 4]
        assert await documents.read("case-1", after=5) == []
        assert await documents.read("case-1", limit=0) == []

    # --------------------------------------------------------------------------------------------- the store

    async def test_the_stores_time_is_aware_and_goes_on(self, documents: Documents) -> None:
        first = await documents.now()
        assert first.utcoffset() == datetime.timedelta(0)
        while await documents.now() <= first:
            await asyncio.sleep(0.001)

    async def test_what_was_acknowledged_outlives_the_plug(self, documents: Documents, reopen: Reopen) -> None:
        await documents.insert("jobs", job(), outbox=[message("a")], inbox="m1")
        await documents.append("case-1", "e1", {})
        before, lines = await documents.load("jobs", "j1"), await documents.history("jobs")
        async with reopen() as again:
            assert await again.load("jobs", "j1") == before
            assert await again.history("jobs") == lines
            assert await waiting(again) == ["a"]
            assert (await again.transition("jobs", "j1", inbox="m1")).outcome is Outcome.REPEATED
            assert await again.append("case-1", "e2", {}) == 2
