"""Webhooks: what may be subscribed to, how a delivery is signed, and when it is tried again. Pure.

The signature is the one of https://www.standardwebhooks.com: HMAC-SHA256 over `<id>.<timestamp>.<body>`.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

from aima_common.contracts.outside import NoticeType
from aima_common.ports.documents import Document
from aima_common.problems import FieldError, refuse

SECRET_BYTES = 32
SECRET_PREFIX = "whsec_"  # noqa: S105 - what every secret begins with

MAX_URL_CHARACTERS = 2000
MAX_DESCRIPTION_CHARACTERS = 200
MAX_PER_TENANT = 20

DAY = 24 * 3600.0
GIVEN_UP_SECONDS = DAY
"""How long a delivery is tried, and a webhook may fail without a break before it is disabled."""

FIRST_RETRY_SECONDS = 5.0
LONGEST_RETRY_SECONDS = 2 * 3600.0
GROWTH = 3.0

USUAL = tuple(kind for kind in NoticeType if kind is not NoticeType.PROGRESS)
"""What a webhook is told that names no types: progress is for those who ask for it."""


def make_secret(random_bytes: bytes) -> str:
    """Write a secret as receivers' libraries read it."""
    return SECRET_PREFIX + base64.b64encode(random_bytes).decode()


def sign(secret: str, identity: str, timestamp: int, body: bytes) -> str:
    """Sign a delivery."""
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    digest = hmac.new(key, f"{identity}.{timestamp}.".encode() + body, hashlib.sha256).digest()
    return "v1," + base64.b64encode(digest).decode()


def headers(secret: str, identity: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Make the headers of a delivery; each attempt has a time of its own, and all have the same id."""
    return {
        "Content-Type": "application/json",
        "User-Agent": "aima-webhooks/1",
        "webhook-id": identity,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, identity, timestamp, body),
    }


def retry_seconds(failures: int, chance: float) -> float:
    """Tell how long to wait after so many failures in a row; `chance` (0 to 1) spreads those that failed together."""
    wait = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * GROWTH ** min(failures - 1, 12))
    return wait * (0.8 + 0.4 * chance)


def wanted(asked: Mapping[str, Any]) -> tuple[str, list[str], str]:
    """Read what is subscribed to: URL, types, description. Raises one `ProblemError` that names every fault."""
    errors = [FieldError(name, "is not known") for name in asked if name not in {"url", "types", "description"}]
    url, types, description = asked.get("url"), asked.get("types"), asked.get("description", "")
    if not (isinstance(url, str) and 0 < len(url) <= MAX_URL_CHARACTERS):
        errors.append(FieldError("url", f"is not a URL of at most {MAX_URL_CHARACTERS} characters"))
    chosen = [str(kind) for kind in USUAL] if types is None else types
    known = {str(kind) for kind in NoticeType}
    if not (isinstance(chosen, list) and chosen and all(isinstance(kind, str) and kind in known for kind in chosen)):
        errors.append(FieldError("types", f"is not a list of some of {', '.join(sorted(known))}"))
    if not (isinstance(description, str) and len(description) <= MAX_DESCRIPTION_CHARACTERS):
        errors.append(FieldError("description", f"is longer than {MAX_DESCRIPTION_CHARACTERS} characters"))
    if errors:
        raise refuse(422, "bad_webhook", "this webhook cannot be made", "Correct the named fields.", errors)
    return str(url), sorted(set(chosen)), str(description)


def view(hook: Document, waiting: int) -> dict[str, Any]:
    """Show a webhook, without its secret."""
    body = hook.body
    names = ("url", "types", "description", "created_at", "failing_since", "last_error", "delivered_at")
    return {"id": hook.id, "state": hook.state, **{name: body.get(name) for name in names}, "waiting": waiting}
