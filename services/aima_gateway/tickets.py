"""Links that work for a few minutes without a key. Pure."""

import base64
import binascii
import datetime
import hashlib
import hmac

SECONDS = 300
"""Long enough to open a page, too short to be worth passing on."""


def make(secret: str, tenant: str, subject: str, expires_at: datetime.datetime) -> str:
    """Sign that whoever shows this may see `subject` of `tenant` until `expires_at`."""
    text = f"{int(expires_at.timestamp())}.{tenant}"
    return _encode(text.encode()) + "." + _encode(_signature(secret, text, subject))


def check(secret: str, ticket: str, subject: str, now: datetime.datetime) -> str | None:
    """Tell the tenant of a ticket; None when it is for something else, forged or too old."""
    body, _, signature = ticket.partition(".")
    try:
        text = _decode(body).decode()
        shown = _decode(signature)
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return None
    if not hmac.compare_digest(shown, _signature(secret, text, subject)):
        return None
    expires, _, tenant = text.partition(".")
    return tenant if int(expires) >= now.timestamp() else None


def _signature(secret: str, text: str, subject: str) -> bytes:
    return hmac.new(f"ticket/{secret}".encode(), f"{subject}\n{text}".encode(), hashlib.sha256).digest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text.encode() + b"=" * (-len(text) % 4))
