"""What every owner must know of an erasure: which request asked for it, and whether it is over.

A request may come again when its erasure has long ended and the same file has been accepted anew; by then it asks for
nothing. Until it ends the file is refused, and the request may come as often as it likes.
"""

import datetime
from typing import Any

from aima_common.contracts.envelope import Envelope
from aima_common.errors import StaleLeaseError
from aima_common.ids import derive
from aima_common.ports import Ports
from aima_common.ports.documents import Documents


def erasure_id(tenant: str, medium: str, request: str) -> str:
    """Name the erasure that a message `request` asks for."""
    return derive("erasure", tenant, medium, request)


async def is_over(documents: Documents, envelope: Envelope[Any]) -> bool:
    """Tell whether the erasure that this message asks for has ended."""
    known = await documents.load("erasures", erasure_id(envelope.tenant, envelope.body.medium, envelope.id))
    return known is not None and known.state == "erased"


async def is_erased(documents: Documents, medium: str) -> bool:
    """Tell whether a medium is erased now, so that what an old message says of it is kept by nobody."""
    known = await documents.load("media", medium)
    return known is not None and known.state == "erased"


async def keep(ports: Ports, medium: str, key: str, data: bytes) -> None:
    """Store what was made of a medium, unless that was erased meanwhile: then nothing is kept.

    Raises `StaleLeaseError` then, and whatever `Objects.put` does. Erasing removes objects after the medium says that
    it is erased: whoever asks behind its write is either told, or has written before objects are removed.
    """
    await ports.objects.put(key, data)
    if await is_erased(ports.documents, medium):
        await ports.objects.delete(key)
        raise StaleLeaseError(f"medium {medium} was erased meanwhile")


async def covers(documents: Documents, tenant: str, medium: str, said_at: datetime.datetime) -> bool:
    """Tell whether what was said of a medium at a moment has been erased with it, even if the file came back since."""
    if await is_erased(documents, medium):
        return True
    ended = await documents.find("erasures", {"medium": medium, "tenant": tenant, "state": "erased"})
    return any(said_at <= datetime.datetime.fromisoformat(erasure.body["erased_at"]) for erasure in ended)
