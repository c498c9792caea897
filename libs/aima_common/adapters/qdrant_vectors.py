"""Vectors on a Qdrant server. The only module that knows qdrant-client.

No Qdrant server has been tested against yet: none can be had from a package registry. The contract suite runs this plug
against the client's own in-memory engine, which takes the same requests, and a recorder of HTTP shows what they look
like on the wire.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Self

from qdrant_client import AsyncQdrantClient, models
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException, UnexpectedResponse

from aima_common.adapters.embedded.vector_client import (
    BATCH,
    encoded_point,
    real_numbers,
    require_space,
    require_texts,
)
from aima_common.errors import PermanentError, StorageFullError, UnavailableError
from aima_common.ports.vectors import Neighbour, Point

PREFIX = "aima_"
"""Before the name of a space: what is not ours in the server stays untouched."""

INDEXED_FIELDS = ("tenant", "medium")
"""Payload fields that questions and erasures usually name."""

SCORE_DIGITS = 6
"""Similarities are single-precision numbers; what differs behind this digit is noise."""

TIES_MARGIN = 16
"""How many points more than asked for are looked at first, to see whether a tie is cut in two."""

TIMEOUT_SECONDS = 30
"""How long one request may take. Running out of it leaves the outcome unknown; all of them may be said again."""

OPTIMIZING = models.OptimizersConfigDiff(deleted_threshold=1e-6, vacuum_min_vector_number=100, indexing_threshold=0)
"""No index, for every search is exact; and segments are written anew as soon as the server allows it after an erasure:
it refuses to be told to for fewer than a hundred vectors."""

NOT_FOUND = 404
NO_ROOM = 507
REQUEST_AT_FAULT = frozenset({400, 413, 422})
"""Bad request, too large, cannot be processed. Anything else may pass, so it is tried again: a wrong key or a server
that is overrun must not turn good messages into dead letters."""


class QdrantVectors:
    """The Qdrant plug of `Vectors`: a collection for each space, searched exactly: equal questions, equal answers."""

    def __init__(self, client: AsyncQdrantClient) -> None:
        self._client = client
        self._lengths: dict[str, int] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, url: str) -> AsyncIterator[Self]:
        """Connect to the server at `url` (`http://host:6333`); raise `UnavailableError` when it does not answer."""
        client = AsyncQdrantClient(url=url, timeout=TIMEOUT_SECONDS, check_compatibility=False)
        vectors = cls(client)
        try:
            with vectors._translated():
                await client.get_collections()
            yield vectors
        finally:
            await client.close()

    async def put(self, space: str, points: Sequence[Point]) -> None:
        """Add points, or replace those with the same id; durable on return.

        The first point decides the length of the space's vectors. Raises `PermanentError` for a point that cannot be
        compared, `StorageFullError` when there is no room.
        """
        require_space(space)
        encoded = [encoded_point(point) for point in points]
        if not encoded:
            return
        length = len(encoded[0]["vector"])
        if any(len(point["vector"]) != length for point in encoded):
            raise PermanentError("the vectors of one space have one length", code="vector_length")
        await self._ensure(space, length)
        made = [models.PointStruct(**point) for point in encoded]
        for start in range(0, len(made), BATCH):
            with self._translated():
                await self._client.upsert(
                    PREFIX + space, made[start : start + BATCH], wait=True, ordering=models.WriteOrdering.STRONG
                )

    async def nearest(
        self, space: str, vector: Sequence[float], *, where: Mapping[str, str], limit: int = 10
    ) -> Sequence[Neighbour]:
        """Find the nearest points whose payload equals `where`, best first, equally near ones by id."""
        require_space(space)
        require_texts(where)
        numbers = real_numbers(vector)
        if limit < 1 or not await self._fits(space, len(numbers)):
            return ()
        looked_at = limit + TIES_MARGIN
        while True:
            found = await self._query(space, numbers, where, looked_at)
            cut_tie = len(found) == looked_at and found[limit - 1].similarity == found[-1].similarity
            if not cut_tie:
                return found[:limit]
            looked_at *= 2

    async def forget(self, space: str, where: Mapping[str, str]) -> None:
        """Remove all points whose payload equals `where`, which must name a field.

        They are found no more on return; the server takes their bytes off its disk when it writes the segment anew.
        """
        require_space(space)
        require_texts(where)
        if not where:
            raise PermanentError("forgetting everything must be asked for by name", code="vector_where_empty")
        if await self._length(space) is None:
            return
        selector = models.FilterSelector(filter=_filter(where))
        with self._translated():
            await self._client.delete(PREFIX + space, selector, wait=True, ordering=models.WriteOrdering.STRONG)

    async def _query(
        self, space: str, numbers: list[float], where: Mapping[str, str], limit: int
    ) -> tuple[Neighbour, ...]:
        with self._translated():
            answer = await self._client.query_points(
                PREFIX + space,
                query=numbers,
                query_filter=_filter(where) if where else None,
                limit=limit,
                with_payload=True,
                search_params=models.SearchParams(exact=True),
            )
        found = (
            Neighbour(str(point.id), max(-1.0, min(1.0, round(point.score, SCORE_DIGITS))), point.payload or {})
            for point in answer.points
        )
        return tuple(sorted(found, key=lambda point: (-point.similarity, point.id)))

    async def _ensure(self, space: str, length: int) -> None:
        if await self._fits(space, length):
            return
        config = models.VectorParams(size=length, distance=models.Distance.COSINE)
        with self._translated():
            try:
                await self._client.create_collection(
                    PREFIX + space, vectors_config=config, optimizers_config=OPTIMIZING
                )
            except UnexpectedResponse:
                # Another process may have made it meanwhile.
                if not await self._client.collection_exists(PREFIX + space):
                    raise
            for field in INDEXED_FIELDS:
                keyword = models.PayloadSchemaType.KEYWORD
                await self._client.create_payload_index(PREFIX + space, field, keyword, wait=True)
        await self._fits(space, length)

    async def _fits(self, space: str, length: int) -> bool:
        """Tell whether a space is there; raise `PermanentError` when its vectors have another length."""
        known = await self._length(space)
        if known is not None and known != length:
            raise PermanentError(f"this space holds vectors of {known} numbers, not {length}", code="vector_length")
        return known is not None

    async def _length(self, space: str) -> int | None:
        if space not in self._lengths:
            with self._translated():
                if not await self._client.collection_exists(PREFIX + space):
                    return None
                described = await self._client.get_collection(PREFIX + space)
            vectors = described.config.params.vectors
            if not isinstance(vectors, models.VectorParams):
                raise PermanentError(
                    f"the collection {PREFIX + space} was not made by AIMA", code="vector_space_refused"
                )
            self._lengths[space] = vectors.size
        return self._lengths[space]

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except UnexpectedResponse as error:
            if error.status_code == NO_ROOM:
                raise StorageFullError(f"Qdrant has no room left: {error}", code="storage_full") from error
            if error.status_code in REQUEST_AT_FAULT:
                raise PermanentError(f"Qdrant refused the request: {error}", code="vectors_refused") from error
            if error.status_code == NOT_FOUND:
                # A collection that was known is gone; it is made again when something is put.
                self._lengths.clear()
            raise UnavailableError(f"Qdrant did not take part: {error}", code="vectors") from error
        except (ApiException, QdrantException) as error:
            raise UnavailableError(f"Qdrant is away, the outcome is unknown: {error!r}", code="vectors") from error


def _filter(where: Mapping[str, str]) -> models.Filter:
    return models.Filter(
        must=[models.FieldCondition(key=field, match=models.MatchValue(value=value)) for field, value in where.items()]
    )
