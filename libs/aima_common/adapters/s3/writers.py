"""Large objects on their way into a bucket: written in place, or kept as pieces that outlive the process."""

import asyncio
import contextlib
import hashlib
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from functools import partial

from aima_common.adapters.s3.pieces import Pieces
from aima_common.adapters.s3.store import S3Store, Same
from aima_common.adapters.s3.stored import Part, Stored
from aima_common.errors import PermanentError, UnavailableError

STAGING = "uploads/"
"""What is on its way lies below; nobody's key begins so."""
CREATIONS = f"{STAGING}created/"
RESUMABLES = f"{STAGING}parts/"
COPY_BYTES = 256 << 20
"""How much the store copies at a time: of parts an object may have 10,000."""
COPIES_UNDER_WAY = 4


class S3Creation:
    """A multipart upload of the object itself where its key is known, else of another one that is copied at the end.

    What fits into one part is put at the end, in one request. Nobody sees parts before they are completed.
    """

    def __init__(self, store: S3Store, key: str | None) -> None:
        self._store = store
        self._key = key
        self._place = key or f"{CREATIONS}{uuid.uuid4().hex}"
        self._pieces = Pieces(store.settings.part_bytes, store.settings.parts_under_way, self._send)
        self._beginning = asyncio.Lock()
        self._upload: str | None = None
        self._parts: dict[int, Part] = {}
        self._completed = False

    async def write(self, chunk: bytes) -> None:
        """Take a chunk; raise what sending earlier ones raised."""
        await self._pieces.add(chunk)

    async def finish(self, key: str, sha256: str) -> None:
        """Make it the object `key`, unless an equal one is there; raise `ObjectExistsError` for another."""
        if self._key not in (None, key):
            raise ValueError(f"begun as {self._key!r}, and to be finished as {key!r}")
        if not self._pieces.cut:
            await self._store.store(key, self._pieces.rest())
            return
        await self._pieces.settle()
        if self._pieces.cut + 1 not in self._parts:
            await self._send(self._pieces.cut + 1, self._pieces.rest())

        async def same() -> bool | None:
            found = await self._store.hash_of(key)
            return None if found is None else found == sha256

        if self._key is None:
            if not self._completed:
                await self._complete(once=False)
            whole = await self._store.stat(self._place)
            if whole is None:
                raise UnavailableError(f"what was to become {key!r} is not there any more", code="upload_lost")
            await assemble(self._store, key, [whole], same)
        else:
            await self._store.once(key, partial(self._complete, once=True), same)
        await _cleared(self)

    async def abort(self) -> None:
        """Throw away what is left of it."""
        await self._pieces.stop()
        connection = self._store.connection
        if self._upload is not None and not self._completed:
            await self._store.in_thread(partial(connection.abort, self._place, self._upload))
        if self._completed and self._key is None:
            await self._store.in_thread(partial(connection.delete, [self._place]))
        self._upload, self._completed = None, False

    async def _send(self, number: int, data: bytes) -> None:
        connection = self._store.connection
        async with self._beginning:
            if self._upload is None:
                self._upload = await self._store.in_thread(partial(connection.begin, self._place, checked=True))
        send = partial(connection.part, self._place, self._upload, number, data)
        self._parts[number] = await self._store.in_thread(send)

    async def _complete(self, *, once: bool) -> bool:
        parts = [self._parts[number] for number in sorted(self._parts)]
        complete = partial(self._store.connection.complete, self._place, self._upload or "", parts, once=once)
        done = await self._store.in_thread(complete)
        if done is None:
            raise UnavailableError(f"the parts of {self._place!r} are not known any more", code="upload_lost")
        self._completed = done
        return done


