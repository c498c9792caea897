"""What every plug for documents promises of a single document: making it, changing it, leasing it."""

import asyncio
import datetime
import enum
from collections.abc import Sequence
from typing import Any

import pytest

from aima_common.ports.bus import Record
from aima_common.ports.documents import (
    LONGEST_LEASE_SECONDS,
    Change,
    Document,
    Documents,
    Expect,
    HistoryLine,
    Insert,
    Lease,
    Outcome,
    Transitioned,
)

APPLIED, REFUSED, REPEATED, MISSING = Outcome.APPLIED, Outcome.REFUSED, Outcome.REPEATED, Outcome.MISSING

BODY: dict[str, Any] = {
    "kind": "analyse",
    "words": "Füße 脚 👣",
    "nothing": None,
    "whole": 2**53,
    "part": 0.1,
    "yes": True,
    "list": [1, {"deep": [[]]}, "x"],
    "odd names": {"a.b": 1, "$c": 2, "": 3},
}


class Colour(enum.StrEnum):
    RED = "red"


def job(identity: str = "j1", state: str = "ready", tenant: str = "acme", **body: Any) -> Insert:
    return Insert(identity, tenant, state, body)


def message(name: str, topic: str = "told") -> Record:
    return Record(topic, "medium-1", name.encode() + bytes(range(256)), {"ce.id": name, "note": "ä"})


async def ids(found: Sequence[Document]) -> list[str]:
    return [document.id for document in found]


async def waiting(documents: Documents) -> list[str]:
    return [entry.record.headers["ce.id"] for entry in await documents.outbox()]


async def unchanged(documents: Documents, before: Document, lines: Sequence[HistoryLine]) -> bool:
    now = (await documents.load("jobs", before.id), await documents.history("jobs", before.id))
    return now == (before, lines)


