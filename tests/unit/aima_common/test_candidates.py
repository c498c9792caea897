"""What a runner may claim next: one question for many jobs, and none that is more urgent passed over for long."""

from collections.abc import Sequence

from aima_common.contracts.media import Priority
from aima_common.jobs.candidates import NEWS_SECONDS, Candidates, Room
from aima_common.ports.documents import Document

POLL = 1.0


def job(identity: str, priority: Priority = Priority.NORMAL) -> Document:
    return Document(identity, "t", "ready", 0, 1, {"priority": priority.value})


class Store:
    """Ready jobs, a clock, and a count of questions."""

    def __init__(self, *jobs: Document) -> None:
        self.jobs = list(jobs)
        self.seconds = 0.0
        self.asked = 0
        self.candidates = Candidates(self.ask, lambda: self.seconds)

    async def ask(self) -> Sequence[Document]:
        self.asked += 1
        return list(self.jobs)

    async def names(self, *rooms: Room) -> list[str]:
        """Take with this room left after each job; none after the last."""
        await self.candidates.refresh(POLL)
        taken: list[str] = []
        for one in self.candidates.take(lambda: rooms[len(taken)] if len(taken) < len(rooms) else Room.NONE):
            taken.append(one.id)
            self.jobs.remove(one)
        return taken


async def test_jobs_are_handed_out_in_order_for_one_question() -> None:
    store = Store(*(job(name) for name in "abcd"))
    assert await store.names(Room.ANY) == ["a"]
    assert await store.names(Room.ANY, Room.ANY) == ["b", "c"]
    assert store.asked == 1


async def test_when_all_are_handed_out_the_store_is_asked_again() -> None:
    store = Store(job("a"))
    assert await store.names(Room.ANY, Room.ANY) == ["a"]
    store.jobs.append(job("b"))
    assert await store.names(Room.ANY) == ["b"]
    assert store.asked == 2


async def test_only_an_interactive_job_takes_the_interactive_slot_and_the_others_keep_their_order() -> None:
    store = Store(job("a"), job("b"), job("urgent", Priority.HIGH), job("c"))
    assert await store.names(Room.INTERACTIVE) == ["urgent"]
    assert await store.names(Room.INTERACTIVE) == []
    assert await store.names(Room.ANY, Room.ANY, Room.ANY) == ["a", "b", "c"]


async def test_news_are_looked_at_soon_and_a_burst_of_them_once() -> None:
    store = Store(*(job(name) for name in "abcdef"))
    assert await store.names(Room.ANY) == ["a"]
    store.jobs.insert(0, job("urgent", Priority.CRITICAL))
    for _ in range(3):
        store.candidates.outdate()
        assert await store.names(Room.NONE) == []
    assert store.asked == 1
    assert 0 < store.candidates.due_in(POLL) <= NEWS_SECONDS
    store.seconds += NEWS_SECONDS
    assert await store.names(Room.ANY, Room.ANY) == ["urgent", "b"]
    assert store.asked == 2


async def test_without_news_what_is_known_is_read_anew_after_the_poll() -> None:
    store = Store(job("a"), job("b"))
    assert await store.names(Room.ANY) == ["a"]
    assert store.candidates.due_in(POLL) == POLL
    store.seconds += POLL
    store.jobs.insert(0, job("told by nobody"))
    assert await store.names(Room.ANY) == ["told by nobody"]


async def test_while_the_store_is_away_nothing_is_offered_or_asked() -> None:
    store = Store(job("a"), job("b"))
    assert await store.names(Room.ANY) == ["a"]
    store.candidates.hold_off(POLL)
    assert await store.names(Room.ANY) == []
    assert (store.asked, store.candidates.due_in(POLL)) == (1, POLL)
    store.seconds += POLL
    assert await store.names(Room.ANY) == ["b"]
