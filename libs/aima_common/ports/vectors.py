"""Vectors: nearest neighbours by cosine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True)
class Point:
    """A vector under a deterministic id (a UUID); `payload` values are strings or numbers."""

    id: str
    vector: Sequence[float]
    payload: Mapping[str, str | float | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Neighbour:
    """A point near a query, with its cosine similarity."""

    id: str
    similarity: float
    payload: Mapping[str, str | float | int]


class Vectors(Protocol):
    """Spaces of vectors of one length; every point carries its tenant in `payload["tenant"]`."""

    async def put(self, space: str, points: Sequence[Point]) -> None:
        """Add points, or replace those with the same id; durable on return."""

    async def nearest(
        self, space: str, vector: Sequence[float], *, where: Mapping[str, str], limit: int = 10
    ) -> Sequence[Neighbour]:
        """Find the nearest points whose payload equals `where` in every named field, best first."""

    async def forget(self, space: str, where: Mapping[str, str]) -> None:
        """Remove all points whose payload equals `where`."""
