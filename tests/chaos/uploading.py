"""A client that keeps its own book of what it was told, whatever happens to the other side."""

import asyncio
import hashlib
import random
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from aima_client.errors import ClientError
from tests.chaos.installation import Installation

PAUSE_SECONDS = 0.3


@dataclass
class Book:
    """The ledger on the client's side: an answer that never came is neither a success nor a failure."""

    case: str = ""
    accepted: dict[str, str] = field(default_factory=dict)
    """File name -> item that the client was told of."""
    sha256: dict[str, str] = field(default_factory=dict)
    unknown: int = 0
    """Requests without an answer; each was made again until it got one."""
    invoked: int = 0


async def open_case(house: Installation, name: str) -> Book:
    """Create the case before anything is killed."""
    async with house.client() as client:
        return Book(case=str((await client.create_case(name))["id"]))


async def upload_all(house: Installation, book: Book, files: list[Path], spread_seconds: float, seed: int) -> None:
    """Upload the files one after the other, at random moments, each until it is acknowledged."""
    rng = random.Random(seed)
    for number, path in enumerate(files):
        if number:
            await asyncio.sleep(rng.uniform(0, 2 * spread_seconds / len(files)))
        book.sha256[path.name] = hashlib.sha256(path.read_bytes()).hexdigest()
        while path.name not in book.accepted:
            await _upload(house, book, path)


async def _upload(house: Installation, book: Book, path: Path) -> None:
    if not house.running:
        await asyncio.sleep(PAUSE_SECONDS)
        return
    book.invoked += 1
    try:
        async with house.client() as client:
            told = await client.upload(book.case, path)
    except (ClientError, aiohttp.ClientError, OSError, TimeoutError):
        book.unknown += 1
        await asyncio.sleep(PAUSE_SECONDS)
    else:
        book.accepted[path.name] = str(told["item"])
