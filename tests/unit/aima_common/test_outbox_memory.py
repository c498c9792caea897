"""What a process remembers of its outboxes, against a store that is made up: nothing is lost, nothing overtakes."""

import contextlib
import datetime
import itertools
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aima_common.adapters.outbox_memory import OutboxMemory
from aima_common.errors import PermanentError, UnavailableError
from aima_common.ports.bus import Record
from aima_common.ports.documents import OutboxEntry

AT = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
RECORD = Record("told", "k", b"")


class TakenError(Exception):
    """The driver's word for "nothing was written"."""


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def made(clock: Clock, *, writer: str = "00", leftover_seconds: float = 5.0, room: int = 3) -> OutboxMemory:
    return OutboxMemory(writer, leftover_seconds, clock, room)


def entries(memory: OutboxMemory, count: int = 1, document: str = "j/1") -> list[OutboxEntry]:
    return [OutboxEntry(f"jobs/{token}/{document}", RECORD, AT) for token in memory.tokens([RECORD] * count)]


def write(memory: OutboxMemory, error: BaseException | None = None, *, records: int = 1) -> None:
    outgoing = memory.tokens([RECORD] * records)
    with memory.doubting(outgoing, (TakenError,)):
        if error is not None:
            raise error


def test_what_was_written_is_given_in_that_order_until_it_was_told(clock: Clock) -> None:
    memory = made(clock)
    first, second = entries(memory), entries(memory, 2)
    memory.remember(first)
    memory.remember(second)
    assert memory.oldest(10) == first + second
    assert memory.oldest(2) == [first[0], second[0]]
    memory.forget([second[0].token, "jobs/unknown/j1"])
    assert memory.oldest(10) == [first[0], second[1]]
    assert not memory.has_gap()


def test_a_deleted_document_says_nothing_and_the_others_still_do(clock: Clock) -> None:
    memory = made(clock, room=9)
    gone, other, longer = entries(memory, 2, "a/b"), entries(memory, 1, "b"), entries(memory, 1, "x/a/b")
    memory.remember(gone + other + longer)
    memory.forget_document("media", "b")
    memory.forget_document("jobs", "a/b")
    assert memory.oldest(10) == other + longer


@pytest.mark.parametrize(
    ("error", "records", "doubted"),
    [
        (UnavailableError("away"), 1, True),
        (KeyboardInterrupt(), 1, True),
        (UnavailableError("away"), 0, False),
        (PermanentError("refused"), 1, False),
        (TakenError(), 1, False),
        (None, 1, False),
    ],
    ids=["away", "interrupted", "away with nothing to tell", "refused", "taken", "done"],
)
def test_only_a_write_that_may_have_happened_is_doubted(
    clock: Clock, error: BaseException | None, records: int, doubted: bool
) -> None:
    memory = made(clock)
    with contextlib.nullcontext() if error is None else pytest.raises(type(error)):
        write(memory, error, records=records)
    assert memory.has_gap() is doubted


def test_without_leftover_seconds_nothing_is_remembered_and_the_store_is_always_asked(clock: Clock) -> None:
    memory = made(clock, leftover_seconds=0)
    memory.remember(entries(memory))
    with pytest.raises(UnavailableError):
        write(memory, UnavailableError("away"))
    assert memory.oldest(10) == []
    assert not memory.has_gap()
    for _ in range(3):
        assert memory.sweep_due()
        memory.swept(whole=True)


def test_the_store_is_swept_as_often_as_leftovers_wait(clock: Clock) -> None:
    memory = made(clock)
    due = []
    for _ in range(20):
        clock.seconds += 1
        due.append(memory.sweep_due())
        if due[-1]:
            memory.swept(whole=True)
    assert sum(due) == 4
    memory.swept(whole=True)
    clock.seconds += 5
    memory.swept(whole=False)
    assert memory.sweep_due(), "where more is left, it goes on"