class S3ResumableWriter:
    """Pieces as objects of their own, named by where they begin, which the store itself puts together at the end.

    The last one is as long as what was flushed. What was sent without a word of it being in, behind a gap or after
    a shorter piece, is removed by whoever goes on, so that nothing counts that nobody acknowledged.
    """

    def __init__(self, store: S3Store, name: str, there: Sequence[Stored]) -> None:
        self._store = store
        self._name = name
        self._pieces = Pieces(store.settings.part_bytes, store.settings.parts_under_way, self._send)
        self._whole = [piece for piece in there if piece.size_bytes == store.settings.part_bytes]
        self._tail = there[-1] if len(there) > len(self._whole) else None
        self._sent: dict[int, Stored] = {}
        self._flushed = True
        self._closed = False

    @classmethod
    async def load(cls, store: S3Store, name: str) -> "S3ResumableWriter":
        """Go on with what is in."""
        prefix = f"{RESUMABLES}{name}/"
        found = await store.in_thread(lambda: list(store.connection.walk(prefix)))
        there: list[Stored] = []
        for piece in found:
            begins = len(there) * store.settings.part_bytes
            follows = not there or there[-1].size_bytes == store.settings.part_bytes
            if piece.key != _piece_key(name, begins) or not follows:
                break
            there.append(piece)
        stale = [piece.key for piece in found[len(there) :]]
        if stale:
            await store.in_thread(partial(store.connection.delete, stale))
        return cls(store, name, there)

    async def size(self) -> int:
        """Tell how many bytes are durably in; makes them so."""
        await self.flush()
        return sum(piece.size_bytes for piece in self._there())

    async def write(self, chunk: bytes) -> None:
        """Take a chunk; after a failure this writer is of no use any more."""
        if self._closed:
            raise PermanentError(f"upload {self._name!r} is finished or aborted already", code="upload_closed")
        if self._tail is not None and self._flushed and not self._pieces.rest_bytes:
            async for known in self._store.read(self._tail.key):
                await self._pieces.add(known)
        self._flushed = False
        await self._pieces.add(chunk)

    async def flush(self) -> None:
        """Make what was written durable; after a failure this writer is of no use any more."""
        await self._pieces.settle()
        if self._flushed:
            return
        rest = self._pieces.rest()
        self._tail = await self._put(len(self._whole) + self._pieces.cut, rest) if rest else None
        self._flushed = True

    async def read_back(self) -> AsyncIterator[bytes]:
        """Stream what was written so far."""
        await self.flush()
        for piece in self._there():
            async for chunk in self._store.read(piece.key):
                yield chunk

    async def finish(self, key: str) -> None:
        """Make it the object `key`; raise `ObjectExistsError`, and stay, when other bytes lie there."""
        await self.flush()

        async def same() -> bool | None:
            found = await self._store.hash_of(key)
            if found is None:
                return None
            digest = hashlib.sha256()
            async for chunk in self.read_back():
                await asyncio.to_thread(digest.update, chunk)
            return found == digest.hexdigest()

        await assemble(self._store, key, self._there(), same)
        await _cleared(self)

    async def abort(self) -> None:
        """Throw it away; doing so twice is fine."""
        await self._pieces.stop()
        self._closed = True
        keys = [piece.key for piece in self._there()]
        self._whole, self._tail, self._sent, self._flushed = [], None, {}, True
        if keys:
            await self._store.in_thread(partial(self._store.connection.delete, keys))

    def _there(self) -> list[Stored]:
        pieces = [*self._whole, *(self._sent[number] for number in sorted(self._sent))]
        return [*pieces, self._tail] if self._tail is not None else pieces

    async def _send(self, number: int, data: bytes) -> None:
        self._sent[number] = await self._put(len(self._whole) + number - 1, data)

    async def _put(self, index: int, data: bytes) -> Stored:
        key = _piece_key(self._name, index * self._store.settings.part_bytes)
        tag = await self._store.in_thread(partial(self._store.connection.put, key, data, once=False))
        return Stored(key, len(data), 0.0, tag or "")


def _piece_key(name: str, begins: int) -> str:
    return f"{RESUMABLES}{name}/{begins:020d}"


async def assemble(store: S3Store, key: str, sources: Sequence[Stored], same: Same) -> None:
    """Have the store put objects together as the object `key`, once; raise `ObjectExistsError` for another one."""
    if sum(source.size_bytes for source in sources) <= store.settings.part_bytes:
        await store.store(key, b"".join([chunk for source in sources async for chunk in store.read(source.key)]))
        return

    async def make() -> bool:
        # Looked at before everything is copied in vain; what comes between is seen when the parts are completed.
        return await store.stat(key) is None and await _copy_together(store, key, sources)

    await store.once(key, make, same)


async def _copy_together(store: S3Store, key: str, sources: Sequence[Stored]) -> bool:
    connection = store.connection
    upload = await store.in_thread(partial(connection.begin, key, checked=False))
    done: bool | None = False
    try:
        parts: list[Part] = []
        ranges = list(_ranges(sources))
        for at in range(0, len(ranges), COPIES_UNDER_WAY):
            several = enumerate(ranges[at : at + COPIES_UNDER_WAY], at + 1)
            copies = [partial(connection.copy_part, key, upload, number, *what) for number, what in several]
            made = await asyncio.gather(*map(store.in_thread, copies), return_exceptions=True)
            for one in made:
                if isinstance(one, BaseException):
                    raise one
                parts.append(one)
        done = await store.in_thread(partial(connection.complete, key, upload, parts))
        if done is None:
            raise UnavailableError(f"the parts of {key!r} are not known any more", code="upload_lost")
        return done
    finally:
        if not done:
            with contextlib.suppress(UnavailableError):
                await store.in_thread(partial(connection.abort, key, upload))


def _ranges(sources: Sequence[Stored]) -> Iterator[tuple[Stored, int, int]]:
    for source in sources:
        for start in range(0, source.size_bytes, COPY_BYTES):
            yield source, start, min(start + COPY_BYTES, source.size_bytes)


async def _cleared(writer: S3Creation | S3ResumableWriter) -> None:
    """Remove what a finished write left; the object is there, and what stays is swept."""
    with contextlib.suppress(UnavailableError):
        await writer.abort()
