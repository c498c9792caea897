"""What an operator may change of the gateway."""

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from aima_common import settings
from aima_common.errors import SettingsError
from aima_gateway.backlog import BacklogLimits
from aima_gateway.limits import Limits
from aima_gateway.tenant_limits import TenantLimits

REQUESTS_PER_SECOND = 400
UPLOADS_AT_ONCE = 64
"""Generous: what one tenant may ask of a cluster before others would feel it. Quotas are for operators to set."""

ADMISSION_SECONDS = 900.0
"""How long work may have waited in a cluster before nothing more is taken in."""


@dataclass(frozen=True)
class Settings:
    """Where the gateway listens, where it passes uploads on to, and what it signs with."""

    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    """Shown to the upload service, and what links are signed with; the same in every gateway and upload process."""
    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one; `Gateway.url` tells which."""
    upload_urls: tuple[str, ...] = ()
    """The upload replicas; the least loaded takes the next upload."""
    environment: str = "local"
    """Part of every key that is made here, so that a key of a test place is seen to be one."""
    limits: Limits = field(default_factory=Limits)
    backlog: BacklogLimits = field(default_factory=BacklogLimits)
    """On one machine nobody is kept from handing in what he has: it is his disk, and his patience."""
    tenants: TenantLimits = field(default_factory=TenantLimits)
    """Limits of tenants that have none of their own."""
    shared_limits: bool = True
    """Whether all gateways count together; off where there is one."""
    private_hosts: frozenset[str] = frozenset()
    """Hosts with private addresses that webhooks may go to, over plain HTTP too."""
    notices_of_everything: bool = False
    """Whether the results topics tell of every item, or of what was offered by producers outside."""
    stream_seconds: float = 3600.0
    """How long one stream of events lasts before its client has to come back."""
    poll_seconds: float = 1.0
    """How late an event that another gateway wrote is noticed."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read the settings; raise `SettingsError` for what cannot be used."""
        return cls(
            secret=settings.required(environment, "AIMA_INTERNAL_SECRET"),
            host=environment.get("AIMA_GATEWAY_HOST", cls.host),
            port=settings.number(environment, "AIMA_GATEWAY_PORT", 8700),
            upload_urls=_addresses(settings.required(environment, "AIMA_UPLOAD_URLS")),
            environment=environment.get("AIMA_ENVIRONMENT", cls.environment),
            backlog=BacklogLimits(_seconds(environment, "AIMA_ADMISSION_SECONDS", ADMISSION_SECONDS)),
            tenants=tenant_limits(environment),
            private_hosts=frozenset(settings.words(environment, "AIMA_PRIVATE_HOSTS")),
            notices_of_everything=settings.choice(environment, "AIMA_RESULTS", ("offered", "all")) == "all",
        )


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(url.strip().rstrip("/") for url in text.split(","))


def _seconds(environment: Mapping[str, str], name: str, usual: float) -> float:
    text = environment.get(name, "").strip()
    try:
        return float(text) if text else usual
    except ValueError:
        raise SettingsError(f"{name} is {text!r}, and a number of seconds is wanted") from None


def tenant_limits(environment: Mapping[str, str]) -> TenantLimits:
    """Read the limits of tenants; 0 is no limit."""
    usual = {
        "requests_per_second": ("AIMA_TENANT_REQUESTS_PER_SECOND", REQUESTS_PER_SECOND),
        "uploads_at_once": ("AIMA_TENANT_UPLOADS_AT_ONCE", UPLOADS_AT_ONCE),
        "items_per_day": ("AIMA_TENANT_ITEMS_PER_DAY", 0),
        "bytes_per_day": ("AIMA_TENANT_BYTES_PER_DAY", 0),
    }
    chosen = {name: settings.number(environment, variable, value) for name, (variable, value) in usual.items()}
    return TenantLimits().changed_by(chosen)
