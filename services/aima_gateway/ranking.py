"""Joining what several searches found into one list. Pure."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

RANK_CONSTANT = 60
"""Of reciprocal rank fusion, as its authors have it (Cormack, Clarke and Büttcher, SIGIR 2009)."""


@dataclass(frozen=True)
class Found:
    """A place in a medium that answers a query."""

    medium: str
    kind: str
    text: str
    start_seconds: float
    end_seconds: float
    score: float
    snippet: str
    found_by: tuple[str, ...]

    def body(self) -> dict[str, Any]:
        """Write it as JSON."""
        return {**asdict(self), "found_by": list(self.found_by)}

    def same_place(self, other: "Found") -> bool:
        """Tell whether two searches mean the same: one kind of finding at overlapping times of a medium."""
        if (self.medium, self.kind) != (other.medium, other.kind):
            return False
        if self.text == other.text:
            return True
        contained = self.text in other.text or other.text in self.text
        return contained and self.start_seconds <= other.end_seconds and other.start_seconds <= self.end_seconds


def join(lists: Sequence[Sequence[Found]], limit: int) -> list[Found]:
    """Rank what is high in several lists above what is high in one (reciprocal rank fusion).

    A single list keeps its own order and scores.
    """
    if len(lists) == 1:
        return list(lists[0])[:limit]
    joined: list[Found] = []
    for found in lists:
        for rank, hit in enumerate(found, start=1):
            score = 1.0 / (RANK_CONSTANT + rank)
            index = next((i for i, other in enumerate(joined) if other.same_place(hit)), None)
            if index is None:
                joined.append(replace(hit, score=score))
                continue
            other = joined[index]
            both = tuple(dict.fromkeys((*other.found_by, *hit.found_by)))
            joined[index] = replace(other, score=other.score + score, found_by=both)
    return sorted(joined, key=lambda hit: -hit.score)[:limit]
