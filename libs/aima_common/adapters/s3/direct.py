"""Links with which clients write straight into a bucket, part by part."""

from collections.abc import Sequence
from functools import partial

from aima_common.adapters.object_keys import check_key
from aima_common.adapters.s3.store import S3Store
from aima_common.errors import ObjectExistsError, PermanentError
from aima_common.ports.objects import DirectWrite

PART_BYTES = 16 << 20
"""Large enough that a part's own request costs little, small enough to be sent again."""
MOST_PARTS = 9_000
"""Fewer than the 10,000 that S3 takes."""


class S3DirectWrites:
    """The direct writes of a bucket."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    async def begin(self, key: str, size_bytes: int) -> DirectWrite:
        """Begin a multipart upload of exactly so many bytes."""
        connection = self._store.connection
        upload = await self._store.in_thread(partial(connection.begin, check_key(key), checked=False))
        mebibytes = -(-size_bytes // MOST_PARTS) // (1 << 20) + 1
        return DirectWrite(key, upload, size_bytes, max(PART_BYTES, mebibytes << 20))

    async def links(self, write: DirectWrite, parts: Sequence[int], seconds: int) -> Sequence[str]:
        """Sign the URLs of these parts; nothing is asked of the store."""
        return await self._store.in_thread(partial(self._store.connection.links, write.key, write.id, parts, seconds))

    async def complete(self, write: DirectWrite) -> None:
        """Make the parts the object, if they are all there and as long as they should be."""
        connection = self._store.connection
        there = await self._store.in_thread(partial(connection.parts, write.key, write.id))
        if there is not None:
            sizes = {part.number: part.size_bytes for part in there}
            wrong = [number for number in range(1, write.parts + 1) if sizes.get(number) != write.length(number)]
            if wrong or len(there) != write.parts:
                raise PermanentError(
                    f"of {write.parts} parts {len(wrong)} are missing or have another size (the first: {wrong[:1]})",
                    code="direct_incomplete",
                    remedy="Send them, then complete the upload again.",
                )
            made = await self._store.in_thread(partial(connection.complete, write.key, write.id, there))
            if made:
                return
            if made is False:
                raise ObjectExistsError(write.key)
        # It was completed before, and the answer was lost; or it was aborted, or swept.
        found = await self._store.stat(write.key)
        if found is None or found.size_bytes != write.size_bytes:
            raise PermanentError(
                "this direct upload is not known any more", code="direct_gone", remedy="Begin a new one."
            )

    async def abort(self, write: DirectWrite) -> None:
        """Throw the parts away."""
        await self._store.in_thread(partial(self._store.connection.abort, write.key, write.id))
