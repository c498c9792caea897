"""What a process wrote to its outboxes and has not told yet, so that telling it costs the store no question. Pure.

The store is the truth, and this a shortcut through it: what is forgotten here waits there.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from aima_common.errors import PermanentError
from aima_common.ports.bus import Record
from aima_common.ports.documents import OutboxEntry

REMEMBERED_ENTRIES = 10_000
"""Entries that a process keeps in memory; what is beyond is read from the store again, in its order."""

NUMBER_DIGITS = 12


class OutboxMemory:
    """The oldest entries that one process wrote, in the order in which it wrote them.

    Where something may be missing (no room, or a write of which nobody knows whether it happened) there is a gap, and
    nothing newer is remembered until it was filled from the store: so what is told never overtakes what is not. With
    `leftover_seconds` of 0 nothing is remembered, and the store is to be asked each time.

    `writer` is hexadecimal, and no other process's; `monotonic` tells seconds.
    """

    def __init__(
        self, writer: str, leftover_seconds: float, monotonic: Callable[[], float], room: int = REMEMBERED_ENTRIES
    ) -> None:
        self.prefix = f"{writer}-"
        self.room = room
        self.leftover_seconds = leftover_seconds
        self._monotonic = monotonic
        self._numbers = itertools.count(1)
        self._entries: dict[str, tuple[OutboxEntry, float]] = {}
        self._late: dict[str, OutboxEntry] | None = None
        self._gap = False
        self._own_turn = False
        # Processes that start together do not sweep together.
        self._swept_at = monotonic() - leftover_seconds * int(writer, 16) / (1 << 4 * len(writer))

    def tokens(self, records: Iterable[Record]) -> dict[str, Record]:
        """Give each record the token under which it waits; tokens sort as the writes began."""
        return {f"{self.prefix}{next(self._numbers):0{NUMBER_DIGITS}x}": record for record in records}

    @contextlib.contextmanager
    def doubting(self, outgoing: Mapping[str, Record], refusals: tuple[type[Exception], ...]) -> Iterator[None]:
        """Note a gap when the block fails otherwise than by a refusal: its write may have been done, or be done yet."""
        try:
            yield
        except BaseException as error:
            if outgoing and not isinstance(error, (PermanentError, *refusals)):
                self._open_gap()
            raise

    def remember(self, entries: Iterable[OutboxEntry]) -> None:
        """Note entries that have just become durable."""
        for entry in entries:
            self._remember(entry)

    def _remember(self, entry: OutboxEntry) -> None:
        if not self.leftover_seconds:
            return
        room = len(self._entries) + len(self._late or ()) < self.room
        if self._late is not None and room:
            self._late[entry.token] = entry
        elif self._gap or not room:
            self._open_gap()
        else:
            self._entries[entry.token] = (entry, self._monotonic())

    def _open_gap(self) -> None:
        self._gap, self._late = bool(self.leftover_seconds), None

    def forget(self, tokens: Iterable[str]) -> None:
        """Drop entries that were told."""
        for token in tokens:
            self._entries.pop(token, None)
            (self._late or {}).pop(token, None)

    def forget_document(self, collection: str, document_id: str) -> None:
        """Drop what a document said that is no more."""
        # A token is `collection/prefix and number/document`; ids may hold slashes.
        start, end = f"{collection}/{self.prefix}", f"/{document_id}"
        length = len(start) + NUMBER_DIGITS + len(end)
        known = itertools.chain(self._entries, self._late or ())
        self.forget([one for one in known if len(one) == length and one.startswith(start) and one.endswith(end)])

    def oldest(self, limit: int) -> list[OutboxEntry]:
        """Give the oldest entries."""
        self._own_turn = False
        return [entry for entry, _ in itertools.islice(self._entries.values(), limit)]

    # ------------------------------------------------------------------------------------------------- the gap

    def has_gap(self) -> bool:
        """Tell whether what comes next is to be read from the store."""
        return self._gap and not self._entries

    def reading(self) -> dict[str, OutboxEntry]:
        """Begin to fill the gap; give what comes in meanwhile, for `filled`."""
        self._late = {}
        return self._late

    def filled(self, late: dict[str, OutboxEntry], found: Sequence[OutboxEntry], *, whole: bool) -> None:
        """Note this process's entries as the store held them, in the order of tokens; `whole` when that is all."""
        now = self._monotonic()
        self._entries.update((entry.token, (entry, now)) for entry in found)
        if self._late is not late:
            # Something was doubted meanwhile: what came in after it is newer, and has to wait behind it.
            return
        self._late = None
        if whole:
            self._gap = False
            self._entries.update((token, (entry, now)) for token, entry in late.items() if token not in self._entries)

    # ----------------------------------------------------------------------------------------------- the sweep

    def sweep_due(self) -> bool:
        """Tell whether it is time to ask the store for what others left behind.

        Not while entries of this process wait as long as those of the dead: then the bus is slow, and waiting proves
        nothing. Between two sweeps its own entries have a turn.
        """
        now = self._monotonic()
        if self._entries:
            _, since = next(iter(self._entries.values()))
            if self._own_turn or now - since >= self.leftover_seconds:
                return False
        return now - self._swept_at >= self.leftover_seconds

    def swept(self, *, whole: bool) -> None:
        """Note that the store was asked; `whole` when it had no more to give."""
        self._own_turn = True
        if whole:
            self._swept_at = self._monotonic()
