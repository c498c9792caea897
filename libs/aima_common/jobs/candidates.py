"""What a runner may claim next: read from the store now and again, not for every job."""

from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Sequence
from enum import Enum

from aima_common.jobs.ledger import is_interactive
from aima_common.ports.documents import Document

NEWS_SECONDS = 0.05
"""How long news wait while there is work to choose from: a burst of new jobs leads to one question, not to many."""


class Room(Enum):
    """What a runner can start now."""

    ANY = "any"
    INTERACTIVE = "interactive"
    NONE = "none"


class Candidates:
    """Ready jobs, the most urgent first, as the store told them a moment ago.

    They are no more than hints: whoever claims finds out whether a job is still to be had.
    """

    def __init__(self, ask: Callable[[], Awaitable[Sequence[Document]]], now: Callable[[], float]) -> None:
        self._ask = ask
        self._now = now
        self._known: deque[Document] = deque()
        self._interactive = 0
        self._asked_at = float("-inf")
        self._outdated = True
        self._away_until = float("-inf")

    def outdate(self) -> None:
        """Let the store be asked again soon: there is news, or somebody else took what was known."""
        self._outdated = True

    def hold_off(self, seconds: float) -> None:
        """Offer nothing for a while: the store is away."""
        self._forget()
        self._away_until = self._now() + seconds

    def due_in(self, poll_seconds: float) -> float:
        """Tell in how many seconds the store is asked again at the latest."""
        now = self._now()
        usual = self._asked_at + (NEWS_SECONDS if self._outdated else poll_seconds)
        return max(usual, self._away_until) - now

    async def refresh(self, poll_seconds: float) -> None:
        """Ask the store where what is known is used up or too old; raise `TransientError` while it is away."""
        now = self._now()
        if now < self._away_until or (self._known and self.due_in(poll_seconds) > 0):
            return
        self._forget()
        self._asked_at, self._outdated = now, False
        self._known.extend(await self._ask())
        self._interactive = sum(map(is_interactive, self._known))

    def take(self, room: Callable[[], Room]) -> Iterator[Document]:
        """Hand out what there is room for, the most urgent first; the others stay."""
        passed_over: list[Document] = []
        while self._known and (room() is Room.ANY or (room() is Room.INTERACTIVE and self._interactive)):
            job = self._known.popleft()
            interactive = is_interactive(job)
            if room() is Room.ANY or interactive:
                self._interactive -= interactive
                yield job
            else:
                passed_over.append(job)
        self._known.extendleft(reversed(passed_over))

    def _forget(self) -> None:
        self._known.clear()
        self._interactive = 0
