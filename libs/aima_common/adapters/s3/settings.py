"""How to reach and use one bucket of an S3 server."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class S3Settings:
    """How to reach and use one bucket of an S3 server."""

    endpoint: str
    """http://host:port or https://host."""
    access_key: str
    secret_key: str = field(repr=False)
    bucket: str = "aima"
    region: str = "us-east-1"
    public_endpoint: str | None = None
    """What the links that clients are given begin with, where they reach the server under another name."""
    scratch: Path | None = None
    """Where copies of objects lie while somebody on this machine reads them as files; None is the system's own."""
    threads: int = 16
    """How many requests may be under way."""
    connect_seconds: float = 3.0
    timeout_seconds: float = 30.0
    """How long the server may be silent in the middle of a request; then its outcome is unknown."""
    assembly_seconds: float = 600.0
    """The same while it puts the parts of an object of gigabytes together."""
    part_bytes: int = 8 << 20
    """Size of the parts of large objects, at least 5 MiB. Of 10,000 parts an object may have: 80 GiB."""
    parts_under_way: int = 2
    """Parts of one object that are sent at the same time; each is held in memory."""