def test_processes_that_start_together_do_not_sweep_together(clock: Clock) -> None:
    memories = [made(clock, writer=writer) for writer in ("10", "80", "f0")]
    clock.seconds += 2.6
    assert [memory.sweep_due() for memory in memories] == [False, True, True]


def test_who_is_always_busy_still_sweeps_and_has_a_turn_between_two_sweeps(clock: Clock) -> None:
    memory = made(clock)
    clock.seconds += 5
    memory.remember(entries(memory))
    assert memory.sweep_due()
    memory.swept(whole=False)
    assert not memory.sweep_due()
    assert len(memory.oldest(10)) == 1
    assert memory.sweep_due()


def test_while_its_own_entries_wait_as_long_as_a_dead_ones_waiting_proves_nothing(clock: Clock) -> None:
    memory = made(clock)
    (own,) = entries(memory)
    memory.remember([own])
    clock.seconds += 6
    assert not memory.sweep_due()
    memory.forget([own.token])
    assert memory.sweep_due()


# ----------------------------------------------------------------------- nothing is lost, nothing overtakes


@dataclass
class House:
    """A process and its store, reduced to tokens."""

    memory: OutboxMemory
    store: dict[str, OutboxEntry] = field(default_factory=dict)
    landed: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    reads: int = 0

    def write(self, kind: str) -> None:
        (entry,) = entries(self.memory)
        try:
            with self.memory.doubting({"a token": RECORD}, (TakenError,)):
                if kind != "lost":
                    self.store[entry.token] = entry
                    self.landed.append(entry.token)
                if kind != "acknowledged":
                    raise UnavailableError(kind)
        except UnavailableError:
            return
        self.memory.remember([entry])

    def tell(self, limit: int, meanwhile: list[str], *, bus_works: bool) -> int:
        """Do what `outbox`, the bus and `published` do; what is written while the store reads comes in between."""
        if self.memory.has_gap():
            self.reads += 1
            late = self.memory.reading()
            own = sorted(self.store.values(), key=lambda entry: entry.token)[: self.memory.room]
            for kind in meanwhile:
                self.write(kind)
            self.memory.filled(late, own, whole=len(own) < self.memory.room)
        found = [entry.token for entry in self.memory.oldest(limit)]
        if bus_works:
            self.told += found
            for token in found:
                del self.store[token]
            self.memory.forget(found)
        return len(found)


KINDS = st.sampled_from(["acknowledged", "acknowledged", "unknown", "lost"])
TELLING = st.tuples(st.integers(1, 4), st.lists(KINDS, max_size=4), st.booleans())


@given(steps=st.lists(KINDS | TELLING, max_size=60), room=st.integers(1, 5))
def test_nothing_is_lost_and_nothing_overtakes_whatever_fails(
    steps: list[str | tuple[int, list[str], bool]], room: int
) -> None:
    house = House(OutboxMemory("ab", 5.0, Clock(), room))
    for step in steps:
        if isinstance(step, str):
            house.write(step)
        else:
            limit, meanwhile, bus_works = step
            house.tell(limit, meanwhile, bus_works=bus_works)
    for _ in itertools.takewhile(bool, (house.tell(3, [], bus_works=True) for _ in range(1000))):
        pass
    assert house.told == sorted(house.landed)
    assert house.store == {}
    assert not house.memory.has_gap()


def test_the_control_without_doubt_an_unknown_write_is_overtaken_or_lost() -> None:
    house = House(OutboxMemory("ab", 5.0, Clock(), 5))
    house.memory._open_gap = lambda: None  # type: ignore[method-assign]
    house.write("unknown")
    house.write("acknowledged")
    house.tell(3, [], bus_works=True)
    assert house.told != sorted(house.landed)


def test_a_gap_that_was_filled_costs_no_more_questions() -> None:
    house = House(OutboxMemory("ab", 5.0, Clock(), 100))
    house.write("unknown")
    for _ in range(20):
        house.write("acknowledged")
        house.tell(10, ["acknowledged"], bus_works=True)
    assert house.reads == 1
    assert len(house.told) == 22
