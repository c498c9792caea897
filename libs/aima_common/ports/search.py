"""Search: words in statements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Passage:
    """A statement that can be found by its words."""

    id: str
    tenant: str
    medium: str
    kind: str
    text: str
    start_seconds: float
    end_seconds: float


@dataclass(frozen=True)
class Hit:
    """A passage that matches, better ones with a higher score."""

    passage: Passage
    score: float
    snippet: str = ""
    extra: Mapping[str, str] = field(default_factory=dict)


class Search(Protocol):
    """Full text over passages; a tenant only ever sees its own."""

    async def index(self, passages: Sequence[Passage]) -> None:
        """Add passages, or put them in the place of those with the same id."""

    async def query(self, tenant: str, words: str, *, medium: str | None = None, limit: int = 20) -> Sequence[Hit]:
        """Find the passages that hold all the words; any input is a valid query."""

    async def forget(self, tenant: str, medium: str) -> None:
        """Remove every passage of a medium."""
