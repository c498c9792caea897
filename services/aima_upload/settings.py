"""What an operator may change of the upload service."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from aima_common.settings import number, required, words
from aima_upload.domain import Limits


@dataclass(frozen=True)
class Settings:
    """Where the upload service listens and how much it takes."""

    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """What the gateway shows to be let in; the same in every gateway and upload process."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one; `Upload.url` tells which."""
    limits: Limits = field(default_factory=Limits)
    idle_seconds: float = 60.0
    """How long a client may be silent in the middle of an upload."""
    session_seconds: float = 24 * 3600.0
    """How long an upload may lie unfinished before it is swept."""
    url_hosts: frozenset[str] = frozenset()
    """Hosts from which producers may have files fetched; none by default."""
    private_hosts: frozenset[str] = frozenset()
    """Of those, the ones that may have a private address and speak plain HTTP."""
    arrivals_at_once: int = 2
    """Files of producers outside that are taken in at the same time."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; raise `SettingsError` for what cannot be used."""
        return cls(
            secret=required(environment, "AIMA_INTERNAL_SECRET"),
            host=environment.get("AIMA_UPLOAD_HOST", cls.host),
            port=number(environment, "AIMA_UPLOAD_PORT", 8701),
            limits=Limits(number(environment, "AIMA_MAX_UPLOAD_BYTES", Limits.max_upload_bytes)),
            url_hosts=frozenset(words(environment, "AIMA_INGRESS_URL_HOSTS")),
            private_hosts=frozenset(words(environment, "AIMA_PRIVATE_HOSTS")),
        )
