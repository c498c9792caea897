"""What an S3 server tells of what it holds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stored:
    """What the store tells of an object."""

    key: str
    size_bytes: int
    modified_at: float
    tag: str
    """Changes with the bytes."""


@dataclass(frozen=True)
class Part:
    """A part that is in, and how the store will recognise it."""

    number: int
    size_bytes: int
    tag: str
    checksum: str | None = None
