"""From a fact to the record that tells it."""

import datetime
import hashlib

from aima_common.contracts.base import Message
from aima_common.contracts.codec import dumps, encode
from aima_common.contracts.envelope import Envelope
from aima_common.contracts.topics import BY_MESSAGE
from aima_common.ids import derive
from aima_common.ports.bus import Record


def tell(
    message: Message, *, tenant: str, key: str, cause: str, time: datetime.datetime, traceparent: str | None = None
) -> Record:
    """Make the record of a message.

    Its id follows from the message, its key and its cause: telling the same fact again, after a crash,
    makes the same id, and inboxes know it.
    """
    name = type(message).__name__
    digest = hashlib.sha256(dumps(message.model_dump(mode="json"))).hexdigest()
    identity = derive("message", name, key, cause, digest)
    envelope = Envelope(
        id=identity,
        type=name,
        tenant=tenant,
        key=key,
        cause=cause,
        time=time,
        traceparent=traceparent,
        body=message,
    )
    return encode(BY_MESSAGE[type(message)].name_for(message), envelope)
