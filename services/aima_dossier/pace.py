"""How often a case's dossier is written, and how it is known that the last of its media has ended.

A case of many media is told of as many times. With every message to look at all of them would cost the square of their
number, and to write them all would leave time for nothing else.
"""

import asyncio
import datetime
from collections.abc import Awaitable, Callable, Sequence

from aima_common.collections import RUN_TERMINAL
from aima_common.ports.documents import Document, Documents
from aima_dossier.facts import MOST_ITEMS

GATHER_SECONDS = 5
"""While a case is being worked on it is written at most this often; its end is written at once."""

WRITING_SHARE = 2
"""A case that takes long to write waits so many times as long until it is written again, before its end."""

LONGEST_GATHER_SECONDS = 40
"""But no longer than so."""

AT_A_TIME = 32
"""So many media are asked for at a time, at most; the first is asked for alone."""

MOST_REMEMBERED = 1_000
"""So many cases are remembered; what was forgotten is looked at anew."""


class Ends:
    """Tells whether all media of a case have come to an end.

    As long as one that had not has not, the others need not be asked; and whoever has ended has so for good, until
    all are looked at for the last time.
    """

    def __init__(self, documents: Documents, newest_run: Callable[[str], Awaitable[Document | None]]) -> None:
        self._documents = documents
        self._newest_run = newest_run
        self._left: dict[str, Sequence[str]] = {}
        """Of a case the media that are still to be asked for, the first of them one that had not ended."""

    async def reached(self, case: str) -> bool:
        """Look whether all that were accepted have ended; one that is not worked on yet has not."""
        left = await self._from_the_first_open(case, self._left.pop(case, ()))
        if not left:
            left = await self._from_the_first_open(case, await self._accepted(case))
        if left:
            self._left[case] = left
            if len(self._left) > MOST_REMEMBERED:
                del self._left[next(iter(self._left))]
        return not left

    async def _accepted(self, case: str) -> list[str]:
        items = await self._documents.find("items", {"case": case, "state": "accepted"}, limit=MOST_ITEMS)
        return list(dict.fromkeys(item.body["medium"] for item in items))

    async def _from_the_first_open(self, case: str, media: Sequence[str]) -> Sequence[str]:
        first, count = 0, 1
        while first < len(media):
            some = media[first : first + count]
            for at, is_open in enumerate(await asyncio.gather(*(self._is_open(case, medium) for medium in some))):
                if is_open:
                    return media[first + at :]
            first, count = first + count, min(2 * count, AT_A_TIME)
        return ()

    async def _is_open(self, case: str, medium: str) -> bool:
        if (run := await self._newest_run(medium)) is not None:
            return run.state not in RUN_TERMINAL
        # It is not worked on yet, or was erased.
        return await self._documents.count("items", {"case": case, "medium": medium, "state": "accepted"}) > 0


class Pace:
    """Tells when a case that is being worked on is to be written next."""

    def __init__(self) -> None:
        self._took: dict[str, float] = {}
        """How long it took to write a case that takes long, s."""

    def wrote(self, case: str, seconds: float) -> None:
        """Be told how long it took to write a case."""
        self._took.pop(case, None)
        if WRITING_SHARE * seconds > GATHER_SECONDS:
            self._took[case] = seconds
            if len(self._took) > MOST_REMEMBERED:
                del self._took[next(iter(self._took))]

    def next(self, case: str, now: datetime.datetime) -> tuple[datetime.timedelta, str]:
        """Give the delay, and a name for the moment: all that is told within it is covered by one version."""
        seconds = GATHER_SECONDS
        # Of few lengths, so that the moments of several processes are mostly the same.
        while seconds < min(WRITING_SHARE * self._took.get(case, 0.0), LONGEST_GATHER_SECONDS):
            seconds *= 2
        return datetime.timedelta(seconds=seconds), f"moment-{seconds}-{int(now.timestamp()) // seconds}"
