"""Who said a message, when, about what, and because of which other message."""

from typing import Generic, TypeVar

from pydantic import AwareDatetime, ConfigDict

from aima_common.contracts.base import Contract, Message

Body = TypeVar("Body", bound=Message)


class Envelope(Contract, Generic[Body]):
    """A message with its circumstances; on the bus these travel as CloudEvents headers."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore", arbitrary_types_allowed=True)

    id: str
    """Deterministic: the same fact told twice has the same id."""
    type: str
    """The message's name, such as "MediumUploaded"."""
    version: int = 1
    tenant: str
    key: str
    """Medium id, or case id where case-wide; decides the partition."""
    cause: str | None = None
    """Id of the message or job that led to this one."""
    time: AwareDatetime
    traceparent: str | None = None
    body: Body
