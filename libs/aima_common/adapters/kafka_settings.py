"""How to reach and use a Kafka cluster."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aima_common.errors import SettingsError

MECHANISM = "SCRAM-SHA-512"
"""How users log in. It shows the brokers that we know the password, and shows it to nobody."""


@dataclass(frozen=True)
class KafkaSettings:
    """How to reach and use a Kafka cluster."""

    bootstrap: str
    timeout_seconds: float = 30.0
    """How long one operation may take. Running out of it leaves its outcome unknown."""
    session_seconds: float = 45.0
    """How long a member may be silent before the others take its partitions."""
    replication: int | None = None
    """Copies of new topics; None takes the brokers' default. From three on, two must have a record."""
    create_topics: bool = True
    """Whether topics that are missing are made; otherwise they are missed."""
    user: str | None = None
    password: str | None = None
    """For SASL by `MECHANISM`, when given."""
    authority: Path | None = None
    """Certificates to trust; turns TLS on."""

    @property
    def request_milliseconds(self) -> int:
        """Tell how long one request may take: less than its operation, so that aiokafka itself cleans up after it."""
        return round(self.timeout_seconds * 900)

    def client(self) -> dict[str, Any]:
        """Return the arguments that every kind of client takes."""
        return {"bootstrap_servers": self.bootstrap, **self.connection()}

    def refused(self, why: str) -> SettingsError:
        """Say that a broker does not let us in."""
        return SettingsError(
            f"Kafka at {self.bootstrap} refuses the login of {self.user!r} ({why}): correct AIMA_KAFKA_USER and "
            f"AIMA_KAFKA_PASSWORD, or AIMA_KAFKA where that address asks for none; users log in by {MECHANISM}"
        )

    def lacking(self, offered: Sequence[str]) -> SettingsError:
        """Say that brokers ask for a login, by one of the ways they offer, and that we were given none."""
        return SettingsError(
            f"Kafka at {self.bootstrap} asks for a login, and AIMA_KAFKA_USER is not set: set it and "
            f"AIMA_KAFKA_PASSWORD, or AIMA_KAFKA to an address that asks for none; users log in by {MECHANISM}, and "
            f"the broker offers {', '.join(offered) or 'nothing'}"
        )

    def connection(self) -> dict[str, Any]:
        """Return the arguments that a single connection takes."""
        protocol = ("SASL_" if self.user else "") + ("SSL" if self.authority else "PLAINTEXT")
        common = {
            "client_id": "aima",
            "security_protocol": protocol,
            "request_timeout_ms": self.request_milliseconds,
        }
        if self.authority:
            common["ssl_context"] = ssl.create_default_context(cafile=str(self.authority))
        if self.user:
            login = {"sasl_plain_username": self.user, "sasl_plain_password": self.password}
            common |= {"sasl_mechanism": MECHANISM, **login}
        return common