class TransitionsPromise:
    """Tests of `insert`, `load` and `transition`."""

    async def test_an_inserted_document_is_read_back_whole(self, documents: Documents) -> None:
        assert await documents.insert("jobs", job(tenant="acme", **BODY))
        assert await documents.load("jobs", "j1") == Document("j1", "acme", "ready", 0, 1, BODY, None, None)

    async def test_a_body_is_kept_as_json_would_keep_it(self, documents: Documents) -> None:
        when = datetime.datetime(2026, 11, 23, 9, 30, tzinfo=datetime.UTC)
        await documents.insert("jobs", job(when=when, pair=(1, 2), colour=Colour.RED))
        await documents.transition("jobs", "j1", change=Change(set={"again": when}, push={"list": (Colour.RED,)}))
        loaded = await documents.load("jobs", "j1")
        assert loaded is not None
        text = when.isoformat()
        assert loaded.body == {"when": text, "pair": [1, 2], "colour": "red", "again": text, "list": [["red"]]}

    async def test_a_document_that_is_not_there_is_none(self, documents: Documents) -> None:
        assert await documents.load("jobs", "nobody") is None
        assert (await documents.transition("jobs", "nobody")) == Transitioned(MISSING, None)
        assert not await documents.delete("jobs", "nobody")
        assert await documents.history("jobs", "nobody") == []

    async def test_an_id_is_taken_once(self, documents: Documents) -> None:
        assert await documents.insert("jobs", job(kind="first"))
        before, lines = await documents.load("jobs", "j1"), await documents.history("jobs", "j1")
        assert not await documents.insert("jobs", job(kind="second"), outbox=[message("lost")], inbox="m1")
        assert before is not None
        assert await unchanged(documents, before, lines)
        assert await waiting(documents) == []
        assert (await documents.transition("jobs", "j1", inbox="m1")).applied

    async def test_of_many_who_insert_at_once_one_succeeds(self, documents: Documents) -> None:
        made = await asyncio.gather(
            *(documents.insert("jobs", job(writer=n), outbox=[message(f"m{n}")]) for n in range(12))
        )
        assert sum(made) == 1
        assert await waiting(documents) == [f"m{made.index(True)}"]

    async def test_the_same_id_in_two_collections_is_two_documents(self, documents: Documents) -> None:
        assert await documents.insert("jobs", job(kind="a"))
        assert await documents.insert("media", Insert("j1", "acme", "stored", {}))
        assert await documents.delete("media", "j1")
        assert await documents.load("jobs", "j1") is not None

    async def test_a_unique_value_is_taken_once(self, documents: Documents) -> None:
        assert await documents.insert("keys", Insert("k1", "acme", "active", {"digest": "d"}))
        assert not await documents.insert("keys", Insert("k2", "zoo", "active", {"digest": "d"}))
        assert await documents.load("keys", "k2") is None
        assert await documents.insert("keys", Insert("k2", "zoo", "active", {"digest": "e"}))

    async def test_a_missing_value_is_no_value_to_be_unique(self, documents: Documents) -> None:
        for number, body in enumerate([{}, {}, {"digest": None}, {"digest": None}]):
            assert await documents.insert("keys", Insert(f"k{number}", "acme", "active", body))

    async def test_a_transition_to_a_taken_unique_value_is_refused(self, documents: Documents) -> None:
        for name in ("d", "e"):
            await documents.insert("keys", Insert(name, "acme", "active", {"digest": name}))
        change = Change(state="revoked", set={"digest": "d"})
        done = await documents.transition("keys", "e", change=change, outbox=[message("lost")])
        assert done.outcome is REFUSED
        loaded = await documents.load("keys", "e")
        assert loaded is not None
        assert (loaded.state, loaded.version, loaded.body) == ("active", 1, {"digest": "e"})
        assert await waiting(documents) == []

    async def test_a_collection_that_is_not_declared_is_a_mistake(self, documents: Documents) -> None:
        with pytest.raises(KeyError):
            await documents.insert("jbos", job())
        with pytest.raises(KeyError):
            await documents.load("jbos", "j1")
        with pytest.raises(KeyError):
            await documents.find("jbos", {})

    # ------------------------------------------------------------------------------------------- transitions

    async def test_a_change_sets_adds_and_pushes_along_dotted_paths(self, documents: Documents) -> None:
        await documents.insert("jobs", job(a={"b": 1, "kept": True}, n=1, parts={"p-1": {"done": 1}}, list=[1]))
        change = Change(
            state="leased",
            set={"a.b": {"c": None}, "new.deep.er": [1], "flag": False, "empty": {}},
            add={"n": 2, "fresh": -1, "parts.p-1.done": 0.5, "parts.7.done": 3},
            push={"list": 2, "log.lines": {"at": 1}, "nested": [3]},
        )
        done = await documents.transition("jobs", "j1", change=change)
        assert done.outcome is APPLIED
        assert done.document == await documents.load("jobs", "j1")
        assert done.document is not None
        assert (done.document.state, done.document.version, done.document.epoch) == ("leased", 2, 0)
        assert done.document.body == {
            "a": {"b": {"c": None}, "kept": True},
            "n": 3,
            "parts": {"p-1": {"done": 1.5}, "7": {"done": 3}},
            "list": [1, 2],
            "new": {"deep": {"er": [1]}},
            "flag": False,
            "empty": {},
            "fresh": -1,
            "log": {"lines": [{"at": 1}]},
            "nested": [[3]],
        }

    async def test_values_are_data_and_never_a_query(self, documents: Documents) -> None:
        await documents.insert("jobs", job(identity="$j", state="$state", tenant="$tenant", value="$version"))
        change = Change(set={"text": "$body.value", "sum": {"$add": [1, 2]}}, push={"list": "$$NOW"})
        done = await documents.transition("jobs", "$j", change=change, lease=Lease("$holder", 9), inbox="$inbox")
        assert done.document is not None
        assert done.document.body == {
            "value": "$version",
            "text": "$body.value",
            "sum": {"$add": [1, 2]},
            "list": ["$$NOW"],
        }
        assert (done.document.state, done.document.tenant, done.document.holder) == ("$state", "$tenant", "$holder")
        assert [line.inbox for line in await documents.history("jobs", "$j")] == [None, "$inbox"]

    @pytest.mark.parametrize(
        ("holds", "fails"),
        [
            (Expect(state="ready"), Expect(state="leased")),
            (Expect(state=("parked", "ready")), Expect(state=("parked", "leased"))),
            (Expect(state=["ready"]), Expect(state=[])),
            (Expect(epoch=1), Expect(epoch=0)),
            (Expect(epoch=1), Expect(epoch=2)),
            (Expect(version=2), Expect(version=1)),
            (Expect("ready", 1, 2), Expect("ready", 1, 3)),
            (Expect("ready", 1, 2), Expect("done", 1, 2)),
        ],
    )
    async def test_a_transition_happens_only_where_its_expectation_holds(
        self, documents: Documents, holds: Expect, fails: Expect
    ) -> None:
        await documents.insert("jobs", job())
        before = (await documents.transition("jobs", "j1", lease=Lease("w", 60))).document
        lines = await documents.history("jobs", "j1")
        change = Change(state="done", set={"x": 1})
        refused = await documents.transition(
            "jobs", "j1", expect=fails, change=change, outbox=[message("no")], inbox="m"
        )
        assert refused == Transitioned(REFUSED, before)
        assert before is not None
        assert await unchanged(documents, before, lines)
        assert await waiting(documents) == []
        applied = await documents.transition(
            "jobs", "j1", expect=holds, change=change, outbox=[message("y")], inbox="m"
        )
        assert applied.applied
        assert applied.document is not None
        assert (applied.document.state, applied.document.version, applied.document.body) == ("done", 3, {"x": 1})

    async def test_of_many_who_expect_the_same_one_is_applied(self, documents: Documents) -> None:
        await documents.insert("jobs", job())

        async def claim(number: int) -> Transitioned:
            return await documents.transition(
                "jobs",
                "j1",
                expect=Expect(state="ready", epoch=0),
                change=Change(state="leased", set={"by": number}),
                lease=Lease(f"worker-{number}", 60),
                outbox=[message(f"m{number}")],
            )

        done = await asyncio.gather(*(claim(number) for number in range(16)))
        winners = [number for number, one in enumerate(done) if one.applied]
        assert len(winners) == 1
        assert {one.outcome for one in done} == {APPLIED, REFUSED}
        loaded = await documents.load("jobs", "j1")
        assert loaded is not None
        assert (loaded.body["by"], loaded.holder, loaded.epoch) == (winners[0], f"worker-{winners[0]}", 1)
        assert await waiting(documents) == [f"m{winners[0]}"]

    async def test_no_change_of_many_at_once_is_lost(self, documents: Documents) -> None:
        await documents.insert("jobs", job())
        changes = [Change(add={"n": 1}, push={"list": number}) for number in range(16)]
        done = await asyncio.gather(*(documents.transition("jobs", "j1", change=change) for change in changes))
        assert all(one.applied for one in done)
        assert sorted(one.document.version for one in done if one.document) == list(range(2, 18))
        loaded = await documents.load("jobs", "j1")
        assert loaded is not None
        assert loaded.body["n"] == 16
        assert sorted(loaded.body["list"]) == list(range(16))

    # ------------------------------------------------------------------------------------------------ leases

    async def test_taking_a_lease_raises_the_epoch_by_the_stores_clock(self, documents: Documents) -> None:
        await documents.insert("jobs", job())
        before = await documents.now()
        taken = (await documents.transition("jobs", "j1", lease=Lease("w1", 60))).document
        after = await documents.now()
        assert taken is not None
        assert (taken.epoch, taken.holder, taken.version) == (1, "w1", 2)
        assert taken.lease_until is not None
        minute, tick = datetime.timedelta(seconds=60), datetime.timedelta(milliseconds=1)
        assert before + minute - tick <= taken.lease_until <= after + minute + tick
        again = (await documents.transition("jobs", "j1", lease=Lease("w2", 60))).document
        assert again is not None
        assert (again.epoch, again.holder) == (2, "w2")

    async def test_only_the_holder_renews_and_the_epoch_stays(self, documents: Documents) -> None:
        await documents.insert("jobs", job())
        assert (await documents.transition("jobs", "j1", lease=Lease("w1", 60, renew=True))).outcome is REFUSED
        await documents.transition("jobs", "j1", lease=Lease("w1", 10))
        assert (await documents.transition("jobs", "j1", lease=Lease("w2", 60, renew=True))).outcome is REFUSED
        renewed = await documents.transition("jobs", "j1", expect=Expect(epoch=1), lease=Lease("w1", 600, renew=True))
        assert renewed.document is not None
        assert (renewed.document.epoch, renewed.document.holder) == (1, "w1")
        assert renewed.document.lease_until is not None
        assert renewed.document.lease_until > await documents.now() + datetime.timedelta(seconds=60)

    async def test_who_was_overtaken_can_neither_renew_nor_write(self, documents: Documents) -> None:
        await documents.insert("jobs", job())
        await documents.transition("jobs", "j1", lease=Lease("w1", -1))
        taken = await documents.transition("jobs", "j1", expect=Expect(lease_expired=True), lease=Lease("w2", 60))
        assert taken.applied
        mine = Expect(epoch=1)
        assert (await documents.transition("jobs", "j1", expect=mine, change=Change(state="done"))).outcome is REFUSED
        lease = Lease("w1", 60, renew=True)
        assert (await documents.transition("jobs", "j1", expect=mine, lease=lease)).outcome is REFUSED
        theirs = Expect(epoch=2)
        assert (await documents.transition("jobs", "j1", expect=theirs, change=Change(state="done"))).applied

    async def test_releasing_frees_the_document_and_keeps_its_epoch(self, documents: Documents) -> None:
        await documents.insert("jobs", job())
        await documents.transition("jobs", "j1", lease=Lease("w1", 60))
        freed = (await documents.transition("jobs", "j1", change=Change(state="ready"), release=True)).document
        assert freed is not None
        assert (freed.holder, freed.lease_until, freed.epoch) == (None, None, 1)

    async def test_a_lease_that_runs_is_not_expired_and_none_is_not_expired_either(self, documents: Documents) -> None:
        for name, seconds in (("running", 60), ("expired", -1)):
            await documents.insert("jobs", job(name))
            await documents.transition("jobs", name, lease=Lease("w", seconds))
        await documents.insert("jobs", job("free"))
        assert await ids(await documents.find("jobs", {}, lease_expired=True)) == ["expired"]
        assert await ids(await documents.find("jobs", {"holder": "nobody"}, lease_expired=True)) == []
        expect = Expect(lease_expired=True)
        outcomes = [
            (await documents.transition("jobs", n, expect=expect)).outcome for n in ("running", "free", "expired")
        ]
        assert outcomes == [REFUSED, REFUSED, APPLIED]

    async def test_a_lease_from_before_the_clock_was_set_back_has_run_out(self, documents: Documents) -> None:
        for name, seconds in (("longest", LONGEST_LEASE_SECONDS), ("later", LONGEST_LEASE_SECONDS + 3600)):
            await documents.insert("jobs", job(name))
            await documents.transition("jobs", name, lease=Lease("w", seconds))
        assert await ids(await documents.find("jobs", {}, lease_expired=True)) == ["later"]
        expect = Expect(lease_expired=True)
        outcomes = [(await documents.transition("jobs", n, expect=expect)).outcome for n in ("longest", "later")]
        assert outcomes == [REFUSED, APPLIED]

    async def test_a_lease_runs_out_by_itself(self, documents: Documents) -> None:
        await documents.insert("jobs", job())
        await documents.transition("jobs", "j1", lease=Lease("w1", 0.3))
        assert await documents.find("jobs", {"holder": "w1"}) != []
        while not await documents.find("jobs", {"holder": "w1"}, lease_expired=True):
            await asyncio.sleep(0.02)
        assert (await documents.transition("jobs", "j1", expect=Expect(lease_expired=True))).applied

    # ------------------------------------------------------------------------------------------------- inbox

    async def test_a_repeated_message_changes_nothing(self, documents: Documents) -> None:
        await documents.insert("jobs", job())
        first = await documents.transition(
            "jobs", "j1", change=Change(state="leased", add={"n": 1}), inbox="m1", outbox=[message("once")]
        )
        lines = await documents.history("jobs", "j1")
        for expect in (Expect(), Expect(state="ready"), Expect(version=99)):
            again = await documents.transition(
                "jobs", "j1", expect=expect, change=Change(add={"n": 1}), inbox="m1", outbox=[message("twice")]
            )
            assert again == Transitioned(REPEATED, first.document)
        assert first.document is not None
        assert await unchanged(documents, first.document, lines)
        assert await waiting(documents) == ["once"]
        assert (await documents.transition("jobs", "j1", inbox="m2")).applied

    async def test_the_message_that_made_a_document_is_remembered(self, documents: Documents) -> None:
        await documents.insert("jobs", job(), inbox="m1")
        assert (await documents.transition("jobs", "j1", inbox="m1")).outcome is REPEATED

    async def test_every_document_has_an_inbox_of_its_own(self, documents: Documents) -> None:
        for name in ("j1", "j2"):
            await documents.insert("jobs", job(name))
            assert (await documents.transition("jobs", name, inbox="m1")).applied

    async def test_a_message_that_comes_many_times_at_once_is_applied_once(self, documents: Documents) -> None:
        await documents.insert("jobs", job())
        change = Change(add={"n": 1})
        done = await asyncio.gather(*(documents.transition("jobs", "j1", change=change, inbox="m1") for _ in range(12)))
        outcomes = [one.outcome for one in done]
        assert (outcomes.count(APPLIED), outcomes.count(REPEATED)) == (1, 11)

    async def test_many_messages_are_remembered(self, documents: Documents) -> None:
        await documents.insert("jobs", job())
        for number in range(150):
            await documents.transition("jobs", "j1", inbox=f"m{number}")
        assert (await documents.transition("jobs", "j1", inbox="m0")).outcome is REPEATED
