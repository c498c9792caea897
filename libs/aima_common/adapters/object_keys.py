"""Which keys can name an object, on every plug alike: what one store takes, another must not refuse."""

from aima_common.errors import PermanentError

KEY_MAX_BYTES = 1024
"""The longest key that every S3 store accepts."""
NAME_MAX_BYTES = 255
"""The longest file name of common Linux file systems."""
SHOWN_CHARACTERS = 80


def check_name(name: str) -> str:
    """Return `name` when it can be one part of a path; raise `PermanentError` when it cannot."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise key_refused(name, "a part of a key is one or more printable characters without slashes, and not '..'")
    if len(name.encode(errors="surrogatepass")) > NAME_MAX_BYTES:
        raise key_refused(name, f"a part of a key may have at most {NAME_MAX_BYTES} bytes")
    return name


def check_key(key: str) -> str:
    """Return `key` when it can name an object; raise `PermanentError` when it cannot."""
    if len(key.encode(errors="surrogatepass")) > KEY_MAX_BYTES:
        raise key_refused(key, f"a key may have at most {KEY_MAX_BYTES} bytes")
    for name in key.split("/"):
        check_name(name)
    return key


def key_refused(key: str, why: str) -> PermanentError:
    """Make the error for a key that cannot be used, however strange or long it is."""
    shown = ascii(key[:SHOWN_CHARACTERS] + "..." * (len(key) > SHOWN_CHARACTERS))
    return PermanentError(f"{shown} cannot name an object: {why}", code="object_key_refused", remedy="use another key")
