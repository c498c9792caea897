"""What an API key looks like, and what a role may do. Pure.

`aima_<environment>_<id>_<secret><checksum>`: scanners find it by its prefix, a typing error by its
checksum, and the store keeps nothing but its SHA-256. The secret has 256 random bits, so a slow hash
would protect nothing and would let strangers keep the processor busy.
"""

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass
from enum import IntEnum

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
SECRET_BYTES = 32
ID_BYTES = 8
SECRET_CHARACTERS = 43
"""32 bytes in base 62."""
CHECKSUM_CHARACTERS = 6
"""A CRC-32 in base 62."""

_TOKEN = re.compile(r"aima_([a-z0-9]{1,16})_([0-9a-f]{16})_([0-9A-Za-z]{43})([0-9A-Za-z]{6})")


class Role(IntEnum):
    """What a key may do; each may what the ones before it may."""

    reader = 1
    """Read cases, media, findings and dossiers."""
    writer = 2
    """Make cases, upload, cancel."""
    admin = 3
    """Make and revoke keys, erase media."""
    operator = 4
    """Make keys for other tenants; sees none of their data."""


@dataclass(frozen=True)
class Token:
    """A key in the form that is handed out, once."""

    environment: str
    id: str
    secret: str

    @property
    def text(self) -> str:
        """The key as it is shown and sent."""
        body = f"aima_{self.environment}_{self.id}_{self.secret}"
        return body + checksum(body)

    @property
    def digest(self) -> str:
        """What the store keeps of it."""
        return digest(self.text)


@dataclass(frozen=True)
class Actor:
    """Whoever sends a request, as far as AIMA knows."""

    key: str
    tenant: str
    role: Role


def make(random_bytes: bytes, environment: str = "local") -> Token:
    """Make a key from `ID_BYTES` + `SECRET_BYTES` random bytes."""
    if len(random_bytes) != ID_BYTES + SECRET_BYTES:
        raise ValueError(f"a key needs {ID_BYTES + SECRET_BYTES} random bytes, not {len(random_bytes)}")
    secret = base62(int.from_bytes(random_bytes[ID_BYTES:]), SECRET_CHARACTERS)
    return Token(environment, random_bytes[:ID_BYTES].hex(), secret)


def parse(text: str) -> Token | None:
    """Read a key; None for what is not one, or was mistyped."""
    match = _TOKEN.fullmatch(text)
    if match is None or checksum(text[:-CHECKSUM_CHARACTERS]) != match[4]:
        return None
    return Token(match[1], match[2], match[3])


def digest(text: str) -> str:
    """Tell the SHA-256 of a key."""
    return hashlib.sha256(text.encode()).hexdigest()


def matches(text: str, stored_digest: str) -> bool:
    """Compare a key with a stored digest in constant time."""
    return hmac.compare_digest(digest(text), stored_digest)


def checksum(body: str) -> str:
    """Tell the characters that end a key which begins with `body`."""
    return base62(zlib.crc32(body.encode()), CHECKSUM_CHARACTERS)


def base62(number: int, length: int) -> str:
    """Write a number with digits and letters, padded with zeros to `length`."""
    digits: list[str] = []
    while number:
        number, rest = divmod(number, len(ALPHABET))
        digits.append(ALPHABET[rest])
    return "".join(reversed(digits)).rjust(length, ALPHABET[0])


def bearer(header: str | None) -> str | None:
    """Read the credentials of an Authorization header."""
    scheme, _, credentials = (header or "").partition(" ")
    return credentials.strip() if scheme.lower() == "bearer" and credentials.strip() else None
